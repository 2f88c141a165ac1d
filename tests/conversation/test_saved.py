"""Saved conversations: what is written is read again, is a dialogue like any other, and bad files say so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.conversation.conversation import Conversation, ReplyTurn
from convai.conversation.saved import ChatSettings, load_conversation, save_conversation
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.core.safe_text import one_line
from convai.core.settings import DecodingConfig
from convai.text.corpora import read
from convai.text.corpora.check import check

SETTINGS = ChatSettings(
    decoding=asdict(DecodingConfig(top_p=0.5, seed=None)), max_history=None, seed=-7, model="m"
)
NURSE = Persona(("i am a nurse.", "i have two dogs."), name="ada")
TALK = Dialog(
    (
        Turn(USER, "caf\u00e9?"),
        ReplyTurn(AGENT, "yes <eos>", ("no", "maybe"), attempt=2),
        Turn(USER, "now?"),
        ReplyTurn(AGENT, "in a", interrupted=True),
    ),
    (Persona(("i wait.",)), NURSE),
    id="7",
    source="here",
    labels={"topic": "food"},
)


def written(path: Path, dialog: Dialog = TALK, settings: ChatSettings = SETTINGS) -> Path:
    save_conversation(path, Conversation.of_dialog(dialog), settings)
    return path


def loaded(path: Path) -> tuple[Dialog, ChatSettings | None]:
    conversation, settings = load_conversation(path)
    return conversation.dialog, settings


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    assert loaded(written(tmp_path / "chat.jsonl")) == (TALK, SETTINGS)


def test_an_empty_conversation_is_saved_too(tmp_path: Path) -> None:
    empty = Dialog(personas=TALK.personas)
    assert loaded(written(tmp_path / "chat.jsonl.gz", empty)) == (empty, SETTINGS)


lines = st.text(max_size=30).map(one_line).filter(bool)
replies = st.builds(
    ReplyTurn, st.just(AGENT), lines, st.lists(lines, max_size=2).map(tuple), st.integers(0, 9), st.booleans()
)
talks = st.builds(
    Dialog,
    st.lists(st.builds(Turn, st.just(USER), lines) | replies, max_size=4).map(tuple),
    st.tuples(
        *[st.builds(Persona, st.lists(lines, max_size=2).map(tuple), lines | st.just("")) for _ in range(2)]
    ),
)


@given(talks)
def test_any_conversation_survives(tmp_path_factory: pytest.TempPathFactory, dialog: Dialog) -> None:
    path = tmp_path_factory.mktemp("chats") / "chat.jsonl"
    conversation = Conversation.of_dialog(dialog)
    save_conversation(path, conversation, SETTINGS)
    again, settings = load_conversation(path)
    assert (again.dialog, again.messages, again.leaf, settings) == (
        conversation.dialog,
        conversation.messages,
        conversation.leaf,
        SETTINGS,
    )
    assert [turn.text for turn in again.turns] == [turn.text for turn in dialog.turns]


def test_every_branch_is_saved(tmp_path: Path) -> None:
    conversation = Conversation(NURSE)
    first = conversation.add(USER, "hi", parent=None)
    conversation.add(AGENT, "hello", parent=first.id)
    conversation.set_persona(Persona(("i ski.",), "Bo"))
    conversation.edit(first.id, "good day")
    conversation.title = "a talk"
    save_conversation(tmp_path / "chat.jsonl", conversation, SETTINGS)
    again, _ = load_conversation(tmp_path / "chat.jsonl")
    assert again.messages == conversation.messages
    assert (again.leaf, again.personas, again.version, again.title) == (
        "3",
        {1: NURSE, 2: Persona(("i ski.",), "Bo")},
        2,
        "a talk",
    )
    again.switch(first.id)
    assert [turn.text for turn in again.turns] == ["hi", "hello"]


OLD = (
    '{"personas": [[], ["i ski."]], "turns": [{"speaker": 0, "text": "hi"}, '
    '{"speaker": 1, "text": "in a", "distractors": ["no", "maybe"]}], "labels": {"x": 1, "conversation": '
    '{"version": 1, "model": "m", "seed": -7, "max_history": null, "decoding": {"top_p": 0.5}, '
    '"interrupted": [1], "attempts": {"1": 2}}}}'
)
"""As the terminal wrote it before the page's conversations were saved alike."""


def test_what_the_terminal_saved_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(OLD)
    assert loaded(path) == (
        Dialog(
            (Turn(USER, "hi"), ReplyTurn(AGENT, "in a", ("no", "maybe"), attempt=2, interrupted=True)),
            (Persona(), Persona(("i ski.",))),
            labels={"x": 1},
        ),
        ChatSettings(decoding={"top_p": 0.5}, max_history=None, seed=-7, model="m"),
    )
    parent, place = load_conversation(path)[0].again()
    assert (parent, place.attempt, place.rejected) == ("1", 3, ("no", "maybe", "in a"))


def test_it_is_a_dialogue_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path / "chat.jsonl")
    report = check(path)
    assert (report.ok, report.warnings) == (True, [])
    [dialog] = read(path)
    assert [(t.speaker, t.text, t.distractors) for t in dialog.turns] == [
        (t.speaker, t.text, t.distractors) for t in TALK.turns
    ]
    assert dialog.personas == TALK.personas


def test_a_dialogue_of_a_corpus_is_a_conversation_without_settings(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(
        '\n{"turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "oh"}], "labels": {"x": 1}}\n'
    )
    dialog, settings = loaded(path)
    assert settings is None
    assert dialog == Dialog((Turn(USER, "hi"), ReplyTurn(AGENT, "oh")), labels={"x": 1})


def test_another_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my only copy")
    with pytest.raises(DataError, match=r"notes\.txt: there is such a file, and it is no saved conversation"):
        written(path)
    assert path.read_text() == "my only copy"
    corpus = tmp_path / "one.jsonl"
    corpus.write_text('{"turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "oh"}]}\n')
    with pytest.raises(DataError, match="no saved conversation"):
        written(corpus)
    chat = written(tmp_path / "chat.jsonl")
    written(chat, Dialog())
    assert loaded(chat)[0] == Dialog()


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; create it first"):
        written(tmp_path / "nowhere" / "chat.jsonl")
    with pytest.raises(DataError, match="labels that JSON cannot hold"):
        written(tmp_path / "chat.jsonl", Dialog(labels={"x": {1, 2}}))
    assert list(tmp_path.iterdir()) == []


def changed(tmp_path: Path, **changes: object) -> Path:
    """A chat of version 1 with some of its entries replaced, by `key` or `conversation__key`."""
    path = tmp_path / "chat.jsonl"
    entry = json.loads(OLD)
    for name, value in changes.items():
        target, _, key = name.rpartition("__")
        (entry["labels"]["conversation"] if target else entry)[key] = value
    path.write_text(json.dumps(entry))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turns": None}, ":1: 'turns' is null;"),
        ({"turns": [{"speaker": 2, "text": "x"}]}, ":1, turn 1: 'speaker' is 2; use 0 for the user, 1"),
        ({"turns": [{"speaker": True, "text": "x"}]}, ":1, turn 1: 'speaker' is true;"),
        ({"turns": [{"speaker": 0, "text": " "}]}, ":1, turn 1: empty text;"),
        ({"turns": [{"speaker": 0, "text": "\x1b[2J"}]}, ":1, turn 1: control characters"),
        ({"turns": [{"speaker": 0}]}, ":1, turn 1: expected text, found NoneType"),
        ({"turns": ["x"]}, ":1, turn 1: expected an object, found text"),
        ({"personas": ["x"]}, ":1, persona 0: 'persona' is text;"),
        ({"labels": {"conversation": 5}}, ":1, labels.conversation: expected an object, found a number"),
        (
            {"conversation__version": None},
            ":1, labels.conversation.version is null; use a whole number, 0 or",
        ),
        ({"conversation__version": 3}, ":1, labels.conversation: saved by a later convai (version 3,"),
        (
            {"conversation__version": 2},
            ':1, labels.conversation: unknown field "attempts"; there are',
        ),
        ({"conversation__seed": "x"}, ":1, labels.conversation.seed is text; use a whole number"),
        ({"conversation__max_history": -1}, ":1, labels.conversation.max_history is -1; use a whole number"),
        ({"conversation__decoding": []}, ":1, labels.conversation.decoding: expected an object"),
        (
            {"conversation__decoding": {"top_p": 7}},
            ":1, labels.conversation.decoding: top_p=7.0: use a number",
        ),
        (
            {"conversation__decoding": {"heat": 7}},
            ":1, labels.conversation.decoding: there is no setting 'heat'",
        ),
        ({"conversation__interrupted": 3}, ":1, labels.conversation: 'interrupted' is a number;"),
        ({"conversation__interrupted": [1.5]}, ":1, labels.conversation.interrupted is 1.5; use a whole"),
        ({"conversation__attempts": {"x": 1}}, ':1, labels.conversation.attempts: "x" is not the index'),
        ({"conversation__attempts": {"1": -1}}, ":1, labels.conversation.attempts is -1; use a whole number"),
    ],
)
def test_a_damaged_conversation_is_one_line(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = changed(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        load_conversation(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": the file is empty; name a saved conversation"),
        (b"\n \n", ": the file is empty;"),
        (b"hello\n", ":1: malformed JSON"),
        (b'\n{"turns": [\n', ":2: malformed JSON"),
        (b"[]", ":1: expected an object, found a list"),
        (b"{}", ":1: no 'turns', so no conversation"),
        (b'{"turns": []}\n{"turns": []}\n', ":2: a second dialogue; a conversation is a file of one line"),
        (b"\xff\xfe\x00", ":1: damaged UTF-16 text"),
        (b"\x00\x01", ":1: a NUL byte"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_conversation(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; check the name"):
        load_conversation(tmp_path / "x")
    with pytest.raises(DataError, match="a folder, not a file"):
        load_conversation(tmp_path)
