"""Transfer to another label set: new, last, full, chain-thaw; class-average F1.

Source: Felbo et al. 2017, §3.3 and §5.2, with torchMoji's rates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from convai.emotion import scores
from convai.emotion.batches import HeadTexts, epoch, with_unknown
from convai.emotion.config import Head
from convai.emotion.fitting import (
    Rates,
    RunningMean,
    judged,
    optimizer,
    replace_heads,
    score,
    snapshot,
    train_epoch,
    with_thresholds,
)
from convai.emotion.labelled import TEST, TRAIN, VALID, LabelSet, Target, Texts
from convai.emotion.logit_adjustment import adjust, best_strength
from convai.emotion.model import EmotionModel
from convai.emotion.settings import LAYERS, FinetuneSettings
from convai.emotion.tables import with_validation
from convai.emotion.vocabulary import Vocabulary

_FEWEST_BATCHES = 10
"""Batches of an epoch at least, so that small sets are not validated after every few steps."""
_MEASURED = "measured"
"""A split beside those of the data: the texts that class-average F1 is measured on."""

Report = Callable[[dict[str, Any]], None]
"""Called after every epoch with stage, epoch, losses."""


def _silent(record: dict[str, Any]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a transfer gives."""

    model: EmotionModel
    vocabulary: Vocabulary
    scores: dict[str, Any]
    """Split → accuracy, macro_f1, f1 of each label, texts; `class_average_f1` where that was asked for."""


def finetune(
    model: EmotionModel,
    vocabulary: Vocabulary,
    data: LabelSet,
    settings: FinetuneSettings,
    *,
    report: Report = _silent,
) -> Tuned:
    """Teach a copy of `model` the labels of `data`; its old heads are left behind.

    The weights kept of every stage are those with the lowest validation loss, the starting ones included;
    thresholds of a multi-label set are chosen on the validation texts. Raises DataError for data with one
    class only, or without training texts, and TrainingError when the loss diverges.
    """
    data.check()
    chosen = _to_choose_by(data, settings)
    torch.manual_seed(settings.seed)
    tuned, words = prepared(model, vocabulary, chosen, settings)
    learn, check = (_task(tuned, words, data.head(), chosen.splits[name]) for name in (TRAIN, VALID))
    fit(tuned, learn, check, settings, report)
    if settings.level and not data.multi:
        counts = chosen.splits[TRAIN].counts(len(data.labels))
        adjust(tuned, data.name, counts, best_strength(judged(tuned, check)[1], check.targets, counts))
    head = with_thresholds(data.head(), judged(tuned, check)[1], check.targets)
    replace_heads(tuned, [head])
    splits = chosen.splits | {name: texts for name, texts in data.splits.items() if name != TRAIN and texts}
    found = {}
    for name, texts in splits.items():
        if name != TRAIN:
            task = _task(tuned, words, head, texts)
            found[name] = score(head, judged(tuned, task)[1], task.targets)
    return Tuned(tuned.eval(), words, found)


def _to_choose_by(data: LabelSet, settings: FinetuneSettings) -> LabelSet:
    """`data` with the validation texts by which stages end: its own, or a part of the training texts."""
    if settings.spare_valid:
        splits = {name: texts for name, texts in data.splits.items() if name != VALID}
        data = dataclasses.replace(data, splits=splits)
    return with_validation(data, settings.held_out, settings.seed)


def prepared(
    model: EmotionModel, vocabulary: Vocabulary, data: LabelSet, settings: FinetuneSettings
) -> tuple[EmotionModel, Vocabulary]:
    """A copy of `model` with a fresh head for `data`, dropout, and new words; fresh altogether with `new`."""
    words = vocabulary
    if settings.extend:
        words = vocabulary.extended(data.split(TRAIN).texts, settings.extend)
    config = dataclasses.replace(
        model.config,
        vocab_size=len(words),
        heads=(data.head(),),
        embed_dropout=settings.embed_dropout,
        final_dropout=settings.final_dropout,
    )
    tuned = EmotionModel(config)
    if settings.method != "new":
        state = model.state_dict()
        own = tuned.state_dict()
        for name, p in own.items():
            if name == "embed.weight":  # words that are new keep their fresh rows
                p[: len(vocabulary)] = state[name]
            elif not name.startswith("heads."):
                p.copy_(state[name])
    return tuned.to(model.embed.weight.device), words


def _task(model: EmotionModel, vocabulary: Vocabulary, head: Head, texts: Texts) -> HeadTexts:
    return HeadTexts.encode(head, texts, vocabulary, model.config.max_words)


def stages(settings: FinetuneSettings) -> list[tuple[str, Rates]]:
    """The stages of a method: name, and the layers that learn in it with their rates."""
    rates = settings.rates()
    if settings.method == "last":
        return [("heads", {"heads": rates["heads"]})]
    if settings.method in ("full", "new"):
        return [("all", rates)]
    thaw = [(name, {name: rates[name]}) for name in ("heads", *LAYERS[:-1])]
    # all together at the end, the head at the others' rate: it has learnt already
    return [*thaw, ("all", rates | {"heads": settings.lr})]


def fit(
    model: EmotionModel,
    train: HeadTexts,
    valid: HeadTexts,
    settings: FinetuneSettings,
    report: Report = _silent,
) -> None:
    """Run the stages of the method on `model`, each until its validation loss falls no more."""
    number = 0
    size = min(settings.epoch_size, max(len(train), _FEWEST_BATCHES * settings.batch_size))
    shown = EmotionModel(model.config).to(model.embed.weight.device)  # what is measured and kept
    for name, rates in stages(settings):
        optim = optimizer(model, rates, settings.embed_l2)
        best, kept, waited = judged(model, valid)[0], snapshot(model), 0
        mean = RunningMean(model, settings.average)
        for _ in range(settings.epochs):
            batches = epoch(
                [train],
                number=number,
                epoch_size=size,
                batch_size=settings.batch_size,
                balanced=settings.balanced,
                seed=settings.seed,
            )
            seen = (with_unknown(batch, settings.word_dropout) for batch in batches)
            loss = train_epoch(model, optim, seen, settings.max_norm, mean.follow)
            mean.update()
            number += 1
            shown.load_state_dict(mean.weights)
            valid_loss = judged(shown, valid)[0]
            report({"stage": name, "epoch": number, "loss": loss, "valid_loss": valid_loss})
            if valid_loss < best:
                best, kept, waited = valid_loss, snapshot(shown), 0
            else:
                waited += 1
            if waited >= settings.patience:
                break
        model.load_state_dict(kept)
    model.requires_grad_(True)


def class_average(
    model: EmotionModel,
    vocabulary: Vocabulary,
    data: LabelSet,
    settings: FinetuneSettings,
    *,
    report: Report = _silent,
) -> dict[str, Any]:
    """Class-average F1: a binary model a class, each from the same start, each with its own threshold.

    As torchMoji's class_avg_finetune: "this class or not", the threshold chosen on the validation texts,
    measured on the test texts (the validation texts where there are none). Gives `class_average_f1` and
    `f1` by label. Raises as `finetune` does.
    """
    data.check()
    measured = TEST if data.splits.get(TEST) else VALID
    chosen = _to_choose_by(data, settings)
    splits = chosen.splits | {_MEASURED: data.splits.get(measured) or chosen.splits[measured]}
    data = dataclasses.replace(chosen, splits=splits)
    found: dict[str, float] = {}
    # of two classes one binary problem is the whole problem
    wanted = data.labels[1:] if len(data.labels) == 2 and not data.multi else data.labels
    for label in wanted:
        binary = _one_against_rest(data, data.labels.index(label))
        torch.manual_seed(settings.seed)
        tuned, words = prepared(model, vocabulary, binary, settings)
        tasks = {n: _task(tuned, words, binary.head(), texts) for n, texts in binary.splits.items() if texts}
        fit(tuned, tasks[TRAIN], tasks[VALID], settings, lambda r, at=label: report({"label": at, **r}))  # type: ignore[misc]
        head = with_thresholds(binary.head(), judged(tuned, tasks[VALID])[1], tasks[VALID].targets)
        [found[label]] = scores.f1_per_class(
            scores.above(judged(tuned, tasks[_MEASURED])[1], head.thresholds), tasks[_MEASURED].targets, 1
        )
    return {"class_average_f1": scores.macro(list(found.values())), "f1": found, "split": measured}


def _one_against_rest(data: LabelSet, label: int) -> LabelSet:
    """The same texts with one label: there or not."""

    def marked(target: Target) -> Target:
        return (0,) if label in target else ()

    splits = {
        name: Texts(texts.texts, [marked(target) for target in texts.targets])
        for name, texts in data.splits.items()
    }
    return LabelSet("labels", (data.labels[label],), True, "labels", splits, data.source)
