"""Our own JSON Lines: everything kept, several speakers brought down to two, errors by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.text.corpora import read, write
from tests.text.corpora.helpers import assert_refused, talk

TURNS = [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}]


def saved(tmp_path: Path, *values: Any) -> Path:
    file = tmp_path / "chat.jsonl"
    file.write_text("\n".join(json.dumps(value) for value in values), encoding="utf-8")
    return file


def test_only_turns_are_needed(tmp_path: Path) -> None:
    assert read(saved(tmp_path, {"turns": TURNS})) == [talk("hi", "hello")]


def test_every_field(tmp_path: Path) -> None:
    value = {
        "id": 17,
        "source": "attic",
        "personas": [{"name": "bo", "sentences": ["i cook."]}, ["i ski."]],
        "turns": [*TURNS, {"speaker": 1, "text": "you", "distractors": ["no", " ", "so"]}],
        "labels": {"topic": ["food"], "n": None},
    }
    assert read(saved(tmp_path, value)) == [
        Dialog(
            (Turn(USER, "hi"), Turn(AGENT, "hello"), Turn(AGENT, "you", ("no", "so"))),
            (Persona(("i cook.",), "bo"), Persona(("i ski.",))),
            "17",
            "attic",
            {"topic": ["food"], "n": None},
        )
    ]


@pytest.mark.parametrize(
    ("numbers", "speakers", "kept"),
    [
        ([0, 1, 0], [0, 1, 0], False),
        ([1, 0, 1], [1, 0, 1], False),
        ([0, 0], [0, 0], False),
        ([0, 1, 2, 1, 0], [0, 1, 0, 1, 0], True),
        ([3, 0, 1, 0], [0, 1, 0, 1], True),
        ([2, 2], [0, 0], True),
    ],
)
def test_more_than_two_speakers_become_two_roles(
    numbers: list[int], speakers: list[int], kept: bool, tmp_path: Path
) -> None:
    turns = [{"speaker": n, "text": f"turn {i}"} for i, n in enumerate(numbers)]
    personas = [[f"i am number {n}."] for n in range(4)]
    (found,) = read(saved(tmp_path, {"personas": personas, "turns": turns}))
    assert [t.speaker for t in found.turns] == speakers
    assert found.labels == ({"original_speakers": numbers} if kept else {})
    for role in set(speakers):
        number = numbers[speakers.index(role)]
        assert found.personas[role].sentences == (f"i am number {number}.",)


def test_a_file_of_several_speakers_is_the_same_when_written_and_read_again(tmp_path: Path) -> None:
    turns = [{"speaker": n, "text": f"turn {n}"} for n in (0, 1, 2)]
    first = read(saved(tmp_path, {"turns": turns, "labels": {"names": ["ann", "bo", "cy"]}}))
    assert first[0].labels == {"names": ["ann", "bo", "cy"], "original_speakers": [0, 1, 2]}
    write(tmp_path / "again.jsonl", first)
    assert read(tmp_path / "again.jsonl") == first


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ([], "expected an object"),
        ({}, "no 'turns'"),
        ({"turns": "hi"}, "'turns' is text; make it a list"),
        ({"turns": []}, "a dialogue with no turns"),
        ({"turns": TURNS[:1]}, "a dialogue with one turn"),
        ({"turns": [*TURNS, "hi"]}, "turn 3: expected an object"),
        ({"turns": [*TURNS, {"speaker": 0}]}, "turn 3: expected text, found NoneType"),
        ({"turns": [*TURNS, {"speaker": 1, "text": " \n"}]}, "turn 3: empty text"),
        ({"turns": [*TURNS, {"speaker": 1, "text": "\ud800"}]}, "turn 3: control characters"),
        ({"turns": [*TURNS, {"text": "a"}]}, "turn 3: 'speaker' is null"),
        ({"turns": [*TURNS, {"speaker": "bot", "text": "a"}]}, "turn 3: 'speaker' is text"),
        ({"turns": [*TURNS, {"speaker": True, "text": "a"}]}, "turn 3: 'speaker' is true or false"),
        ({"turns": [*TURNS, {"speaker": -1, "text": "a"}]}, "turn 3: 'speaker' is -1"),
        ({"turns": [*TURNS, {"speaker": 0, "text": "a", "distractors": "b"}]}, "'candidates' is text"),
        ({"turns": [*TURNS, {"speaker": 0, "text": "a", "distractors": [1]}]}, "candidate 1: expected text"),
        ({"turns": TURNS, "personas": ["i ski."]}, "'personas' holds text"),
        ({"turns": TURNS, "personas": "i ski."}, "'personas' is text"),
        ({"turns": TURNS, "personas": [[], [3]]}, "persona of speaker 1, persona sentence 1: expected text"),
        ({"turns": TURNS, "personas": [[], 3]}, "persona of speaker 1: 'persona' is a number"),
        ({"turns": TURNS, "personas": [{"name": [], "sentences": []}]}, "name: expected text"),
        ({"turns": TURNS, "labels": ["food"]}, "labels: expected an object"),
        ({"turns": TURNS, "id": [1]}, "id: expected text, found list"),
        ({"turns": [*TURNS, {"speaker": 1, "text": "x" * 10_000_000}]}, "turn 3: 10,000,000 characters"),
    ],
)
def test_a_line_that_does_not_fit_is_named(value: Any, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {"turns": TURNS}, value)
    assert_refused(file, "jsonl", f"{file}:2", part)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"turns": [', "malformed JSON at column 12"),
        ('{"turns": Infinity}', "Infinity is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "malformed JSON (Exceeds the limit"),
    ],
)
def test_malformed_json_is_named(line: str, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, {"turns": TURNS})
    with file.open("a", encoding="utf-8") as out:
        out.write("\n\n" + line)
    assert_refused(file, "jsonl", f"{file}:3: ", part)


def test_labels_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    for labels in ({"x": {1, 2}}, {"x": float("nan")}):
        d = Dialog(talk("hi", "hello").turns, labels=labels)
        with pytest.raises(DataError, match=r"out.jsonl: dialogue 1: labels that JSON cannot hold"):
            write(tmp_path / "out.jsonl", [d])
    assert list(tmp_path.iterdir()) == []


def test_a_lone_surrogate_in_a_label_does_not_stop_the_writing(tmp_path: Path) -> None:
    d = Dialog(talk("hi", "hello").turns, labels={"x": "\ud800"})
    write(tmp_path / "out.jsonl", [d])
    assert read(tmp_path / "out.jsonl") == [d]
