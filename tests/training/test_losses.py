from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import convai.training.losses as losses_module
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from convai.text.segments import IGNORE, NOBODY, EncodedDialog, dialogue_tree
from convai.training.batches import Batch, collate
from convai.training.losses import choice_scores, compute_losses, linear_cross_entropy
from tests.tiny import CORPUS, FAMILIES, FRAME, SPECIAL, as_trees, close, dialogs, tiny_model


def full_losses(model: DoubleHeadsModel, corpus: list[EncodedDialog]) -> tuple[float, float, int]:
    """Both losses as the equations say: all the vocabulary's logits everywhere, a choice at a time."""
    lm = mc = 0.0
    hits = 0
    for dialog in corpus:
        tree = dialogue_tree(FRAME, dialog.persona, dialog.turns)
        batch = collate([tree], SPECIAL.pad_id)
        hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
        logits = hidden[0] @ model.transformer.wte.weight.T
        labels = torch.tensor(tree.labels)
        lm += float(F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum").nan_to_num())
        for places in tree.choices:
            summary = model.multiple_choice_head.summary
            scores = [float(hidden[0, p] @ summary.weight[0] + summary.bias) for p in places]
            mc -= scores[-1] - math.log(sum(map(math.exp, scores)))
            hits += scores[-1] > max(scores[:-1])
    return lm, mc, hits


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(corpus=st.lists(dialogs, min_size=1, max_size=4))
def test_logits_at_the_labels_are_enough(family: Family, corpus: list[EncodedDialog]) -> None:
    """Replies with two, three or four candidates side by side, and such with none."""
    model = tiny_model(family)
    with torch.no_grad():
        losses = compute_losses(model, collate(as_trees(corpus), SPECIAL.pad_id))
        lm, mc, hits = full_losses(model, corpus)
    assert losses.n_labels == sum(label != IGNORE for tree in as_trees(corpus) for label in tree.labels)
    assert losses.n_choices == sum(len(tree.choices) for tree in as_trees(corpus))
    assert float(losses.lm) == pytest.approx(lm, rel=1e-5, abs=1e-4)
    assert float(losses.mc) == pytest.approx(mc, rel=1e-5, abs=1e-4)
    assert losses.hits == hits


def test_only_labelled_states_meet_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []

    def spy(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        shapes.append((tuple(hidden.shape), tuple(labels.shape)))
        return linear_cross_entropy(hidden, weight, labels)

    monkeypatch.setattr(losses_module, "linear_cross_entropy", spy)
    batch = collate(as_trees(CORPUS), SPECIAL.pad_id)
    n = compute_losses(tiny_model(), batch).n_labels
    assert shapes == [((n, 16), (n,))]
    assert n < batch.input_ids.numel() / 3


def choosing(places: list[list[int]]) -> Batch:
    """A batch with these choices."""
    return replace(collate(as_trees(CORPUS), SPECIAL.pad_id), mc_places=torch.tensor(places))


def test_candidates_that_are_not_there_have_no_chance() -> None:
    model = tiny_model()
    hidden = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scores = choice_scores(model, hidden, choosing([[-1, 2, 4], [0, 6, 9]]))
    flat = hidden.reshape(10, 16)
    assert scores[0, 0] == -math.inf
    assert close(scores[0, 1:], model.mc_logits(flat[[2, 4]]), 1e-6)
    assert close(scores[1], model.mc_logits(flat[[0, 6, 9]]), 1e-6)
    F.cross_entropy(scores, torch.tensor([2, 2])).backward()
    gradient = hidden.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    used = gradient.reshape(10, 16).any(1).nonzero()[:, 0].tolist()
    assert used == [0, 2, 4, 6, 9], "padding points nowhere"


def test_half_precision_scores_are_compared_in_full() -> None:
    model = tiny_model().bfloat16()
    scores = choice_scores(model, torch.randn(1, 4, 16).bfloat16(), choosing([[-1, 3]]))
    assert scores.dtype == torch.float32
    losses = compute_losses(model, collate(as_trees(CORPUS), SPECIAL.pad_id))
    assert (losses.lm.dtype, losses.mc.dtype) == (torch.float32, torch.float32)


def test_a_batch_with_nothing_to_learn_has_no_loss_and_no_gradient() -> None:
    silent = Batch(
        torch.zeros(1, 3, dtype=torch.long),
        torch.arange(3)[None],
        torch.zeros(1, 3, dtype=torch.long),
        None,
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 0, dtype=torch.long),
        *[torch.full((1, 3), NOBODY)] * 3,
    )
    model = tiny_model()
    losses = compute_losses(model, silent)
    assert (float(losses.lm.detach()), float(losses.mc.detach())) == (0.0, 0.0)
    assert (losses.n_labels, losses.n_choices, losses.hits) == (0, 0, 0)
    (losses.lm + losses.mc).backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
