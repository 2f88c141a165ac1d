"""Steps, losses and validation that training from nothing and tuning share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from convai.core.errors import TrainingError
from convai.emotion import scores
from convai.emotion.batches import Batch, HeadTexts, in_order
from convai.emotion.config import Head
from convai.emotion.model import EmotionModel, Network, probabilities
from convai.emotion.settings import LAYERS

_EVAL_BATCH = 64

Rates = dict[str, float]
"""Layer (see LAYERS) → learning rate."""


def layer(model: EmotionModel, name: str) -> nn.Module:
    """The layer of that name."""
    module = getattr(model, name)
    assert isinstance(module, nn.Module)
    return module


def optimizer(model: EmotionModel, rates: Rates, embed_l2: float) -> torch.optim.Adam:
    """Adam over the layers of `rates`; all other layers are frozen. L2 on the embedding alone."""
    groups = []
    for name in LAYERS:
        parameters = list(layer(model, name).parameters())
        for p in parameters:
            p.requires_grad_(name in rates)
        if name in rates and parameters:
            decay = embed_l2 if name == "embed" else 0.0
            groups.append({"params": parameters, "lr": rates[name], "weight_decay": decay, "name": name})
    # one pass over the embedding, of which a batch needs little, instead of ten
    return torch.optim.Adam(groups, fused=True)


def head_loss(head: Head, logits: Tensor, targets: Tensor) -> Tensor:
    """The summed loss of a head's rows: cross-entropy, or binary cross-entropies of all labels."""
    if head.multi:
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return nn.functional.cross_entropy(logits, targets, reduction="sum")


def batch_loss(model: Network, batch: Batch) -> Tensor:
    """The mean loss of a batch's texts."""
    device = model.device
    features = model(batch.ids.to(device), batch.lengths).features
    losses = [
        head_loss(head, model.logits(features[rows], head), targets.to(device))
        for head, rows, targets in batch.parts
    ]
    return torch.stack(losses).sum() / len(batch.ids)


def train_epoch(
    model: Network,
    optim: torch.optim.Optimizer,
    batches: Iterable[Batch],
    max_norm: float,
    each_step: Callable[[int], None] = lambda step: None,
) -> float:
    """One pass; returns the mean loss. `each_step` is called before every step.

    Raises TrainingError when the loss is no longer a number.
    """
    model.train()
    parameters = [p for group in optim.param_groups for p in group["params"]]
    total = texts = 0.0
    for step, batch in enumerate(batches):
        each_step(step)
        loss = batch_loss(model, batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value}; use a lower learning rate")
        optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, max_norm)
        optim.step()
        total += value * len(batch.ids)
        texts += len(batch.ids)
    return total / max(1.0, texts)


@torch.no_grad()
def judged(model: Network, task: HeadTexts) -> tuple[float, list[list[float]]]:
    """The mean loss of a task's texts, and the probabilities of every label, a row a text."""
    model.eval()
    chances: list[list[float]] = [[] for _ in range(len(task))]
    total = 0.0
    for rows, batch in in_order(task, _EVAL_BATCH):
        features = model(batch.ids.to(model.device), batch.lengths).features
        logits = model.logits(features, task.head).cpu()
        total += float(head_loss(task.head, logits, batch.parts[0][2]))
        for row, values in zip(rows, probabilities(logits, task.head).tolist(), strict=True):
            chances[row] = values
    return total / max(1, len(task)), chances


def decided(head: Head, chances: scores.Chances) -> list[tuple[int, ...]]:
    """Labels from probabilities: the best one, or all that reach the head's thresholds (0.5 without)."""
    if not head.multi:
        return scores.most_probable(chances)
    return scores.above(chances, head.thresholds or (0.5,) * len(head.labels))


def score(head: Head, chances: scores.Chances, targets: scores.Targets) -> dict[str, object]:
    """`accuracy`, `macro_f1`, `f1` (label → F1) and `texts`."""
    predicted = decided(head, chances)
    values = scores.f1_per_class(predicted, targets, len(head.labels))
    return {
        "accuracy": scores.accuracy(predicted, targets),
        "macro_f1": scores.macro(values),
        "f1": dict(zip(head.labels, values, strict=True)),
        "texts": len(targets),
    }


def with_thresholds(
    head: Head, chances: scores.Chances, targets: Sequence[Sequence[int]], spread: float = 0.0
) -> Head:
    """`head` with the thresholds that are best on these texts (`scores.best_thresholds`), where it is
    multi-label.
    """
    if not head.multi:
        return head
    found = scores.best_thresholds(chances, targets, len(head.labels), spread)
    return Head(name=head.name, labels=head.labels, multi=True, role=head.role, thresholds=tuple(found))


def replace_heads(model: Network, heads: Iterable[Head]) -> None:
    """Exchange the descriptions of the model's heads for others of the same names."""
    by_name = {head.name: head for head in heads}
    model.config = model.config.replace(
        heads=tuple(by_name.get(head.name, head) for head in model.config.heads)
    )


def snapshot(model: EmotionModel) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: p.detach().clone() for name, p in model.state_dict().items()}


class RunningMean:
    """The weights of a model averaged over its steps, newer ones more: what decays is the old, by `decay`.

    Early on the mean is shorter, so that the first weights do not linger.
    """

    def __init__(self, model: EmotionModel, decay: float) -> None:
        self.weights = snapshot(model)
        self.steps = 0
        self._decay = decay
        self._model = model

    def follow(self, step: int) -> None:
        """Called before each step of an epoch: takes in what the step before it made."""
        if step:
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Take the model's present weights in."""
        self.steps += 1
        new = self._model.state_dict()
        keep = min(self._decay, self.steps / (9 + self.steps))
        learning = [name for name, p in self._model.named_parameters() if p.requires_grad]
        torch._foreach_lerp_([self.weights[n] for n in learning], [new[n] for n in learning], 1 - keep)


def falling(step: int, total: int, warmup: int) -> float:
    """The learning rate's factor: up from 0 over `warmup` steps, then down to 0 at `total`."""
    rise = min(1.0, (step + 1) / max(1, warmup))
    return rise * max(0.0, 1.0 - step / max(1, total))
