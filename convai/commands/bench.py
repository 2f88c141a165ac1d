"""`convai bench`: measure against a baseline in the same run; a table, then one line of JSON."""

from __future__ import annotations

import argparse
from typing import Any

from convai.commands import (
    bench_cluster,
    bench_context,
    bench_coref,
    bench_emotion,
    bench_inference,
    bench_server,
)

HELP = "measure speed against baselines in the same run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions train, emotion, coref, server and cluster, and those of the engine."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train = actions.add_parser("train", help="training against the blog post's layout", allow_abbrev=False)
    train.add_argument(
        "--size",
        choices=("S", "M", "smol"),
        nargs="+",
        default=["S"],
        help="model sizes (default: S); smol: against a plain transformers loop",
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
    bench_cluster.add_action(actions)
    bench_context.add_action(actions)


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    if args.action in bench_inference.ACTIONS:
        return bench_inference.ACTIONS[args.action](args)
    if args.action == "emotion":
        return bench_emotion.run(args)
    if args.action == "coref":
        return bench_coref.run(args)
    if args.action == "context":
        return bench_context.run(args)
    if args.action == "cluster":
        return bench_cluster.run(args)
    if args.action == "server":
        return bench_server.run(args)
    from convai.bench.report import json_line
    from convai.bench.sizes import SIZES
    from convai.bench.train import measure
    from convai.bench.train_pretrained import measure as measure_pretrained

    raw: dict[str, dict[str, Any]] = {}
    ratios: dict[str, float] = {}
    for size in args.size:
        if size == "smol":
            raw[size] = measure_pretrained(SIZES[size])
            ratios |= {f"smol/{name}/vs_transformers": r for name, r in raw[size]["ratios"].items()}
        else:
            raw[size] = measure(size, seconds=args.seconds, batch_tokens=args.batch_tokens)
            ratios[f"{size}/vs_blog_layout"] = raw[size]["ratio"]
    if not args.json:
        for size, r in raw.items():
            _print_table(size, r)
    print(json_line(ratios, raw))
    return 0


def _print_table(size: str, r: dict[str, Any]) -> None:
    if size == "smol":
        print(
            f"{size}: reply tokens a second, and dialogues a second over those of a plain transformers loop"
        )
        for name, rate in r["targets_per_s"].items():
            print(f"{name:<14}{rate:>10.1f}{r['ratios'].get(name, 1.0):>8.2f}")
        return
    print(f"{'size':<6}{'blog layout':>14}{'ours':>12}{'ratio':>8}{'MFU':>7}  (reply tokens a second)")
    print(
        f"{size:<6}{r['blog_targets_per_s']:>14.0f}{r['tree_targets_per_s']:>12.0f}"
        f"{r['ratio']:>8.1f}{r['mfu']:>7.1%}  same losses to {r['loss_difference']:.0e}"
    )
