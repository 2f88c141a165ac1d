"""The step that a GPU records: the same numbers as the plain forward pass, padding and all."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from convai.engine.backends import InferenceModel, SlotSpan
from convai.engine.backends.cuda_graphs import padded
from convai.engine.backends.torch_backend import TorchBackend
from convai.model.shape import Family
from tests.tiny import WORDS, close, tiny_model


@pytest.mark.parametrize("family", get_args(Family))
@pytest.mark.parametrize("count", [1, 2, 3, 5])
@torch.inference_mode()
def test_a_padded_step_equals_the_plain_pass(family: Family, count: int) -> None:
    source = tiny_model(family)
    fast, backend = InferenceModel(source, "float32"), TorchBackend(source, "float32", torch.device("cpu"))
    pools = [fast.new_pool(6, 150) for _ in range(2)]
    spans = [SlotSpan(slot, 7 * slot, 1) for slot in range(5, 5 - count, -1)]
    for pool in pools:
        pool.data.normal_(generator=torch.Generator().manual_seed(2))
    ids = torch.randint(0, WORDS, (3, count), generator=torch.Generator().manual_seed(3))
    expected = fast.forward(ids[0], ids[1], ids[2], spans, pools[0])
    full, longest = padded(ids, spans, 150)
    assert (full.shape[1], longest) == ({1: 1, 2: 2, 3: 4, 5: 8}[count], 128)
    got = backend.step(full, longest, pools[1])
    assert close(got[:count], expected)
    assert close(pools[1].data, pools[0].data)


def test_the_places_read_stay_within_the_pool() -> None:
    ids = torch.zeros(3, 1, dtype=torch.long)
    for start, capacity, longest in [(0, 400, 128), (127, 400, 128), (128, 400, 256), (390, 400, 400)]:
        assert padded(ids, [SlotSpan(0, start, 1)], capacity)[1] == longest


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_recorded_steps_equal_the_cpus() -> None:
    source = tiny_model()
    there, here = InferenceModel(source, "float32", "cuda"), InferenceModel(source, "float32", "cpu")
    pools = there.new_pool(4, 100), here.new_pool(4, 100)
    for place in range(5):
        for count in (1, 3, 4):
            ids = torch.randint(0, WORDS, (3, count))
            spans = [SlotSpan(slot, place, 1) for slot in range(count)]
            expected = here.forward(ids[0], ids[1], ids[2], spans, pools[1])
            on = ids.cuda()
            got = there.forward(on[0], on[1], on[2], spans, pools[0])
            assert close(got.cpu(), expected, atol=1e-3)
