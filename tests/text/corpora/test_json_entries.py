"""JSON entry by entry: any layout gives the same entries, and malformed text names its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.text.corpora.json_entries import entries
from convai.text.corpora.json_head import first_entry
from convai.text.corpora.notes import Notes
from tests.text.corpora.test_json_text import JSON

NAMES = st.sampled_from("abcdefgh")
"""Keys that mean nothing to anybody."""
OBJECTS = st.lists(st.dictionaries(NAMES, JSON, max_size=3), max_size=4)


def saved(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8", newline="")
    return file


@given(values=OBJECTS, indent=st.none() | st.integers(0, 3))
def test_a_list_sections_and_lines_give_the_same_entries(
    values: list[Any], indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert [e.value for e in entries(saved(folder, json.dumps(values, indent=indent)), Notes())] == values
    lines = "\n".join(json.dumps(value) for value in values)
    assert [e.value for e in entries(saved(folder, lines), Notes())] == values
    sections = json.dumps({"train": values, "other": 1, "dev": values}, indent=indent)
    found = [(e.split, e.value) for e in entries(saved(folder, sections), Notes())]
    assert found == [("train", v) for v in values] + [("valid", v) for v in values]


def test_lines_and_places(tmp_path: Path) -> None:
    file = saved(tmp_path, '{"train": [\n 1,\n\n 2], "valid":\n[3]}')
    assert [(e.line, e.where.removeprefix(f"{file}:")) for e in entries(file, Notes())] == [
        (2, "2: train entry 1"),
        (4, "4: train entry 2"),
        (5, "5: valid entry 1"),
    ]
    assert [e.where for e in entries(saved(tmp_path, '\n{"c": 1}'), Notes())] == [f"{file}:2"]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[\n1,\n2", 3, "expected ',' or ']', found the end of the file"),
        ("[1\n2]", 2, "expected ',' or ']', found '2'"),
        ("[1,,\n2]", 1, "Expecting value"),
        ('{"test": [1],\n,}', 2, "expected a key in double quotes"),
        ('{"test": [1],\n"valid" [2]}', 2, "expected ':', found '['"),
        ('{"test": [1], "valid":\n3}', 2, "expected '[', found '3'"),
        ('{"a": [{"x":\n\n1,,}]}', 3, "property name"),
        ('["\n"]', 1, "Invalid control character"),
        ('{"a', 1, "Unterminated string"),
        ("[NaN]", 1, "NaN is not JSON"),
        ("[" * 100_000, 1, "nested too deeply"),
        ("[" + "7" * 5000 + "]", 1, "Exceeds the limit"),
        ("nonsense", 1, "Expecting value"),
    ],
)
def test_malformed_text_names_its_line(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    with pytest.raises(DataError) as caught:
        list(entries(file, Notes()))
    assert str(caught.value).startswith(f"{file}:{line}: malformed JSON (")
    assert part in str(caught.value)


def test_the_entries_before_the_fault_are_given(tmp_path: Path) -> None:
    found = entries(saved(tmp_path, "[1, 2, }"), Notes())
    assert [next(found).value, next(found).value] == [1, 2]
    with pytest.raises(DataError):
        next(found)


MESSAGES = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
ENTRY = {"messages": MESSAGES}
PAIR = {"human": "hi", "assistant": "hello"}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (MESSAGES, [MESSAGES]),
        ([MESSAGES, MESSAGES], [MESSAGES, MESSAGES]),
        ([ENTRY, ENTRY], [ENTRY, ENTRY]),
        (ENTRY, [ENTRY]),
        ({"data": [ENTRY, ENTRY]}, [ENTRY, ENTRY]),
        ({"version": 2, "about": {"by": "me"}, "data": [ENTRY]}, [ENTRY]),
        ({"whatever": [ENTRY, ENTRY]}, [ENTRY, ENTRY]),
        ({"data": {"train": [ENTRY], "valid": []}}, [ENTRY]),
        ({"data": [MESSAGES]}, [MESSAGES]),
        ([["hi", "hello"], ["you", "me"]], [["hi", "hello"], ["you", "me"]]),
        (["hi", "hello"], [["hi", "hello"]]),
        ([{"question": "a", "answer": "b"}] * 2, [{"question": "a", "answer": "b"}] * 2),
        (
            {"conversation": [{"human": "a", "assistant": "b"}]},
            [{"conversation": [{"human": "a", "assistant": "b"}]}],
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_what_holds_the_dialogues_is_told_from_their_shape(
    value: Any, found: list[Any], indent: int | None, tmp_path: Path
) -> None:
    file = saved(tmp_path, json.dumps(value, indent=indent))
    assert [entry.value for entry in entries(file, Notes())] == found
    assert first_entry(file) == found[0]


def test_a_bad_line_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    class Kept(Notes):
        def error(self, problem: DataError) -> None:
            told.append(str(problem))

    told: list[str] = []
    file = saved(tmp_path, '{"turns": 1}\n{"turns": \n{"turns": 2}\n')
    assert [entry.value for entry in entries(file, Kept())] == [{"turns": 1}, {"turns": 2}]
    assert len(told) == 1
    assert told[0].startswith(f"{file}:2: malformed JSON")


def test_the_first_entry_of_a_long_file_is_what_its_head_shows(tmp_path: Path) -> None:
    text = json.dumps({"train": [{"personality": ["x" * 200_000], "utterances": []}]})
    assert first_entry(saved(tmp_path, text)) == {"personality": []}
    text = json.dumps([{"id": 'a\\"]', "turns": [{"speaker": 0, "text": "x" * 200_000}]}])
    assert first_entry(saved(tmp_path, text)) == {"id": 'a\\"]', "turns": [{"speaker": 0}]}
