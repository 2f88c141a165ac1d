"""The options of every command that reads dialogues: --format, --split, --skip-bad, --encoding, --column."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convai.text.corpora import Reading, Taken


def add_reading_arguments(
    parser: argparse.ArgumentParser,
    split: str,
    option: str = "--format",
    skip_bad: str = "leave out dialogues that cannot be read, and count them",
) -> None:
    """Give `parser` the options; `split` says which part of a divided file is the default one."""
    parser.add_argument(
        option,
        dest="format",
        metavar="FORMAT",
        help="format of the dialogues (default: told from their content; see `convai data formats`)",
    )
    parser.add_argument(
        "--split", metavar="PART", help=f"the part to take: train, valid, test or all (default: {split})"
    )
    parser.add_argument("--skip-bad", action="store_true", help=skip_bad)
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="encoding of the dialogues, such as windows-1251 or shift-jis (default: UTF-8 or UTF-16, or "
        "else, where nothing speaks against it, windows-1252)",
    )
    parser.add_argument(
        "--column",
        dest="columns",
        action="append",
        default=[],
        metavar="NAME=WHAT",
        help="what a column of a table, or a key of JSON, is that has a name of its own, as in --column "
        "Frage=prompt --column Antwort=completion; WHAT is prompt, completion, conversation, speaker, text, "
        "persona, chat or split",
    )


def reading_from(args: argparse.Namespace) -> Reading:
    """What the options say."""
    from convai.text.corpora import Reading
    from convai.text.corpora.columns import parse_columns

    names = ("format", "split", "skip_bad", "encoding")
    values: dict[str, Any] = {name: getattr(args, name) for name in names}
    return Reading(**values, columns=parse_columns(args.columns) or None)


def report_taken(taken: Taken) -> None:
    """Say on stderr what was taken of a file, where that is not all of it."""
    if not taken.whole:
        print(taken.line(), file=sys.stderr)
