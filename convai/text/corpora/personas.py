"""Files of personas: a sentence a line, a blank line between two personas."""

from __future__ import annotations

import os
from pathlib import Path

from convai.core.dialog import Persona, check_text
from convai.core.errors import DataError
from convai.text.corpora.plain_text import blocks


def read_personas(path: str | os.PathLike[str]) -> list[Persona]:
    """The personas of a text file, in order. Raises DataError with file and line, also for none at all."""
    file = Path(path)
    found = [
        Persona(tuple(check_text(text, f"{file}:{line}") for line, text in block)) for block in blocks(file)
    ]
    if not found:
        raise DataError(f"{file}:1: no persona in the file; write a sentence a line, such as 'i am a nurse.'")
    return found
