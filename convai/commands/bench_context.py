"""`convai bench context`: its options and its table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from convai.commands.options import add_context_argument

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_action(actions: Actions) -> None:
    """The action context."""
    context = actions.add_parser(
        "context",
        help="tokens computed in a chat of 50 replies, with lorebook, notes and memory and without",
        allow_abbrev=False,
    )
    context.add_argument(
        "--model", metavar="DIR|NAME", help="model folder, or an embedded model (default: the embedded one)"
    )
    add_context_argument(context)
    context.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Count and print. Returns the exit code."""
    from convai.bench.context import figures, measure
    from convai.bench.report import json_line
    from convai.conversation.agent import load_agent

    found = figures(measure(load_agent(args.model, context=args.context)))
    if not args.json:
        for name, value in found.items():
            print(f"{name:<18} {value:>10,.2f}")
    ratios = {
        "context/without": 1 / found["computed_ratio"],
        "context/turn_5": 1 / found["first_token_ratio"],
    }
    print(json_line(ratios, found))
    return 0
