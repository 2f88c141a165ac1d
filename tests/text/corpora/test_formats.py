"""The same three dialogues in every format are read as the same dialogues, packed or not."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from convai.core.dialog import Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.text.corpora import FORMATS, iter_dialogs, read
from convai.text.corpora.formats import named
from tests.text.corpora.helpers import talk

FOLDER = Path(__file__).parents[3] / "data" / "formats"
FILES = {
    "jsonl": "convai.jsonl",
    "personachat": "personachat.json",
    "parlai": "parlai.txt",
    "openai": "openai.jsonl",
    "sharegpt": "sharegpt.json",
    "alpaca": "alpaca.jsonl",
    "preference": "preference.jsonl",
    "lists": "lists.json",
    "transcript": "transcript.jsonl",
    "conversation": "conversation.json",
    "sillytavern": "sillytavern.jsonl",
    "oasst": "oasst.jsonl",
    "parlai-json": "sessions.jsonl",
    "topical-chat": "topical_chat.json",
    "multiwoz": "multiwoz.json",
    "examples": "examples.txt",
    "roleplay": "roleplay.json",
    "kobold": "kobold.jsonl",
    "telegram": "telegram.json",
    "facebook": "facebook.json",
    "discord": "discord.json",
    "slack": "slack.json",
    "signal": "signal.jsonl",
    "whatsapp": "whatsapp.txt",
    "timed": "timed.txt",
    "captions": "captions.vtt",
    "play": "play.txt",
    "parlai-dialog": "parlai_dialog.txt",
    "dailydialog": "marked.txt",
    "csv": "persona_chat.csv",
    "text": "plain.txt",
}
KEEPS_CANDIDATES = {"jsonl", "personachat", "parlai", "parlai-dialog"}
KEEPS_LAST_CANDIDATES = {"preference"}
KEEPS_PARTNER = {"jsonl", "parlai", "parlai-dialog", "parlai-json", "text"}
KEEPS_IDS = {"jsonl", "sharegpt", "oasst"}
KEEPS_NO_PERSONA = {
    *("sillytavern", "roleplay", "oasst", "timed", "whatsapp", "dailydialog"),
    *("telegram", "facebook", "discord", "slack", "signal"),
    *("topical-chat", "multiwoz", "examples", "play", "captions"),
}
KEEPS_NAME = {"sillytavern": "Ann", "roleplay": "Ann", "kobold": "Ann"}

_FIRST = talk(
    "good morning! what smells so good?",
    "the first rolls of the day. i bake them myself.",
    "when do you get up for that?",
    "at three, when even the birds are asleep.",
    persona=("i run a bakery.", "i get up at three."),
    id="bakery",
)
_WRONG = {
    1: ("geese? then i will wait in the boat.", "i have never been to the mountains."),
    3: ("almost noon.", "my brother plays the drums."),
}
GOLDEN = [
    replace(
        _FIRST,
        turns=tuple(replace(turn, distractors=_WRONG.get(i, ())) for i, turn in enumerate(_FIRST.turns)),
    ),
    talk(
        "do you want to visit me at the lake?",
        "with pleasure! i can practise my sailing.",
        "mind the geese, they own the place.",
        "geese? then i will wait in the boat.",
        persona=("i am learning to sail.", "i am afraid of geese."),
        partner=("i live by a lake.",),
        id="lake",
    ),
    talk("what time is it?", "almost noon.", id="time"),
]


def bare(d: Dialog, i: int, last: bool) -> Turn:
    """A turn without its candidates, unless it is the last one and those are kept."""
    wrong = d.turns[i].distractors if last and i == len(d.turns) - 1 else ()
    return Turn(d.turns[i].speaker, d.turns[i].text, wrong)


def golden(format: str) -> list[Dialog]:
    """GOLDEN less what the format has no place for."""
    dialogs = GOLDEN
    if format not in KEEPS_CANDIDATES:
        last = format in KEEPS_LAST_CANDIDATES
        dialogs = [replace(d, turns=tuple(bare(d, i, last) for i in range(len(d.turns)))) for d in dialogs]
    if format in KEEPS_NO_PERSONA:
        dialogs = [replace(d, personas=(Persona(), Persona())) for d in dialogs]
    if name := KEEPS_NAME.get(format):
        dialogs = [replace(d, personas=(d.personas[0], replace(d.personas[1], name=name))) for d in dialogs]
    if format not in KEEPS_PARTNER:
        dialogs = [
            replace(d, personas=(replace(d.personas[0], sentences=()), d.personas[1])) for d in dialogs
        ]
    if format not in KEEPS_IDS:
        dialogs = [replace(d, id="") for d in dialogs]
    return dialogs


def test_there_is_a_sample_of_every_format() -> None:
    assert set(FILES) == set(FORMATS)


@pytest.mark.parametrize("format", FILES)
def test_the_sample_is_read_as_the_golden_dialogues(format: str) -> None:
    file = FOLDER / FILES[format]
    assert read(file) == golden(format), "told from the content"
    assert read(str(file), format) == golden(format), "named"


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_packed_files_are_read_too(
    format: str, suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    packed = tmp_path / (FILES[format] + suffix)
    packed.write_bytes(pack((FOLDER / FILES[format]).read_bytes()))
    assert read(packed) == golden(format)


@pytest.mark.parametrize("format", FILES)
def test_a_byte_order_mark_and_windows_line_ends_change_nothing(format: str, tmp_path: Path) -> None:
    file = tmp_path / FILES[format]
    text = (FOLDER / FILES[format]).read_text(encoding="utf-8")
    file.write_bytes(("\ufeff" + text.replace("\n", "\r\n")).encode())
    assert read(file) == golden(format)


def test_a_folder_is_read_in_the_order_of_its_names() -> None:
    by_name = sorted(FILES, key=lambda format: FILES[format])
    assert read(FOLDER) == [d for format in by_name for d in golden(format)]


def test_dialogues_come_one_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "half-good.txt"
    file.write_text("hi\nhello\n\n1\n", encoding="utf-8")
    dialogs = iter_dialogs(file)
    assert next(dialogs) == talk("hi", "hello")
    with pytest.raises(DataError, match="one turn"):
        next(dialogs)


def test_an_unknown_format_is_refused_with_the_list() -> None:
    with pytest.raises(DataError, match="format 'xml' is unknown; use one of jsonl, personachat, parlai"):
        named("xml")
    with pytest.raises(DataError, match="format 'csv' cannot be written; use one of jsonl"):
        named("csv", to_write=True)
