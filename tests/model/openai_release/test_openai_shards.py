from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import CheckpointError
from convai.model.openai_release.openai_shards import OpenAIShards
from tests.model.openai_release.releases import write_openai_gpt


def test_the_long_vector_is_cut_where_the_shapes_say(tmp_path: Path) -> None:
    variables = write_openai_gpt(tmp_path)
    shards = OpenAIShards(tmp_path)
    assert list(shards)[:4] == ["model/wpe", "model/wte", "model/h0/attn/c_attn/w", "model/h0/attn/c_attn/b"]
    assert list(shards) == list(variables)
    for name, array in variables.items():
        assert shards.shape(name) == array.shape
        assert np.array_equal(shards[name], array)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[48, 64", "not JSON"),
        ("{}", "expected a list of shapes"),
        ("[[48, 0]]", "expected a list of shapes"),
        ("[[48, true]]", "expected a list of shapes"),
        ("[" * 9999, "not JSON"),
        ("[[48, 64], [294, 64]]", "2 arrays are not two embeddings and 12 a block"),
        ("[[48, 64], [294, 64], [3]]", "3 arrays are not"),
        (json.dumps([[10**30, 10**30]] * 14), "asks for 1400"),
    ],
)
def test_shapes_that_are_none(tmp_path: Path, text: str, reason: str) -> None:
    write_openai_gpt(tmp_path)
    (tmp_path / "params_shapes.json").write_text(text)
    with pytest.raises(CheckpointError, match=reason):
        OpenAIShards(tmp_path)


def test_a_shard_that_is_missing_or_another_thing(tmp_path: Path) -> None:
    write_openai_gpt(tmp_path)
    (tmp_path / "params_9.npy").unlink()
    with pytest.raises(CheckpointError, match=r"asks for \d+ numbers, the 9 files params_\*.npy hold"):
        OpenAIShards(tmp_path)
    np.save(tmp_path / "params_9.npy", np.zeros((2, 2), "f4"))
    with pytest.raises(CheckpointError, match=r"params_9.npy: expected a vector of float32"):
        OpenAIShards(tmp_path)
    np.save(tmp_path / "params_9.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CheckpointError, match=r"params_9.npy: not an array"):
        OpenAIShards(tmp_path)
    (tmp_path / "params_0.npy").unlink()
    with pytest.raises(CheckpointError, match=r"params_0.npy: missing"):
        OpenAIShards(tmp_path)


@given(data=st.binary(max_size=150), begins=st.booleans())
def test_any_bytes_are_no_shard(tmp_path_factory: pytest.TempPathFactory, data: bytes, begins: bool) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    write_openai_gpt(folder)
    path = folder / "params_3.npy"
    path.write_bytes((path.read_bytes()[:70] if begins else b"") + data)
    with pytest.raises(CheckpointError):
        OpenAIShards(folder)
