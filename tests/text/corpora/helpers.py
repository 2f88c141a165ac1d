"""Dialogues written briefly, and the one assertion that most tests of readers make."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from convai.core.dialog import Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.text.corpora import iter_dialogs


def talk(*texts: str, persona: Iterable[str] = (), partner: Iterable[str] = (), id: str = "") -> Dialog:
    """Alternating turns, the user's first; a text that begins with `+` is said by whoever spoke before."""
    turns: list[Turn] = []
    for text in texts:
        speaker = 1 - turns[-1].speaker if turns else 0
        if text.startswith("+"):
            speaker, text = 1 - speaker, text[1:]
        turns.append(Turn(speaker, text))
    return Dialog(tuple(turns), (Persona(tuple(partner)), Persona(tuple(persona))), id)


def assert_refused(path: Path, format: str | None, *parts: str) -> None:
    """Reading fails with one line that holds every one of `parts` and a mend after a semicolon."""
    with pytest.raises(DataError) as caught:
        list(iter_dialogs(path, format))
    message = str(caught.value)
    assert "\n" not in message
    assert "; " in message
    assert message.startswith(str(path))
    for part in parts:
        assert part in message
