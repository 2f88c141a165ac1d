"""`convai coref parser train | score`: the small spaCy pipeline that coreference stands on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import add_config_arguments, config_from_args
from convai.core.errors import SettingsError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_actions(actions: Actions) -> None:
    """The action parser, with train and score below it."""
    from convai.coref.parsing.settings import ParserSettings

    parser = actions.add_parser(
        "parser", help="train or score the parser that coreference needs", allow_abbrev=False
    )
    below = parser.add_subparsers(dest="parser_action", required=True, metavar="train|score")
    train = below.add_parser("train", help="train a parser on treebanks", allow_abbrev=False)
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the pipeline goes")
    train.add_argument(
        "--dev", nargs="*", type=Path, default=[], metavar="FILE", help="treebanks to score every epoch on"
    )
    train.add_argument(
        "--dev-entities", nargs="*", type=Path, default=[], metavar="FILE", help="entities of these treebanks"
    )
    _add_data(train)
    add_config_arguments(train, ParserSettings, title="training")
    score = below.add_parser("score", help="score a parser on treebanks", allow_abbrev=False)
    score.add_argument("--model", metavar="DIR|NAME", help="a spaCy pipeline (default: the embedded one)")
    score.add_argument(
        "--own-words",
        action="store_true",
        help="cut the text by the pipeline's tokenizer (default: as given)",
    )
    score.add_argument("--json", action="store_true", help="one JSON object")
    _add_data(score)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("treebanks", nargs="+", type=Path, metavar="TREEBANK", help="CoNLL-U files")
    parser.add_argument(
        "--entities",
        nargs="*",
        type=Path,
        default=[],
        metavar="FILE",
        help="files with a token, a tab and an IOB2 tag a line, laid over the sentences with the same words",
    )
    parser.add_argument(
        "--non-commercial",
        action="store_true",
        help="use also the documents of GUM that may not be used commercially",
    )


def _parser(args: argparse.Namespace) -> int:
    return _train(args) if args.parser_action == "train" else _score(args)


def _train(args: argparse.Namespace) -> int:
    from convai.coref.parsing.load import require_spacy
    from convai.coref.parsing.settings import ParserSettings
    from convai.coref.parsing.treebank import gather

    settings = config_from_args(ParserSettings, args)
    require_spacy()
    if args.out.exists() and not (args.out / "config.cfg").exists() and any(args.out.iterdir()):
        raise SettingsError(f"--out={args.out}: holds something else than a parser; name a new folder")
    data = gather(args.treebanks, args.entities, non_commercial=args.non_commercial)
    dev = {path.name: gather([path], args.dev_entities, non_commercial=True, add=False) for path in args.dev}
    from convai.coref.parsing.train import train_parser

    def report(scores: dict[str, Any]) -> None:
        for name, held in scores["dev"].items():
            print(f"epoch {scores['epoch']:>3}  {name}  {_line(held)}", flush=True)

    train_parser(settings, data, dev, args.out, report=report, progress=sys.stderr.isatty())
    print(f"{args.out}: trained on {len(data):,} sentences, {sum(len(s.words) for s in data):,} words")
    return 0


def _score(args: argparse.Namespace) -> int:
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.score import score_parser
    from convai.coref.parsing.treebank import gather

    nlp = load_parser(args.model)
    scores = {}
    for path in args.treebanks:
        held = gather([path], args.entities, non_commercial=args.non_commercial, add=False)
        scores[path.name] = score_parser(nlp, held, gold_words=not args.own_words)
        if not args.json:
            print(f"{path.name}  {_line(scores[path.name])}")
    if args.json:
        print(json.dumps(scores))
    return 0


def _line(scores: dict[str, float]) -> str:
    shares = [f"{name} {value:.2%}" for name, value in scores.items() if value <= 1]
    return "  ".join([*shares, *(f"{name} {value:,}" for name, value in scores.items() if value > 1)])


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {"parser": _parser}
