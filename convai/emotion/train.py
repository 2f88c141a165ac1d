"""`convai emotion train`: one network from nothing on several label sets at once, resumable between epochs.

OUT holds run.json (settings, data), log.jsonl (a line an epoch), training.pt (weights, mean, optimizer, the
best so far), and from the first good epoch on the model itself, which every better epoch replaces.
An epoch's batches depend on its number alone, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from convai.core.errors import SettingsError
from convai.core.settings_values import laid_over
from convai.emotion.batches import Batch, Task, epoch, with_unknown
from convai.emotion.checkpoint import save_emotion_model
from convai.emotion.config import EmotionConfig
from convai.emotion.fitting import (
    RunningMean,
    falling,
    judged,
    optimizer,
    replace_heads,
    score,
    snapshot,
    train_epoch,
    with_thresholds,
)
from convai.emotion.labelled import TRAIN, VALID, LabelSet
from convai.emotion.logit_adjustment import adjust, best_strength
from convai.emotion.model import EmotionModel
from convai.emotion.readers import read_labelled
from convai.emotion.settings import LAYERS, TrainSettings
from convai.emotion.tables import with_validation
from convai.emotion.vectors import begin_with
from convai.emotion.vocabulary import Vocabulary
from convai.model.run_folder import RunFolder
from convai.text.word_vectors import read_vectors

Report = Callable[[dict[str, Any]], None]


def new_run(
    paths: Sequence[Path],
    weights: Sequence[float],
    settings: TrainSettings,
    out: Path,
    *,
    rows: int = 0,
    report: Report = lambda record: None,
) -> None:
    """Start a run in `out` on the data sets at `paths`, drawn in proportion to `weights`; and finish it.

    `rows` limits the training texts of each set, for a trial (0: all). Raises DataError, SettingsError,
    TrainingError; TrainingError also when `out` holds a run already.
    """
    folder = RunFolder(out)
    folder.check_unused()
    if len(weights) != len(paths):
        raise SettingsError(f"--weights: {len(weights)} numbers for {len(paths)} data sets; give one each")
    if any(weight <= 0 for weight in weights):
        raise SettingsError("--weights: use numbers above 0")
    if settings.vectors:
        read_vectors(Path(settings.vectors))  # before anything is written
        settings = dataclasses.replace(settings, vectors=str(Path(settings.vectors).resolve()))
    data = _read(paths, rows, settings)
    folder.start(
        {
            "settings": dataclasses.asdict(settings),
            "data": [str(path.resolve()) for path in paths],
            "weights": list(weights),
            "rows": rows,
        },
    )
    _Run(folder, data, list(weights), settings, report).go()


def resume_run(out: Path, *, epochs: int | None = None, report: Report = lambda record: None) -> None:
    """Go on with the run in `out`; with `epochs` it ends sooner or later than was said, and remembers it.

    Raises CheckpointError when there is no run, or it is damaged.
    """
    folder = RunFolder(out)
    described = folder.description()
    settings = laid_over(TrainSettings(), described["settings"])
    if epochs is not None:
        settings = dataclasses.replace(settings, epochs=epochs)
        described["settings"]["epochs"] = epochs
        folder.describe(described)
    paths = [Path(path) for path in described["data"]]
    _Run(folder, _read(paths, described["rows"], settings), described["weights"], settings, report).go()


def _read(paths: Sequence[Path], rows: int, settings: TrainSettings) -> list[LabelSet]:
    """The sets, with a held-out part of their training texts as `valid`; their own valid split is unseen."""
    if not paths:
        raise SettingsError("DATA is missing: name the label sets to learn")
    found = []
    for path in paths:
        data = read_labelled(path)
        train = data.split(TRAIN)
        if rows:
            train = train.taken(range(min(rows, len(train))))
        data.splits = {TRAIN: train}
        data.check()
        found.append(with_validation(data, settings.held_out, settings.seed))
    names = [data.name for data in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two of the data sets are called {name}; give each once")
    return found


class _Run:
    """A run in its folder, from the epoch that its state says."""

    def __init__(
        self,
        folder: RunFolder,
        data: list[LabelSet],
        weights: list[float],
        settings: TrainSettings,
        report: Report,
    ) -> None:
        self.folder, self.settings, self.report = folder, settings, report
        self.vocabulary = Vocabulary.build(
            (text for labelled in data for text in labelled.splits[TRAIN].texts),
            size=settings.vocab_size,
            min_count=settings.min_count,
            split_hashtags=settings.split_hashtags,
        )
        torch.manual_seed(settings.seed)
        self.model = EmotionModel(
            EmotionConfig(
                vocab_size=len(self.vocabulary),
                embedding_size=settings.embedding_size,
                hidden_size=settings.hidden_size,
                gates=settings.gates,
                embed_dropout=settings.embed_dropout,
                final_dropout=settings.final_dropout,
                max_words=settings.max_words,
                split_hashtags=settings.split_hashtags,
                heads=tuple(labelled.head() for labelled in data),
            )
        )
        if settings.vectors:
            begin_with(self.model.embed, self.vocabulary, Path(settings.vectors), settings.vector_scale)
        self.counts = {one.name: one.splits[TRAIN].counts(len(one.labels)) for one in data}
        self.train, self.valid = (
            [
                Task.encode(
                    labelled.head(), labelled.splits[split], self.vocabulary, settings.max_words, weight
                )
                for labelled, weight in zip(data, weights, strict=True)
            ]
            for split in (TRAIN, VALID)
        )
        self.rates = dict.fromkeys(LAYERS, settings.lr)
        self.optim = optimizer(self.model, self.rates, settings.embed_l2)
        self.mean = RunningMean(self.model, settings.average)
        self.shown = EmotionModel(self.model.config)  # what is measured and saved
        self.done, self.best, self.waited = 0, -1.0, 0

    def go(self) -> None:
        """Train until the epochs are over, or none was better for a while."""
        self.folder.restore(self._load)
        while self.done < self.settings.epochs and not self._enough():
            start = time.monotonic()
            torch.manual_seed(self.settings.seed * 1_000_003 + self.done)
            loss = self._epoch()
            record = {"epoch": self.done + 1, "loss": loss, **self._validate()}
            record["seconds"] = round(time.monotonic() - start, 1)
            self.done += 1
            self._keep(float(record["score"]))
            self.folder.log(record)
            self.report(record)

    def _enough(self) -> bool:
        return bool(self.settings.patience) and self.waited >= self.settings.patience

    def _epoch(self) -> float:
        s = self.settings
        steps = -(-s.epoch_size // s.batch_size)
        batches = epoch(
            self.train,
            number=self.done,
            epoch_size=s.epoch_size,
            batch_size=s.batch_size,
            balanced=s.balanced,
            seed=s.seed,
        )

        def each_step(step: int) -> None:
            self.mean.follow(step)
            factor = falling(self.done * steps + step, s.epochs * steps, warmup=steps)
            for group in self.optim.param_groups:
                group["lr"] = factor * self.rates[group["name"]]

        shown = tqdm(batches, total=steps, desc=f"epoch {self.done + 1}", leave=False, dynamic_ncols=True)
        loss = train_epoch(self.model, self.optim, self._seen(shown), s.max_norm, each_step)
        self.mean.update()
        return loss

    def _seen(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches as the network is to see them."""
        for batch in batches:
            yield with_unknown(batch, self.settings.word_dropout) if self.settings.word_dropout else batch

    def _validate(self) -> dict[str, Any]:
        """Macro-F1 of every set's held-out texts, with thresholds and logit adjustment chosen there."""
        self.shown.load_state_dict(self.mean.weights)
        found = {}
        for task in self.valid:
            name = task.head.name
            _, chances = judged(self.shown, task)
            if self.settings.level and not task.head.multi:
                strength = best_strength(chances, task.targets, self.counts[name])
                adjust(self.shown, name, self.counts[name], strength)
                _, chances = judged(self.shown, task)
            head = with_thresholds(task.head, chances, task.targets)
            replace_heads(self.shown, [head])
            found[name] = round(float(str(score(head, chances, task.targets)["macro_f1"])), 4)
        return {"macro_f1": found, "score": sum(found.values()) / len(found)}

    def _keep(self, reached: float) -> None:
        """Save the state, and the model if it is the best so far."""
        better = reached > self.best
        self.best, self.waited = (reached, 0) if better else (self.best, self.waited + 1)
        if better:
            save_emotion_model(self.shown, self.vocabulary, self.folder.path)
        state = {
            "epoch": self.done,
            "best": self.best,
            "waited": self.waited,
            "model": snapshot(self.model),
            "mean": {"steps": self.mean.steps, "weights": self.mean.weights},
            "optimizer": self.optim.state_dict(),
        }
        self.folder.save_state(state)

    def _load(self, state: dict[str, Any]) -> int:
        self.model.load_state_dict(state["model"])
        self.shown.load_state_dict(state["mean"]["weights"])  # complains of other shapes
        self.mean.weights, self.mean.steps = state["mean"]["weights"], state["mean"]["steps"]
        self.optim.load_state_dict(state["optimizer"])
        self.done, self.best, self.waited = state["epoch"], state["best"], state["waited"]
        return self.done
