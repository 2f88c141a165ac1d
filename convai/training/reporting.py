"""A training's course for people: the progress bar, TensorBoard, the picture of the curves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from convai.core.files import atomic_write
from convai.training.processes import is_first


def note(text: str) -> None:
    """A line on stderr about what a training decided by itself, of the first process alone."""
    if is_first():
        sys.stderr.write(f"convai: {text}\n")


class Reporter:
    """Shows every logged record: a bar with speed and time left, a line a validation, TensorBoard."""

    def __init__(self, folder: Path, total: int, start: int = 0, stream: TextIO | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._stream = stream or sys.stderr
        self._bar = tqdm(total=total, initial=start, unit="step", file=self._stream, dynamic_ncols=True)
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, record: dict[str, Any]) -> None:
        step = record["step"]
        for name, value in record.items():
            if name not in ("step", "of") and isinstance(value, int | float):
                group = "valid" if name.startswith("valid_") else "train"
                self._board.add_scalar(f"{group}/{name.removeprefix('valid_')}", value, step)
        if "lm_loss" in record:
            shown = {"lm": f"{record['lm_loss']:.3f}", "targets/s": f"{record['targets_per_s']:.0f}"}
            if record["mc_loss"]:
                shown["mc"] = f"{record['mc_loss']:.3f}"
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(step - self._bar.n)
        else:
            scores = ", ".join(
                f"{k.removeprefix('valid_')} {v:.4g}" for k, v in record.items() if k != "step"
            )
            self._bar.write(f"step {step}: {scores}", file=self._stream)

    def close(self) -> None:
        self._bar.close()
        self._board.close()


def draw_curves(records: list[dict[str, Any]], path: Path) -> None:
    """Losses and validation scores over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    train = [r for r in records if "lm_loss" in r]
    valid = [r for r in records if "valid_loss" in r]
    steps = [r["step"] for r in train]
    losses.plot(steps, [r["lm_loss"] for r in train], lw=0.8, label="language model, training")
    if any(r["mc_loss"] for r in train):
        losses.plot(steps, [r["mc_loss"] for r in train], lw=0.8, label="next sentence, training")
    if valid:
        marks = [r["step"] for r in valid]
        losses.plot(
            marks, [r["valid_lm_loss"] for r in valid], "o-", ms=3, label="language model, validation"
        )
        if any("valid_hits@1" in r for r in valid):
            scores.plot(
                marks, [r.get("valid_hits@1", float("nan")) for r in valid], "o-", ms=3, color="tab:green"
            )
            scores.set_ylabel("hits@1 among 20", color="tab:green")
            scores.set_ylim(0, 1)
        perplexity = scores.twinx()
        perplexity.plot(marks, [r["valid_ppl"] for r in valid], "s-", ms=3, color="tab:red")
        perplexity.set_ylabel("perplexity a token", color="tab:red")
        perplexity.set_yscale("log")
        for formatter in (perplexity.yaxis.set_major_formatter, perplexity.yaxis.set_minor_formatter):
            formatter("{x:.3g}")  # plain numbers, not powers of ten
    losses.set_ylabel("nats")
    losses.legend()
    for axis in (losses, scores):
        axis.set_xlabel("steps")
        axis.grid(alpha=0.3)
    atomic_write(path, lambda part: figure.savefig(part, dpi=110, format="png"))
