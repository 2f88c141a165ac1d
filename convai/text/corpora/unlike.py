"""What a file looks like that holds no dialogues: named, with what to do, before it is learnt as talk."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from convai.core.errors import DataError

_BINARY: Final = (
    (b"PAR1", "a Parquet table", "save it as JSON lines (pandas: to_json(..., lines=True))"),
    (b"ARROW1", "an Arrow table", "save it as JSON lines (datasets: to_json)"),
    (b"%PDF", "a PDF", "copy its text into a file"),
    (b"SQLite format 3", "an SQLite database", "export the conversations from it first"),
    (b"\x89PNG", "a picture", "a character card goes to `convai persona import`"),
    (b"GGUF", "a model in GGUF", "name a file of dialogues"),
    (b"PK\x03\x04", "a zip archive (or a document in one)", "unpack it and name a file"),
    (b"BZh", "a bzip2 archive", "unpack it, or pack it with gzip or xz"),
    (b"(\xb5/\xfd", "a Zstandard archive", "unpack it, or pack it with gzip or xz"),
    (b"\x80\x04", "a pickle, which is never loaded", "save it as JSON"),
    (b"\x80\x05", "a pickle, which is never loaded", "save it as JSON"),
)
_CODE = re.compile(
    r"^\s*(?:import \w|from \w+ import|def \w+\(|class \w+|#include|package \w|using \w|public |function\b|"
    r"const |let |var |return\b|\}|//|/\*)|[;{}]\s*$"
)
_TIMED = re.compile(r"^\[?(?:\d{4}-\d\d-\d\d|\d\d/\w{3}/\d{4}|\w{3} +\d{1,2})[T :]\d\d:\d\d")
_COLUMNS = re.compile(r"^\d+(?:-\d+)?\t\S+\t")
_KEY = re.compile(r"^\s*([^\W\d_][\w .'-]{0,39}?)\s*:(?:\s|$)")
_ASKED = re.compile(r"([qa])\s?\d+")
_DIGITS = re.compile(r"\d")
_WORD = re.compile(r"[^\W\d_]+")
_SUBTITLE = re.compile(r"^\d\d:\d\d:\d\d[,.]\d{3} --> ")
_NICK = re.compile(r"^(?:\[?\d{1,2}:\d\d(?::\d\d)?\]?\s+)?<[^<> ]{1,40}>\s")
_CORNELL = re.compile(r"^\w+ \+{3}\$\+{3} ")
_PERSONA = re.compile(r"^(\d+\s+)?(?:your|partner['’]s|other['’]s) persona:", re.IGNORECASE)
_CARD_KEYS: Final = {"greeting", "context", "first_mes", "persona", "description", "char_persona"}
_ENDS: Final = (".", "!", "?", "…", '"', "'", ")", ":", ";", "*", "”")
_LOOKED_AT: Final = 200
_LONG_WORDS: Final = 60
"""Words in the middle one of the lines above which they are paragraphs, not turns."""

Found = tuple[str, str]
"""What it looks like, and what to do."""


def refuse_binary(path: Path, head: bytes) -> None:
    """Raise DataError for bytes that are no text, naming what they are."""
    for magic, what, mend in _BINARY:
        if head.startswith(magic):
            raise DataError(f"{path}: looks like {what}; {mend}")


def refuse_json(path: Path, value: object) -> None:
    """Raise DataError for JSON that is known and holds no dialogues."""
    found = _known_json(value)
    if found:
        raise DataError(f"{path}: looks like {found[0]}; {found[1]}")


def _known_json(value: object) -> Found | None:
    if not isinstance(value, dict):
        return None
    keys = {key.lower() for key in value}
    data = value.get("data")
    if isinstance(value.get("spec"), str) or "char_persona" in keys or {"first_mes", "description"} <= keys:
        return "a character card", "give it to `convai persona import`"
    inner = value.get("character")
    defined = {key.lower() for key in inner} if isinstance(inner, dict) else keys
    if "definition" in defined and defined & {"name", "participant__name", "greeting"}:
        return "a character of character.ai's", "give it to `convai persona import`"
    if isinstance(data, dict) and "first_mes" in data:
        return "a character card", "give it to `convai persona import`"
    if "entries" in keys:
        return "a lorebook", "it goes beside a character card, not into training"
    if {"name", "version"} <= keys and keys & {"dependencies", "scripts", "main", "license"}:
        return "a package's description", "name a file of dialogues"
    if "intents" in keys or {"tag", "patterns"} <= keys:
        return "intents of a classifier", "write a pattern and a response each as prompt and completion"
    if "input_ids" in keys:
        return "text as a tokenizer's numbers", "name the file of dialogues that they were made of"
    if {"cells", "nbformat"} <= keys:
        return "a notebook", "export the conversations from it first"
    if "model_type" in keys or "architectures" in keys:
        return "a model's configuration", "name a file of dialogues"
    return None


def unlike_talk(text: str) -> Found | None:
    """What a text looks like that is no talk, and what to do; None where it may be talk."""
    lines = [line for line in text.split("\n")[:_LOOKED_AT] if line.strip()]
    if not lines:
        return None
    for look in (
        _python,
        _yaml,
        _annotated,
        _markup,
        _subtitles,
        _irc,
        _numbered,
        _letters,
        _personas,
        _log,
        _table,
        _card,
        _code,
        _records,
        _words,
        _prose,
    ):
        found = look(lines)
        if found:
            return found
    return None


def _share(lines: Sequence[str], fits: Callable[[str], Any]) -> float:
    return sum(bool(fits(line)) for line in lines) / len(lines)


def _python(lines: Sequence[str]) -> Found | None:
    if re.match(r"\[?\s*\{\s*'", lines[0]):
        return "Python's dictionaries, which are no JSON", "write each with json.dumps, a line each"
    return None


def _yaml(lines: Sequence[str]) -> Found | None:
    """ChatterBot's corpora: conversations, each a list of what is said."""
    if any(re.match(r"conversations:\s*$", line) for line in lines[:20]) and any(
        re.match(r"\s*- - \S", line) for line in lines
    ):
        return "ChatterBot's YAML", "write a turn a line, a blank line between conversations, without dashes"
    return None


def _annotated(lines: Sequence[str]) -> Found | None:
    if lines[0].startswith(("#begin document", "# newdoc", "# global.Entity")) or (
        len(lines) > 1 and _share(lines, lambda line: _COLUMNS.match(line) or line.startswith("#")) > 0.9
    ):
        return "a column file of parsed or annotated text", "coreference files go to `convai coref predict`"
    return None


def _markup(lines: Sequence[str]) -> Found | None:
    first = lines[0].lstrip().lower()
    tagged = _share(lines, lambda line: re.match(r"\s*</?[a-zA-Z][^<>]*>", line))
    if first.startswith(("<!doctype", "<html", "<?xml")) or (len(lines) > 2 and tagged > 0.5):
        return "HTML or XML", "extract the turns: a turn a line, a blank line between dialogues"
    return None


def _subtitles(lines: Sequence[str]) -> Found | None:
    if any(map(_SUBTITLE.match, lines[:10])):
        return "subtitles", "write who speaks before each line (ann: hi), without the times"
    return None


def _irc(lines: Sequence[str]) -> Found | None:
    if len(lines) > 1 and _share(lines, _NICK.match) > 0.5:
        return "a log of a chat room", "write <ann> hi as ann: hi, a blank line between conversations"
    return None


def _numbered(lines: Sequence[str]) -> Found | None:
    if _share(lines, _CORNELL.match) > 0.8:
        return (
            "lines of the Cornell Movie-Dialogs Corpus, which are in no order",
            "put them together by movie_conversations.txt, a turn a line, a blank line between conversations",
        )
    return None


def _letters(lines: Sequence[str]) -> Found | None:
    if lines[0].startswith(("From:", "From ", "Subject:", "To:", "Date:")):
        heads = {match[1].lower() for line in lines[:8] if (match := _KEY.match(line))}
        if len(heads & {"from", "to", "subject", "date", "sent", "cc", "message-id"}) > 1:
            return "letters with heads (mail)", "write who speaks before each (ann: hi), without the heads"
    return None


def _personas(lines: Sequence[str]) -> Found | None:
    found = [match for match in map(_PERSONA.match, lines) if match]
    if any(match[1] for match in found) or (found and any("\t" in line for line in lines)):
        return (
            "ParlAI's text, but not numbered as that is",
            "write '1 your persona: i bake.', '2 hi<tab>hello', from 1 in every dialogue",
        )
    return None


def _log(lines: Sequence[str]) -> Found | None:
    if len(lines) > 1 and _share(lines, _TIMED.match) > 0.6:
        return "a log", "name a file of dialogues"
    return None


def _table(lines: Sequence[str]) -> Found | None:
    mend = "name its columns in a first line, such as prompt and completion, or Persona and chat"
    if len(lines) > 1 and _share(lines, lambda line: "\t" in line.strip()) > 0.8:
        return (
            "a table without known columns",
            mend + "; labelled texts go to `convai emotion finetune`",
        )
    if len(lines) < 3:
        return None
    for delimiter, least in ((";", 1), ("|", 1), (",", 2)):
        counts = {line.count(delimiter) for line in lines}
        spaced = _share(lines, lambda line, d=delimiter: f"{d} " in line)  # type: ignore[misc]
        if len(counts) == 1 and counts.pop() >= least and spaced < 0.3:
            return f"a table (cells between {delimiter!r})", mend
    return None


def _card(lines: Sequence[str]) -> Found | None:
    keys = {match[1].lower() for line in lines if (match := _KEY.match(line))}
    if "name" in keys and keys & _CARD_KEYS:
        return "a character in YAML", "give it to `convai persona import`"
    return None


def _code(lines: Sequence[str]) -> Found | None:
    if len(lines) > 3 and _share(lines, _CODE.search) > 0.35:
        return "a program or its settings", "name a file of dialogues"
    return None


def _records(lines: Sequence[str]) -> Found | None:
    keys = [match[1].lower() for line in lines if (match := _KEY.match(line))]
    keys = [_ASKED.sub(r"\1", key) for key in keys]
    if len(lines) >= 4 and len(keys) == len(lines) and len(set(keys)) > max(3, 0.6 * len(lines)):
        return (
            f"fields with values ({', '.join(keys[:3])})",
            "write a turn a line, behind who speaks",
        )
    return None


def _words(lines: Sequence[str]) -> Found | None:
    letters = sum(len(word) for line in lines for word in _WORD.findall(line))
    signs = sum(not char.isspace() for line in lines for char in line)
    if (len(lines) > 2 and letters < 0.4 * signs) or (not letters and any(map(_DIGITS.search, lines))):
        return "numbers or signs more than words", "name a file of dialogues"
    if len(lines) >= 20 and statistics.mean(len(line.split()) for line in lines) < 1.2:
        return "a list of words", "name a file of dialogues"
    return None


def _prose(lines: Sequence[str]) -> Found | None:
    mend = "running text goes to `convai train --layout stream --text FILE`"
    if statistics.median(len(line.split()) for line in lines) > _LONG_WORDS:
        return "running text, a paragraph a line", mend
    wrapped = [
        50 <= len(line) <= 100 and not line.rstrip().endswith(_ENDS) and after.lstrip()[:1].islower()
        for line, after in pairwise(lines)
    ]
    if len(wrapped) >= 3 and sum(wrapped) > 0.4 * len(wrapped):
        return "running text with its lines broken", mend
    return None
