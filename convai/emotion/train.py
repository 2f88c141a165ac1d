"""`convai emotion train`: one network from nothing on several label sets at once, resumable between epochs.

OUT holds run.json (settings, data), log.jsonl (a line an epoch), training.pt (weights, mean, optimizer, the
best so far), and from the first good epoch on the model itself, which every better epoch replaces.
An epoch's batches depend on its number alone, so a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from convai.core.errors import SettingsError
from convai.core.settings_values import laid_over
from convai.emotion.batches import Batch, HeadTexts, check_weights, epoch, with_unknown
from convai.emotion.checkpoint import load_emotion_model, save_emotion_model
from convai.emotion.config import EmotionConfig, Head
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
from convai.emotion.labelled import TRAIN, VALID, LabelSet, Texts
from convai.emotion.lessons import Said, load_lessons, load_network, of_source, save_lessons, taught
from convai.emotion.logit_adjustment import adjust, best_strength
from convai.emotion.model import EmotionModel
from convai.emotion.settings import LAYERS, TrainSettings
from convai.emotion.tables import read_to_train
from convai.emotion.vectors import begin_with, texts_in
from convai.emotion.vocabulary import Vocabulary
from convai.model.run_folder import RunFolder
from convai.text.corpora.reading import Reading, Taken
from convai.text.word_vectors import read_vectors

Report = Callable[[dict[str, Any]], None]
Begin = tuple[EmotionModel, Vocabulary]


def new_run(
    paths: Sequence[Path],
    weights: Sequence[float],
    settings: TrainSettings,
    out: Path,
    *,
    rows: int = 0,
    start: str | None = None,
    teachers: Sequence[str] = (),
    texts: Sequence[str] = (),
    reading: Reading | None = None,
    took: Callable[[Taken], None] = lambda taken: None,
    report: Report = lambda record: None,
) -> None:
    """Start a run in `out` on the data sets at `paths`, drawn in proportion to `weights`; and finish it.

    `rows` limits the training texts of each set, for a trial (0: all). `start`: the emotion model to begin
    with, in place of fresh weights; its words and shape stay. `teachers`: emotion models or folders of
    `teach`, whose opinion of the training texts and of `texts` (sources as of `texts_in`, dialogues read as
    `reading` says, and what was taken of each told to `took`) is learnt as well.
    Raises DataError, SettingsError, CheckpointError, TrainingError; TrainingError also when `out` holds a
    run already.
    """
    folder = RunFolder(out)
    folder.check_unused()
    check_weights(weights, len(paths))
    if settings.vectors:
        read_vectors(Path(settings.vectors))  # before anything is written
        settings = dataclasses.replace(settings, vectors=str(Path(settings.vectors).resolve()))
    if texts and not teachers:
        raise SettingsError("--texts: texts without labels teach nothing by themselves; name a --teacher")
    data = read_to_train(paths, rows, settings.held_out, settings.seed)
    reading = reading or Reading()
    plain = _read_plain(texts, rows, reading, took)
    begin = _fresh(data, settings) if start is None else load_emotion_model(start)
    wise = {name: load_network(name) for name in teachers}
    folder.start(
        {
            "settings": dataclasses.asdict(settings),
            "data": [str(path.resolve()) for path in paths],
            "weights": list(weights),
            "rows": rows,
            "model": str(Path(start).resolve()) if start and Path(start).exists() else start,
            "teachers": list(teachers),
            "texts": [str(Path(source).resolve()) for source in texts],
            "reading": dataclasses.asdict(reading),
        },
    )
    said: Said = {}
    if wise:
        sources = {one.name: one.splits[TRAIN].texts for one in data} | plain
        said = taught(wise, [one.head() for one in data], sources)
        save_lessons(said, folder.path)
    _Run(folder, begin, _tasks(data, weights, begin, settings, plain, said), settings, report).go()


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
    data = read_to_train(paths, described["rows"], settings.held_out, settings.seed)
    reading = Reading(**described.get("reading", {}))
    plain = _read_plain(described.get("texts", ()), described["rows"], reading)
    start = described.get("model")
    begin = _fresh(data, settings) if start is None else load_emotion_model(start)
    said = load_lessons(folder.path) if described.get("teachers") else {}
    tasks = _tasks(data, described["weights"], begin, settings, plain, said)
    _Run(folder, begin, tasks, settings, report).go()


def _read_plain(
    sources: Sequence[str],
    rows: int,
    reading: Reading,
    took: Callable[[Taken], None] = lambda taken: None,
) -> dict[str, list[str]]:
    """The texts without labels of every source, by a name that no data set has."""
    return {
        f"texts {i}": list(itertools.islice(texts_in(source, reading, report=took), rows or None))
        for i, source in enumerate(sources)
    }


def _fresh(data: Sequence[LabelSet], settings: TrainSettings) -> Begin:
    """A network of fresh weights, and the words of the training texts."""
    vocabulary = Vocabulary.build(
        (text for labelled in data for text in labelled.splits[TRAIN].texts),
        size=settings.vocab_size,
        min_count=settings.min_count,
        split_hashtags=settings.split_hashtags,
    )
    torch.manual_seed(settings.seed)
    config = EmotionConfig(
        vocab_size=len(vocabulary),
        embedding_size=settings.embedding_size,
        hidden_size=settings.hidden_size,
        gates=settings.gates,
        max_words=settings.max_words,
        split_hashtags=settings.split_hashtags,
    )
    model = EmotionModel(config)
    if settings.vectors:
        begin_with(model.embed, vocabulary, Path(settings.vectors), settings.vector_scale)
    return model, vocabulary


@dataclasses.dataclass(frozen=True, slots=True)
class _Tasks:
    train: list[HeadTexts]
    valid: list[HeadTexts]


def _tasks(
    data: Sequence[LabelSet],
    weights: Sequence[float],
    begin: Begin,
    settings: TrainSettings,
    plain: Mapping[str, Sequence[str]],
    said: Said,
) -> _Tasks:
    """What to learn: the sets with what teachers said of them, then the texts without labels."""
    (model, vocabulary), heads = begin, [one.head() for one in data]

    def task(one: LabelSet, split: str, weight: float) -> HeadTexts:
        lessons = of_source(said.get(one.name, {}), heads) if split == TRAIN else ()
        return HeadTexts.encode(
            one.head(),
            one.splits[split],
            vocabulary,
            model.config.max_words,
            weight,
            lessons,
            settings.teacher_share,
        )

    pairs = list(zip(data, weights, strict=True))
    train = [task(one, TRAIN, weight) for one, weight in pairs]
    total = sum(map(len, plain.values()))
    for name, lines in plain.items():
        if lines:
            lessons = of_source(said[name], heads)
            weight = settings.texts_weight * len(lines) / total
            texts = Texts(list(lines), [()] * len(lines))
            head = lessons[0][0]
            train.append(
                HeadTexts.encode(head, texts, vocabulary, model.config.max_words, weight, lessons, 1.0)
            )
    return _Tasks(train, [task(one, VALID, 1.0) for one, _ in pairs])


def _initial(model: EmotionModel, heads: Sequence[Head], settings: TrainSettings) -> EmotionModel:
    """A network of the weights of `model` with `heads`: its own where it has them, fresh ones else."""
    own = {head.name: head.labels for head in model.config.heads}
    begun = EmotionModel(
        model.config.replace(
            embed_dropout=settings.embed_dropout,
            final_dropout=settings.final_dropout,
            heads=tuple(heads),
        )
    )
    known = {
        name: p
        for name, p in model.state_dict().items()
        if not name.startswith("heads.")
        or any(own[head.name] == head.labels for head in heads if head.name == name.split(".")[1])
    }
    begun.load_state_dict(begun.state_dict() | known)
    return begun


class _Run:
    """A run in its folder, from the epoch that its state says."""

    def __init__(
        self, folder: RunFolder, begin: Begin, tasks: _Tasks, settings: TrainSettings, report: Report
    ) -> None:
        self.folder, self.settings, self.report = folder, settings, report
        model, self.vocabulary = begin
        self.train, self.valid = tasks.train, tasks.valid
        heads = [task.head for task in self.valid]
        torch.manual_seed(settings.seed)
        self.model = _initial(model, heads, settings)
        labelled = zip(heads, self.train, strict=False)  # the texts without labels come last
        self.counts = {head.name: Texts([], task.targets).counts(len(head.labels)) for head, task in labelled}
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
