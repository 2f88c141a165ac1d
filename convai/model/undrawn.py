"""Layers that draw no weights on the meta device, where the model of a checkpoint is built.

torch's own draw has no numbers to fill there, and imports a compiler and computer algebra for that: a second
of every start.
"""

from __future__ import annotations

import torch
from torch import nn


class Linear(nn.Linear):
    """A linear layer."""

    def reset_parameters(self) -> None:
        """As nn.Linear's, where there is something to fill."""
        if self.weight.device.type != "meta":
            super().reset_parameters()


def embedding(rows: int, dim: int) -> nn.Embedding:
    """An embedding without numbers, for whoever built it to fill."""
    return nn.Embedding.from_pretrained(torch.empty(rows, dim), freeze=False)  # type: ignore[no-any-return]
