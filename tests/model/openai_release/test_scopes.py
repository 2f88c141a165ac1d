from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import CheckpointError
from convai.model.double_heads import Transformer
from convai.model.openai_release.scopes import walk
from tests.model.openai_release.releases import gpt_variables
from tests.tiny import tiny_config


def trunk(family: str = "gpt2") -> Transformer:
    with torch.device("meta"):
        return Transformer(tiny_config("gpt2" if family == "gpt2" else "openai-gpt"))


NAMES = {name: a.shape for name, a in gpt_variables(35, 160, 16, 2, last_norm=True).items()}


def test_every_variable_finds_its_parameter_and_the_other_way_round() -> None:
    found = walk(trunk(), NAMES, NAMES.__getitem__, "x")
    assert (found.unused, found.missing) == ([], [])
    assert sorted(found.found.values()) == sorted(name for name, _ in trunk().named_parameters())
    assert found.found["model/h1/attn/c_attn/w"] == "h.1.attn.c_attn.weight"
    assert found.found["model/h0/ln_2/g"] == "h.0.ln_2.weight"
    assert found.found["model/wpe"] == "wpe.weight"


def test_openai_gpt_has_no_last_norm() -> None:
    found = walk(trunk("openai-gpt"), NAMES, NAMES.__getitem__, "x")
    assert found.unused == ["model/ln_f/g", "model/ln_f/b"]
    assert found.missing == []


def test_what_is_missing_goes_by_the_name_that_it_would_have() -> None:
    gone = ["model/wte", "model/h0/ln_1/g", "model/h1/mlp/c_fc/b", "model/h1/mlp/c_proj/w", "model/ln_f/b"]
    left = [name for name in NAMES if name not in gone]
    found = walk(trunk(), left, NAMES.__getitem__, "x")
    assert sorted(found.missing) == sorted(gone)


OTHERS = (
    *("global_step", "beta1_power", "model", "model/", "model/w", "model/h2/ln_1/g", "model/h0"),
    *("model/h/0/ln_1/g", "model/h0/ln_1/x", "model/h0/mlp/c_fc"),
    *("model/h0/attn/c_attn/w/Adam", "model/h0/attn", "model/forward", "model/wte/weight/w", "model/drop/w"),
    *("model/h99999999999/ln_1/g", "other/wte", "model/h0/attn/resid_dropout/b", "model/__class__/b"),
)


@pytest.mark.parametrize("name", OTHERS)
def test_what_leads_nowhere_is_told(name: str) -> None:
    found = walk(trunk(), [*NAMES, name], lambda n: NAMES.get(n, ()), "x")
    assert (found.unused, found.missing) == ([name], [])


@given(st.text("modelh0/wbg_", max_size=20))
def test_any_name_is_walked(name: str) -> None:
    found = walk(trunk(), [name], lambda n: (7, 7, 7, 7), "x") if name not in NAMES else None
    assert found is None or found.unused == [name]


def test_another_shape_and_two_of_one_are_refused() -> None:
    shapes = dict(NAMES) | {"model/h0/mlp/c_fc/w": (1, 64, 16)}  # transposed
    with pytest.raises(
        CheckpointError, match=r"SRC: model/h0/mlp/c_fc/w has shape \(1, 64, 16\).*c_fc.weight \(16, 64\)"
    ):
        walk(trunk(), shapes, shapes.__getitem__, "SRC")
    with pytest.raises(CheckpointError, match="model/ln_f/w and model/ln_f/g are the same parameter"):
        walk(trunk(), [*NAMES, "model/ln_f/w"], lambda n: NAMES.get(n, (16,)), "SRC")
