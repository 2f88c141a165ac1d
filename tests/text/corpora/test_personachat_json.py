"""PERSONA-CHAT JSON: three shapes of file, histories that agree, and errors that name the utterance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.text.corpora import read, write
from tests.text.corpora.helpers import assert_refused, talk

ENTRY: dict[str, Any] = {
    "personality": ["i collect stamps .", "i live upstairs ."],
    "utterances": [
        {"candidates": ["no idea .", "it is mine ."], "history": ["whose stamp is this ?"]},
        {
            "candidates": ["green .", "blue .", "from peru ."],
            "history": ["whose stamp is this ?", "it is mine .", "where is it from ?"],
        },
    ],
}
DIALOG = Dialog(
    (
        Turn(USER, "whose stamp is this ?"),
        Turn(AGENT, "it is mine .", ("no idea .",)),
        Turn(USER, "where is it from ?"),
        Turn(AGENT, "from peru .", ("green .", "blue .")),
    ),
    (Persona(), Persona(("i collect stamps .", "i live upstairs ."))),
)


def saved(tmp_path: Path, value: object, **options: Any) -> Path:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps(value, **options), encoding="utf-8")
    return file


def changed(**changes: Any) -> dict[str, Any]:
    return {**ENTRY, **changes}


def test_an_entry_a_list_and_json_lines(tmp_path: Path) -> None:
    assert read(saved(tmp_path, ENTRY)) == [DIALOG]
    assert read(saved(tmp_path, [ENTRY, ENTRY], indent=1)) == [DIALOG, DIALOG]
    lines = tmp_path / "lines.jsonl"
    lines.write_text(f"{json.dumps(ENTRY)}\n{json.dumps(ENTRY)}\n", encoding="utf-8")
    assert read(lines) == [DIALOG, DIALOG]


def test_the_published_shape_has_sections(tmp_path: Path) -> None:
    dialogs = read(saved(tmp_path, {"train": [ENTRY, ENTRY], "version": {"n": 1}, "valid": [ENTRY]}))
    assert [d.labels["split"] for d in dialogs] == ["train", "train", "valid"]
    assert [d.turns for d in dialogs] == [DIALOG.turns] * 3


def test_persona_and_wrong_candidates_are_optional(tmp_path: Path) -> None:
    bare = {"utterances": [{"candidates": ["hello"], "history": ["hi"]}]}
    assert read(saved(tmp_path, bare)) == [talk("hi", "hello")]
    blank = {"utterances": [{"candidates": [" ", "no", "hello"], "history": ["hi"]}]}
    assert read(saved(tmp_path, blank))[0].turns[1].distractors == ("no",)


@pytest.mark.parametrize("silence", ["__ SILENCE __", "__SILENCE__"])
def test_a_silent_partner_is_no_turn(silence: str, tmp_path: Path) -> None:
    steps = [
        {"candidates": ["no", "hello"], "history": [silence]},
        {"candidates": ["no", "fine"], "history": [silence, "hello", "how are you"]},
    ]
    (found,) = read(saved(tmp_path, {"utterances": steps}))
    assert [(t.speaker, t.text) for t in found.turns] == [(1, "hello"), (0, "how are you"), (1, "fine")]
    assert found.turns[0].distractors == ("no",)


def test_only_the_last_utterance_has_to_be_there(tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, changed(utterances=ENTRY["utterances"][1:])))
    assert [t.text for t in found.turns] == [t.text for t in DIALOG.turns]
    assert found.turns[1].distractors == ()


@pytest.mark.parametrize(
    ("utterances", "part"),
    [
        (
            [{"candidates": ["a"], "history": ["x"]}, {"candidates": ["b"], "history": ["y", "a", "z"]}],
            "how the last",
        ),
        (
            [{"candidates": ["q"], "history": ["x"]}, {"candidates": ["b"], "history": ["x", "a", "z"]}],
            "how the last",
        ),
        (
            [{"candidates": ["a"], "history": ["x", "y", "z", "w"]}, {"candidates": ["b"], "history": ["x"]}],
            "how the",
        ),
        (
            [{"candidates": ["a"], "history": ["x"]}, {"candidates": ["b"], "history": ["x", "a"]}],
            "a history of 1 turns",
        ),
        ([{"candidates": [], "history": ["x"]}], "'candidates' is empty"),
        ([{"candidates": "a", "history": ["x"]}], "'candidates' is text; make it a list"),
        ([{"candidates": ["a"]}], "'history' is null; make it a list"),
        ([{"candidates": [3, "a"], "history": ["x"]}], "expected text, found int"),
        (["a"], "expected an object"),
    ],
)
def test_an_utterance_that_does_not_fit_is_named(utterances: list[Any], part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, [ENTRY, changed(utterances=utterances)])
    assert_refused(file, None, f"{file}:1: entry 2, utterance 1", part)


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ([], "expected an object"),
        ({"personality": []}, "no 'utterances'"),
        (changed(utterances=[]), "'utterances' is empty"),
        (changed(utterances={}), "'utterances' is an object"),
        (changed(personality="i am one sentence"), "'persona' is text"),
        (changed(personality=["fine", 7]), "persona sentence 2: expected text, found int"),
        (changed(personality=["fine", " "]), "persona sentence 2: empty text"),
        ({"utterances": [{"candidates": [" "], "history": ["x"]}]}, "turn 2: empty text"),
        ({"utterances": [{"candidates": ["a"], "history": []}]}, "a dialogue with one turn"),
        (
            {"utterances": [{"candidates": ["a" * 100_001], "history": ["x"]}]},
            "100,001 characters in one utterance",
        ),
    ],
)
def test_an_entry_that_does_not_fit_is_named(entry: Any, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {"train": [ENTRY], "valid": [ENTRY, entry]})
    assert_refused(file, None, f"{file}:1: valid entry 2", part)


def test_an_error_names_the_line_of_its_entry(tmp_path: Path) -> None:
    file = tmp_path / "chat.json"
    file.write_text(f"[\n{json.dumps(ENTRY)},\n\n  {json.dumps(changed(utterances=3))}]", encoding="utf-8")
    assert_refused(file, None, f"{file}:4: entry 2: 'utterances' is a number")


def test_written_sections_come_back(tmp_path: Path) -> None:
    file = saved(tmp_path, {"train": [ENTRY, ENTRY], "valid": [ENTRY]})
    dialogs = read(file)
    copy = tmp_path / "copy.json"
    assert write(copy, [dialogs[2], *dialogs[:2]]) == 3
    assert read(copy) == dialogs
    assert json.loads(copy.read_text()) == {"train": [ENTRY, ENTRY], "valid": [ENTRY]}


def test_what_the_format_cannot_hold_is_joined_or_left_out(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    write(copy, [talk("hi", "hello", "+there", "bye", partner=("i am left out.",))])
    assert read(copy) == [talk("hi", "hello there")]
    opener = Dialog((Turn(AGENT, "hello"), Turn(USER, "hi"), Turn(AGENT, "bye")))
    write(copy, [opener])
    assert read(copy) == [opener]
    assert json.loads(copy.read_text())[0]["utterances"][1]["history"] == ["__SILENCE__", "hello", "hi"]


def test_a_dialogue_without_a_reply_is_not_written(tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    with pytest.raises(DataError, match=r"copy.json: dialogue 2: no reply of the agent's"):
        write(copy, [talk("a", "b"), talk("a", "+b")])
    assert list(tmp_path.iterdir()) == []
