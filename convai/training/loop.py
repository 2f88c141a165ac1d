"""Training: both objectives, under ignite, resumable to the bit.

`fit` runs one training. What it learns from is a StepSource (convai.training.dialogues); every step is a
list of micro-batches whose summed losses are divided by the labels and choices of the whole step, so that
accumulating gradients, or spreading a step over processes, equals one big batch exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from convai.core.errors import TrainingError
from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.model.run_folder import RunFolder
from convai.training.autocast import autocast_dtype
from convai.training.batches import Batch
from convai.training.dialogues import StepSource
from convai.training.distillation import Distiller
from convai.training.losses import compute_losses
from convai.training.optim import Optimizers
from convai.training.parallel import ReplicatedModel, seed_pass
from convai.training.prefetch import prefetched
from convai.training.processes import after_first, is_first, reduced
from convai.training.rates import rate_factor
from convai.training.unfreezing import Unfreezing, keep_last_blocks

LOG_EVERY = 10

Validate = Callable[[DoubleHeadsModel], dict[str, float]]
SaveModel = Callable[[DoubleHeadsModel, Path], None]


@dataclass(slots=True)
class Progress:
    """Where a run stands: what a checkpoint stores besides weights and optimizer."""

    step: int = 0
    best: float = math.inf
    bad_validations: int = 0
    targets_seen: int = 0
    seconds: float = 0.0


@dataclass
class Trainer:
    """One training run of `model`; see `fit`."""

    model: DoubleHeadsModel
    source: StepSource
    config: TrainConfig
    folder: RunFolder
    save_model: SaveModel
    """Writes what `resume` loads again."""
    validate: Validate | None = None
    report: Callable[[dict[str, Any]], None] = field(default=lambda record: None)
    progress: Progress = field(default_factory=Progress)
    distiller: Distiller | None = None
    """A teacher's part in the losses, if there is a teacher."""
    ship: SaveModel | None = None
    """Writes the finished model, where that is another than what goes into a checkpoint."""

    def __post_init__(self) -> None:
        if self.config.last_blocks is not None:
            keep_last_blocks(self.model, self.config.last_blocks)
        self.optimizers = Optimizers(self.model, self.config)
        if self.distiller is not None:
            self.optimizers.add(self.distiller.parameters())
        self.replicas = ReplicatedModel(self.model, self.distiller or compute_losses)
        per_epoch = self.source.steps_per_epoch
        self.total_steps = self.config.steps or max(1, round(self.config.epochs * per_epoch))
        self.unfreezing = Unfreezing(self.model, self.config, per_epoch, self.total_steps)
        self.autocast = autocast_dtype(self.config.precision, self.model.device)
        self.scaler = torch.amp.GradScaler(enabled=self.autocast is torch.float16)

    # -- one step ----------------------------------------------------------------------------------

    def step(self, engine: Engine, micro_batches: list[Batch]) -> dict[str, float]:
        """Gradients of all micro-batches, one clip, one update."""
        config, rank, world = self.config, idist.get_rank(), idist.get_world_size()
        self.model.train()
        self.unfreezing.set(self.progress.step)
        self.optimizers.set_rate(rate_factor(self.progress.step, self.total_steps, config))
        distiller = self.distiller
        counts = torch.tensor(
            [
                sum(b.n_labels for b in micro_batches),
                sum(b.n_choices for b in micro_batches),
                sum(distiller.n_tokens(b) for b in micro_batches) if distiller else 0,
                sum(b.n_pairs for b in micro_batches),
            ]
        )
        counts = reduced(counts)
        n_labels, n_choices, n_tokens, n_pairs = (max(1, int(n)) for n in counts)
        lm = mc = 0.0
        hits = 0
        taught = [0.0, 0.0, 0.0, 0.0]
        for number, batch in enumerate(micro_batches, 1):
            batch = batch.to(self.model.device)
            seed_pass(config.seed, self.progress.step, (number - 1) * world + rank)
            with self.replicas.summing(last=number == len(micro_batches)):
                with torch.autocast(self.model.device.type, self.autocast, enabled=self.autocast is not None):
                    losses = self.replicas.losses(batch)
                    loss = config.lm_coef * losses.lm / n_labels + config.mc_coef * losses.mc / n_choices
                    loss = loss + config.preference_coef * losses.preference / n_pairs
                    if distiller is not None:
                        loss = loss + config.soft_lm_coef * losses.soft_lm / n_labels
                        loss = loss + config.soft_mc_coef * losses.soft_mc / n_choices
                        loss = loss + config.hidden_coef * losses.states / n_tokens
                # the mean over processes that comes is to be the sum
                self.scaler.scale(loss * world).backward()
            lm += float(losses.lm.detach())
            mc += float(losses.mc.detach())
            hits += losses.hits
            for i, value in enumerate((losses.soft_lm, losses.soft_mc, losses.states, losses.preference)):
                taught[i] += float(value.detach()) if isinstance(value, torch.Tensor) else value
        norm = self._update()
        sums = reduced(torch.tensor([lm, mc, float(hits), *taught], dtype=torch.float64))
        self.progress.step += 1
        self.progress.targets_seen += n_labels
        from_teacher = {
            "soft_lm_loss": float(sums[3]) / n_labels,
            "soft_mc_loss": float(sums[4]) / n_choices,
            "hidden_loss": float(sums[5]) / n_tokens,
        }
        return {
            "lm_loss": float(sums[0]) / n_labels,
            "mc_loss": float(sums[1]) / n_choices,
            "train_hits@1": float(sums[2]) / n_choices,
            **(from_teacher if distiller is not None else {}),
            **({"preference_loss": float(sums[6]) / n_pairs} if counts[3] else {}),
            "grad_norm": norm,
            "targets": n_labels,
        }

    def _update(self) -> float:
        for optimizer, _ in self.optimizers.parts:
            self.scaler.unscale_(optimizer)
        norm = float(self.optimizers.clip(self.config.max_norm))
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise TrainingError(
                f"step {self.progress.step + 1}: the loss is not a number; the last checkpoint is intact. "
                f"Lower --lr (now {self.config.lr:g}) or use --precision float32, and "
                f"--resume {self.folder.path}"
            )
        for optimizer, _ in self.optimizers.parts:
            self.scaler.step(optimizer)
        self.scaler.update()
        self.optimizers.zero_grad()
        return norm

    # -- state -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that an exact continuation needs, as plain values and tensors."""
        p = self.progress
        return {
            "step": p.step,
            "progress": {name: getattr(p, name) for name in Progress.__slots__},
            "optimizers": self.optimizers.state_dict(),
            "scaler": self.scaler.state_dict(),
            "distiller": self.distiller.state_dict() if self.distiller is not None else {},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`; the model's weights are loaded separately."""
        self.progress = Progress(**state["progress"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.scaler.load_state_dict(state["scaler"])
        if self.distiller is not None:
            self.distiller.load_state_dict(state["distiller"])

    def save(self) -> None:
        """A checkpoint of this step, by the first process alone."""
        if is_first():
            self.folder.save(
                self.progress.step, self.state(), lambda folder: self.save_model(self.model, folder)
            )
        after_first()

    def save_finished(self) -> None:
        """The model as it stands, in the run's folder, ready to talk."""
        (self.ship or self.save_model)(self.model, self.folder.path)

    # -- the run -----------------------------------------------------------------------------------

    def fit(self) -> None:
        """Run to the last step (or until validation stops improving), from wherever `progress` stands.

        Raises TrainingError on a loss that is not a number, a full disk, or exhausted memory; the last
        checkpoint is then intact.
        """
        engine = Engine(self.step)
        started = time.monotonic() - self.progress.seconds
        window = [time.monotonic(), 0.0]

        @engine.on(Events.ITERATION_COMPLETED)
        def log(engine: Engine) -> None:
            p = self.progress
            p.seconds = time.monotonic() - started
            output = engine.state.output
            window[1] += output["targets"]  # type: ignore[index]
            if p.step % LOG_EVERY and p.step != self.total_steps:
                return
            now = time.monotonic()
            rate = window[1] / max(1e-9, now - window[0])
            window[:] = [now, 0.0]
            record = {"step": p.step, "of": self.total_steps, "seconds": round(p.seconds, 1), **output}  # type: ignore[dict-item]
            record |= {
                "lr": self.config.lr * rate_factor(p.step - 1, self.total_steps, self.config),
                "targets_per_s": round(rate, 1),
                "seconds_left": round((self.total_steps - p.step) * p.seconds / max(1, p.step)),
            }
            self._record(record)

        @engine.on(Events.ITERATION_COMPLETED)
        def look(engine: Engine) -> None:
            p, config = self.progress, self.config
            last = p.step >= self.total_steps
            if self.validate and (last or (config.eval_every and p.step % config.eval_every == 0)):
                if not self._validated():
                    engine.terminate()
            if p.step % config.save_every == 0 or last or engine.should_terminate:
                self.save()
                window[0] = time.monotonic()

        left = self.total_steps - self.progress.step
        if self.progress.step == 0:
            self.save()  # so that a run killed early can go on too
        if left > 0:
            steps = self.source.steps(self.progress.step, rank=idist.get_rank(), world=idist.get_world_size())
            ahead = prefetched(steps)
            try:
                with memory_mends(self.config):
                    engine.run(ahead, max_epochs=1, epoch_length=left)
            finally:
                ahead.close()

    def _validated(self) -> bool:
        """Validate, keep the best model; False when patience is at its end."""
        assert self.validate is not None
        p = self.progress
        scores = self.validate(self.model)
        self._record({"step": p.step, **{f"valid_{name}": value for name, value in scores.items()}})
        if scores["loss"] < p.best:
            p.best, p.bad_validations = scores["loss"], 0
            if is_first():
                self.save_finished()
            after_first()
        else:
            p.bad_validations += 1
        return not self.config.patience or p.bad_validations < self.config.patience

    def _record(self, record: dict[str, Any]) -> None:
        if is_first():
            self.folder.log(record)
            self.report(record)


@contextmanager
def memory_mends(config: TrainConfig) -> Iterator[None]:
    """Exhausted memory in the context becomes the TrainingError that names the options which take less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        if not known and "allocate memory" not in str(error):
            raise
        less = ["use fewer --distractors", "shorter --row-tokens", "or a smaller model"]
        if not config.gradient_checkpointing:
            less.insert(0, "add --gradient-checkpointing")
        raise TrainingError(
            f"out of memory: lower --batch-tokens (now {config.batch_tokens}) and raise --accumulation as "
            "much, " + ", ".join(less)
        ) from error
