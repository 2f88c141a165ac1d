"""`convai emotion teach`: an encoder tuned on label sets, or a linear model, as a network's teacher."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from convai.core.errors import SettingsError
from convai.core.settings_values import laid_over
from convai.emotion.batches import HeadTexts, check_weights, epoch
from convai.emotion.config import EmotionConfig
from convai.emotion.fitting import (
    batch_loss,
    falling,
    judged,
    replace_heads,
    score,
    train_epoch,
    with_thresholds,
)
from convai.emotion.labelled import TRAIN, VALID, LabelSet
from convai.emotion.model import Network
from convai.emotion.ngrams import DESCRIPTION as NGRAMS
from convai.emotion.ngrams import NgramTeacher
from convai.emotion.settings import NgramSettings, TeachSettings
from convai.emotion.tables import read_to_train
from convai.emotion.teacher import DESCRIPTION, EmotionTeacher
from convai.emotion.vocabulary import WordEncoder
from convai.model.products import quick_products
from convai.model.run_folder import RunFolder

Report = Callable[[dict[str, Any]], None]

_RISE: Final = 0.1


def teach(
    base: Path,
    paths: Sequence[Path],
    weights: Sequence[float],
    settings: TeachSettings,
    out: Path,
    *,
    rows: int = 0,
    report: Report = lambda record: None,
) -> EmotionTeacher:
    """Tune the encoder in `base` on the training texts at `paths`, drawn in proportion to `weights`.

    A part of the training texts is measured after every part of the run, and chooses thresholds. The teacher
    is saved in `out` after every part, with what going on needs, and returned. `rows` limits the training
    texts of each set, for a trial (0: all). Raises CheckpointError, DataError, SettingsError, TrainingError.
    """
    check_weights(weights, len(paths))
    check_unused(out)
    folder = RunFolder(out)
    data = read_to_train(paths, rows, settings.held_out, settings.seed)
    tuning = _Tuning.begun(base, data, weights, settings)
    folder.start(
        {
            "settings": dataclasses.asdict(settings),
            "data": [str(path.resolve()) for path in paths],
            "weights": list(weights),
            "rows": rows,
            "base": str(base.resolve()),
        }
    )
    return tuning.go(folder, report)


def resume_teaching(out: Path, *, report: Report = lambda record: None) -> EmotionTeacher:
    """Go on with the run of `teach` in `out`, as if it had not been stopped.

    Raises CheckpointError when there is none, or it is damaged.
    """
    folder = RunFolder(out)
    run = folder.description()
    settings = laid_over(TeachSettings(), run["settings"])
    paths = [Path(path) for path in run["data"]]
    data = read_to_train(paths, run["rows"], settings.held_out, settings.seed)
    return _Tuning.begun(Path(run["base"]), data, run["weights"], settings).go(folder, report)


class _Tuning:
    """An encoder that is tuned, from the part of the run that its folder's state says."""

    def __init__(
        self,
        teacher: EmotionTeacher,
        train: list[HeadTexts],
        valid: list[HeadTexts],
        settings: TeachSettings,
    ) -> None:
        self.teacher, self.train, self.valid, self.settings = teacher, train, valid, settings
        self.optim = _optimizer(teacher, settings)
        self.done = 0

    @classmethod
    def begun(
        cls, base: Path, data: Sequence[LabelSet], weights: Sequence[float], settings: TeachSettings
    ) -> _Tuning:
        """Before its first step. `data` has a validation split each, see `with_validation`."""
        torch.manual_seed(settings.seed)
        config = EmotionConfig(
            max_words=settings.max_words,
            final_dropout=settings.final_dropout,
            heads=tuple(labelled.head() for labelled in data),
        )
        teacher = EmotionTeacher.begun(base, config)
        teacher.freeze(settings.freeze)
        for one in data:
            texts = one.splits[TRAIN]
            teacher.begin(one.name, texts.counts(len(one.labels)), len(texts))
        return cls(teacher, *tasks(teacher.pieces, data, weights, teacher.config.max_words), settings)

    def go(self, folder: RunFolder, report: Report) -> EmotionTeacher:
        """Tune until all parts are done."""
        folder.restore(self._load)
        while self.done < self.settings.epochs:
            start = time.monotonic()
            torch.manual_seed(self.settings.seed * 1_000_003 + self.done)
            with quick_products():
                loss = _part(self.teacher, self.optim, self.train, self.done, self.settings)
                found = measured(self.teacher, self.valid)
            self.done += 1
            self.teacher.save(folder.path)
            folder.save_state(self._state())
            seconds = round(time.monotonic() - start, 1)
            record = {"epoch": self.done, "loss": loss, "macro_f1": found, "seconds": seconds}
            folder.log(record)
            report(record)
        return self.teacher

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.done,
            "model": self.teacher.state_dict(),
            "optimizer": self.optim.state_dict(),
        }

    def _load(self, state: dict[str, Any]) -> int:
        self.teacher.load_state_dict(state["model"])
        self.optim.load_state_dict(state["optimizer"])
        self.done = state["epoch"]
        return self.done


def teach_ngrams(
    data: Sequence[LabelSet],
    weights: Sequence[float],
    settings: NgramSettings,
    out: Path,
    *,
    report: Report = lambda record: None,
) -> NgramTeacher:
    """Train a linear model of n-grams on the training texts of `data`; otherwise as `teach`."""
    check_weights(weights, len(data))
    check_unused(out)
    heads = tuple(labelled.head() for labelled in data)
    teacher = NgramTeacher(
        EmotionConfig(vocab_size=settings.buckets, max_words=settings.max_words, heads=heads)
    )
    train, valid = tasks(teacher.pieces, data, weights, settings.max_words)
    teacher.count(train)
    optimizers = teacher.optimizers(settings.lr)

    def learn(number: int) -> float:
        # said either way, or torch warns that it was not
        with torch.sparse.check_sparse_tensor_invariants(False):
            return _linear_part(teacher, optimizers, train, number, settings)

    _epochs(teacher, settings.epochs, learn, valid, out, report)
    return teacher


def _epochs(
    teacher: EmotionTeacher | NgramTeacher,
    epochs: int,
    learn: Callable[[int], float],
    valid: list[HeadTexts],
    out: Path,
    report: Report,
) -> None:
    """After each epoch, which `learn` makes and gives the mean loss of, measure, save and report."""
    for number in range(epochs):
        start = time.monotonic()
        loss = learn(number)
        found = measured(teacher, valid)
        teacher.save(out)
        seconds = round(time.monotonic() - start, 1)
        report({"epoch": number + 1, "loss": loss, "macro_f1": found, "seconds": seconds})


def _linear_part(
    teacher: NgramTeacher,
    optimizers: Sequence[torch.optim.Optimizer],
    train: list[HeadTexts],
    number: int,
    settings: NgramSettings,
) -> float:
    """One epoch; returns the mean loss. Gradients are sparse, which clipping cannot do."""
    s = settings
    total = texts = 0.0
    for batch in epoch(
        train, number=number, epoch_size=s.epoch_size, batch_size=s.batch_size, balanced=False, seed=s.seed
    ):
        loss = batch_loss(teacher, batch)
        for optim in optimizers:
            optim.zero_grad()
        loss.backward()
        for optim in optimizers:
            optim.step()
        total += float(loss.detach()) * len(batch.ids)
        texts += len(batch.ids)
    return total / max(1.0, texts)


def check_unused(out: Path) -> None:
    """Raise SettingsError where a folder has a teacher."""
    if (out / DESCRIPTION).exists() or (out / NGRAMS).exists():
        raise SettingsError(f"{out}: holds a teacher already; use another --out")


def tasks(
    words: WordEncoder, data: Sequence[LabelSet], weights: Sequence[float], max_words: int
) -> tuple[list[HeadTexts], list[HeadTexts]]:
    """The training texts of every set, and those that are measured."""
    train, valid = (
        [
            HeadTexts.encode(one.head(), one.splits[split], words, max_words, weight)
            for one, weight in zip(data, weights, strict=True)
        ]
        for split in (TRAIN, VALID)
    )
    return train, valid


def _optimizer(teacher: EmotionTeacher, settings: TeachSettings) -> torch.optim.AdamW:
    learning = [p for p in teacher.encoder.parameters() if p.requires_grad]
    groups = [
        {"params": learning, "lr": settings.lr, "peak": settings.lr},
        {"params": list(teacher.heads.parameters()), "lr": settings.head_lr, "peak": settings.head_lr},
    ]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def _part(
    teacher: EmotionTeacher,
    optim: torch.optim.Optimizer,
    train: list[HeadTexts],
    number: int,
    settings: TeachSettings,
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


def measured(teacher: Network, valid: list[HeadTexts]) -> dict[str, float]:
    """Macro-F1 of every set's held-out texts, with thresholds chosen there and kept."""
    found = {}
    for task in valid:
        _, chances = judged(teacher, task)
        head = with_thresholds(task.head, chances, task.targets)
        replace_heads(teacher, [head])
        found[task.head.name] = round(float(str(score(head, chances, task.targets)["macro_f1"])), 4)
    return found
