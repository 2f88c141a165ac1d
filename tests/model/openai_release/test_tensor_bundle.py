"""TensorFlow's checkpoints: its own, ones like it, and hostile ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import CheckpointError
from convai.model.openai_release.compare import states_of
from convai.model.openai_release.conversion import build, read
from convai.model.openai_release.reference import hidden_states
from convai.model.openai_release.tensor_bundle import TensorBundle
from tests.model.openai_release.releases import entry, field, number, table, write_bundle

REAL = Path(__file__).parent / "tensorflow"


def test_what_tensorflow_wrote_and_computed() -> None:
    """The reader, the walk, our model and the numpy reference against TensorFlow itself."""
    expected = json.loads((REAL / "states.json").read_text())
    ids = np.array(expected["ids"])
    with pytest.raises(CheckpointError, match=r"2 checkpoints \(model.ckpt.index, sliced.ckpt.index\)"):
        read(REAL)
    bundle = TensorBundle(REAL / "model.ckpt")
    settings = json.loads((REAL / "hparams.json").read_text())
    from convai.model.shape import Shape

    config = Shape(
        vocab_size=settings["n_vocab"],
        n_positions=settings["n_ctx"],
        n_embd=settings["n_embd"],
        n_head=settings["n_head"],
        n_layer=settings["n_layer"],
    )
    assert bundle["global_step"].dtype == np.int64
    found, model = build(bundle, config, "here")
    assert found.unused == ["global_step"]
    for states in (states_of(model, ids), hidden_states(bundle, config, ids)):
        assert len(states) == len(expected["states"]) == 5
        for ours, theirs in zip(states, expected["states"], strict=True):
            np.testing.assert_allclose(ours, np.array(theirs), rtol=0, atol=1e-5)


def test_slices_and_strings_are_refused_by_name() -> None:
    bundle = TensorBundle(REAL / "sliced.ckpt")
    with pytest.raises(CheckpointError, match="model/wte is stored in slices"):
        bundle["model/wte"]
    with pytest.raises(CheckpointError, match="name has the type 7"):
        bundle["name"]


arrays = st.sampled_from(["f4", "f8", "f2", "i4", "i8"]).flatmap(
    lambda kind: st.lists(st.integers(0, 4), max_size=3).map(
        lambda shape: np.arange(np.prod(shape, dtype=int)).astype(kind).reshape(shape)
    )
)


@given(
    variables=st.dictionaries(st.text("abc/_0123é", min_size=1, max_size=9), arrays, max_size=30),
    shards=st.integers(1, 3),
)
def test_written_and_read_is_the_same(
    variables: dict[str, Any], shards: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prefix = tmp_path_factory.mktemp("bundle") / "model.ckpt-100"
    write_bundle(prefix, variables, shards=shards)
    bundle = TensorBundle(prefix)
    assert sorted(bundle) == sorted(variables)
    for name, array in variables.items():
        assert bundle.shape(name) == array.shape
        assert (bundle[name].dtype, bundle[name].tolist()) == (array.dtype, array.tolist())


X = np.arange(6, dtype="f4").reshape(2, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"offset": 1 << 62}, "cut short, x lies behind its end"),
        ({"offset": -4}, "cut short, x lies behind its end"),
        ({"size": 1 << 40}, r"x of shape \(2, 3\) cannot take 1099511627776 bytes"),
        ({"size": -24}, "cannot take -24 bytes"),
        ({"shape": field(2, field(1, 1 << 40)) + field(2, field(1, 1 << 40))}, "cannot take 24 bytes"),
        ({"shape": field(2, field(1, -2))}, "impossible shape"),
        ({"shape": field(3, 1)}, "without a shape"),
        ({"shape": field(2, field(1, 1)) * 300}, "impossible shape"),
        ({"shape": b"\xff"}, "cut short"),
        ({"shard": 1}, "in data file 1, of 1"),
        ({"shard": -1}, "in data file -1, of 1"),
        ({"dtype": 99}, "has the type 99"),
    ],
)
def test_an_entry_that_lies_is_one_line(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    write_bundle(tmp_path / "c", {"x": X}, change={"x": change})
    with pytest.raises(CheckpointError, match=reason) as raised:
        TensorBundle(tmp_path / "c")["x"]
    assert str(raised.value).count("\n") == 0
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"", "0 bytes are too few"),
        (b"x" * 100, "does not end like a table"),
        (table([]), "holds nothing"),
        (table([(b"x", entry(X, 0))]), "no header"),
        (table([(b"", field(1, 0))]), "0 data files"),
        (table([(b"", number(1 << 3) + number(1 << 40))]), "1099511627776 data files"),
        (table([(b"", field(1, b"one"))]), "holds bytes"),
        (table([(b"", field(1, 1)), (b"x", field(2, 7))]), "holds a number"),
        (table([(b"", field(1, 1)), (b"x", b"\x12\x7f")]), "cut short"),
    ],
)
def test_an_index_that_is_none_is_one_line(tmp_path: Path, index: bytes, reason: str) -> None:
    (tmp_path / "c.index").write_bytes(index)
    with pytest.raises(CheckpointError, match=reason) as raised:
        TensorBundle(tmp_path / "c")
    assert "c.index" in str(raised.value)


@pytest.mark.parametrize("name", ["c.index", "c.data-00000-of-00001"])
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / "c", {"x": X})
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: No such file"):
        TensorBundle(tmp_path / "c")["x"]


@given(st.binary(max_size=80))
def test_any_entry_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, message: bytes) -> None:
    prefix = tmp_path_factory.mktemp("hostile") / "c"
    write_bundle(prefix, {"x": X})
    prefix.with_suffix(".index").write_bytes(table([(b"", field(1, 1)), (b"x", message)]))
    try:
        found = TensorBundle(prefix)["x"]
    except CheckpointError:
        return
    assert found.nbytes <= X.nbytes
