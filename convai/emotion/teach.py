"""`convai emotion teach`: a pretrained encoder tuned on label sets, as the teacher of a smaller network."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from convai.core.errors import SettingsError
from convai.emotion.batches import Task, check_weights, epoch
from convai.emotion.config import EmotionConfig
from convai.emotion.fitting import falling, judged, replace_heads, score, train_epoch, with_thresholds
from convai.emotion.labelled import TRAIN, VALID, LabelSet
from convai.emotion.settings import TeachSettings
from convai.emotion.teacher import DESCRIPTION, Teacher

Report = Callable[[dict[str, Any]], None]

_RISE: Final = 0.1


def teach(
    base: Path,
    data: Sequence[LabelSet],
    weights: Sequence[float],
    settings: TeachSettings,
    out: Path,
    *,
    report: Report = lambda record: None,
) -> Teacher:
    """Tune the encoder in `base` on the training texts of `data`, drawn in proportion to `weights`.

    `data` has a validation split each, see `with_validation`: it is measured after every part of the run,
    and chooses thresholds. The teacher is saved in `out` after every part, and returned. Raises
    CheckpointError, SettingsError, TrainingError.
    """
    check_weights(weights, len(data))
    if (out / DESCRIPTION).exists():
        raise SettingsError(f"{out}: holds a teacher already; use another --out")
    torch.manual_seed(settings.seed)
    config = EmotionConfig(
        max_words=settings.max_words,
        final_dropout=settings.final_dropout,
        heads=tuple(labelled.head() for labelled in data),
    )
    teacher = Teacher.begun(base, config)
    teacher.freeze(settings.freeze)
    for one in data:
        texts = one.splits[TRAIN]
        teacher.begin(one.name, texts.counts(len(one.labels)), len(texts))
    train, valid = (
        [
            Task.encode(one.head(), one.splits[split], teacher.pieces, teacher.config.max_words, weight)
            for one, weight in zip(data, weights, strict=True)
        ]
        for split in (TRAIN, VALID)
    )
    optim = _optimizer(teacher, settings)
    for number in range(settings.epochs):
        start = time.monotonic()
        loss = _part(teacher, optim, train, number, settings)
        found = _measured(teacher, valid)
        teacher.save(out)
        seconds = round(time.monotonic() - start, 1)
        report({"epoch": number + 1, "loss": loss, "macro_f1": found, "seconds": seconds})
    return teacher


def _optimizer(teacher: Teacher, settings: TeachSettings) -> torch.optim.AdamW:
    learning = [p for p in teacher.encoder.parameters() if p.requires_grad]
    groups = [
        {"params": learning, "lr": settings.lr, "peak": settings.lr},
        {"params": list(teacher.heads.parameters()), "lr": settings.head_lr, "peak": settings.head_lr},
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)


def _part(
    teacher: Teacher, optim: torch.optim.Optimizer, train: list[Task], number: int, settings: TeachSettings
) -> float:
    s = settings
    steps = -(-s.epoch_size // s.batch_size)
    batches = epoch(
        train, number=number, epoch_size=s.epoch_size, batch_size=s.batch_size, balanced=False, seed=s.seed
    )

    def each_step(step: int) -> None:
        total = s.epochs * steps
        factor = falling(number * steps + step, total, warmup=round(_RISE * total))
        for group in optim.param_groups:
            group["lr"] = factor * group["peak"]

    shown = tqdm(batches, total=steps, desc=f"part {number + 1}", leave=False, dynamic_ncols=True)
    return train_epoch(teacher, optim, shown, s.max_norm, each_step)


def _measured(teacher: Teacher, valid: list[Task]) -> dict[str, float]:
    """Macro-F1 of every set's held-out texts, with thresholds chosen there and kept."""
    found = {}
    for task in valid:
        _, chances = judged(teacher, task)
        head = with_thresholds(task.head, chances, task.targets)
        replace_heads(teacher, [head])
        found[task.head.name] = round(float(str(score(head, chances, task.targets)["macro_f1"])), 4)
    return found
