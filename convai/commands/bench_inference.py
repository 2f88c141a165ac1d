"""The actions of `convai bench` that measure the engine: decode, concurrency."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convai.bench.inference import BenchPlan


def add_actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare them."""
    decode = actions.add_parser(
        "decode", help="one chat: speed, and share of the memory's limit", allow_abbrev=False
    )
    _add_plan(decode)
    concurrency = actions.add_parser(
        "concurrency", help="many chats at once, and the first token under load", allow_abbrev=False
    )
    _add_plan(concurrency)
    concurrency.add_argument(
        "--chats", type=int, nargs="+", default=[8, 32], metavar="N", help="chats at once (default: 8 32)"
    )
    concurrency.add_argument(
        "--memory", action="store_true", help="also the memory of as many chats that fill the context"
    )


def _add_plan(parser: argparse.ArgumentParser) -> None:
    from convai.bench.contenders.registry import BASELINES  # names only: loads none of them

    parser.add_argument(
        "--size",
        choices=("S", "M", "smol"),
        nargs="+",
        default=["S", "M"],
        help="model sizes; smol is SmolLM2-135M's, with its weights where they are (default: S M)",
    )
    parser.add_argument(
        "--baselines",
        choices=BASELINES,
        nargs="*",
        default=list(BASELINES),
        metavar="NAME",
        help=f"whom to measure against, of {', '.join(BASELINES)} (default: all that are installed)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="runs of each, alternating (default: 5)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="of each engine (default: 0, all cores)"
    )
    parser.add_argument(
        "--precision", default="auto", metavar="NAME", help="of our engine's weights (default: auto)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short chats and one round, to try it: the figures mean nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only")


def _plan(args: argparse.Namespace) -> BenchPlan:
    from convai.core.processor import allowed

    cores = allowed()  # before torch is loaded, which forgets them

    from convai.bench.inference import BenchPlan

    return BenchPlan(
        cores=cores,
        sizes=tuple(args.size),
        baselines=tuple(args.baselines),
        rounds=1 if args.quick else args.rounds,
        threads=args.threads,
        precision=args.precision,
        quick=args.quick,
    )


def run_decode(args: argparse.Namespace) -> int:
    """`convai bench decode`."""
    plan = _plan(args)

    from convai.bench.decode import measure

    return _report(lambda show: measure(plan, show), args.json)


def run_concurrency(args: argparse.Namespace) -> int:
    """`convai bench concurrency`."""
    plan = _plan(args)

    from convai.bench.concurrency import measure

    return _report(lambda show: measure(plan, tuple(args.chats), show, memory=args.memory), args.json)


def _report(
    work: Callable[[Callable[[str], None]], tuple[dict[str, float], dict[str, Any]]], json_only: bool
) -> int:
    """The table as it grows (on stderr where stdout is for the JSON line alone), then the line."""
    from convai.bench.report import json_line

    def show(line: str) -> None:
        print(line, file=sys.stderr if json_only else sys.stdout, flush=True)

    ratios, raw = work(show)
    print(json_line(ratios, raw))
    return 0


ACTIONS = {"decode": run_decode, "concurrency": run_concurrency}
"""Action → what runs it."""
