"""`convai bench emotion`: its options and its table."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_action(actions: Actions) -> None:
    """The action emotion."""
    emotion = actions.add_parser(
        "emotion", help="the emotion network against torchMoji's own way", allow_abbrev=False
    )
    emotion.add_argument(
        "--seconds", type=float, default=20.0, metavar="X", help="time for each batch size (default: 20)"
    )
    emotion.add_argument(
        "--model", metavar="DIR", help="what answers one message (default: the embedded model)"
    )
    emotion.add_argument(
        "--processor-time",
        action="store_true",
        help="on one thread, in processor time: for a machine that has other work",
    )
    emotion.add_argument("--json", action="store_true", help="print the JSON line only")


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code."""
    import time

    from convai.bench.emotion import measure, one_message
    from convai.bench.report import json_line

    clock = time.perf_counter
    if args.processor_time:
        import torch

        torch.set_num_threads(1)
        clock = time.process_time
    raw: dict[str, Any] = measure(args.seconds, clock=clock)
    message = one_message(folder=args.model, clock=clock)
    if not args.json:
        print(f"{'texts':<6}{'loop, ms':>10}" + "".join(f"{p + ', ms':>14}" for p in raw["1"]["ms"]))
        for size, r in raw.items():
            shown = (f"{ms:>7.1f} {r['ratios'][p]:>5.1f}×" for p, ms in r["ms"].items())
            print(f"{size:<6}{r['loop_ms']:>10.1f}" + "".join(shown))
            errors = (f"{error:>14.1e}" for error in r["feature_error"].values())
            print(f"{'':<6}{'error':>10}" + "".join(errors))
        print(
            f"one message of {message['words']} words, {message['model']}: "
            f"{message['ms']:.2f} ms in int8, {message['float32_ms']:.2f} in float32"
        )
    ratios = {f"{size}/vs_loop": max(r["ratios"].values()) for size, r in raw.items()}
    for size, r in raw.items():
        ratios |= {f"{size}/vs_loop/{p}": value for p, value in r["ratios"].items()}
    print(json_line(ratios, {**raw, "one_message": message}))
    return 0
