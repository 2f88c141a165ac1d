"""`convai coref score | check`: chains against a key, GAP, WinoBias, kinds; column files in order or not."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from convai.core.errors import SettingsError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

Item = TypeVar("Item")
_TITLES: Final = {
    "mentions": "mentions",
    "muc": "MUC",
    "b_cubed": "B-cubed",
    "ceaf_e": "CEAF-e",
    "lea": "LEA",
}


def add_actions(actions: Actions) -> None:
    """The actions score and check."""
    check = actions.add_parser("check", help="say what is wrong in column files", allow_abbrev=False)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="CoNLL-2012 columns, or CoNLL-U")
    score = actions.add_parser(
        "score",
        help="MUC, B-cubed, CEAF-e, their mean and LEA of two column files; GAP; WinoBias; kinds of texts",
        allow_abbrev=False,
    )
    score.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="KEY and RESPONSE, as CoNLL-2012 or CoNLL-U"
    )
    score.add_argument("--json", action="store_true", help="one JSON object")
    score.add_argument(
        "--singletons",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="count clusters of one mention (default: on)",
    )
    score.add_argument("--gap", type=Path, metavar="FILE.tsv", help="the model on ambiguous pronouns (GAP)")
    score.add_argument(
        "--winobias", type=Path, metavar="DIR", help="the model with and against stereotypes (WinoBias)"
    )
    score.add_argument(
        "--kinds",
        nargs="?",
        const="",
        metavar="FILE.jsonl",
        help="the model on texts of several kinds, as animals or singular they (default: convai's own texts)",
    )
    score.add_argument("--part", metavar="NAME", help="of --kinds only the texts of this part")
    score.add_argument("--wrong", action="store_true", help="print what is wrong in the texts of --kinds")
    score.add_argument(
        "--model",
        metavar="DIR",
        help="a coreference model (default: the embedded one); for --gap, --winobias, --kinds",
    )
    score.add_argument(
        "--parser",
        metavar="DIR|NAME",
        help="the spaCy pipeline under it, or 'installed' for spaCy's own (default: the embedded one)",
    )


def _check(args: argparse.Namespace) -> int:
    from convai.coref.column_files import read_documents

    for path in args.files:
        documents = read_documents(path, crossing="refuse")
        words = sum(len(document) for document in documents)
        clusters = [cluster for document in documents for cluster in document.clusters]
        print(
            f"{path}: {len(documents):,} documents, {words:,} words, {len(clusters):,} clusters, "
            f"{sum(map(len, clusters)):,} mentions"
        )
    return 0


def _score(args: argparse.Namespace) -> int:
    asked = [name for name in ("gap", "winobias", "kinds") if getattr(args, name) is not None]
    if asked and args.files:
        raise SettingsError(f"--{asked[0]} scores a model, not two files; ask for one thing at a time")
    if len(asked) > 1:
        raise SettingsError(f"--{asked[0]} and --{asked[1]}: ask for one thing at a time")
    if (args.part is not None or args.wrong) and asked != ["kinds"]:
        raise SettingsError("--part and --wrong are options of --kinds")
    if args.gap:
        return _score_gap(args)
    if args.winobias:
        return _score_winobias(args)
    if args.kinds is not None:
        return _score_kinds(args)
    return _score_files(args)


def _score_files(args: argparse.Namespace) -> int:
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
    _table({title: result[name] for name, title in _TITLES.items()})
    print(f"CoNLL's mean of the F1 of MUC, B-cubed and CEAF-e: {100 * result['conll_f1']:.2f}")
    return 0


def _score_gap(args: argparse.Namespace) -> int:
    from convai.coref.checkpoint import load_resolver
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.parse import text_reader
    from convai.coref.scorer.gap import ask, read_gap, score_gap

    examples = read_gap(args.gap)
    read, resolver = text_reader(load_parser(args.parser)), load_resolver(args.model)
    tallies = score_gap((ask(one, read) for one in _shown(examples)), resolver)
    result: dict[str, Any] = {
        name: {side: round(getattr(tally, side), 6) for side in ("recall", "precision", "f1")}
        for name, tally in tallies.items()
    }
    masculine = result["masculine"]["f1"]
    result["feminine_to_masculine"] = round(result["feminine"]["f1"] / masculine, 6) if masculine else 0.0
    if args.json:
        print(json.dumps(result))
        return 0
    _table({name: result[name] for name in tallies})
    print(f"F1 of feminine pronouns to that of masculine ones: {result['feminine_to_masculine']:.3f}")
    return 0


def _score_winobias(args: argparse.Namespace) -> int:
    from convai.coref.checkpoint import load_resolver
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.parse import parse_documents
    from convai.coref.scorer.winobias import find_winobias, read_winobias, score_winobias

    files = {key: read_winobias(path) for key, path in find_winobias(args.winobias).items()}
    nlp, resolver = load_parser(args.parser), load_resolver(args.model)
    result: dict[str, Any] = {}
    for (kind, side), documents in sorted(files.items()):
        parse_documents(nlp, documents)
        bias = score_winobias(_shown(documents), resolver)
        result[f"type{kind}_{side}"] = {"f1": round(bias.f1, 6), "accuracy": round(bias.accuracy, 6)}
    for kind in "12":
        for name in ("f1", "accuracy"):
            gap = result[f"type{kind}_pro"][name] - result[f"type{kind}_anti"][name]
            result.setdefault(f"type{kind}_gap", {})[name] = round(gap, 6)
    if args.json:
        print(json.dumps(result))
        return 0
    print(f"{'':<12}{'CoNLL F1':>10}{'accuracy':>10}")
    for name, sides in sorted(result.items()):
        print(f"{name:<12}{100 * sides['f1']:>10.2f}{100 * sides['accuracy']:>10.2f}")
    return 0


def _score_kinds(args: argparse.Namespace) -> int:
    from convai.core.resources import coref_kinds_path
    from convai.coref.checkpoint import load_resolver
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.parse import document_of_turns
    from convai.coref.scorer.kinds import answers, read_kinds, shares

    path = Path(args.kinds) if args.kinds else coref_kinds_path()
    items = read_kinds(path)
    parts = list(dict.fromkeys(item.part for item in items))
    if args.part is not None:
        items = [item for item in items if item.part == args.part]
        if not items:
            raise SettingsError(f"--part {args.part}: {path} has the parts {', '.join(parts)}")
        parts = [args.part]
    nlp, resolver = load_parser(args.parser), load_resolver(args.model)
    answered = list(answers(_shown(items), partial(document_of_turns, nlp), resolver))
    result = shares(answered)
    by_part = {part: shares([a for a in answered if a.item.part == part]) for part in parts}
    if args.json:
        print(json.dumps({"kinds": result, "parts": by_part}))
        return 0
    if args.wrong:
        for answer in answered:
            if answer.wrong:
                print(f"{answer.item.kind}: {' / '.join(text for _, text in answer.item.turns)}")
                print("".join(f"    {wrong}\n" for wrong in answer.wrong))
    width = max(map(len, result))
    titles = "".join(f"{part:>{len(part) + 3}}" for part in parts if len(parts) > 1)
    print(f"{'':<{width}}   right   95 % interval    texts{titles}")
    for kind, of in result.items():
        of_parts = "".join(
            f"{by_part[part][kind]['share'] if kind in by_part[part] else math.nan:>{len(part) + 3}.3f}"
            for part in parts
            if len(parts) > 1
        )
        interval = f"{of['low']:.3f} to {of['high']:.3f}"
        print(f"{kind:<{width}}   {of['share']:.3f}   {interval}   {of['texts']:>6,}{of_parts}")
    return 0


def _shown(items: list[Item]) -> Iterable[Item]:
    from tqdm import tqdm

    return cast(Iterable[Item], tqdm(items, disable=None, leave=False))


def _table(rows: dict[str, dict[str, float]]) -> None:
    print(f"{'':<10}{'recall':>10}{'precision':>11}{'F1':>9}")
    for title, row in rows.items():
        sides = [100 * row[side] for side in ("recall", "precision", "f1")]
        print(f"{title:<10}{sides[0]:>10.2f}{sides[1]:>11.2f}{sides[2]:>9.2f}")


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"score": _score, "check": _check}
