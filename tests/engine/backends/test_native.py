"""The C kernels: the 8-bit arithmetic that they are to do, row by row, whatever is beside a row."""

from __future__ import annotations

from itertools import accumulate
from statistics import median
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from convai.engine.backends import InferenceModel, SlotSpan, native, native_backend
from convai.engine.backends.team import Team
from convai.model.double_heads import DoubleHeadsModel
from convai.model.gpt import Block
from convai.model.shape import Family, RopeScaling, Shape
from tests.engine.backends import eight_bit
from tests.tiny import randomize

pytestmark = pytest.mark.skipif(
    native.library() is None, reason="the kernels are not compiled here, or not for this processor"
)

VOCABULARY, POSITIONS = 101, 90  # neither is a multiple of anything


KINDS: tuple[Family, ...] = ("gpt2", "openai-gpt", "llama", "qwen3")


def model(
    family: Family = "gpt2", width: int = 96, heads: int = 3, inner: int | None = None, **more: Any
) -> DoubleHeadsModel:
    config = Shape(
        family=family,
        vocab_size=VOCABULARY,
        n_positions=POSITIONS,
        n_embd=width,
        n_layer=2,
        n_head=heads,
        n_inner=inner,
        **more,
    )
    source = DoubleHeadsModel(config.without_dropout()).eval()
    randomize(source)
    return source


def tokens(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    words, segments = torch.randint(0, VOCABULARY, (2, count), generator=g)
    return words, torch.arange(count), segments


def whole(fast: InferenceModel, count: int, seed: int = 0) -> Tensor:
    return fast.forward(*tokens(count, seed), [SlotSpan(0, 0, count)], fast.new_pool(1, count))


def error(got: Tensor, expected: Tensor) -> float:
    """The relative root mean square error."""
    return float((got.double() - expected).norm() / expected.norm())


SHAPES: list[dict[str, Any]] = [
    {},  # heads of 32
    {"family": "openai-gpt"},
    {"width": 48, "inner": 80},  # heads of 16, inputs that are padded
    {"family": "openai-gpt", "width": 128, "heads": 2},  # heads of 64
    {"width": 160, "heads": 2, "inner": 208},  # heads of 80: a whole piece of 64 and a rest
    {"family": "llama"},
    {
        "family": "llama",
        "width": 192,
        "heads": 3,
        "n_kv_head": 1,
        "inner": 112,
    },  # heads of 64, one key for all
    {"family": "llama", "heads": 6, "n_kv_head": 1, "head_size": 32},  # more heads of a key than go together
    {"family": "llama", "heads": 4, "n_kv_head": 2, "head_size": 96, "tied": False},
    {"family": "llama", "attention_bias": True, "mlp_bias": True, "rope_theta": 300.0},
    {"family": "llama", "rope_scaling": RopeScaling(8.0, 1.0, 4.0, 20)},
    {"family": "qwen3", "heads": 4, "n_kv_head": 2, "head_size": 64},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
@pytest.mark.parametrize("count", [1, 2, 19, 90])
@torch.inference_mode()
def test_a_sequence_is_what_its_arithmetic_says(shape: dict[str, Any], count: int) -> None:
    source = model(**shape)
    assert native_backend.available(source.config)
    fast = InferenceModel(source, "int8")
    errors: list[float] = []
    for seed in range(4):
        got = whole(fast, count, seed)
        wanted = eight_bit.hidden(source, *tokens(count, seed))
        errors += (error(a, b) for a, b in zip(got, wanted, strict=True))
    # a number within float32's rounding of a half may go to its other side, a step of 1/127: not in most rows
    assert max(errors) < 0.1
    assert median(errors) < 1e-4
    assert (
        error(
            fast.lm_logits(got),
            eight_bit.linear(got.double(), source.output_weight, group=eight_bit.group_of(source)),
        )
        < 1e-5
    )


@pytest.mark.parametrize("family", KINDS)
def test_chunks_and_steps_after_them_equal_the_whole(family: Family) -> None:
    fast = InferenceModel(model(family), "int8")
    words, positions, segments = tokens(60)
    expected = whole(fast, 60)
    pool = fast.new_pool(3, 60)
    counts = [1, 17, 2, 1, 1, 30, 1, 3, 4]
    for start, count in zip(accumulate([0, *counts]), counts, strict=False):
        part = slice(start, start + count)
        got = fast.forward(words[part], positions[part], segments[part], [SlotSpan(2, start, count)], pool)
        assert error(got, expected[part].double()) < 2e-2


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_not_asked_for_changes_nothing(family: Family, threads: int) -> None:
    fast = InferenceModel(model(family), "int8", threads=threads)
    counts, wanted = [30, 1, 9, 1, 20], [1, 1, 0, 0, 4]
    words, positions, segments = tokens(sum(counts))
    pools = [fast.new_pool(5, 30) for _ in range(2)]
    spans = [SlotSpan(i, 0, count) for i, count in enumerate(counts)]
    everything = fast.forward(words, positions, segments, spans, pools[0])
    some = [SlotSpan(i, 0, *both) for i, both in enumerate(zip(counts, wanted, strict=True))]
    got = fast.forward(words, positions, segments, some, pools[1])
    ends = accumulate(counts)
    expected = [everything[end - n : end] for end, n in zip(ends, wanted, strict=True)]
    assert error(got, torch.cat(expected).double()) < 2e-2
    assert torch.equal(pools[0].data, pools[1].data), "the keys and values of all are stored"
    none = [SlotSpan(i, 0, count, 0) for i, count in enumerate(counts)]
    assert fast.forward(words, positions, segments, none, pools[1]).shape == (0, 96)


GROUPED: dict[str, Any] = {"family": "llama", "width": 192, "n_kv_head": 1, "inner": 208}
"""A model whose products' inputs are in several groups, the last of which may be smaller."""


@pytest.mark.parametrize("shape", [{}, GROUPED], ids=["gpt2", "llama"])
@pytest.mark.parametrize("rows", range(1, 31))
def test_a_row_of_a_batch_is_the_row_alone_bit_for_bit(rows: int, shape: dict[str, Any]) -> None:
    fast = InferenceModel(model(**shape), "int8")
    pool = fast.new_pool(rows, 9)
    for slot in range(rows):
        fast.forward(*tokens(slot % 8 + 1, slot), [SlotSpan(slot, 0, slot % 8 + 1)], pool)
    words, _, segments = tokens(rows, seed=99)
    spans = [SlotSpan(slot, slot % 8 + 1, 1) for slot in range(rows)]
    positions = torch.tensor([span.start for span in spans])
    together = fast.forward(words, positions, segments, spans, pool)
    logits = fast.lm_logits(together)
    for row, span in enumerate(spans):
        part = slice(row, row + 1)
        alone = fast.forward(words[part], positions[part], segments[part], [span], pool)
        assert torch.equal(alone[0], together[row])
        assert torch.equal(fast.lm_logits(alone)[0], logits[row])


def test_prompts_side_by_side_are_the_prompts_alone_bit_for_bit() -> None:
    fast = InferenceModel(model(), "int8")
    counts = [50, 1, 13, 2, 61]
    parts = [tokens(count, seed) for seed, count in enumerate(counts)]
    first = [0, *accumulate(counts)]
    spans = [SlotSpan(slot, 0, count) for slot, count in enumerate(counts)]
    words, positions, segments = (torch.cat(ids) for ids in zip(*parts, strict=True))
    got = fast.forward(words, positions, segments, spans, fast.new_pool(5, 70))
    for seed, count in enumerate(counts):
        assert torch.equal(got[first[seed] : first[seed + 1]], whole(fast, count, seed))


@pytest.mark.parametrize("shape", [{}, {"family": "openai-gpt"}, GROUPED], ids=["gpt2", "gpt", "llama"])
@pytest.mark.parametrize("count", [1, 4, 5, 77])
def test_threads_change_nothing(shape: dict[str, Any], count: int) -> None:
    source = model(**shape)
    one, three = InferenceModel(source, "int8", threads=1), InferenceModel(source, "int8", threads=3)
    assert torch.equal(whole(one, count), whole(three, count))
    assert torch.equal(one.lm_logits(whole(one, 7)), three.lm_logits(whole(one, 7)))


@pytest.mark.parametrize("threads", [1, 2])
def test_passes_tell_how_much_processor_time_their_threads_had(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    told: list[tuple[int, float, float]] = []
    monkeypatch.setattr(Team, "tell", lambda team, *spent: told.append(spent))
    fast = InferenceModel(model(), "int8", threads=threads)
    fast.lm_logits(whole(fast, 60))
    assert [team for team, _, _ in told] == [threads, threads]
    assert all(wall > 0 and busy > 0 for _, wall, busy in told)


def test_numbers_that_are_none_come_out_as_such() -> None:
    source = model()
    with torch.no_grad():
        cast(Block, source.transformer.h[0]).mlp.c_fc.bias[3] = torch.nan
    fast = InferenceModel(source, "int8")
    assert whole(fast, 5).isnan().all()
    hidden = torch.zeros(2, 96)
    hidden[0, 5] = torch.inf
    logits = fast.lm_logits(hidden)
    assert logits[0].isnan().all()
    assert torch.equal(logits[1], torch.zeros(VOCABULARY))


def test_what_a_slot_held_before_is_not_read() -> None:
    fast = InferenceModel(model(), "int8")
    pool = fast.new_pool(2, 20)
    pool.data.fill_(torch.nan)
    got = fast.forward(*tokens(7), [SlotSpan(1, 0, 7)], pool)
    assert torch.equal(got, whole(fast, 7))


@pytest.mark.parametrize("bad", [-1, VOCABULARY])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_ids_that_the_model_lacks_are_refused(bad: int, place: int) -> None:
    fast = InferenceModel(model(), "int8")
    ids = tokens(3)
    ids[place][2] = bad
    with pytest.raises(IndexError, match="the model has no"):
        fast.forward(*ids, [SlotSpan(0, 0, 3)], fast.new_pool(1, 3))


def test_heads_that_fill_no_vector_are_left_to_torch() -> None:
    odd = InferenceModel(model(width=24, heads=3), "int8")
    assert odd.new_pool(1, 1).data.dtype == torch.float32
    assert InferenceModel(model(), "int8").new_pool(1, 1).data.dtype == torch.float16
