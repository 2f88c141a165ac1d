"""The action of `convai bench` that measures a token's way from an engine elsewhere: cluster."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_action(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare it."""
    parser = actions.add_parser(
        "cluster", help="a token over the socket of an engine elsewhere", allow_abbrev=False
    )
    parser.add_argument(
        "--chats", type=int, default=100, metavar="N", help="streams at once (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    from convai.bench.cluster import measure
    from convai.bench.report import json_line
    from convai.core.errors import SettingsError

    if not 1 <= args.chats <= 1000:
        raise SettingsError(f"--chats={args.chats}: use 1 to 1000")
    found: dict[str, Any] = measure(args.chats)
    here, there = sorted(found["here_us"])[1], sorted(found["socket_us"])[1]
    print(
        f"{args.chats} streams: a token takes {here:.1f} µs of processor time in one process, {there:.1f} µs "
        "over a socket, both ends counted",
        file=sys.stderr if args.json else sys.stdout,
    )
    print(json_line({"socket_vs_in_process": 1 / found["price"]}, {"cluster": found}))
    return 0
