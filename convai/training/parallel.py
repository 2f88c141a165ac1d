"""A step spread over processes: DistributedDataParallel around one forward pass, losses included.

DDP sums gradients bucket by bucket while the backward pass still computes the rest, and with accumulation
during the last pass alone. Its own mean is undone, for losses here are divided by the labels and choices of
the whole step: what several processes learn equals what one learns from all of their batches.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import ignite.distributed as idist
import torch
from torch import nn

from convai.model.double_heads import DoubleHeadsModel
from convai.training.batches import Batch
from convai.training.losses import Losses, compute_losses
from convai.training.processes import gradient_group

Objective = Callable[[DoubleHeadsModel, Batch], Losses]


class _Pass(nn.Module):
    """A forward pass with its losses inside, so that only their sums leave the wrapper."""

    def __init__(self, model: DoubleHeadsModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        # Never used. A pass may leave the next-sentence head out, so DDP must look for what is unused; and it
        # warns, in every process, when it looks and finds nothing.
        self.unused = nn.Parameter(torch.zeros((), device=model.device))

    def forward(self, batch: Batch) -> Losses:
        return self.objective(self.model, batch)


class ReplicatedModel:
    """`model` as every process holds it; with one process nothing but the objective itself.

    `objective(model, batch)` computes the summed losses of a micro-batch; it may have parameters of its own.
    """

    def __init__(self, model: DoubleHeadsModel, objective: Objective = compute_losses) -> None:
        self.model, self.objective = model, objective
        self.world = idist.get_world_size()
        self._pass = _Pass(model, objective)
        self._wrapped: nn.parallel.DistributedDataParallel | None = None
        self._trainable: list[bool] = []

    def losses(self, batch: Batch) -> Losses:
        """The summed losses of this process' `batch`."""
        if self.world == 1:
            return self.objective(self.model, batch)
        losses: Losses = self._ddp()(batch)
        return losses

    @contextlib.contextmanager
    def summing(self, last: bool) -> Iterator[None]:
        """Around both passes of a micro-batch: the `last` of a step sums the gradients over the processes."""
        quiet: AbstractContextManager[None] = contextlib.nullcontext()
        if self.world > 1 and not last:
            quiet = self._ddp().no_sync()
        with quiet:
            yield

    def _ddp(self) -> nn.parallel.DistributedDataParallel:
        """The wrapper, made anew where other parameters have begun or ceased to be trained."""
        trainable = [p.requires_grad for p in self._pass.parameters()]
        if self._wrapped is None or trainable != self._trainable:
            device = idist.device()
            self._wrapped = nn.parallel.DistributedDataParallel(
                self._pass,
                device_ids=[device] if device.type == "cuda" else None,
                process_group=gradient_group(),
                find_unused_parameters=True,
                gradient_as_bucket_view=True,
            )
            self._trainable = trainable
        return self._wrapped


def seed_pass(seed: int, step: int, number: int) -> None:
    """Set torch's random state (dropout) for micro-batch `number` of a step, counted over all processes.

    So dropout is a function of seed and step, whichever process computes the pass.
    """
    torch.manual_seed(random.Random(f"dropout {seed} {step} {number}").getrandbits(63))
