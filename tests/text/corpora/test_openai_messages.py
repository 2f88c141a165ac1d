"""OpenAI messages: roles, text parts, the persona in the system message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.text.corpora import read, write
from tests.text.corpora.helpers import assert_refused, talk

HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "hello"}


def saved(tmp_path: Path, *messages: Any) -> Path:
    file = tmp_path / "chat.jsonl"
    lines = [json.dumps({"messages": m, "tools": []}) for m in messages]
    file.write_text("\n\n".join(lines), encoding="utf-8")
    return file


def test_roles_and_persona(tmp_path: Path) -> None:
    system = {"role": "system", "content": "i ski. i have a sled.\nmy name is ann"}
    developer = {"role": "developer", "content": [{"type": "text", "text": "i ski."}]}
    file = saved(tmp_path, [system, HI, HELLO, HELLO], [developer, HI, HELLO], [HI, HELLO])
    assert read(file) == [
        talk("hi", "hello", "+hello", persona=("i ski.", "i have a sled.", "my name is ann")),
        talk("hi", "hello", persona=("i ski.",)),
        talk("hi", "hello"),
    ]


def test_content_may_be_text_parts(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]
    file = saved(tmp_path, [HI, {"role": "assistant", "content": parts}])
    assert read(file) == [talk("hi", "hello there")]


@pytest.mark.parametrize(
    ("messages", "part"),
    [
        ([HI], "a dialogue with one turn"),
        ([], "a dialogue with no turns"),
        ("hi", "'messages' is text; make it a list"),
        (None, "'messages' is null"),
        ([HI, "hello"], "message 2: expected an object"),
        ([HI, {"role": "judge", "content": "x"}], "message 2: 'judge' is no speaker"),
        ([HI, {"role": ["user"], "content": "x"}], "message 2: 'role' is a list"),
        ([HI, {"role": "assistant", "content": None}], "message 2: expected text, found NoneType"),
        ([HI, {"role": "assistant", "content": "  "}], "message 2: empty text"),
        ([HI, HELLO, {"role": "system", "content": "i ski."}], "message 3: a system message amid the turns"),
        ([{"role": "system", "content": 5}, HI, HELLO], "message 1, persona: expected text, found int"),
        ([HI, {"role": "user", "content": [{"type": "sculpture"}]}], "message 2: content that is not text"),
        ([HI, {"role": "user", "content": [{"type": "text", "text": 1}]}], "content that is not text"),
    ],
)
def test_a_message_that_does_not_fit_is_named(messages: Any, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, [HI, HELLO], messages)
    assert_refused(file, "openai", f"{file}:3", part)


@pytest.mark.parametrize("line", ["[1]", "7", '"text"', '{"messages": [}', "{'messages': []}", '{"a": NaN}'])
def test_a_line_that_is_no_object_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.jsonl"
    file.write_text(json.dumps({"messages": [HI, HELLO]}) + "\n" + line, encoding="utf-8")
    assert_refused(file, "openai", f"{file}:2: ")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    d = talk("hi", "grüß dich", "+!", persona=("i ski.", "i cook."))
    write(tmp_path / "out.jsonl", [d], "openai")
    text = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert '{"role": "system", "content": "i ski.\\ni cook."}' in text
    assert "grüß" in text
    assert read(tmp_path / "out.jsonl") == [d]
