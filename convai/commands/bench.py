"""`convai bench`: measure against a baseline in the same run; a table, then one line of JSON."""

from __future__ import annotations

import argparse

from convai.commands import (
    bench_coref,
    bench_emotion,
    bench_inference,
    bench_server,
)

HELP = "measure speed against baselines in the same run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions train, emotion, coref and server, and those of the engine."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="training against the blog post's layout", allow_abbrev=False)
    train.add_argument(
        "--size", choices=("S", "M"), nargs="+", default=["S"], help="model sizes (default: S)"
    )
    train.add_argument(
        "--seconds", type=float, default=40.0, metavar="X", help="how long a size is measured (default: 40)"
    )
    train.add_argument(
        "--batch-tokens", type=int, default=8192, metavar="N", help="tokens of a step of ours (default: 8192)"
    )
    train.add_argument("--json", action="store_true", help="print the JSON line only")
    bench_inference.add_actions(actions)
    bench_emotion.add_action(actions)
    bench_coref.add_action(actions)
    bench_server.add_action(actions)


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    if args.action in bench_inference.ACTIONS:
        return bench_inference.ACTIONS[args.action](args)
    if args.action == "emotion":
        return bench_emotion.run(args)
    if args.action == "coref":
        return bench_coref.run(args)
    if args.action == "server":
        return bench_server.run(args)
    from convai.bench.report import json_line
    from convai.bench.train import measure

    raw = {s: measure(s, seconds=args.seconds, batch_tokens=args.batch_tokens) for s in args.size}
    if not args.json:
        print(f"{'size':<6}{'blog layout':>14}{'ours':>12}{'ratio':>8}{'MFU':>7}  (reply tokens a second)")
        for size, r in raw.items():
            print(
                f"{size:<6}{r['blog_targets_per_s']:>14.0f}{r['tree_targets_per_s']:>12.0f}"
                f"{r['ratio']:>8.1f}{r['mfu']:>7.1%}  same losses to {r['loss_difference']:.0e}"
            )
    print(json_line({f"{size}/vs_blog_layout": r["ratio"] for size, r in raw.items()}, raw))
    return 0
