"""The action of `convai bench` for doors and engines apart: what a token costs, what a death loses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_action(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare it."""
    parser = actions.add_parser(
        "cluster", help="doors and engines apart: price, delay, and what is lost", allow_abbrev=False
    )
    parser.add_argument(
        "--chats", type=int, default=100, metavar="N", help="streams over one socket (default: %(default)s)"
    )
    parser.add_argument(
        "--kills",
        type=int,
        metavar="N",
        help="instead: N times kill a door, an engine or PostgreSQL while people chat; what is lost?",
    )
    parser.add_argument(
        "--ray",
        action="store_true",
        help="with --kills: engines are replicas on Ray; its head, and all of it, are killed too",
    )
    parser.add_argument(
        "--sockets",
        type=int,
        metavar="N",
        help="instead: N readers of replies at the doors, the delay of their tokens and the price",
    )
    parser.add_argument("--doors", type=int, default=3, metavar="N", help="doors (default: %(default)s)")
    parser.add_argument(
        "--engines", type=int, default=4, metavar="N", help="engines, stubs (default: %(default)s)"
    )
    parser.add_argument(
        "--people", type=int, default=20, metavar="N", help="people with --kills (default: %(default)s)"
    )
    parser.add_argument(
        "--interval",
        type=float,
        metavar="X",
        help="seconds between two tokens of a reply (default: 0.05 with --kills, 0.5 with --sockets)",
    )
    parser.add_argument(
        "--seconds", type=float, default=30.0, metavar="X", help="window of --sockets (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of who is killed (default: %(default)s)"
    )
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="with --kills: keep what doors and engines say there"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code: 1 where something was lost."""
    from convai.core.errors import SettingsError

    for name, most in (
        ("chats", 1000),
        ("kills", 100_000),
        ("sockets", 50_000),
        ("doors", 64),
        ("engines", 64),
        ("people", 1000),
    ):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            raise SettingsError(f"--{name}={value}: use 1 to {most}")
    if args.kills is not None and args.sockets is not None:
        raise SettingsError("--kills and --sockets are two measurements; take one after the other")
    if args.kills is not None and min(args.doors, args.engines) < 2:
        raise SettingsError("--kills: one of a kind must be left; use 2 or more doors and engines")
    if args.ray:
        if args.kills is None:
            raise SettingsError("--ray belongs to --kills N; add it")
        from convai.server.on_ray import ray_serve

        ray_serve()
    if args.kills is not None:
        return _kills(args)
    if args.sockets is not None:
        return _sockets(args)
    return _way(args)


def _say(args: argparse.Namespace, *lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr if args.json else sys.stdout)


def _way(args: argparse.Namespace) -> int:
    from convai.bench.cluster.way import measure
    from convai.bench.report import json_line

    found: dict[str, Any] = measure(args.chats)
    here, there = sorted(found["here_us"])[1], sorted(found["socket_us"])[1]
    _say(
        args,
        f"{args.chats} streams: a token takes {here:.1f} µs of processor time in one process, {there:.1f} µs "
        "over a socket, both ends counted",
    )
    print(json_line({"socket_vs_in_process": 1 / found["price"]}, {"cluster": found}))
    return 0


def _kills(args: argparse.Namespace) -> int:
    from convai.bench.cluster.kills import Size, measure
    from convai.bench.report import json_line

    interval = args.interval or 0.05
    size = Size(doors=args.doors, engines=args.engines, people=args.people, interval=interval, ray=args.ray)
    found = measure(size, args.kills, args.seed, args.logs)
    killed = ", ".join(f"{what} {count}" for what, count in sorted(found["killed"].items()))
    wrong = ", ".join(f"{what}: {count}" for what, count in sorted(found["wrong"].items())) or "nothing"
    _say(
        args,
        f"{size.people} people, {size.doors} doors, {size.engines} engines; killed: {killed}",
        f"{found['turns']} messages acknowledged, {found['replies']} replies kept; "
        f"lost, twice or missing: {wrong}",
    )
    stay = {name: value for name, value in found["undisturbed"].items() if name == "stay"}
    for value in stay.values():
        _say(args, f"turns that found their conversation while nothing died: {value:.1%}")
    for what, away in found["away_s"].items():
        _say(
            args,
            f"more than a second without a word, after {what}: {away['count']} times, "
            f"median {away['median']:.1f} s, most {away['most']:.1f} s",
        )
    if took := sorted(found["restarts_s"]):
        middle, most = took[len(took) // 2], took[-1]
        _say(args, f"PostgreSQL itself was there again after {middle:.1f} s (median), {most:.1f} s at most")
    print(json_line(stay, {"kills": found}))
    return 1 if found["wrong"] else 0


def _sockets(args: argparse.Namespace) -> int:
    from convai.bench.cluster.kills import Size
    from convai.bench.cluster.sockets import measure
    from convai.bench.report import json_line

    size = Size(doors=args.doors, engines=args.engines, interval=args.interval or 0.5)
    found = measure(args.sockets, size, args.seconds)
    for name in ("cluster", "one_door"):
        one = found[name]
        _say(
            args,
            f"{name}: {one['sockets']} sockets, {one['tokens'] / one['seconds']:.0f} tokens/s, "
            f"{one['us_per_token']:.0f} µs of processor time a token, delay median "
            f"{one['delay_ms']['median']:.1f} ms, p99 {one['delay_ms']['p99']:.1f} ms, "
            f"most {one['delay_ms']['most']:.0f} ms, errors {one['errors'] or 'none'}",
        )
    print(json_line({"price": found["price"]}, {"sockets": found}))
    return 0
