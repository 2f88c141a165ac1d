"""`convai bench coref`: its options and its table."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convai.core.errors import SettingsError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_action(actions: Actions) -> None:
    """The action coref."""
    coref = actions.add_parser(
        "coref", help="coreference against scoring pair by pair, after parsing", allow_abbrev=False
    )
    coref.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="column files (default: OntoGUM's development file in CONVAI_DATA, else the sample dialogues)",
    )
    coref.add_argument("--model", metavar="DIR", help="a model folder (default: the embedded model)")
    coref.add_argument("--parser", metavar="DIR|NAME", help="a spaCy pipeline (default: the embedded one)")
    coref.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")
    coref.add_argument(
        "--seconds", type=float, default=30.0, metavar="X", help="how long is measured (default: 30)"
    )
    coref.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    if args.threads is not None:
        if args.threads < 1:
            raise SettingsError(f"--threads={args.threads}: use 1 or more")
        import torch

        torch.set_num_threads(args.threads)
    from convai.bench.coref import measure, memory, read_documents
    from convai.bench.report import json_line
    from convai.coref.checkpoint import load_resolver

    resolver = load_resolver(args.model)
    documents = read_documents(_files(args.data), args.parser)
    raw: dict[str, Any] = measure(resolver, documents, args.seconds)
    raw["peak_bytes_per_word"] = memory(resolver, documents)
    if not args.json:
        print(
            f"{raw['documents']} documents, {raw['words']:,} words: {raw['words_per_s']:,.0f} words a second"
        )
        print(
            f"of {raw['part_words']:,} words ({raw['part_mentions']:,} mentions): "
            f"{raw['plain_words_per_s']:,.0f} words a second pair by pair, {raw['ratio']:.0f} times slower"
            f"{'' if raw['same_clusters'] else '; the clusters differ'}"
        )
        for words, size in raw["peak_bytes_per_word"].items():
            print(f"a document of {int(words):,} words: at most {size:,.0f} bytes a word")
    print(json_line({"vs_plain_python": raw["ratio"]}, raw))
    return 0


def _files(given: list[Path]) -> list[Path]:
    if given:
        return given
    data = os.environ.get("CONVAI_DATA")
    path = Path(data) / "coref" / "ontogum_dev.conll" if data else None
    return [path] if path is not None and path.is_file() else []
