"""Which layers learn when, and that the others stay as they are to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from convai.core.errors import SettingsError
from convai.core.settings import TrainConfig
from convai.model.adapters import adapt
from convai.model.double_heads import DoubleHeadsModel
from convai.training.optim import Optimizers
from convai.training.unfreezing import Unfreezing, keep_last_blocks
from tests.tiny import FAMILIES, inputs, tiny_model

TOP = {"transformer.ln_f", "multiple_choice_head", "transformer.h.1"}


def learning(model: DoubleHeadsModel) -> set[str]:
    """The parts of a two-block model with parameters that learn."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    parts = [
        *("transformer.h.0", "transformer.h.1", "transformer.wte", "transformer.wpe"),
        *("transformer.ln_f", "multiple_choice_head"),
    ]
    return {part for part in parts if any(name.startswith(part + ".") for name in names)}


def one_step(model: DoubleHeadsModel, optimizers: Optimizers, seed: int) -> None:
    hidden = model(*inputs(seed=seed))
    (model.lm_logits(hidden).logsumexp(-1).mean() + model.mc_logits(hidden).square().mean()).backward()
    optimizers.clip(1.0)
    optimizers.step()
    optimizers.zero_grad()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_block_more_every_epoch_and_what_is_frozen_does_not_move(family: Any, optimizer: Any) -> None:
    """Three groups, a new one every second step; weight decay and momentum touch none of the others."""
    model = tiny_model(family)
    config = TrainConfig(optimizer=optimizer, unfreeze_every=0.5, weight_decay=0.1, lr=1e-2, muon_lr=1e-2)
    unfreezing, optimizers = Unfreezing(model, config, 4.0, 8), Optimizers(model, config)
    top = TOP if family == "gpt2" else TOP - {"transformer.ln_f"}
    stages = [top, top | {"transformer.h.0"}, {*top, "transformer.h.0", "transformer.wte", "transformer.wpe"}]
    for step in range(8):
        unfreezing.set(step)
        expected = stages[min(2, step // 2)]
        assert learning(model) == expected
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        one_step(model, optimizers, step)
        moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert {name for name, p in model.named_parameters() if p.requires_grad} == moved


def test_what_learns_follows_from_the_step_alone() -> None:
    model = tiny_model()
    unfreezing = Unfreezing(model, TrainConfig(unfreeze_every=1.0), 3.0, 100)
    unfreezing.set(50)
    assert all(p.requires_grad for p in model.parameters())
    unfreezing.set(0)
    assert learning(model) == TOP
    assert [unfreezing.learning(step) for step in (0, 2, 3, 5, 6, 99)] == [1, 1, 2, 2, 3, 3]


def test_several_processes_have_shorter_epochs() -> None:
    unfreezing = Unfreezing(tiny_model(), TrainConfig(unfreeze_every=1.0), 3 / 2, 100)
    assert [unfreezing.learning(step) for step in range(4)] == [1, 1, 2, 3]


def test_off_is_off() -> None:
    model = tiny_model()
    Unfreezing(model, TrainConfig(), 3.0, 1).set(0)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("every", [1.0, 0.7, 0.5, 1e-3])
def test_a_run_too_short_says_what_would_do(every: float) -> None:
    """And what it says does."""
    steps = 1 if every == 1e-3 else 8
    per_epoch = 10_000.0 if every == 1e-3 else 8.0
    with pytest.raises(SettingsError, match=r"all 3 groups of layers learn; use .* or less") as error:
        Unfreezing(tiny_model(), TrainConfig(unfreeze_every=every), per_epoch, steps)
    advice = float(str(error.value).partition("use ")[2].split()[0])
    told = Unfreezing(tiny_model(), TrainConfig(unfreeze_every=advice), per_epoch, steps)
    assert told.learning(steps) == 3


def test_no_block_leaves_the_next_sentence_head() -> None:
    model = tiny_model()
    keep_last_blocks(model, 0)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"multiple_choice_head"}


def test_no_block_of_an_adapted_model_leaves_its_adapter_as_it_is() -> None:
    model = tiny_model()
    adapt(model, TrainConfig(lora_rank=2))
    keep_last_blocks(model, 0)
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"multiple_choice_head"}


def test_the_last_blocks_and_what_lies_above_them() -> None:
    model = tiny_model()
    keep_last_blocks(model, 1)
    assert learning(model) == TOP
    optimizers = Optimizers(model, TrainConfig(optimizer="muon"))
    assert {id(p) for p in optimizers.parameters} == {id(p) for p in model.parameters() if p.requires_grad}
    # gradual unfreezing does not reach below them
    unfreezing = Unfreezing(model, TrainConfig(unfreeze_every=1.0), 1.0, 5)
    unfreezing.set(4)
    assert learning(model) == TOP
    all_blocks = tiny_model()
    keep_last_blocks(all_blocks, 2)
    assert learning(all_blocks) == TOP | {"transformer.h.0"}
    with pytest.raises(SettingsError, match="last_blocks=3: the model has 2; use 0 to 2"):
        keep_last_blocks(tiny_model(), 3)
