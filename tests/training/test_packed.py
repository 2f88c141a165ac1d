"""Packed text: rows, order, shares of a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError
from convai.text.segments import IGNORE, EncodedDialog, EncodedTurn
from convai.training.packed import StreamData, make_stream
from tests.tiny import FRAME
from tests.training.test_dialogues import BOS, EOS, S1, S2, corpus_of, same, take


def stream_of(n: int) -> dict[str, np.ndarray]:
    """Word i is i, so that a row tells where it was cut."""
    places = np.arange(n, dtype=np.int32)
    return {"ids": places, "segments": places % 2, "labels": np.where(places % 5 == 4, IGNORE, places + 1)}


def test_rows_of_a_stream() -> None:
    data = StreamData(stream_of(106), n_positions=10, batch_tokens=25)
    assert (data.rows, data.batch_rows, data.steps_per_epoch) == (10, 2, 5)
    rows = []
    for (batch,) in take(data, 5):
        assert batch.input_ids.shape == (2, 10)
        assert batch.mask is None
        assert batch.n_choices == 0
        assert batch.position_ids.tolist() == [list(range(10))] * 2
        assert torch.equal(batch.segment_ids, batch.input_ids % 2)
        flat = batch.input_ids.flatten()
        assert torch.equal(batch.lm_labels, flat[batch.lm_places] + 1)
        assert batch.lm_places.tolist() == [i for i in range(20) if flat[i] % 5 != 4]
        rows += batch.input_ids.tolist()
    assert sorted(rows) == [list(range(10 * i, 10 * i + 10)) for i in range(10)]
    assert rows != sorted(rows)
    second = [row for (batch,) in take(data, 5, 5) for row in batch.input_ids.tolist()]
    assert sorted(second) == sorted(rows)
    assert second != rows, "every epoch has an order of its own"


@given(
    n=st.integers(10, 120),
    batch_tokens=st.integers(5, 40),
    accumulation=st.integers(1, 3),
    world=st.integers(1, 3),
    start=st.integers(0, 12),
)
def test_stream_steps_skip_and_partition(
    n: int, batch_tokens: int, accumulation: int, world: int, start: int
) -> None:
    data = StreamData(
        stream_of(n), n_positions=10, batch_tokens=batch_tokens, accumulation=accumulation * world
    )
    whole = take(data, start + 2)
    ranks = [take(data, 2, start, rank=r, world=world) for r in range(world)]
    for step in range(2):
        for i, batch in enumerate(whole[start + step]):
            assert same(ranks[i % world][step][i // world], batch)
            assert batch.n_labels, "never an empty micro-batch, however short the text"
        assert sum(len(r[step]) for r in ranks) == accumulation * world


def test_a_text_too_short_is_said() -> None:
    with pytest.raises(DataError, match="fewer than 10 tokens; add more or lower --row-tokens"):
        StreamData(stream_of(9), n_positions=10)


def test_a_stream_is_all_dialogues_after_one_another() -> None:
    told = EncodedDialog([[1]], [EncodedTurn(USER, [2, 3]), EncodedTurn(AGENT, [4], ([5],))])
    stream = make_stream([corpus_of(told), corpus_of(told)], FRAME)
    assert stream["ids"].tolist() == [BOS, 1, S1, 2, 3, S2, 4] * 2
    assert stream["segments"].tolist() == [S2, S2, S1, S1, S1, S2, S2] * 2
    assert stream["labels"].tolist() == [IGNORE, IGNORE, 2, 3, EOS, 4, EOS] * 2
    assert {a.dtype for a in stream.values()} == {np.dtype(np.int32)}
