"""The checker goes on after a problem, names places, counts what it does not list, and warns of oddities."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.errors import DataError
from convai.text.corpora import check

GOOD: list[dict[str, Any]] = [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}]


def saved(tmp_path: Path, *values: Any, name: str = "chat.jsonl") -> Path:
    file = tmp_path / name
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def said(*texts: str) -> dict[str, Any]:
    return {"turns": [{"speaker": i % 2, "text": text} for i, text in enumerate(texts)]}


def test_a_good_file(tmp_path: Path) -> None:
    file = saved(tmp_path, said("a", "b"), said("c", "d"))
    report = check(file)
    assert report.ok
    assert (report.format, report.dialogues, report.problems, report.warnings) == ("jsonl", 2, [], [])
    assert list(report.lines()) == [f"{file}: jsonl, 2 dialogues, ok"]


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        said("a", "b"),
        '{"turns": [',
        said("alone"),
        {"turns": [*GOOD, {"speaker": 1, "text": " "}]},
        {"turns": GOOD, "personas": [[], [1]]},
        said("c", "d"),
    )
    report = check(file)
    assert not report.ok
    assert (report.dialogues, report.problem_count) == (2, 4)
    assert [p.removeprefix(f"{file}:").split(":")[0].split(",")[0] for p in report.problems] == [
        "2",
        "3",
        "4",
        "5",
    ]
    assert all("; " in problem for problem in report.problems)
    assert list(report.lines())[-1] == f"{file}: jsonl, 2 dialogues, 4 problems"


@pytest.mark.parametrize(
    ("format", "text", "places"),
    [
        ("parlai", "1 a\tb\n1 c\n1 d\te\n3 f\tg\n1 h\ti\n", [2, 4]),
        ("text", "a\nb\n\nc\n\nd\ne\n\nf\n", [4, 9]),
        ("csv", 'Persona,chat\n,a\n,"b\nc"\n,d\n', [2, 5]),
        ("openai", '{"messages": []}\n{"messages": 3}\n', [1, 2]),
        ("sharegpt", '[{"conversations": 3},\n{"conversations": []}]', [1, 2]),
        ("personachat", '[{"utterances": 3},\n{"utterances": []}]', [1, 2]),
    ],
)
def test_every_format_goes_on_after_a_problem(
    format: str, text: str, places: list[int], tmp_path: Path
) -> None:
    file = tmp_path / "chat"
    file.write_text(text, encoding="utf-8")
    report = check(file, format)
    assert [int(p.removeprefix(f"{file}:").split(":")[0]) for p in report.problems] == places
    assert report.problem_count == len(places)


def test_problems_and_warnings_are_listed_up_to_twenty_and_counted_beyond(tmp_path: Path) -> None:
    file = saved(tmp_path, *[said("alone")] * 25, *[said("a", "b")] * 31)
    report = check(file)
    assert (len(report.problems), report.problem_count) == (20, 25)
    assert (len(report.warnings), report.warning_count) == (20, 30)
    lines = list(report.lines())
    assert lines[20] == f"{file}: and 5 more problems"
    assert lines[-2:] == [
        f"{file}: and 10 more warnings",
        f"{file}: jsonl, 31 dialogues, 25 problems, 30 warnings",
    ]


@pytest.mark.parametrize(
    ("values", "line", "part"),
    [
        ([said("a", "b"), said("c", "d"), said("a", "b")], 3, "the same turns as the dialogue at"),
        ([{"turns": [GOOD[0], GOOD[0]]}], 1, "the agent never replies"),
        ([{"turns": [GOOD[1], GOOD[0]]}], 1, "the agent never replies"),
        (
            [{"turns": [GOOD[0], {**GOOD[1], "distractors": ["no", "hello"]}]}],
            1,
            "turn 2: the reply is among",
        ),
        (
            [{"turns": [GOOD[0], {**GOOD[1], "distractors": ["no", "no"]}]}],
            1,
            "turn 2: a wrong candidate occurs twice",
        ),
        (
            [{"turns": [GOOD[0], {**GOOD[1], "distractor": ["no"]}]}],
            1,
            "turn 2: the key 'distractor' is not read",
        ),
        (
            [{"turns": GOOD, "persona": []}],
            1,
            "the key 'persona' is not read; known are id, labels, personas",
        ),
        (
            [{**said("a", "b"), "personas": [[], ["i ski."]]}, said("c", "d")],
            2,
            "without persona sentences, though 1",
        ),
    ],
)
def test_oddities_are_warned_of(values: list[Any], line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, *values)
    report = check(file)
    assert report.ok
    assert report.warning_count == 1
    assert report.warnings[0].startswith(f"{file}:{line}")
    assert part in report.warnings[0]
    assert list(report.lines()) == [
        f"{report.warnings[0]} (warning)",
        f"{file}: jsonl, {len(values)} dialogue{'s' * (len(values) > 1)}, ok, 1 warning",
    ]


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "looks like a picture"),
        (gzip.compress(b"hi\nhello\n" * 9, mtime=0)[:-6], "damaged or cut short"),
        ("héllo\nyou\n".encode("utf-16")[:-1], "UTF-16"),
        (b"[]", "cannot tell the format"),
    ],
)
def test_a_file_that_is_no_text_is_a_problem_not_an_exception(data: bytes, part: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_bytes(data)
    report = check(file)
    assert report.problem_count == 1
    assert part in report.problems[0]
    assert report.format == "unknown"
    assert list(report.lines())[-1] == f"{file}: unknown, 0 dialogues, 1 problem"


def test_what_cannot_be_opened_and_an_unknown_format_are_exceptions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        check(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="format 'xml' is unknown"):
        check(saved(tmp_path, said("a", "b")), "xml")
