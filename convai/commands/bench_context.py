"""`convai bench context`: its options and its table."""

from __future__ import annotations

import argparse
from pathlib import Path
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
    context.add_argument(
        "--facts", type=Path, metavar="FILE", help="what the memory has heard: facts as for evaluate --memory"
    )
    context.add_argument(
        "--asked", type=_share, default=0.0, metavar="SHARE", help="share of the messages that ask for these"
    )
    context.add_argument(
        "--seeds", type=_seeds, default=1, metavar="N", help="chats that are summed up (default: 1)"
    )
    context.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Count and print. Returns the exit code."""
    from convai.bench.context import figures, measure
    from convai.bench.report import json_line
    from convai.conversation.agent import load_agent
    from convai.evaluation.memory import read_told

    told = read_told(args.facts) if args.facts else ()
    agent = load_agent(args.model, context=args.context)
    found = figures(*(measure(agent, seed=seed, told=told, asked=args.asked) for seed in range(args.seeds)))
    if not args.json:
        for name, value in found.items():
            print(f"{name:<18} {value:>10,.2f}")
    ratios = {
        "context/without": 1 / found["computed_ratio"],
        "context/turn_5": 1 / found["first_token_ratio"],
    }
    print(json_line(ratios, found))
    return 0


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share, 0 to 1")
    return share


def _seeds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of chats, 1 to 100")
    return int(text)
