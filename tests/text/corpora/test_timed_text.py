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
        ("05-Jan-24 10:15 AM - Ann: {}", "05-Jan-24 10:16 AM - Bo: {}"),
        ("Jan 05 10:15:10 <ann>\t{}", "Jan 05 10:15:20 <bo>\t{}"),
        ("10:15 < ann> {}", "10:16 <@bo> {}"),
        ("2026-01-13 10:15:10\tann\t{}", "2026-01-13 10:15:20\t@bo\t{}"),
        ("[Ann B.] [10:15 AM] {}", "[Bo] [10:16 AM] {}"),
        ("5 January 2024 10:15 Ann: {}", "5 January 2024 10:16 Bo: {}"),
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
        ("[05-Jan-24 10:15 AM] ann_1", "[05-Jan-24 10:16 AM] bo"),
        (
            "Jan 05, 2024 10:15:01 AM\nMe",
            "Jan 05, 2024 10:16:01 AM (Read after 2 seconds)\n+15551234567",
        ),
        ("2024-01-05 10:15\nann@example.org", "2024-01-05 10:16\nMe"),
    ],
)
def test_a_time_and_a_name_on_a_line_of_their_own(first: str, second: str, tmp_path: Path) -> None:
    for blank in ("", "\n"):
        text = f"{first}\nhi: you\n{blank}{second}\nhel\nlo\nsee you at 10:30\n"
        file = saved(tmp_path, text)
        assert (detect(file), read(file)) == ("timed", [talk("hi: you", "hel lo see you at 10:30")])


@pytest.mark.parametrize(
    ("text", "omitted"),
    [
        (
            "--- Log opened Fri Jan 05 10:15:00 2024\n10:15 -!- ann [~a@h] has joined #x\n"
            "10:15 < ann> hi: you\n10:16 <@bo> hello\n10:16  * bo waves\n--- Log closed\n",
            {"notice": 4},
        ),
        (
            "[10:15:01] *** Joins: ann (~a@h)\n[10:15:10] <ann> hi: you\n[10:15:20] <bo> hello\n",
            {"notice": 1},
        ),
        (
            "2024-01-05 10:15:00\t-->\tann (~a@h) has joined #x\n2024-01-05 10:15:10\tann\thi: you\n"
            "2024-01-05 10:15:20\t@bo\thello\n2024-01-05 10:16:00\t *\tbo waves\n",
            {"notice": 2},
        ),
        (
            "**** BEGIN LOGGING AT Fri Jan  5 10:15:00 2024\n\nJan 05 10:15:01 *\tNow talking on #x\n"
            "Jan 05 10:15:10 <ann>\thi: you\nJan 05 10:15:20 <bo>\thello\n",
            {"notice": 2},
        ),
        (
            "[LINE] Chat history with Ann\nSaved on: 2024/01/05 10:15\n\n2024/01/05(Fri)\n"
            "10:15\tAnn\thi: you\n10:16\tBo\t[Sticker]\n10:16\tBo\thello\n",
            {"notice": 3, "wordless message": 1},
        ),
        (
            "Ann KakaoTalk Chats\nDate Saved : 2024-01-05 10:15:00\n\n"
            "--------------- Friday, January 5, 2024 ---------------\n"
            "[Ann] [10:15 AM] hi: you\n[Bo] [10:16 AM] hello\n",
            {"notice": 3},
        ),
        ("[ Friday, 5 January 2024 ]\n10:15 AM Ann: hi: you\n10:16 AM Bo: hello\n", {"notice": 1}),
        (
            "======\nGuild: Direct Messages\nChannel: bo\n======\n\n[05-Jan-24 10:15 AM] ann\nhi: you\n\n"
            "[05-Jan-24 10:16 AM] bo\nhello\n\n======\nExported 2 message(s)\n======\n",
            {"notice": 7},
        ),
        ("Ann Lee  0:01\nhi: you\n\nBo Ray  0:05\nhello\n\nTranscribed by https://otter.ai\n", {"notice": 1}),
    ],
    ids="irssi znc weechat hexchat line kakao viber discord otter".split(),
)
def test_what_programs_write_around_turns_is_counted(
    text: str, omitted: dict[str, int], tmp_path: Path
) -> None:
    taken = take(saved(tmp_path, text, "a.log"))
    assert (taken.format, taken.dialogs, taken.omitted) == ("timed", [TWO], omitted)


def test_another_day_is_another_dialogue(tmp_path: Path) -> None:
    day = "{}\n10:15\tAnn\thi: you\n10:16\tBo\thello\n"
    text = day.format("2024/01/05(Fri)") + day.format("2024/01/06(Sat)")
    assert read(saved(tmp_path, text)) == [TWO, TWO]


def test_a_table_with_a_column_of_times_is_a_table(tmp_path: Path) -> None:
    text = "time\tprompt\tcompletion\n10:15\thi: you\thello\n10:16\thi: you\thello\n"
    assert read(saved(tmp_path, text, "a.tsv")) == [TWO, TWO]


VTT = "WEBVTT\n\n{}\n00:00:01.000 --> 00:00:02.000\n{}\n\n{}\n00:00:03.000 --> 00:00:04.000\n{}\n"


@pytest.mark.parametrize(
    "text",
    [
        VTT.format("", "<v Ann Lee>hi: you</v>", "", "<v.loud Bo>hel</v>\n<v.loud Bo>lo</v>"),
        VTT.format("1", "Ann Lee: hi: you", "2", "Bo: hel\nlo"),
        VTT.format("a1-b2/3-0", "<v Ann Lee>hi: <i>you</i></v>", "a1-b2/4-0", "<v Bo>hel lo</v>"),
        "1\n00:00:01,000 --> 00:00:02,000\nAnn: hi:\n\n2\n00:00:02,500 --> 00:00:03,000\nAnn: you\n\n"
        "3\n00:00:03,000 --> 00:00:04,000\nBo: hel lo\n",
    ],
    ids="voices names teams srt".split(),
)
def test_captions_that_say_who_speaks(text: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text, "a.vtt")
    assert (detect(file), read(file)) == ("captions", [talk("hi: you", "hel lo")])


def test_subtitles_without_names_are_refused(tmp_path: Path) -> None:
    for name in ("a.vtt", "a.srt", "a.txt"):
        text = "1\n00:00:01,000 --> 00:00:02,000\n- hi\n- hello\n\n2\n00:00:02,500 --> 00:00:03,000\nAnn!\n"
        assert_refused(saved(tmp_path, text, name), None, "looks like subtitles")


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
