"""`convai coref train`: phase after phase, each ending when the development score stops rising; resumable.

OUT holds run.json (settings, data), log.jsonl (a line an epoch), training.pt (weights, optimizer, the best so
far), and from the first epoch on the model itself, which every epoch that scores better replaces; at the end
its threshold is set. An epoch's order and noise depend on its number alone, so a run that was stopped goes on
as if it had not been.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from tqdm import tqdm

from convai.core.errors import TrainingError
from convai.core.settings_values import laid_over
from convai.coref.checkpoint import load_coref_model, save_coref_model
from convai.coref.context_cache import CachedContexts
from convai.coref.contexts import Contexts, encoder_reader, load_contexts
from convai.coref.data import Data, Read, read_data
from convai.coref.examples import Example, examples, packed, questions
from convai.coref.learner import encoded, grown_model, learning, new_model, scored, with_encoder
from convai.coref.losses import LOSSES, answers
from convai.coref.model import Context, CorefModel
from convai.coref.resolver import CorefResolver
from convai.coref.scorer.gap import score_gap
from convai.coref.scorer.metrics import conll_f1, score
from convai.coref.settings import CorefTrainSettings
from convai.coref.words import WordIds
from convai.model.run_folder import RunFolder

SHIFTS: Final = (0.0, -0.3, -0.6, -0.9, 0.3, 0.6)
"""What is tried, at the end of a run, to be added to the score of having no antecedent."""
_WARM: Final = 100
"""Steps over which the rate of an encoder rises."""
_COUNTERS: Final = ("done", "phase", "in_phase", "waited", "steps", "best", "calibrated")

Report = Callable[[dict[str, Any]], None]


def new_run(
    train: Sequence[Path],
    dev: Sequence[Path],
    vectors: Path | None,
    settings: CorefTrainSettings,
    out: Path,
    read: Read,
    *,
    parser: str | None = None,
    context: str | None = None,
    start: str | None = None,
    encoder: Path | None = None,
    skip: Sequence[str] = (),
    report: Report = lambda record: None,
) -> None:
    """Start a run in `out` and finish it. `skip`: training documents with one of these in their names.

    `context`: a language model (a folder, or a base's name) whose states the model takes. `start`: a model
    of coreference (a folder or a name) whose words, sizes and weights the model begins with. `encoder`: a
    folder with a pretrained encoder, whose lower layers learn with the model.
    Raises DataError, SettingsError, TrainingError; TrainingError also when `out` holds a run already.
    """
    folder = RunFolder(out)
    folder.check_unused()
    described = {
        "settings": dataclasses.asdict(settings),
        "train": [str(path.resolve()) for path in train],
        "dev": [str(path.resolve()) for path in dev],
        "vectors": str(vectors.resolve()) if vectors else None,
        "parser": parser,
        "context": context,
        "start": start,
        "encoder": str(encoder.resolve()) if encoder else None,
        "skip": list(skip),
    }
    data = read_data(described, read, settings)
    begun = None if start is None else load_coref_model(start)
    folder.start(described)
    Run(folder, data, settings, report, context, begun, encoder).go()


def resume_run(
    out: Path, reader: Callable[[str | None], Read], *, report: Report = lambda record: None
) -> None:
    """Go on with the run in `out`; `reader` makes, from the name of the parser, what reads its files.

    Raises CheckpointError when there is none, or it is damaged.
    """
    folder = RunFolder(out)
    described = folder.description()
    settings = laid_over(CorefTrainSettings(), described["settings"])
    data = read_data(described, reader(described["parser"]), settings)
    begun = None if described.get("start") is None else load_coref_model(described["start"])
    encoder = described.get("encoder")
    Run(
        folder,
        data,
        settings,
        report,
        described.get("context"),
        begun,
        None if encoder is None else Path(encoder),
    ).go()


class Run:
    """A run in its folder, from the epoch that its state says."""

    def __init__(
        self,
        folder: RunFolder,
        data: Data,
        settings: CorefTrainSettings,
        report: Report,
        context: str | None = None,
        start: tuple[CorefModel, WordIds] | None = None,
        encoder: Path | None = None,
    ) -> None:
        self.folder, self.settings, self.report = folder, settings, report
        self.dev, self.asked = data.dev, data.asked_dev
        self.contexts, known = None, None
        if context is not None:
            self.contexts, known = _read_contexts(folder.path, data, context, settings)
        if start is None:
            self.model, self.words = new_model(data.words, data.vectors, settings, known)
        else:
            self.model, self.words = grown_model(*start, settings, known), start[1]
        if encoder is not None:
            self.model = with_encoder(self.model, self.words, encoder, settings)
        cutter = None
        if self.model.encoder is not None:
            self.model.encoder.fix(settings.encoder_fixed)
            cutter = encoder_reader(self.model.encoder).cutter
        resolver = CorefResolver(self.model, self.words)
        using = (self.words, resolver.unit, resolver.window, self.contexts, cutter)
        self.examples = list(
            tqdm(
                itertools.chain(examples(data.train, *using), questions(data.asked, *using)),
                desc="reading",
                total=len(data.train) + len(data.asked),
                leave=False,
                dynamic_ncols=True,
            )
        )
        if self.contexts is not None:
            self.model.level(torch.cat([e.states for e in self.examples if e.states is not None]).float())
        self.optim = learning(self.model, settings)
        self.averaged = copy.deepcopy(self.model).requires_grad_(False)
        self.best_state = {
            name: p.clone() for name, p in self.model.state_dict().items() if name != "vectors"
        }
        self.done, self.phase, self.in_phase, self.waited, self.steps, self.best = 0, 0, 0, 0, 0, -1.0
        self.calibrated = False

    def go(self) -> None:
        """Train until the last phase is over."""
        self.folder.restore(self._load)
        phases = self.settings.phases()
        while self.phase < len(phases):
            name, most = phases[self.phase]
            start = time.monotonic()
            torch.manual_seed(self.settings.seed * 1_000_003 + self.done)
            loss = self._epoch(name, most)
            scores = self._judge()
            reached = sum(scores.values()) / len(scores)
            self.done, self.in_phase = self.done + 1, self.in_phase + 1
            better = reached > self.best
            self.waited = 0 if better else self.waited + 1
            if better:
                self.best = reached
                self.best_state = {
                    k: p.clone() for k, p in self.averaged.state_dict().items() if k != "vectors"
                }
                save_coref_model(self.averaged, self.words, self.folder.path)
            if self.waited >= self.settings.patience or self.in_phase >= most:
                self.phase, self.in_phase, self.waited = self.phase + 1, 0, 0
                self.model.load_state_dict(self.best_state, strict=False)
                self.averaged.load_state_dict(self.best_state, strict=False)
                self.optim = learning(self.model, self.settings)
            self._save()
            record = {
                "epoch": self.done,
                "phase": name,
                "loss": round(loss, 5),
                "f1": {key: round(value, 4) for key, value in scores.items()},
                "mean": round(reached, 4),
                "seconds": round(time.monotonic() - start, 1),
            }
            self.folder.log(record)
            self.report(record)
        if not self.calibrated:
            self._calibrate()

    def _calibrate(self) -> None:
        """Shift the best model's score of having no antecedent to what is best on the development files."""
        self.averaged.load_state_dict(self.best_state, strict=False)
        bias = self.averaged.alone_score.bias
        found, start = {}, bias.clone()
        for shift in SHIFTS:
            bias.copy_(start + shift)
            scores = self._judge()
            found[shift] = sum(scores.values()) / len(scores)
        best = max(SHIFTS, key=lambda shift: (found[shift], -abs(shift)))
        bias.copy_(start + best)
        save_coref_model(self.averaged, self.words, self.folder.path)
        self.calibrated = True
        self._save()

    def _epoch(self, name: str, most: int) -> float:
        """One pass over the examples; returns the mean loss of a mention."""
        s = self.settings
        self.model.train()
        falls = 1 - 0.8 * self.in_phase / max(1, most - 1)
        order = list(range(len(self.examples)))
        random.Random(s.seed * 1_000_003 + self.done).shuffle(order)
        total = mentions = 0.0
        batches = list(packed(self.examples, order, s.batch_pairs))
        for batch in tqdm(batches, desc=f"epoch {self.done + 1} ({name})", leave=False, dynamic_ncols=True):
            size = sum(example.lessons for example in batch)
            for group, rate in zip(self.optim.param_groups, (s.lr, s.encoder_lr), strict=False):
                group["lr"] = rate * falls
            value = self._step(batch, name, size)
            if not math.isfinite(value):
                raise TrainingError(f"the loss became {value}; use a lower learning rate")
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), s.max_norm)
            self.optim.step()
            self.optim.zero_grad(set_to_none=True)
            self._average()
            total += value
            mentions += size
        return total / max(1.0, mentions)

    def _average(self) -> None:
        """Move the averaged weights, which are judged and saved, towards those of this step."""
        steady = min(self.settings.average, (1 + self.steps) / (10 + self.steps))  # the first weights fade
        self.steps += 1
        for average, weight in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            average.lerp_(weight.detach(), 1 - steady)

    def _step(self, batch: list[Example], name: str, size: int) -> float:
        """The gradients of a step; returns its loss."""
        encoder = self.model.encoder
        if encoder is None:
            return sum(self._backward(example, None, name, size) for example in batch)
        whole, leaf, states = encoded(encoder, batch, self.settings.encoder_dropout)
        value = sum(self._backward(*each, name, size) for each in zip(batch, states, strict=True))
        whole.backward(leaf.grad)
        if len(self.optim.param_groups) > 1:
            self.optim.param_groups[1]["lr"] *= min(1.0, (self.steps + 1) / _WARM)
        return value

    def _backward(self, example: Example, states: torch.Tensor | None, name: str, size: int) -> float:
        found = scored(self.model, example, states)
        if example.question is None:
            loss = LOSSES[name](*found, example)
        else:
            loss = self.settings.questions * answers(*found, example)
        (loss / size).backward()
        return float(loss.detach())

    def _judge(self) -> dict[str, float]:
        """The development files' mean F1 of MUC, B-cubed and CEAF-e, clusters of one mention left out.

        Of files of ambiguous pronouns GAP's F1.
        """
        contexts: Contexts | None = self.contexts
        if self.averaged.encoder is not None:
            contexts = encoder_reader(self.averaged.encoder.frozen())
        resolver = CorefResolver(self.averaged, self.words, contexts=contexts)
        found = {}
        for name, documents in self.dev.items():
            totals = score(((d.clusters, resolver.resolve(d)) for d in documents), singletons=False)
            found[name] = conll_f1(totals)
        for name, asked in self.asked.items():
            found[name] = score_gap(asked, resolver)["overall"].f1
        return found

    def _save(self) -> None:
        weights = {k: p.detach() for k, p in self.model.state_dict().items() if k != "vectors"}
        averaged = {k: p for k, p in self.averaged.state_dict().items() if k != "vectors"}
        state = {
            **{name: getattr(self, name) for name in _COUNTERS},
            "model": weights,
            "averaged": averaged,
            "best_state": self.best_state,
            "optimizer": self.optim.state_dict(),
        }
        self.folder.save_state(state)

    def _load(self, state: dict[str, Any]) -> int:
        self.model.load_state_dict(state["model"], strict=False)
        self.averaged.load_state_dict(state["averaged"], strict=False)
        self.optim.load_state_dict(state["optimizer"])
        self.best_state = state["best_state"]
        for name in _COUNTERS:
            setattr(self, name, state[name])
        return self.done


def _read_contexts(
    folder: Path, data: Data, name: str, settings: CorefTrainSettings
) -> tuple[CachedContexts, Context]:
    """The states of all documents of a run, read where they are not yet in its folder."""
    reader, reference = load_contexts(name, settings.context_layer)
    known = Context(reference, settings.context_layer, reader.width, settings.products, settings.product_size)
    cache = CachedContexts(folder, reader.width, lambda: reader)
    asked = [*data.asked, *itertools.chain.from_iterable(data.asked_dev.values())]
    cache.fill(itertools.chain(data.train, *data.dev.values(), (one.document for one in asked)))
    return cache, known
