"""Which layers learn: the last blocks only, or one more from the top every so often.

Gradual unfreezing is ULMFiT's (Howard & Ruder 2018, arXiv 1801.06146, §3.3): the last layer first, since it
holds the least general knowledge, and the next lower one after each epoch, until all learn. What learns is a
function of the step alone, so that a resumed run, and every process of a joint one, goes on alike.
"""

from __future__ import annotations

from torch import nn

from convai.core.errors import SettingsError
from convai.core.settings import TrainConfig
from convai.model.checkpoint import HEADS
from convai.training.rates import depth, n_blocks


def keep_last_blocks(model: nn.Module, count: int) -> None:
    """Let only the `count` last blocks learn, and what lies above them; the embeddings stay as they are.

    With 0 the next-sentence head learns alone, and the language model stays what it is. Raises SettingsError
    when the model has fewer blocks.
    """
    blocks = n_blocks(name for name, _ in model.named_parameters())
    if count > blocks:
        raise SettingsError(
            f"last_blocks={count}: the model has {blocks}; use 0 to {blocks}, or none for all"
        )
    for name, p in model.named_parameters():
        if depth(name, blocks) >= count and not name.startswith(HEADS):
            p.requires_grad_(False)


class Unfreezing:
    """Groups of parameters by depth, of which the first ones learn, one more every `unfreeze_every` epochs.

    What does not learn when this is built never will.
    """

    def __init__(
        self, model: nn.Module, config: TrainConfig, steps_per_epoch: float, total_steps: int
    ) -> None:
        """`steps_per_epoch`: of this run, with all its processes. Raises SettingsError where the run would
        end before the lowest layers have begun to learn.
        """
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        blocks = n_blocks(name for name, _ in model.named_parameters())
        groups: dict[int, list[nn.Parameter]] = {}
        for name, p in named:
            groups.setdefault(depth(name, blocks), []).append(p)
        self.groups = [groups[below] for below in sorted(groups)]
        self._every = config.unfreeze_every * steps_per_epoch
        last = (len(self.groups) - 1) * self._every
        if last >= total_steps:
            most = total_steps / steps_per_epoch / max(1, len(self.groups))
            raise SettingsError(
                f"unfreeze_every={config.unfreeze_every:g}: the run ends before all {len(self.groups)} "
                f"groups of layers learn; use {_rounded_down(most):g} or less, or raise --epochs"
            )

    def learning(self, step: int) -> int:
        """How many groups, counted from the top, learn at `step` (from 0)."""
        return min(len(self.groups), 1 + int(step / self._every)) if self._every else len(self.groups)

    def set(self, step: int) -> None:
        """Let the groups of `step` learn, and no other: a frozen one has no gradient and is not stepped."""
        learning = self.learning(step)
        for i, group in enumerate(self.groups):
            for p in group:
                p.requires_grad_(i < learning)


def _rounded_down(value: float) -> float:
    """`value` to two digits, never more than it."""
    text = f"{value:.1e}"
    return float(text) if float(text) <= value else float(text) - 10.0 ** (int(text.split("e")[1]) - 1)
