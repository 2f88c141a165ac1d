"""What data/ promises: personas, sample dialogues, and a README whose examples are readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convai.text.corpora import FORMATS, check, iter_documents, read, read_personas, stats
from tests.text.corpora.test_formats import KEEPS_NO_PERSONA

DATA = Path(__file__).parents[3] / "data"
SUFFIXES = {
    **dict.fromkeys(("personachat", "sharegpt", "lists", "conversation", "telegram", "facebook"), ".json"),
    **dict.fromkeys(("parlai", "parlai-dialog", "dailydialog", "whatsapp", "timed", "play", "text"), ".txt"),
    **dict.fromkeys(("discord", "slack", "roleplay", "topical-chat", "multiwoz"), ".json"),
    "examples": ".txt",
    "csv": ".csv",
    "captions": ".vtt",
}


def test_thirty_different_personas() -> None:
    personas = read_personas(DATA / "personas.txt")
    assert len(personas) == 30
    assert all(4 <= len(p.sentences) <= 5 for p in personas)
    sentences = [s for p in personas for s in p.sentences]
    assert len(set(sentences)) == len(sentences)
    assert all(len(s) < 80 and s.endswith(".") for s in sentences)


def test_twenty_dialogues_with_personas() -> None:
    file = DATA / "sample_dialogues.jsonl"
    report = check(file)
    assert (report.ok, report.warning_count, report.dialogues) == (True, 0, 20)
    dialogs = read(file)
    assert all(8 <= len(d.turns) <= 12 and len(d.turns) % 2 == 0 for d in dialogs)
    assert all(3 <= len(d.persona.sentences) <= 5 for d in dialogs)
    assert stats(dialogs).distinct_personas == 20
    assert len({d.id for d in dialogs}) == 20
    texts = [t.text for d in dialogs for t in d.turns]
    assert len(set(texts)) == len(texts)


def test_the_data_folder_itself_can_be_read() -> None:
    assert read(DATA) == read(DATA / "sample_dialogues.jsonl")


def test_the_documents_sample() -> None:
    assert [len(d.paragraphs) for d in iter_documents(DATA / "formats" / "documents.txt")] == [2, 1]


@pytest.mark.parametrize("format", FORMATS)
def test_the_example_in_the_readme_is_readable(format: str, tmp_path: Path) -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    section = re.split(r"^##+ ", text, flags=re.M)
    (own,) = [part for part in section if part.startswith(f"`{format}`")]
    (example,) = re.findall(r"^```\w+\n(.*?)^```", own, flags=re.M | re.S)
    file = tmp_path / f"example{SUFFIXES.get(format, '.jsonl')}"
    file.write_text(example, encoding="utf-8")
    (found,) = read(file)
    assert found == read(file, format)[0]
    assert [t.text for t in found.turns[:2]] == ["good morning!", "hello!"]
    assert found.persona.sentences[:1] == (() if format in KEEPS_NO_PERSONA else ("i run a bakery.",))


def test_the_readme_lists_every_format() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    for f in FORMATS.values():
        ways = "read, written" if f.render else "read"
        assert f"| `{f.name}` | {ways} |" in text
    for name in re.findall(r"\((formats/[^)]+)\)", text):
        assert (DATA / name).is_file()
