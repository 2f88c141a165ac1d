"""Which format a file is in, told from how it begins, and else from its name; the files of a folder."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.text.corpora.csv_persona import column_indices
from convai.text.corpora.files import bare_name, head, require_file
from convai.text.corpora.formats import FORMATS
from convai.text.corpora.parlai_text import PERSONA_LINES

NOT_DIALOGUES: Final = ("personas", "documents", "readme")
"""Text files whose names begin so hold something else; a folder's are passed over."""

_JSON_KEYS: Final = {
    "personality": "personachat",
    "utterances": "personachat",
    "train": "personachat",
    "valid": "personachat",
    "messages": "openai",
    "conversations": "sharegpt",
    "turns": "jsonl",
    "personas": "jsonl",
}
_JSON_KEY = re.compile(rf'"({"|".join(_JSON_KEYS)})"[ \t\r\n]{{0,99}}:')
_TEXT_SUFFIXES: Final = ("", ".txt", ".text")
_FIRST_LINE_CHARS: Final = 4096


def detect(path: Path) -> str:
    """The name of the format of a file. Raises DataError when it cannot be told, or is no text."""
    require_file(path)
    start = head(path).lstrip("\r\n\t ")
    if not start:
        raise DataError(f"{path}: the file is empty; see `convai data formats` for what can be in it")
    suffix = Path(bare_name(path)).suffix.lower()
    found = _from_content(start) or next((f.name for f in FORMATS.values() if suffix in f.extensions), "")
    if found and not (found == "parlai" and not _is_parlai(start)):
        return found
    if suffix in _TEXT_SUFFIXES and not start.startswith(("{", "[")):
        if not _may_hold_dialogues(path):
            raise DataError(f"{path}: by its name no dialogues; give the format 'text' if it holds some")
        return "text"
    raise DataError(f"{path}: cannot tell the format; give one of {', '.join(FORMATS)}")


def _from_content(start: str) -> str:
    if start[0] in "{[":
        key = _JSON_KEY.search(start)
        return _JSON_KEYS[key[1]] if key else ""
    if _is_parlai(start):
        return "parlai"
    first = start.partition("\n")[0][:_FIRST_LINE_CHARS]
    try:
        header = next(csv.reader([first]), [])
    except csv.Error:
        return ""
    return "csv" if column_indices(header) else ""


def _is_parlai(start: str) -> bool:
    """Whether it begins with line 1 of a persona, or with line 1 and a tab or line 2 after it."""
    first, _, rest = start.partition("\n")
    number, _, text = first.partition(" ")
    if number != "1":
        return False
    is_persona = text[:24].lower().startswith(tuple(PERSONA_LINES))
    return is_persona or "\t" in text or rest.startswith("2 ")


def _may_hold_dialogues(path: Path) -> bool:
    return not path.name.lower().startswith(NOT_DIALOGUES)


def expand(path: Path) -> list[Path]:
    """The file itself, or a folder's dialogue files, sorted by name (not those of folders inside).

    Raises DataError when there is no such file or folder, or no dialogue file in it.
    """
    if not path.is_dir():
        require_file(path)
        return [path]
    known = {e for f in FORMATS.values() for e in f.extensions} | {".text"}
    found = [
        child
        for child in sorted(path.iterdir())
        if child.is_file()
        and not child.name.startswith(".")
        and Path(bare_name(child)).suffix.lower() in known
        and _may_hold_dialogues(child)
    ]
    if not found:
        endings = ", ".join(sorted(known))
        raise DataError(f"{path}: no dialogue files in this folder; their names end in {endings} (.gz, .xz)")
    return found
