"""`convai emotion transfer`: what tuning is worth, set by set, against a network from fresh weights."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import add_config_arguments, config_from_args
from convai.core.errors import SettingsError

if TYPE_CHECKING:
    from convai.emotion.labelled import LabelSet

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

_METHODS: Final = ("new", "last", "full", "chain-thaw")
_MEASURES: Final = ("macro_f1", "accuracy")


def add_action(actions: Actions) -> None:
    """The action transfer."""
    from convai.emotion.settings import FinetuneSettings

    transfer = actions.add_parser(
        "transfer", help="tuning by every method on label sets, in a table", allow_abbrev=False
    )
    transfer.add_argument("data", nargs="+", type=Path, metavar="DATA", help="label sets, files or folders")
    transfer.add_argument(
        "--methods", nargs="+", choices=_METHODS, default=_METHODS, help="(default: all of them)"
    )
    transfer.add_argument("--model", metavar="DIR", help="what to start from (default: the embedded model)")
    transfer.add_argument(
        "--runs", type=int, default=3, metavar="N", help="seeds for the spread (default: %(default)s)"
    )
    transfer.add_argument("--json", action="store_true", help="the table as one JSON object")
    transfer.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: torch's choice)"
    )
    add_config_arguments(transfer, FinetuneSettings, title="tuning", exclude=("method",))


def run(args: argparse.Namespace) -> int:
    """Tune and print: macro-F1 of the test split (the validation split where there is no other)."""
    from convai.commands.emotion_train import set_threads
    from convai.emotion.readers import read_labelled
    from convai.emotion.settings import FinetuneSettings

    settings = config_from_args(FinetuneSettings, args)
    if args.runs < 1:
        raise SettingsError(f"--runs={args.runs}: use 1 or more")
    sets = [read_labelled(path) for path in args.data]
    for data in sets:
        data.check()
    set_threads(args.threads)
    found = {
        data.name: {method: _tuned(data, method, settings, args) for method in args.methods} for data in sets
    }
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    print(f"{'set':<20}{'texts':>7}" + "".join(f"{method:>17}" for method in args.methods))
    for name, methods in found.items():
        texts = next(iter(methods.values()))["texts"]
        print(
            f"{name:<20}{texts:>7}" + "".join(f"{_spread(one['macro_f1']):>17}" for one in methods.values())
        )
    return 0


def _tuned(data: LabelSet, method: Any, settings: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The scores of every seed of one method on one set."""
    from convai.emotion.checkpoint import load_emotion_model
    from convai.emotion.finetune import finetune
    from convai.emotion.labelled import TEST, VALID

    model, vocabulary = load_emotion_model(args.model)
    split = TEST if data.splits.get(TEST) else VALID
    scores = []
    for run in range(args.runs):
        own = dataclasses.replace(settings, method=method, seed=settings.seed + run)
        scores.append(finetune(model, vocabulary, data, own).scores[split])
        reached = scores[-1]["macro_f1"]
        print(f"{data.name}, {method}, seed {own.seed}: macro-F1 {reached:.3f}", file=sys.stderr, flush=True)
    values = {name: [one[name] for one in scores] for name in _MEASURES}
    return {"split": split, "texts": scores[0]["texts"], **values}


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
