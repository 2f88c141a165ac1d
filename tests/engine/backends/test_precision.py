"""The precision that is computed in: chosen where nobody says, refused where there is none."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from convai.core.errors import SettingsError
from convai.engine.backends import InferenceModel, SlotSpan, native
from convai.engine.backends.precision import Requested, chosen
from convai.model.shape import Family
from tests.tiny import tiny_config, tiny_model

CPU = torch.device("cpu")
WIDE = tiny_config().replace(n_embd=64)  # heads of 32: the kernels can


@pytest.mark.parametrize("asked", ["float32", "bf16", "int8"])
def test_what_is_asked_for_is_taken(asked: Requested) -> None:
    assert chosen(asked, tiny_config(), CPU) == asked
    assert InferenceModel(tiny_model(), asked).precision == asked


def test_auto_is_int8_where_the_kernels_run_and_float32_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: object())
    assert chosen("auto", WIDE, CPU) == "int8"
    assert chosen("auto", tiny_config(), CPU) == "float32"  # heads of 8 fill no vector
    assert chosen("auto", WIDE, torch.device("mps")) == "float32"
    gemma = tiny_config("gemma3_text").replace(n_embd=64)
    assert chosen("auto", gemma, CPU) == "float32"  # the kernels know no windows
    assert chosen("auto", gemma.replace(family="llama"), CPU) == "int8"
    monkeypatch.setattr(native, "library", lambda: None)
    assert chosen("auto", WIDE, CPU) == "float32"


def test_bf16_on_cuda_where_it_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has: has)
        assert chosen("auto", WIDE, torch.device("cuda")) == ("bf16" if has else "float32")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingsError, match="precision='int4': use auto"):
        chosen(cast(Requested, "int4"), WIDE, CPU)
    with pytest.raises(SettingsError, match="precision=int8: cuda has none"):
        chosen("int8", WIDE, torch.device("cuda"))


@pytest.mark.parametrize("family", ["gpt2", "gemma3_text"])
def test_torchs_own_int8_is_near_float32(family: Family) -> None:
    source = tiny_model(family)
    words = positions = segments = torch.arange(9)
    exact, rough = (InferenceModel(source, precision) for precision in ("float32", "int8"))
    a, b = (
        m.forward(words, positions, segments, [SlotSpan(0, 0, 9)], m.new_pool(1, 9)) for m in (exact, rough)
    )
    assert 0 < float((a - b).norm() / a.norm()) < 0.06
    assert 0 < float((exact.lm_logits(a) - rough.lm_logits(a)).norm() / exact.lm_logits(a).norm()) < 0.06
