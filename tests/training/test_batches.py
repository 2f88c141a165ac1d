from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.text.segments import IGNORE, EncodedDialog, TokenSequence, dialogue_tree, utterance_sequences
from convai.training.batches import Batch, collate, length_buckets, tree_mask
from convai.training.losses import compute_losses
from convai.training.preferences import RatedReplies
from tests.tiny import CORPUS, FRAME, SPECIAL, as_trees, as_utterances, dialogs, tiny_model

PAD = SPECIAL.pad_id


# -- collation


def test_rows_are_padded_to_the_longest() -> None:
    rows = as_trees(CORPUS)
    batch = collate(rows, PAD)
    longest = max(map(len, rows))
    assert batch.input_ids.shape == batch.position_ids.shape == batch.segment_ids.shape == (4, longest)
    assert batch.mask is not None
    assert batch.mask.shape == (4, 1, longest, longest)
    for i, row in enumerate(rows):
        n = len(row)
        assert batch.input_ids[i].tolist() == row.ids + [PAD] * (longest - n)
        assert batch.position_ids[i].tolist() == row.positions + [0] * (longest - n)
        assert batch.segment_ids[i].tolist() == row.segments + [PAD] * (longest - n)


@given(corpus=st.lists(dialogs, min_size=1, max_size=4))
def test_places_point_at_labels_and_at_eos(corpus: list[EncodedDialog]) -> None:
    rows = as_trees(corpus)
    batch = collate(rows, PAD)
    flat = batch.input_ids.flatten()
    labels = [label for row in rows for label in row.labels if label != IGNORE]
    assert batch.lm_labels.tolist() == labels
    assert batch.n_labels == len(labels)
    width = batch.input_ids.shape[1]
    for place, label in zip(batch.lm_places.tolist(), batch.lm_labels.tolist(), strict=True):
        assert rows[place // width].labels[place % width] == label
    choices = [choice for row in rows for choice in row.choices]
    assert batch.n_choices == len(choices)
    for places, choice in zip(batch.mc_places.tolist(), choices, strict=True):
        padding = len(places) - len(choice)
        assert places[:padding] == [-1] * padding, "padding is on the left, so that gold is the last column"
        assert [flat[p] for p in places[padding:]] == [SPECIAL.eos_id] * len(choice)


def test_candidates_of_a_reply_are_consecutive_rows() -> None:
    rows, groups = as_utterances(CORPUS)
    assert groups == [3, 4, 1, 2, 2]
    batch = collate(rows, PAD, groups=groups)
    assert batch.mask is None, "sequences without branches are causal"
    width = batch.input_ids.shape[1]
    ends = [i * width + len(row) - 1 for i, row in enumerate(rows)]
    # the third reply has no other candidate than itself: no choice
    assert batch.mc_places.tolist() == [
        [-1, *ends[0:3]],
        ends[3:7],
        [-1, -1, *ends[8:10]],
        [-1, -1, *ends[10:12]],
    ]


def test_a_reply_without_distractors_is_no_choice() -> None:
    (row,) = utterance_sequences(FRAME, [], CORPUS[0].turns[:5], CORPUS[0].turns[5])
    for batch in (collate([row], PAD), collate([row], PAD, groups=[1])):
        assert batch.mc_places.shape == (0, 0)
        assert batch.n_choices == 0


def test_a_batch_moves_whole() -> None:
    trees = as_trees(CORPUS)
    batch = collate(trees, PAD, rated=[True] * len(trees), end_id=FRAME.end_id)
    moved = batch.to("cpu")
    assert batch.rated is not None
    assert moved.rated is not None
    for name in Batch.__slots__:
        if name != "rated":
            assert torch.equal(getattr(moved, name), getattr(batch, name))
    for name in RatedReplies.__slots__:
        assert torch.equal(getattr(moved.rated, name), getattr(batch.rated, name))
    causal = collate([dialogue_tree(FRAME, [], CORPUS[2].turns)], PAD).to("meta")
    assert causal.mask is None
    assert causal.input_ids.device.type == "meta"


# -- the mask of branches


@given(corpus=st.lists(dialogs, min_size=1, max_size=3), padding=st.integers(0, 3))
def test_the_mask_is_its_definition(corpus: list[EncodedDialog], padding: int) -> None:
    rows = as_trees(corpus)
    length = max(map(len, rows)) + padding
    mask = tree_mask(rows, length)
    if all(row.is_causal for row in rows):
        assert mask is None
        return
    assert mask is not None
    for b, row in enumerate(rows):
        n = len(row)
        for i in range(length):
            allowed = {j for j in range(length) if mask[b, 0, i, j]}
            if i >= n:
                assert allowed == {i}, "padding sees itself: something, or its softmax would be 0 / 0"
                continue
            trunk = {j for j in range(n) if row.branch[j] == 0 and j <= row.limit[i]}
            own = {j for j in range(i + 1) if row.branch[j] == row.branch[i]} if row.branch[i] else set()
            assert allowed == trunk | own


def test_a_distractor_is_not_seen_by_anything_that_follows() -> None:
    tree = as_trees(CORPUS)[0]
    mask = tree_mask([tree], len(tree))
    assert mask is not None
    for place in range(len(tree)):
        seen = {tree.branch[j] for j in range(len(tree)) if mask[0, 0, place, j]}
        assert seen <= {0, tree.branch[place]}


# -- length buckets


@given(
    lengths=st.lists(st.integers(1, 50), max_size=60),
    budget=st.integers(1, 200),
    pool=st.integers(1, 70),
    seed=st.randoms(use_true_random=False),
)
def test_buckets_hold_everything_once_within_the_budget(
    lengths: list[int], budget: int, pool: int, seed: object
) -> None:
    order = list(range(len(lengths)))
    seed.shuffle(order)  # type: ignore[attr-defined]
    groups = list(length_buckets(lengths, order, budget, pool))
    assert sorted(i for group in groups for i in group) == sorted(order)
    for group in groups:
        assert group
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget
    # rows of a group come from one pool
    for group in groups:
        assert len({order.index(i) // pool for i in group}) == 1
    assert groups == list(length_buckets(lengths, order, budget, pool))


def test_buckets_keep_alike_lengths_together() -> None:
    lengths = [9, 1, 8, 2, 9, 1]
    assert list(length_buckets(lengths, range(6), 20)) == [[1, 5, 3], [2, 0], [4]]
    assert list(length_buckets([], [], 20)) == []
    assert list(length_buckets([99, 1], [0, 1], 20)) == [[1], [0]], "too long for the budget: by itself"


@pytest.mark.parametrize("batch_tokens", [1, 60, 120, 5000])
def test_bucketed_batches_add_up_to_single_rows(batch_tokens: int) -> None:
    model = tiny_model()
    rows: list[TokenSequence] = as_trees(CORPUS * 2)

    def totals(groups: list[list[int]]) -> tuple[list[float], list[int]]:
        sums, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(3, dtype=torch.long)
        with torch.no_grad():
            for group in groups:
                losses = compute_losses(model, collate([rows[i] for i in group], PAD))
                sums += torch.tensor([float(losses.lm), float(losses.mc)])
                counts += torch.tensor([losses.n_labels, losses.n_choices, losses.hits])
        return sums.tolist(), counts.tolist()

    bucketed = list(length_buckets([len(r) for r in rows], range(len(rows)), batch_tokens))
    sums, counts = totals(bucketed)
    expected_sums, expected_counts = totals([[i] for i in range(len(rows))])
    assert counts == expected_counts
    assert sums == pytest.approx(expected_sums, rel=1e-5)
    assert len(bucketed) == {1: 8, 5000: 1}.get(batch_tokens, len(bucketed))
