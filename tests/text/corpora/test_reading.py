"""What is written is read again: every format that is written, and refusals that leave nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.text.corpora import iter_dialogs, read, write
from convai.text.corpora.reading import iter_located
from tests.text.corpora.helpers import talk
from tests.text.corpora.test_json_text import JSON


def _clean(text: str) -> str:
    return " ".join(text.split())


# Control characters are refused and `__SILENCE__` is no text: neither can come from a file.
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(_clean).filter(bool)
WORDS = st.text("abcdeü,.?'", min_size=1, max_size=12)
PERSONAS = st.builds(Persona, st.lists(TEXTS, max_size=3).map(tuple), st.just("") | TEXTS)
TURNS = st.lists(
    st.builds(Turn, st.sampled_from([USER, AGENT]), TEXTS, st.lists(TEXTS, max_size=3).map(tuple)),
    min_size=2,
    max_size=6,
).map(tuple)
DIALOGS = st.lists(
    st.builds(
        Dialog,
        TURNS,
        st.tuples(PERSONAS, PERSONAS),
        st.just("") | TEXTS,
        st.just("") | TEXTS,
        st.dictionaries(st.text(), JSON, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.jsonl.xz"])
@given(dialogs=DIALOGS)
def test_our_own_format_loses_nothing(dialogs: list[Dialog], name: str, folder: Path) -> None:
    assert write(folder / name, dialogs) == len(dialogs)
    assert read(folder / name) == dialogs


def _alternating(texts: list[str], persona: list[str], wrong: list[str], first: int) -> Dialog:
    turns = [Turn((first + i) % 2, t, tuple(wrong) if (first + i) % 2 else ()) for i, t in enumerate(texts)]
    if turns[-1].speaker == USER:
        turns.append(Turn(AGENT, "done", tuple(wrong)))
    return Dialog(tuple(turns), (Persona(), Persona(tuple(persona))))


@pytest.mark.parametrize("name", ["out.json", "out.txt"])
@given(
    texts=st.lists(WORDS, min_size=2, max_size=6),
    persona=st.lists(WORDS, max_size=3),
    wrong=st.lists(WORDS, max_size=3),
    first=st.sampled_from([USER, AGENT]),
)
def test_alternating_dialogues_survive_the_classic_formats(
    texts: list[str], persona: list[str], wrong: list[str], first: int, name: str, folder: Path
) -> None:
    d = _alternating(texts, persona, wrong, first)
    write(folder / name, [d, d])
    # ParlAI marks the gold reply by being equal to it, so the last equal candidate is the one taken out.
    assert read(folder / name) == [d, d]


@given(dialogs=DIALOGS)
def test_messages_keep_what_was_said(dialogs: list[Dialog], folder: Path) -> None:
    write(folder / "out.messages.jsonl", dialogs, "openai")
    found = read(folder / "out.messages.jsonl")
    assert [[(t.speaker, t.text) for t in d.turns] for d in found] == [
        [(t.speaker, t.text) for t in d.turns] for d in dialogs
    ]
    assert [" ".join(d.persona.sentences) for d in found] == [" ".join(d.persona.sentences) for d in dialogs]


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", [talk("hi", "hello", "so", "no"), talk("a", "b")])
    (tmp_path / "b.txt").write_text("\n\nuser: a\nagent: b\n", encoding="utf-8")
    found = [one.where for one in iter_located(tmp_path)]
    assert found == [f"{tmp_path}/a.txt:1", f"{tmp_path}/a.txt:3", f"{tmp_path}/b.txt:3"]


def test_a_file_can_be_rewritten_from_itself(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, [talk("hi", "hello")])
    write(file, (replace(d, id="new") for d in iter_dialogs(file)))
    assert read(file) == [talk("hi", "hello", id="new")]


def test_text_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    bad = Dialog((Turn(USER, "hi"), Turn(AGENT, " \x00 ")))
    for name in ("a.jsonl", "a.json", "a.txt"):
        with pytest.raises(DataError, match=rf"{name}: dialogue 2.*control characters"):
            write(tmp_path / name, [talk("hi", "hello"), bad])
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_is_passed_on_and_nothing_written(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("a\nb\n\nc\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"source\.txt:4: a dialogue with one turn"):
        write(tmp_path / "out.jsonl", iter_dialogs(source))
    assert [f.name for f in tmp_path.iterdir()] == ["source.txt"]


def test_the_name_decides_the_format_to_write(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"out\.csv: the name does not say which format to write; give one of jsonl"
    ):
        write(tmp_path / "out.csv", [])
    with pytest.raises(DataError, match="format 'text' cannot be written"):
        write(tmp_path / "out.txt", [], "text")


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "[]"), ("a.csv", "Persona,chat\n"), ("a.json", '{"train": []}')]
)
def test_a_file_without_dialogues_is_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"{name}:1: no dialogues in the file; add one"):
        read(tmp_path / name)
