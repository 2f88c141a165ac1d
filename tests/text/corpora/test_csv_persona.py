"""CSV with Persona and chat: alternating speakers, quoting, and lines in errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.text.corpora import read
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "chat.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_persona_of_the_second_speaker_and_a_turn_a_line(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ",Persona,chat\n0, i ski. i have a sled! is that odd?,"
        '"hi , you\nhe said ""no""\nwhy ?\n\n"\n\n1,,"a\nb"\n',
    )
    assert read(file) == [
        talk("hi , you", 'he said "no"', "why ?", persona=("i ski.", "i have a sled!", "is that odd?")),
        talk("a", "b"),
    ]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    assert read(saved(tmp_path, 'CHAT,note,persona\n"a\nb",x,i ski.\n')) == [
        talk("a", "b", persona=("i ski.",))
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("Persona,talk\nx,y\n", 1, "no columns 'Persona' and 'chat'"),
        ('Persona,chat\ni ski.,"a\nb"\ni cook.,a\n', 4, "a dialogue with one turn"),
        ("Persona,chat\ni ski.,\n", 2, "a dialogue with no turns"),
        ("Persona,chat\ni ski.\n", 2, "1 cells, fewer than the header has"),
        ('Persona,chat\ni ski.,"a\n\nb"\n', 2, "chat line 2: empty text"),
        ('Persona,chat\ni ski.,"a\nb\n', 2, "malformed CSV"),
        ('Persona,chat\ni ski.,"a"b\n', 2, "malformed CSV"),
        (f'Persona,chat\ni ski.,"a\n{"x" * 200_000}"\n', 2, "malformed CSV (field larger than field limit"),
        ('Persona,chat\ni\x02ski.,"a\nb"\n', 2, "persona: control characters"),
        (f'Persona,chat\n{"y" * 110_000},"a\nb"\n', 2, "persona: 110,000 characters"),
    ],
)
def test_a_row_that_does_not_fit_is_named(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert_refused(file, "csv", f"{file}:{line}:" if line == 1 else f"{file}:{line}", part)
