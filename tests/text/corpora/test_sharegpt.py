"""ShareGPT: a list or lines, names of speakers, the persona as a turn or as a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.text.corpora import read
from tests.text.corpora.helpers import assert_refused, talk

HI = {"from": "human", "value": "hi"}
HELLO = {"from": "gpt", "value": "hello"}


def saved(tmp_path: Path, *conversations: Any) -> Path:
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([{"conversations": c} for c in conversations]), encoding="utf-8")
    return file


def test_a_list_and_json_lines(tmp_path: Path) -> None:
    assert read(saved(tmp_path, [HI, HELLO], [HI, HELLO])) == [talk("hi", "hello")] * 2
    lines = tmp_path / "chat.jsonl"
    lines.write_text(2 * (json.dumps({"id": 7, "conversations": [HI, HELLO]}) + "\n"), encoding="utf-8")
    assert read(lines) == [talk("hi", "hello")] * 2


def test_other_names_and_both_places_of_a_persona(tmp_path: Path) -> None:
    entry = {
        "id": "x1",
        "system": "i ski.",
        "conversations": [
            {"from": "system", "value": "i cook."},
            {"from": "User", "value": "hi"},
            {"from": "assistant", "value": "hello"},
            {"from": "ChatGPT", "value": "you"},
        ],
    }
    file = tmp_path / "chat.json"
    file.write_text(json.dumps([entry]), encoding="utf-8")
    assert read(file) == [talk("hi", "hello", "+you", persona=("i ski.", "i cook."), id="x1")]


@pytest.mark.parametrize(
    ("conversation", "part"),
    [
        ([HI], "a dialogue with one turn"),
        ("hi", "'conversations' is text"),
        (None, "'conversations' is null"),
        ([HI, 3], "turn 2: expected an object"),
        ([HI, {"from": "judge", "value": "x"}], "turn 2: 'judge' is no speaker"),
        ([HI, {"from": 1, "value": "x"}], "turn 2: '1' is no speaker"),
        ([HI, {"from": "gpt", "value": ""}], "turn 2: empty text"),
        ([HI, {"from": "gpt"}], "turn 2: expected text, found NoneType"),
        ([HI, HELLO, {"from": "system", "value": "i ski."}], "turn 3: a system message amid the turns"),
    ],
)
def test_a_turn_that_does_not_fit_is_named(conversation: Any, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, [HI, HELLO], conversation)
    assert_refused(file, "sharegpt", f"{file}:1: entry 2", part)
