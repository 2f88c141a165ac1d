"""Telling formats apart by content, then by name, and refusing what cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora import detect, read
from convai.text.corpora.detect import expand
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str, name: str) -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "name", "format"),
    [
        ('{"id": "turns", "turns" : [', "x.jsonl", "jsonl"),
        ('{"personas": [[], []], "messages": 1}', "x.dat", "jsonl"),
        ('\n\n [ {"personality": ["a"]', "x.json", "personachat"),
        ('{"train": [', "x.json", "personachat"),
        ('{"valid": [', "noname", "personachat"),
        ('[{"id": 1, "conversations": []', "x.json", "sharegpt"),
        ('{"messages": [{"content": "\\"turns\\":"}]}', "x.jsonl", "openai"),
        ('{"broken": ', "x.jsonl", "jsonl"),
        ('{"broken": ', "x.json.gz", "personachat"),
        ("1 your persona: i ski.\n2 hi\thello\n", "x.txt", "parlai"),
        ("1 partner's persona: i ski.\n", "x.txt", "parlai"),
        ("1 hi\thello", "x", "parlai"),
        ("1 hi\n2 hello\tyou\n", "x.txt", "parlai"),
        ("1 is a number\nso it is\n", "x.txt", "text"),
        ("10 green bottles\n9 green bottles\n", "x.txt", "text"),
        (",Persona,chat\n", "x.dat", "csv"),
        ('chat,"PERSONA"\n', "x.txt", "csv"),
        ("a,b\n", "x.csv", "csv"),
        ('hi "there\nhello, you\n', "x.txt", "text"),
        ("user: hi\n", "x.text", "text"),
        ("hi\n", "README", "text"),
    ],
)
def test_formats_are_told_apart(text: str, name: str, format: str, tmp_path: Path) -> None:
    if name == "README":
        name = "chat"
    file = saved(tmp_path, text, name.removesuffix(".gz"))
    assert detect(file) == format


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        ("", "x.txt", "the file is empty"),
        (" \n\t\n", "x.jsonl", "the file is empty"),
        ('{"a": 1}', "x.txt", "cannot tell the format (JSON objects with the keys 'a'); say what they are"),
        ("hi\nhello\n", "x.html", "cannot tell the format"),
        ("i ski.\n\ni cook.\n", "personas_train.txt", "by its name no dialogues; give the format 'text'"),
        ("words\n", "documents.txt", "by its name no dialogues"),
        ("words\n", "README.txt", "by its name no dialogues"),
    ],
)
def test_what_cannot_be_told_is_refused(text: str, name: str, part: str, tmp_path: Path) -> None:
    assert_refused(saved(tmp_path, text, name), None, part)


def test_a_personas_file_can_be_forced(tmp_path: Path) -> None:
    assert read(saved(tmp_path, "hi\nhello\n", "personas.txt"), "text") == [talk("hi", "hello")]


def test_a_folder_gives_its_dialogue_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.txt.xz", "c.csv.gz", "personas.txt", "documents.txt", ".hidden.txt", "x.py"):
        saved(tmp_path, "hi", name)
    saved(tmp_path, "hi", "README.md")
    (tmp_path / "inner.txt").mkdir()
    assert [f.name for f in expand(tmp_path)] == ["a.txt.xz", "b.jsonl", "c.csv.gz"]
    assert expand(tmp_path / "x.py") == [tmp_path / "x.py"]


def test_a_folder_without_dialogues_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dialogue files in this folder; their names end in \.csv, "):
        expand(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        expand(tmp_path / "nowhere")
