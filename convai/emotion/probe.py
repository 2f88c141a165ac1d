"""`convai emotion probe`: an encoder that stays as it is, read once, with a small network a label set.

Where an encoder cannot be tuned for want of time, what its upper layers say of a text already tells emotions
apart (Peters et al. 2019, arXiv 1903.05987, "feature extraction"). Nothing of it learns, so a text is read
once however often it is learnt. What comes out is an `EmotionTeacher` like a tuned one. Shapes: N texts, F
features, L labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from tqdm import tqdm

from convai.emotion.batches import HeadTexts, in_order
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.fitting import falling, head_loss
from convai.emotion.labelled import LabelSet
from convai.emotion.settings import ProbeSettings
from convai.emotion.teach import check_unused, measured, tasks
from convai.emotion.teacher import EmotionTeacher
from convai.model.products import quick_products

Report = Callable[[dict[str, Any]], None]

_TOGETHER: Final = 64
_RISE: Final = 0.1


def probe(
    base: Path,
    data: Sequence[LabelSet],
    settings: ProbeSettings,
    out: Path,
    *,
    report: Report = lambda record: None,
) -> EmotionTeacher:
    """Learn a head for each set of `data` on what the encoder in `base` says, and save the teacher in `out`.

    `data` has a validation split each, see `with_validation`: it chooses thresholds, and is what `report`
    tells the macro-F1 of. Raises CheckpointError, SettingsError; OSError where `out` cannot be written.
    """
    check_unused(out)
    torch.manual_seed(settings.seed)
    config = EmotionConfig(
        max_words=settings.max_words,
        final_dropout=settings.final_dropout,
        heads=tuple(one.head() for one in data),
    )
    teacher = EmotionTeacher.begun(base, config, settings.layers, settings.hidden)
    train, valid = tasks(teacher.pieces, data, [1.0] * len(data), teacher.config.max_words)
    for task, held in zip(train, valid, strict=True):
        start = time.monotonic()
        loss = _learn(teacher, task, states(teacher, task), settings)
        with quick_products():
            found = measured(teacher, [held])
        seconds = round(time.monotonic() - start, 1)
        report({"epoch": settings.epochs, "loss": loss, "macro_f1": found, "seconds": seconds})
    teacher.save(out)
    return teacher


@torch.inference_mode()
def states(teacher: EmotionTeacher, task: HeadTexts) -> Tensor:
    """The features of a task's texts, `[N, F]` in half precision."""
    teacher.eval()
    found = torch.zeros(len(task), teacher.width, dtype=torch.float16)
    batches = tqdm(
        in_order(task, _TOGETHER),
        total=-(-len(task) // _TOGETHER),
        desc=task.head.name,
        leave=False,
        dynamic_ncols=True,
    )
    with quick_products():
        for rows, batch in batches:
            found[rows] = teacher(batch.ids.to(teacher.device), batch.lengths).features.cpu().half()
    return found


def _learn(teacher: EmotionTeacher, task: HeadTexts, found: Tensor, settings: ProbeSettings) -> float:
    """Train the head of `task` on the features `[N, F]` of its texts; returns the last epoch's mean loss.

    Features are learnt with a mean of 0 and a spread of 1; what that takes goes into the head's first layer.
    """
    head, module = task.head, teacher.heads[task.head.name]
    mean, spread = found.float().mean(0), found.float().std(0) + 1e-6
    optim = torch.optim.AdamW(module.parameters(), settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(task) // settings.batch_size)
    order = torch.Generator().manual_seed(settings.seed)
    step, total = 0, 0.0
    teacher.train()
    for _ in range(settings.epochs):
        total = 0.0
        for rows in torch.randperm(len(task), generator=order).split(settings.batch_size):
            factor = falling(step, steps, warmup=round(_RISE * steps))
            optim.param_groups[0]["lr"] = factor * settings.lr
            logits = teacher.logits((found[rows].float() - mean) / spread, head)
            loss = head_loss(head, logits, _targets(task, head, rows))
            optim.zero_grad(set_to_none=True)
            (loss / len(rows)).backward()
            optim.step()
            total += float(loss.detach())
            step += 1
    _take_in(module, mean, spread)
    teacher.eval()
    return total / max(1, len(task))


def _targets(task: HeadTexts, head: Head, rows: Tensor) -> Tensor:
    ((_, _, targets),) = task.parts(rows.tolist(), slice(0, len(rows)))
    return targets


@torch.no_grad()
def _take_in(module: nn.Module, mean: Tensor, spread: Tensor) -> None:
    """Let a head that knows features of mean 0 and spread 1 take them as they are."""
    first = next(part for part in module.modules() if isinstance(part, nn.Linear))
    first.weight.div_(spread)
    first.bias.sub_(first.weight @ mean)
