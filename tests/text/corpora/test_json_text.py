"""JSON entry by entry: any layout gives the same entries, and malformed text names its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.text.corpora.json_text import decode_line, dump, entries

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(
    st.dictionaries(st.text().filter(lambda k: k not in ("a", "b")), JSON, max_size=3), max_size=4
)


def saved(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8", newline="")
    return file


@given(values=OBJECTS, indent=st.none() | st.integers(0, 3))
def test_a_list_sections_and_lines_give_the_same_entries(
    values: list[Any], indent: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert [e.value for e in entries(saved(folder, json.dumps(values, indent=indent)))] == values
    lines = "\n".join(json.dumps(value) for value in values)
    assert [e.value for e in entries(saved(folder, lines), ("a", "b"))] == values
    sections = json.dumps({"a": values, "other": values, "b": values}, indent=indent)
    found = [(e.section, e.value) for e in entries(saved(folder, sections), ("a", "b"))]
    assert found == [("a", v) for v in values] + [("b", v) for v in values]


def test_lines_and_places(tmp_path: Path) -> None:
    file = saved(tmp_path, '{"a": [\n 1,\n\n 2], "b":\n[3]}')
    assert [(e.line, e.where.removeprefix(f"{file}:")) for e in entries(file, ("a", "b"))] == [
        (2, "2: a entry 1"),
        (4, "4: a entry 2"),
        (5, "5: b entry 1"),
    ]
    assert [e.where for e in entries(saved(tmp_path, '\n{"c": 1}'), ("a",))] == [f"{file}:2"]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("[\n1,\n2", 3, "expected ',' or ']', found the end of the file"),
        ("[1\n2]", 2, "expected ',' or ']', found '2'"),
        ("[1,\n]", 2, "Expecting value"),
        ('{"a": [1],\n}', 2, "expected a key in double quotes"),
        ('{"a": [1],\n"b" [2]}', 2, "expected ':', found '['"),
        ('{"a":\n3}', 2, "expected '[', found '3'"),
        ('{"a": [{"x":\n\n1,}]}', 3, "property name"),
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
        list(entries(file, ("a", "b")))
    assert str(caught.value).startswith(f"{file}:{line}: malformed JSON (")
    assert part in str(caught.value)


def test_the_entries_before_the_fault_are_given(tmp_path: Path) -> None:
    found = entries(saved(tmp_path, "[1, 2, }"))
    assert [next(found).value, next(found).value] == [1, 2]
    with pytest.raises(DataError):
        next(found)


@given(value=JSON)
def test_a_dumped_line_is_one_line_and_decodes_to_the_same(value: Any) -> None:
    line = dump(value, "here")
    assert "\n" not in line
    assert decode_line(line, "here") == value
    assert decode_line(line.encode("utf-8").decode("utf-8"), "here") == value
