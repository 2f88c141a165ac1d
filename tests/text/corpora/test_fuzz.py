"""Whatever a file holds, a reader gives dialogues or a DataError of one line, never another exception."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, check_text
from convai.core.errors import DataError
from convai.text.corpora import FORMATS, check, iter_dialogs, iter_documents, read_personas
from tests.text.corpora.test_formats import FILES, FOLDER
from tests.text.corpora.test_json_text import JSON

SAMPLES = {format: (FOLDER / name).read_bytes() for format, name in FILES.items()}
KEYS = st.sampled_from(
    "personality utterances candidates history messages role content conversations from value "
    "personas turns speaker text distractors labels id source name sentences train valid system".split()
)
LEAVES = JSON | st.sampled_from(["user", "assistant", "system", "human", "gpt", "hi", "__SILENCE__", 0, 1, 2])
SHAPED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
PIECES = (
    *("1 ", "2 ", "your persona: ", "partner's persona: ", "persona:", "user: ", "agent:", "__SILENCE__"),
    *("\t", "\t\t", "|", "\n", "\n\n", "\r", "\u2028", "\ufeff", "\x0b"),
    *("a", "hi there", '"', '""', ",", "Persona,chat\n"),
)
LINES = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "chat.txt"


def refusal(reading: Iterable[object]) -> str:
    """Read to the end; the message of the DataError, or nothing."""
    try:
        for _ in reading:
            pass
    except DataError as error:
        return str(error)
    return ""


def whole(file: Path, format: str | None) -> Iterator[Dialog]:
    """The dialogues, each looked at."""
    for d in iter_dialogs(file, format):
        assert len(d.turns) >= 2
        for turn in d.turns:
            assert turn.speaker in (USER, AGENT)
            assert check_text(turn.text, "") == turn.text
            assert all(check_text(wrong, "") == wrong for wrong in turn.distractors)
        assert all(check_text(s, "") == s for p in d.personas for s in p.sentences)
        yield d


def survives(file: Path, data: bytes, format: str | None) -> None:
    file.write_bytes(data)
    message = refusal(whole(file, format))
    if message:
        assert message.startswith(str(file))
        assert len(message.splitlines()) == 1
    assert check(file, format).ok == (not message)


@pytest.mark.parametrize("format", [*FORMATS, None])
@given(data=st.binary(max_size=300))
def test_bytes(format: str | None, data: bytes, file: Path) -> None:
    survives(file, data, format)


@pytest.mark.parametrize("format", ["parlai", "csv", "text", None])
@given(text=st.text() | LINES)
def test_text(format: str | None, text: str, file: Path) -> None:
    survives(file, text.encode("utf-8", "replace"), format)


@pytest.mark.parametrize("format", ["jsonl", "personachat", "openai", "sharegpt", None])
@given(value=SHAPED, as_lines=st.booleans())
def test_json(format: str | None, value: Any, as_lines: bool, file: Path) -> None:
    lines = value if as_lines and isinstance(value, list) else [value]
    survives(file, "\n".join(json.dumps(line) for line in lines).encode(), format)


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.data())
def test_damaged_samples(format: str, data: st.DataObject, file: Path) -> None:
    sample = bytearray(SAMPLES[format])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sample) - 1))
        end = data.draw(st.integers(at, min(len(sample), at + 40)))
        sample[at:end] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\n", b"\t", b'"', b"{", b"]", b"null"])
        )
        sample = sample or bytearray(b"x")
    survives(file, bytes(sample), format)


@given(data=st.binary(max_size=300) | st.text().map(lambda t: t.encode("utf-8", "replace")))
def test_documents_and_personas(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    for reader in (iter_documents, read_personas):
        message = refusal(one for part in [reader] for one in part(file))
        assert not message or message.startswith(str(file))
        assert len(message.splitlines()) == bool(message)
