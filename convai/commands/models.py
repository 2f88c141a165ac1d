"""`convai models`: what models there are, what one is made of, other copies of it, other people's models."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from convai.commands import models_copies

HELP = "get, import, list, show, merge, average, export and convert models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions get, import, list, show, merge, average, export and convert."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = actions.add_parser("get", help="fetch a base model to this machine", allow_abbrev=False)
    get.add_argument(
        "name", metavar="NAME", help="smollm2-135m, or OWNER/NAME of a model on the Hugging Face hub"
    )
    imports = actions.add_parser("import", help="put a model of yours to the base models", allow_abbrev=False)
    imports.add_argument(
        "source",
        metavar="FILE|DIR",
        type=Path,
        help="a GGUF file, or a model folder as transformers saves it",
    )
    imports.add_argument("--name", metavar="NAME", help="what to call it (default: after the file or folder)")
    actions.add_parser("list", help="embedded models and base models on this machine", allow_abbrev=False)
    show = actions.add_parser("show", help="what a model is made of", allow_abbrev=False)
    show.add_argument("model", metavar="DIR|NAME")
    models_copies.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    """Carry out the action. Returns the exit code."""
    if args.action == "get":
        return _get(args.name)
    if args.action == "import":
        return _import(args.source, args.name)
    if args.action == "list":
        return _list()
    if args.action == "show":
        return _show(args.model)
    return models_copies.run(args)


def _get(name: str) -> int:
    from convai.model.base_download import ensure_base, get_from_hub

    folder = get_from_hub(name, report=_report) if "/" in name else ensure_base(name, report=_report)
    _print_base(folder)
    return 0


def _import(source: Path, name: str | None) -> int:
    from convai.model.base_import import import_base

    _print_base(import_base(source, name, _report))
    return 0


def _print_base(folder: Path) -> None:
    from convai.model.bases import describe_base

    base = describe_base(folder)
    print(f"{base.name}: {base.family}, {base.size / 1e6:.1f} MB, in {folder}")
    print(f"tune it: convai train DATA --model {base.name} --out RUN")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _list() -> int:
    from convai.core import resources
    from convai.core.files import read_json
    from convai.model.bases import KNOWN_BASES, list_bases

    rows = []
    for name in resources.model_names():
        folder = resources.model_path(name)
        size = sum(f.stat().st_size for f in folder.iterdir() if f.is_file())
        if (folder / "config.json").is_file():
            family = str(read_json(folder / "config.json").get("model_type", "unknown"))
        else:
            family = f"adapter of {read_json(folder / 'convai.json')['base']['name']}"
        mark = "embedded, the default" if name == resources.DEFAULT_MODEL else "embedded"
        rows.append((name, f"{size / 1e6:.1f} MB", family, mark))
    bases = list_bases()
    rows += [(base.name, f"{base.size / 1e6:.1f} MB", base.family, f"base, {base.source}") for base in bases]
    rows += [
        (
            base.name,
            f"{base.gguf_size / 1e6:.1f} MB",
            "",
            f"base, not here yet: convai models get {base.name}",
        )
        for base in KNOWN_BASES.values()
        if base.name not in {there.name for there in bases}
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, size_text, family, what in rows:
        print(f"{name:<{widths[0]}}  {size_text:>{widths[1]}}  {family:<{widths[2]}}  {what}")
    return 0


def _show(model: str) -> int:
    from convai.conversation.agent import load_agent
    from convai.model.folder import model_folder

    agent = load_agent(model)
    config = agent.model.config
    print(f"folder       {model_folder(model)}")
    print(f"family       {config.family}")
    print(f"parameters   {agent.model.num_parameters():,}")
    print(f"layers       {config.n_layer} of width {config.n_embd}, {config.n_head} heads")
    print(f"vocabulary   {config.vocab_size:,}")
    print(f"positions    {config.n_positions}")
    print(f"context      {agent.positions}")
    print(f"frame        {agent.tokenizer.frame.name}")
    print(f"max_history  {'all that fits' if agent.max_history is None else agent.max_history}")
    for name in type(agent.decoding).__slots__:
        print(f"{name:<20} {getattr(agent.decoding, name)}")
    return 0
