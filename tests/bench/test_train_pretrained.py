"""`convai bench train --size smol`: both sides learn the same from the same rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from convai.bench import train_pretrained
from convai.model.checkpoint import load_model
from convai.model.shape import Shape
from convai.text.segments import IGNORE, dialogue_tree
from convai.training.batches import collate
from convai.training.losses import compute_losses

SHAPE = Shape(
    family="llama", vocab_size=60, n_positions=512, n_embd=32, n_layer=2, n_head=4, n_kv_head=2, n_inner=48
).without_dropout()


def test_the_plain_loop_and_ours_have_one_loss(tmp_path: Path) -> None:
    plain = train_pretrained.PlainTraining(SHAPE, None)
    plain.model.save_pretrained(tmp_path)
    dialogs = list(itertools.islice(train_pretrained.dialogues(SHAPE.vocab_size, 1), 3))
    rows = [dialogue_tree(plain.frame, d.persona, d.turns, choices=False) for d in dialogs]
    batch = collate(rows, plain.frame.pad_id)
    ours = compute_losses(load_model(tmp_path), batch).lm / batch.n_labels
    longest = max(map(len, rows))
    ids = torch.tensor([r.ids + [0] * (longest - len(r)) for r in rows])
    labels = torch.tensor([[IGNORE, *r.labels[:-1]] + [IGNORE] * (longest - len(r)) for r in rows])
    theirs = plain.model(input_ids=ids, labels=labels).loss
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_step_of_ours_changes_the_model(rank: int) -> None:
    ours = train_pretrained.OurTraining(SHAPE, None, rank=rank)
    before = [p.detach().clone() for p in ours.model.parameters() if p.requires_grad]
    ours.step(list(itertools.islice(train_pretrained.dialogues(SHAPE.vocab_size, 1), 2)))
    after = [p.detach() for p in ours.model.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_all_contenders_are_measured() -> None:
    found: dict[str, Any] = train_pretrained.measure(SHAPE, rounds=1)
    assert set(found["ratios"]) == {"full", "lora"}
    assert set(found["targets_per_s"]) == set(train_pretrained.CONTENDERS)
    assert all(rate > 0 for rate in found["targets_per_s"].values())
