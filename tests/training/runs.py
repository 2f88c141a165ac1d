"""What tests of whole trainings share: a corpus, a small shape, a run that is killed and goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.train import new_run, resume_run
from convai.training.batches import Batch
from convai.training.loop import Trainer
from convai.training.prepare import Files
from convai.training.start import Start

SHAPE: Final = {
    "model_type": "gpt2",
    "vocab_size": 300,
    "n_positions": 128,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.0,
}
"""A config.json with dropout, whose course a resumed run has to find again."""


def write_corpus(path: Path, count: int = 12, longer: dict[int, int] | None = None) -> Path:
    """`count` dialogues of four turns; in those of `longer` (by number) the user goes on for so many."""
    lines = []
    for n in range(count):
        turns = [
            {"speaker": 0, "text": f"do you like the number {n}?"},
            {"speaker": 1, "text": f"i like {n} better than {n + 1}."},
            {"speaker": 0, "text": "why is that?"},
            {"speaker": 1, "text": f"because i have {n} boats at home."},
        ]
        turns += [
            {"speaker": 0, "text": f"and another thing, number {i}"} for i in range((longer or {}).get(n, 0))
        ]
        lines.append(json.dumps({"personas": [[], [f"i own {n} boats."]], "turns": turns}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class Given:
    """A step source that repeats the batches it was given."""

    def __init__(self, steps: list[list[Batch]]) -> None:
        self.given = steps
        self.steps_per_epoch = len(steps)

    def steps(self, start: int = 0, *, rank: int = 0, world: int = 1) -> Iterator[list[Batch]]:
        yield from self.given[start:]


def weights(model: DoubleHeadsModel) -> torch.Tensor:
    """All of them, one after another."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def whole_and_resumed(
    corpus: Path | Files, start: Start, config: TrainConfig, folder: Path, *, killed_at: int
) -> tuple[Path, Path]:
    """Two runs of the same: one undisturbed, one that died in step `killed_at` and was resumed."""
    whole, broken = folder / "whole", folder / "broken"
    files = corpus if isinstance(corpus, Files) else Files((corpus,))
    new_run(files, start, config, whole)

    class Killed(BaseException):
        pass

    original = Trainer.step

    def dying(self: Trainer, engine: Any, batches: list[Batch]) -> dict[str, float]:
        if self.progress.step == killed_at:
            raise Killed
        return original(self, engine, batches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", dying)
        with pytest.raises(Killed):
            new_run(files, start, config, broken)
    torch.manual_seed(12345)  # whatever happened in between
    resume_run(broken)
    return whole, broken
