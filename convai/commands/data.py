"""`convai data`: check, convert, count, compare, compose and download corpora."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.commands.reading import add_reading_arguments, reading_from, report_taken
from convai.core.errors import SettingsError

if TYPE_CHECKING:
    from convai.text.lengths import Rows

HELP: Final = "check, convert, count, compare, compose and download dialogues"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands of `convai data`."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="list what is wrong, by file and line; exit code 1 if anything is"
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="file, or folder of files")
    add_reading_arguments(check, "all", skip_bad="exit with 0 where some dialogues can be read")
    check.add_argument(
        "--model",
        metavar="DIR|NAME",
        help="the model that is to learn from them; what is too long for it is counted (default: the "
        "embedded one)",
    )
    check.add_argument(
        "--row-tokens",
        type=int,
        metavar="N",
        help="longest sequence of the training (default: as the model is tuned)",
    )

    convert = commands.add_parser("convert", help="write dialogues in another format")
    convert.add_argument("input", type=Path, metavar="IN", help="file, or folder of files")
    convert.add_argument("output", type=Path, metavar="OUT", help="file; .gz and .xz are compressed")
    add_reading_arguments(convert, "all", "--from")
    convert.add_argument(
        "--to", dest="to_format", metavar="FORMAT", help="format of OUT (default: from its name)"
    )
    convert.add_argument(
        "--distractors",
        type=int,
        default=0,
        metavar="N",
        help="draw N wrong replies for each reply that has no candidates (default: %(default)s)",
    )
    convert.add_argument(
        "--clean",
        action="store_true",
        help='take out "(user 1)" and the like; leave out dialogues where one stands for a word',
    )
    convert.add_argument("--seed", type=int, default=0, help="seed of that draw (default: %(default)s)")

    stats = commands.add_parser("stats", help="count dialogues, turns, words, personas, candidates")
    stats.add_argument("files", nargs="+", type=Path, metavar="FILE", help="file, or folder of files")
    add_reading_arguments(stats, "all")
    stats.add_argument("--json", action="store_true", help="print one JSON object")

    overlap = commands.add_parser(
        "overlap", help="list training dialogues that occur in held-out files; exit code 1 if any does"
    )
    overlap.add_argument("train", nargs="+", type=Path, metavar="TRAIN", help="training file or folder")
    overlap.add_argument(
        "--held-out", nargs="+", type=Path, required=True, metavar="FILE", help="file or folder"
    )
    add_reading_arguments(overlap, "train of TRAIN, all but train of the held-out files, where they have it")

    compose = commands.add_parser(
        "compose", help="make dialogues in which a persona is asked about, and what was told is asked back"
    )
    compose.add_argument("out", type=Path, metavar="OUT", help="file, as jsonl; .gz and .xz are compressed")
    compose.add_argument(
        "--dialogs", type=int, default=1000, metavar="N", help="how many (default: %(default)s)"
    )
    compose.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="KIND=N",
        help="how often a kind of exchange comes, such as correct=40; may be given several times",
    )
    compose.add_argument(
        "--sessions",
        action="store_true",
        help="N pairs of them, the second asking for what was told in the first: for `convai train --memory`",
    )
    compose.add_argument("--seed", type=int, default=0, help="what they follow from (default: %(default)s)")

    download = commands.add_parser(
        "download", help="fetch PERSONA-CHAT (or another file); goes on where it stopped"
    )
    download.add_argument("url", nargs="?", metavar="URL", help="default: PERSONA-CHAT as JSON, about 200 MB")
    download.add_argument(
        "--out", type=Path, metavar="FILE", help="where to save it (default: the name in URL)"
    )
    download.add_argument("--sha256", metavar="HEX", help="digest that the file must have")

    commands.add_parser("formats", help="list the formats that can be read and written")


def run(args: argparse.Namespace) -> int:
    """Do what `add_arguments` parsed and return the exit code. Raises ConvaiError for what cannot be read."""
    return {
        "check": _check,
        "convert": _convert,
        "stats": _stats,
        "overlap": _overlap,
        "compose": _compose,
        "download": _download,
        "formats": _formats,
    }[args.data_command](args)


def _check(args: argparse.Namespace) -> int:
    from convai.text.corpora.check import check
    from convai.text.corpora.detect import expand

    rows, reading = _rows(args), reading_from(args)
    reports = [
        check(
            file,
            reading.format,
            split=reading.split,
            rows=rows,
            encoding=reading.encoding,
            columns=reading.columns,
        )
        for path in args.files
        for file in expand(path)
    ]
    for report in reports:
        print("\n".join(report.lines()))
    if args.skip_bad:
        return 0 if all(report.dialogues for report in reports) else 1
    return 0 if all(report.ok for report in reports) else 1


def _rows(args: argparse.Namespace) -> Rows:
    """The rows of a training of the model that was named, or of the embedded one; its base is not needed."""
    from convai.core import resources
    from convai.model.folder import is_adapter, model_folder, shape_of
    from convai.model.shipped import training_config
    from convai.text.lengths import Rows
    from convai.text.tokenizer import Tokenizer

    folder = model_folder(args.model or resources.model_path(resources.DEFAULT_MODEL))
    tokens = training_config(folder).row_tokens if args.row_tokens is None else args.row_tokens
    if tokens < 16:
        raise SettingsError(f"--row-tokens={tokens}: use 16 or more")
    if not is_adapter(folder):
        tokens = min(tokens, shape_of(folder).n_positions)
    return Rows(Tokenizer.load_pretrained(folder)[0], tokens, folder.name)


def _convert(args: argparse.Namespace) -> int:
    from convai.text.corpora.distractors import with_distractors
    from convai.text.corpora.notes import counted
    from convai.text.corpora.placeholders import cleaned
    from convai.text.corpora.reading import take, write

    taken = take(args.input, reading_from(args))
    dialogs = taken.dialogs
    report_taken(taken)
    if args.clean:
        dialogs = [clean for dialog in dialogs if (clean := cleaned(dialog)) is not None]
        dropped = counted(len(taken.dialogs) - len(dialogs), "dialogue")
        print(f"{args.input}: {dropped} with placeholders left out", file=sys.stderr)
    if args.distractors:
        dialogs = with_distractors(dialogs, args.distractors, args.seed)
        fewest = min((len(t.distractors) for d in dialogs for _, t in d.replies()), default=0)
        if fewest < args.distractors:
            few = f"some replies get {fewest} of {args.distractors} wrong ones, as no more differ"
            print(f"{args.input}: {few}", file=sys.stderr)
    count = write(args.output, dialogs, args.to_format)
    print(f"{args.output}: {counted(count, 'dialogue')}")
    return 0


def _stats(args: argparse.Namespace) -> int:
    from convai.text.corpora.reading import take
    from convai.text.corpora.stats import stats

    taken = [take(path, reading_from(args)) for path in args.files]
    for one in taken:
        report_taken(one)
    total = stats(dialog for one in taken for dialog in one.dialogs)
    print(json.dumps(total.as_dict()) if args.json else "\n".join(total.lines()))
    return 0


def _overlap(args: argparse.Namespace) -> int:
    from convai.text.corpora.overlap import overlap

    found = overlap(args.train, args.held_out, reading_from(args), report=report_taken)
    for one in found:
        print(one)
    print(f"{len(found):,} training dialogues overlap with the held-out files")
    return 1 if found else 0


def _compose(args: argparse.Namespace) -> int:
    from convai.core import resources
    from convai.text.compose.dialogues import Composer
    from convai.text.compose.returning import returning
    from convai.text.corpora.reading import write

    if args.dialogs < 1:
        raise SettingsError(f"--dialogs={args.dialogs}: use 1 or more")
    weights = {}
    for given in args.weight:
        kind, _, number = given.partition("=")
        if not number.isdecimal():
            raise SettingsError(f"--weight {given}: write KIND=N with a whole number N, such as correct=40")
        weights[kind] = int(number)
    if weights and args.sessions:
        raise SettingsError("--sessions has its own kinds of exchanges: leave out --weight")
    composer = Composer(resources.data_dir() / "compose", weights=weights)
    made = (returning if args.sessions else Composer.dialogs)(composer, args.dialogs, args.seed)
    count = write(args.out, made, "jsonl")
    print(f"{args.out}: {count:,} dialogues")
    return 0


def _download(args: argparse.Namespace) -> int:
    from convai.text.corpora.download import PERSONACHAT_URL, download, file_name

    url = args.url or PERSONACHAT_URL
    bar = _show_progress if sys.stderr.isatty() else None
    path = download(url, args.out or Path(file_name(url)), sha256=args.sha256, progress=bar)
    if bar:
        print(file=sys.stderr)
    print(path)
    return 0


def _show_progress(size: int, total: int | None) -> None:
    share = f" of {total / 1e6:,.1f} MB ({size / total:4.0%})" if total else " MB"
    print(f"\r{size / 1e6:,.1f}{share}", end="", file=sys.stderr, flush=True)


def _formats(_args: argparse.Namespace) -> int:
    from convai.text.corpora.formats import FORMATS

    for f in FORMATS.values():
        ways = "read, write" if f.render else "read"
        endings = " ".join(f.extensions) or "-"
        print(f"{f.name:<12} {ways:<12} {endings:<16} {f.description}")
    print("Names may go on with .gz or .xz. A format is told from the content, then from the name.")
    return 0
