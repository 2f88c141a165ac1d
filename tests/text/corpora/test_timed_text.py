"""Text with a time before every turn, text in a template's marks, and JSON that is not strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.text.corpora import check, detect, read, take
from tests.text.corpora.helpers import assert_refused, talk

TWO = talk("hi: you", "hello")


def saved(folder: Path, text: str, name: str = "a.txt") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("[10:15] Ann: {}", "[10:16] Bo: {}"),
        ("[10:15:20 AM] Ann: {}", "[10:16:00 AM] Bo: {}"),
        ("10:15 Ann: {}", "10:16 Bo: {}"),
        ("(10:15) Ann: {}", "(10:16) Bo: {}"),
        ("10:15 - Ann B.: {}", "10:16 - Bo: {}"),
        ("2026-01-13 10:15 Ann: {}", "2026-01-13 10:16 Bo: {}"),
        ("2026-01-13T10:15:20Z Ann: {}", "2026-01-13T10:16:20Z Bo: {}"),
        ("Ann (10:15): {}", "Bo (10:16): {}"),
        ("[10:15] <ann> {}", "[10:16] <bo_2> {}"),
        ("<ann> {}", "<bo> {}"),
        ("00:00:05.120 Ann: {}", "00:00:07.500 Bo: {}"),
    ],
)
def test_a_time_before_a_turn_is_no_word(first: str, second: str, tmp_path: Path) -> None:
    file = saved(tmp_path, f"{first.format('hi: you')}\n{second.format('hello')}\n")
    assert (detect(file), read(file)) == ("timed", [TWO])
    assert read(file, "timed") == [TWO]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("00:00:01 Speaker 1", "00:00:04 Speaker 2"),
        ("[0:01] Ann", "[0:04] Bo"),
        ("Ann  10:00 AM", "Bo  10:01 AM"),
        ("Ann — 01/02/2024 10:00 AM", "Bo — Today at 10:01 AM"),
        ("Ann, 10:00", "Bo B., 10:01"),
    ],
)
def test_a_time_and_a_name_on_a_line_of_their_own(first: str, second: str, tmp_path: Path) -> None:
    for blank in ("", "\n"):
        text = f"{first}\nhi: you\n{blank}{second}\nhel\nlo\nsee you at 10:30\n"
        file = saved(tmp_path, text)
        assert (detect(file), read(file)) == ("timed", [talk("hi: you", "hel lo see you at 10:30")])


def test_a_line_that_looks_like_such_a_head_is_words_elsewhere(tmp_path: Path) -> None:
    text = "[10:15] Ann: when?\n10:30 Monday\n[10:16] Bo: right\n"
    assert read(saved(tmp_path, text)) == [talk("when? 10:30 Monday", "right")]


def test_where_a_timed_dialogue_ends(tmp_path: Path) -> None:
    text = (
        "[10:15] Ann: hi: you\n[10:16] *** Cy joined\n[10:16] Bo: hel\nlo\n\n"
        "[10:20] Bo: tea?\n[10:21] Ann: yes\n"
        "[09:00] Ann: good\n[09:01] Bo: morning\n[18:00] Ann: still there?\n"
    )
    taken = take(saved(tmp_path, text))
    assert [[(t.speaker, t.text) for t in d.turns] for d in taken.dialogs] == [
        [(0, "hi: you"), (1, "hel lo")],
        [(1, "tea?"), (0, "yes")],
        [(0, "good"), (1, "morning")],
    ]
    assert taken.omitted == {"notice": 1, "unanswered message": 1}
    spread = saved(tmp_path, "[10:15] Ann: hi: you\n\n[10:16] Bo: hello\n")
    assert read(spread) == [TWO]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01 10:00:00 INFO: started\n2026-01-01 10:00:01 ERROR: stopped\n",
        "<p> one\n<b> two\n",
    ],
)
def test_logs_of_programs_are_not_timed_talk(text: str, tmp_path: Path) -> None:
    assert_refused(saved(tmp_path, text), None, "looks like")


IM = "<|im_start|>{}\n{}<|im_end|>\n"
PERSONA = ["I am Lu."]


@pytest.mark.parametrize(
    "text",
    [
        IM.format("system", "I am Lu.") + IM.format("user", "hi: you") + IM.format("assistant", "hello"),
        "<|system|>\nI am Lu.</s>\n<|user|>\nhi: you</s>\n<|assistant|>\nhello</s>\n",
        "[INST] <<SYS>>\nI am Lu.\n<</SYS>>\n\nhi: you [/INST] hello\n",
        "### System:\nI am Lu.\n### User:\nhi: you\n### Assistant:\nhello\n",
        "### System: I am Lu. ### Human: hi: you ### Assistant: hello\n",
        "I am Lu. USER: hi: you ASSISTANT: hello</s>\n",
    ],
    ids=["chatml", "zephyr", "llama2", "headed", "inline", "vicuna"],
)
def test_templates_without_json(text: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    one = talk("hi: you", "hello", persona=PERSONA)
    assert (detect(file), read(file)) == ("transcript", [one])
    assert read(saved(tmp_path, text + text)) == [one, one]


def test_where_a_dialogue_in_a_template_ends(tmp_path: Path) -> None:
    pair = IM.format("user", "hi: you") + IM.format("assistant", "hello")
    assert read(saved(tmp_path, f"{pair}\n{pair}")) == [TWO, TWO], "behind a blank line"
    assert read(saved(tmp_path, f"{pair}<|endoftext|>\n{pair}")) == [TWO, TWO], "behind a document's end"
    spread = pair.replace("<|im_end|>\n", "<|im_end|>\n\n")
    assert read(saved(tmp_path, spread)) == [TWO], "not where every turn has one before it"
    file = saved(tmp_path, f"{pair}\n{IM.format('user', 'alone')}")
    assert [str(p) for p in check(file).problems] == [
        f"{file}:6: a dialogue with one turn; it needs something said and a reply"
    ]
    lines = saved(tmp_path, "[INST] hi: you [/INST] hello\n[INST] hi: you [/INST] hello\n")
    assert read(lines) == [TWO, TWO], "a dialogue a line"


HI = '{"role": "user", "content": "hi: you"}'
HELLO = '{"role": "assistant", "content": "hello, [so,] and {so,}"}'
ENTRY = f'{{"messages": [{HI}, {HELLO},],}}'


@pytest.mark.parametrize(
    "text",
    [
        f"[\n{ENTRY},\n{ENTRY},\n]\n",
        f"{ENTRY}\n{ENTRY}\n",
        f"{ENTRY},\n{ENTRY},\n",
        f'{{"train": [{ENTRY}, {ENTRY},\n], }}\n',
        f'{{"data": [\n{ENTRY}, {ENTRY}, ],\n}}\n',
    ],
    ids=["list", "lines", "lines with commas", "parts", "wrapped"],
)
def test_commas_behind_the_last_one(text: str, tmp_path: Path) -> None:
    found = read(saved(tmp_path, text, "a.json"))
    assert [d.turns for d in found] == 2 * [talk("hi: you", "hello, [so,] and {so,}").turns]


def test_calls_of_tools_are_left_out_and_counted(tmp_path: Path) -> None:
    called: list[dict[str, Any]] = [
        json.loads(HI),
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "clock"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
        {"role": "assistant", "content": "hello"},
    ]
    shared = [
        {"from": "human", "value": "hi: you"},
        {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "12:00"},
        {"from": "gpt", "value": "hello"},
    ]
    pictured = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": [{"type": "text", "text": "hi: you"}, {"type": "input_audio"}]},
        {"role": "assistant", "content": "hello"},
    ]
    for entry, omitted in (
        ({"messages": called}, {"tool message": 2}),
        ({"conversations": shared, "tools": "[]"}, {"tool message": 2}),
        ({"messages": pictured}, {"picture": 1, "recording": 1}),
    ):
        file = saved(tmp_path, json.dumps(entry), "a.jsonl")
        taken = take(file)
        assert (taken.dialogs, taken.omitted) == ([TWO], omitted)
        report = check(file)
        assert report.omitted == omitted
        assert any(line.startswith(f"{file}: left out of dialogues: ") for line in report.lines())
