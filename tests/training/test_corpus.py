from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError
from convai.text.segments import EncodedDialog, EncodedTurn
from convai.training import corpus as encoded
from convai.training.corpus import Arrays, EncodedCorpus, cached_arrays, file_digest
from tests.tiny import dialogs, plain

maybe_empty = st.lists(st.integers(0, 2**31 - 1), max_size=3)
"""Ids of any size, and texts that encode to nothing."""

anything = st.one_of(
    dialogs,
    st.builds(
        EncodedDialog,
        st.lists(maybe_empty, max_size=2),
        st.lists(
            st.builds(
                EncodedTurn, st.sampled_from([USER, AGENT]), maybe_empty, st.lists(maybe_empty, max_size=2)
            ),
            max_size=3,
        ),
    ),
)


@given(told=st.lists(anything, max_size=5))
def test_packed_and_unpacked(told: list[EncodedDialog]) -> None:
    corpus = EncodedCorpus.pack(told)
    assert len(corpus) == len(told)
    assert [plain(d) for d in corpus] == [plain(d) for d in told]
    assert [plain(corpus[i]) for i in range(len(corpus))] == [plain(d) for d in told]
    texts = [
        ids for d in told for ids in [*d.persona, *(w for t in d.turns for w in (t.ids, *t.distractors))]
    ]
    assert corpus.n_tokens == sum(map(len, texts))
    assert [corpus.unit(i) for i in range(len(texts))] == [list(ids) for ids in texts]
    for index in (len(told), -1):
        with pytest.raises(IndexError):
            corpus[index]


@given(parts=st.lists(st.lists(anything, max_size=3), max_size=4))
def test_concatenated(parts: list[list[EncodedDialog]]) -> None:
    corpus = EncodedCorpus.concatenate([EncodedCorpus.pack(part) for part in parts])
    assert [plain(d) for d in corpus] == [plain(d) for part in parts for d in part]
    whole = EncodedCorpus.pack([d for part in parts for d in part])
    for name, array in whole.arrays.items():
        assert np.array_equal(corpus.arrays[name], array)
        assert corpus.arrays[name].dtype == array.dtype


@given(told=st.lists(anything, max_size=5))
def test_replies_of_a_corpus(told: list[EncodedDialog]) -> None:
    corpus = EncodedCorpus.pack(told)
    owners, units = corpus.replies()
    found = [(int(o), corpus.unit(int(u))) for o, u in zip(owners, units, strict=True)]
    assert found == [
        (i, list(t.ids))
        for i, d in enumerate(told)
        for j, t in enumerate(d.turns)
        if j and t.speaker == AGENT and t.ids
    ]


# -- the cache

ARRAYS: Arrays = {"words": np.arange(5, dtype=np.int32), "none": np.zeros(0, np.int64)}


class Maker:
    """Makes ARRAYS, and counts how often."""

    calls = 0

    def __call__(self) -> Arrays:
        self.calls += 1
        return {name: array + self.calls - 1 for name, array in ARRAYS.items()}


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_what_is_cached_is_not_made_again(tmp_path: Path) -> None:
    make = Maker()
    folder = tmp_path / "new" / "cache"
    for _ in range(3):
        arrays = cached_arrays(folder, ["a", "b"], make)
        assert {n: (a.tolist(), a.dtype) for n, a in arrays.items()} == {
            n: (a.tolist(), a.dtype) for n, a in ARRAYS.items()
        }
    assert make.calls == 1
    assert len(files(folder)) == 1


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    make = Maker()
    for n, key in enumerate((["a", "b"], ["a", "c"], ["b", "a"], ["ab"], ["a"], ["a", "b", ""]), 1):
        cached_arrays(tmp_path, key, make)
        assert make.calls == n, f"{key} was taken for another"
    cached_arrays(tmp_path, ["a", "b"], make)
    assert make.calls == 6


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"hello " * 50_000)
    other.write_bytes(b"hello " * 50_000)
    assert file_digest(one) == file_digest(other) == hashlib.sha256(b"hello " * 50_000).hexdigest()
    other.write_bytes(b"hello " * 49_999 + b"Hello ")
    assert file_digest(one) != file_digest(other)


@pytest.mark.parametrize("damage", ["empty", "cut", "junk"])
def test_a_damaged_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    make = Maker()
    cached_arrays(tmp_path, ["a"], make)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-7], "junk": b"junk" * 50}[damage])
    assert cached_arrays(tmp_path, ["a"], make)["words"].tolist() == [1, 2, 3, 4, 5]
    assert cached_arrays(tmp_path, ["a"], make)["words"].tolist() == [1, 2, 3, 4, 5]
    assert make.calls == 2
    assert files(tmp_path) == [path.name]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make = Maker()
    cached_arrays(None, ["a"], make)
    cached_arrays(None, ["a"], make)
    assert make.calls == 2
    assert files(tmp_path) == []


class Killed(BaseException):
    pass


def test_a_killed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(arrays: Arrays, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(encoded, "save_file", half)
        with pytest.raises(Killed):
            cached_arrays(tmp_path, ["a"], Maker())
    assert files(tmp_path) == []
    make = Maker()
    cached_arrays(tmp_path, ["a"], make)
    assert make.calls == 1


@pytest.mark.parametrize(
    "problem",
    [
        SafetensorError("I/O error: No space left on device (os error 28)"),
        OSError(errno.EACCES, "Permission denied"),
    ],
)
def test_a_full_disk_is_said_in_one_line(
    problem: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arrays: Arrays, path: Path) -> None:
        raise problem

    monkeypatch.setattr(encoded, "save_file", full)
    with pytest.raises(DataError) as caught:
        cached_arrays(tmp_path, ["a"], Maker())
    assert str(caught.value).startswith(f"{tmp_path}: the encoded data cannot be kept there (")
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == []
