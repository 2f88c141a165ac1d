"""Text files in the marks of a chat template: ChatML, Llama's, Gemma's and others', without JSON around them.

A dialogue a line where lines are whole ones. Else a dialogue begins with a system message, behind a mark that
ends a document, and behind a blank line where not every turn has one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.core.text_files import head, lines, whole_text
from convai.text.corpora.notes import Notes
from convai.text.corpora.roles import PERSONA_ROLES
from convai.text.corpora.transcripts import TEMPLATES, has_speakers, parse_json, transcript

_HEAD: Final = 200
_BEGINS = re.compile(
    r"\s*(?:<s>\s*)?\[INST\]|Below is an instruction|\s*#{2,4}\s*(?:human|user|instruction|system)\s*:",
    re.IGNORECASE,
)
_DOCUMENT = re.compile(r"<\|begin_of_text\|>|<\|endoftext\|>|<\|end_of_text\|>|<bos>|<s>")
_OPENS = re.compile(
    r"^(?:Below is an instruction|#{2,4}\s*system\s*:|(?:<s>\s*)?\[INST\]\s*<<SYS>>)",
    re.MULTILINE | re.IGNORECASE,
)


def is_template_text(first_lines: Sequence[str]) -> bool:
    """Whether a text begins with the marks of a template, or has a whole dialogue in them on every line."""
    start = "\n".join(first_lines)[:_HEAD]
    return any(mark in start for mark in TEMPLATES) or bool(_BEGINS.match(start)) or _by_lines(first_lines)


def _by_lines(first_lines: Sequence[str]) -> bool:
    return bool(first_lines) and all(has_speakers(line) for line in first_lines)


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every transcript: of a text, or in the `text` of a JSON object."""
    start = head(path).lstrip()
    if start[:1] in ("{", "[") and not start.startswith("[INST]"):
        return parse_json(path, notes)
    return _parse_text(path, notes)


def _parse_text(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    first = [text for _, text in lines(path) if text.strip()][:20]
    pieces = (
        ((number, text) for number, text in lines(path) if text.strip())
        if _by_lines(first)
        else _divided(whole_text(path).replace("\r\n", "\n"))
    )
    for number, text in pieces:
        where = f"{path}:{number}"
        try:
            found = transcript(text, where).dialog(where)
        except DataError as error:
            notes.error(error)
        else:
            yield number, found


def _divided(text: str) -> Iterator[tuple[int, str]]:
    """The dialogues of a text, each with the line where it begins."""
    template = next((pattern for mark, pattern in TEMPLATES.items() if mark in text), None)
    starts = [0]
    if template is None:
        starts += [found.start() for found in _OPENS.finditer(text) if text[: found.start()].strip()]
    else:
        turns = list(template.finditer(text))
        gaps = [text[a.end() : b.start()] for a, b in pairwise(turns)]
        blank = ["\n\n" in gap for gap in gaps]
        for (before, turn), gap, apart in zip(pairwise(turns), gaps, blank, strict=True):
            opens = turn[1].lower() in PERSONA_ROLES and before[1].lower() not in PERSONA_ROLES
            if opens or _DOCUMENT.search(gap) or (apart and not all(blank)):
                starts.append(turn.start())
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        if text[start:end].strip():
            yield text.count("\n", 0, start) + 1, text[start:end]
