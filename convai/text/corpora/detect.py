"""Which format a file is in, told from how it begins, and else from its name; the files of a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.core.text_files import bare_name, first_bytes, head, require_file
from convai.text.corpora.captions import is_captions
from convai.text.corpora.columns import OPTION
from convai.text.corpora.csv_tables import header_of
from convai.text.corpora.examples_text import is_examples
from convai.text.corpora.formats import FORMATS
from convai.text.corpora.json_head import first_entry
from convai.text.corpora.marked_text import mark_of
from convai.text.corpora.messengers import is_whatsapp
from convai.text.corpora.parlai_dialog import is_parlai_dialog
from convai.text.corpora.parlai_text import PERSONA_LINES
from convai.text.corpora.plain_text import is_headed
from convai.text.corpora.plays import is_play
from convai.text.corpora.shapes import shape_of
from convai.text.corpora.splits import split_named
from convai.text.corpora.table_rows import is_separator
from convai.text.corpora.template_text import is_template_text
from convai.text.corpora.timed_text import is_timed
from convai.text.corpora.unlike import refuse_binary, refuse_json, unlike_talk

NOT_DIALOGUES: Final = ("personas", "documents", "readme", "probes")
"""Files whose names begin so hold something else; a folder's are passed over."""

_TEXT_SUFFIXES: Final = ("", ".txt", ".text", ".md", ".markdown", ".log")
_BY_CONTENT: Final = ("parlai", "captions")
"""What a name alone does not tell: most texts are plain, most subtitles do not say who speaks."""
_FIRST_LINE_CHARS: Final = 4096
_BRACKETED: Final = re.compile(r"\s*\[[^\W\d_][\w .'’-]{0,39}\]:?\s+\S")
"""A turn behind a name in brackets, which no list of JSON is."""
_LINES: Final = 50


def detect(path: Path) -> str:
    """The name of the format of a file.

    Raises DataError when it cannot be told, saying what the file looks like: no text, something else than
    dialogues, text that is no talk.
    """
    require_file(path)
    refuse_binary(path, first_bytes(path, 16))
    start = head(path).lstrip("\r\n\t ")
    if not start:
        raise DataError(f"{path}: the file is empty; see `convai data formats` for what can be in it")
    suffix = Path(bare_name(path)).suffix.lower()
    found = _from_text(start)
    if not found and start[0] in "{[":
        found = _from_json(path, suffix)
    if not found:
        named = (f.name for f in FORMATS.values() if suffix in f.extensions and f.name not in _BY_CONTENT)
        found = next(named, "")
    if found:
        return found
    if suffix in _TEXT_SUFFIXES and start[0] not in "{[":
        if not _may_hold_dialogues(path):
            raise DataError(f"{path}: by its name no dialogues; give the format 'text' if it holds some")
        unlike = unlike_talk(start)
        if unlike:
            raise DataError(f"{path}: looks like {unlike[0]}; {unlike[1]} (--format text reads it as talk)")
        return "text"
    unlike = unlike_talk(start)
    if unlike:
        raise DataError(f"{path}: looks like {unlike[0]}; {unlike[1]}")
    raise DataError(f"{path}: cannot tell the format; give one of {', '.join(FORMATS)}")


def _from_json(path: Path, suffix: str) -> str:
    """The format of a JSON file. Raises DataError for JSON of something else."""
    entry = first_entry(path)
    found = shape_of(entry)
    if found:
        return found
    refuse_json(path, entry)
    if isinstance(entry, dict):
        if any(split_named(key) for key in entry):
            return "personachat"
        if entry and any(value not in ([], {}) for value in entry.values()):
            keys = ", ".join(repr(key[:30]) for key in list(entry)[:6])
            raise DataError(
                f"{path}: cannot tell the format (JSON objects with the keys {keys}); say what they are, as "
                f"in {OPTION}, or give one of {', '.join(FORMATS)}"
            )
    return ""


def _from_text(start: str) -> str:
    """The format of what is told from its first lines, or an empty text."""
    lines = [line for line in start.split("\n") if line.strip()][:_LINES]
    if is_whatsapp(lines):
        return "whatsapp"
    if is_captions(lines):
        return "captions"
    if is_timed(lines):
        return "timed"
    if is_examples(lines):
        return "examples"
    if is_template_text(lines[: _LINES // 2]) and (start[0] not in "{[" or start.startswith("[INST]")):
        return "transcript"
    if is_headed(lines) or (lines and all(map(_BRACKETED.match, lines))):
        return "text"
    if is_play(start):
        return "play"
    if not lines or start[0] in "{[":
        return ""
    if _is_parlai(start):
        return "parlai"
    if is_parlai_dialog(lines[0]):
        return "parlai-dialog"
    heading = next((line for line in lines if not is_separator(line)), "")
    if header_of(heading[:_FIRST_LINE_CHARS])[0]:
        return "csv"
    marked = sum(bool(mark_of(line)) for line in lines)
    return "dailydialog" if marked * 2 > len(lines) else ""


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
