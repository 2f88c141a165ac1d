"""`convai coref score`: chains against a key, GAP and WinoBias."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.errors import SettingsError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

_TITLES: Final = {
    "mentions": "mentions",
    "muc": "MUC",
    "b_cubed": "B-cubed",
    "ceaf_e": "CEAF-e",
    "lea": "LEA",
}


def add_actions(actions: Actions) -> None:
    """The action score."""
    score = actions.add_parser(
        "score",
        help="MUC, B-cubed, CEAF-e, their mean and LEA of two column files; GAP; WinoBias",
        allow_abbrev=False,
    )
    score.add_argument("files", nargs="*", type=Path, metavar="FILE", help="KEY and RESPONSE, column files")
    score.add_argument("--json", action="store_true", help="one JSON object")
    score.add_argument(
        "--singletons",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="count clusters of one mention (default: on)",
    )


def _score(args: argparse.Namespace) -> int:
    from convai.coref.scorer.files import score_files
    from convai.coref.scorer.metrics import conll_f1

    if len(args.files) != 2:
        raise SettingsError(f"{len(args.files)} files; name a key and a response, two column files")
    totals = score_files(*args.files, singletons=args.singletons)
    result: dict[str, Any] = {
        name: {side: round(getattr(counts, side), 6) for side in ("recall", "precision", "f1")}
        for name, counts in totals.items()
    }
    result["conll_f1"] = round(conll_f1(totals), 6)
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"{'':<10}{'recall':>10}{'precision':>11}{'F1':>9}")
    for name, title in _TITLES.items():
        sides = [100 * result[name][side] for side in ("recall", "precision", "f1")]
        print(f"{title:<10}{sides[0]:>10.2f}{sides[1]:>11.2f}{sides[2]:>9.2f}")
    print(f"CoNLL's mean of the F1 of MUC, B-cubed and CEAF-e: {100 * result['conll_f1']:.2f}")
    return 0


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"score": _score}
