from __future__ import annotations

import pytest
import torch

from convai.model.hidden_states import recorded
from convai.model.shape import Family
from tests.tiny import FAMILIES, close, inputs, tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_each_state_is_what_the_next_part_begins_with(family: Family) -> None:
    model = tiny_model(family)
    words, positions, segments = inputs()
    with recorded(model.transformer) as states:
        hidden = model(words, positions, segments)
    assert len(states) == (4 if family == "gpt2" else 3)
    x = states[0]
    for block, state in zip(model.transformer.h, states[1:], strict=False):
        x = block(x, None)
        assert close(x, state, 1e-6)
    assert torch.equal(states[-1], hidden)
    model(words, positions, segments)
    assert len(states) == (4 if family == "gpt2" else 3), "nothing is kept after the context"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_flow_through_the_states_of_the_blocks(checkpointing: bool) -> None:
    gradients = []
    for recompute in (False, checkpointing):
        model = tiny_model().train()
        model.gradient_checkpointing = recompute
        with recorded(model.transformer, ends=False) as states:
            model(*inputs())
        assert len(states) == 2
        states[0].square().sum().backward()
        gradient = model.transformer.h[0].mlp.c_fc.weight.grad  # type: ignore[union-attr]
        assert isinstance(gradient, torch.Tensor)
        gradients.append(gradient)
        assert model.transformer.wpe.weight.grad is not None
    assert close(gradients[0], gradients[1], 1e-4)
