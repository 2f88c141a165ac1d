"""The action of `convai bench` that measures the chat server: server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

from convai.commands.options import APART, HERE, where_to_compute

PARTS: Final = ("transport", "people")


def add_action(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare it."""
    parser = actions.add_parser(
        "server", help="the chat server: many chats, people and a model", allow_abbrev=False
    )
    parser.add_argument(
        "--parts", choices=PARTS, nargs="+", default=list(PARTS), help="what to measure (default: all)"
    )
    parser.add_argument(
        "--chats", type=int, default=1000, metavar="N", help="chats on the stub engine (default: 1000)"
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=0.5,
        metavar="X",
        help="seconds between two of a chat's tokens there (default: 0.5)",
    )
    parser.add_argument(
        "--people", type=int, default=32, metavar="N", help="people on the model (default: 32)"
    )
    parser.add_argument("--model", metavar="DIR|NAME", help="that model (default: the embedded one)")
    parser.add_argument(
        "--precision", default="auto", metavar="NAME", help="of that model's weights (default: auto)"
    )
    parser.add_argument(
        "--engine",
        choices=(HERE, APART),
        help="what computes for the people: the server's process, or one of its own (default: as for `convai "
        "serve`)",
    )
    parser.add_argument(
        "--seconds", type=float, default=15.0, metavar="X", help="how long each is watched (default: 15)"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    from convai.bench.report import json_line
    from convai.core.errors import SettingsError

    for name in ("chats", "people", "seconds", "interval"):
        if getattr(args, name) <= 0:
            raise SettingsError(f"--{name}={getattr(args, name)}: use a number above 0")

    def show(line: str) -> None:
        print(line, file=sys.stderr if args.json else sys.stdout, flush=True)

    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {}
    for part in PARTS:
        if part in args.parts:
            raw[part] = _MEASURE[part](args, show)
            ratios |= _RATIOS[part](raw[part])
    print(json_line(ratios, raw))
    return 0


def _transport(args: argparse.Namespace, show: Callable[[str], None]) -> dict[str, Any]:
    from convai.bench.server.transport import measure

    found = measure(args.chats, args.seconds, args.interval)
    delay = found["delay_ms"]
    show(
        f"{found['chats']:,} chats, {found['tokens_per_s']:,.0f} tokens a second: the transport adds "
        f"{delay['median']:.1f} ms to a token (p99 {delay['p99']:.1f}), a connection costs "
        f"{found['kb_per_connection']:.1f} KB; errors: {found['errors'] or 'none'}"
    )
    return found


def _people(args: argparse.Namespace, show: Callable[[str], None]) -> dict[str, Any]:
    from convai.bench.server.people import measure

    found = measure(
        args.people, args.seconds, args.model, args.precision, (args.engine or where_to_compute()) == APART
    )
    first = found["first_token_ms"]
    show(
        f"{found['people']} people: {sum(found['served_tokens_per_s']) / 2:,.0f} tokens a second, "
        f"{found['share']:.2f} of the engine's own; first token in {first['median']:.0f} ms "
        f"(the longest wait {first['most']:.0f}); errors: {found['errors'] or 'none'}"
    )
    return found


def _transport_ratios(found: dict[str, Any]) -> dict[str, float]:
    from convai.bench.server.transport import MOST_DELAY, MOST_KB

    return {
        "delay_within_50ms": 1000 * MOST_DELAY / found["delay_ms"]["p99"],
        "connection_within_60kb": MOST_KB / max(found["kb_per_connection"], 1.0),
    }


def _people_ratios(found: dict[str, Any]) -> dict[str, float]:
    from convai.bench.server.people import SHARE, WITHIN

    first = found["first_token_ms"]
    return {
        "wait_within_3x": WITHIN * first["median"] / first["most"],
        "served_vs_engine": found["share"] / SHARE,
    }


_MEASURE: Final[dict[str, Callable[[argparse.Namespace, Callable[[str], None]], dict[str, Any]]]] = {
    "transport": _transport,
    "people": _people,
}
_RATIOS: Final[dict[str, Callable[[dict[str, Any]], dict[str, float]]]] = {
    "transport": _transport_ratios,
    "people": _people_ratios,
}
