"""Example dialogues of a card: text with `<START>`, `{{user}}:` and `{{char}}:` as turns of the speakers."""

from __future__ import annotations

import re
from typing import Final

from convai.core.dialog import AGENT, USER, Turn

MAX_TURNS: Final = 200
"""Turns of examples that are taken."""
_START: Final = re.compile(r"^\s*(?:<START>|\{\{\s*start\s*\}\}|\[?\s*example chat\s*\]?)\s*$", re.I | re.M)
_SAID: Final = re.compile(
    r"\s*(\{\{\s*(?:user|char)\s*\}\}|<(?:user|bot|char)>|[^\s:{}<>][^:{}<>\n]{0,60}?)\s*:\s*", re.I
)
_USERS: Final = {"user", "you"}
_CHARS: Final = {"char", "bot"}


def example_dialogues(text: str, names: tuple[str, ...] = (), user: str = "") -> tuple[tuple[Turn, ...], ...]:
    """The dialogues in a card's `mes_example`. `names`: what the character, `user`: what the user is called.

    Lines before anybody is named are left out; a line without a name belongs to the turn before it. Macros
    stay as they are.
    """
    chars = {*_CHARS, *(name.strip().lower() for name in names if name.strip())}
    users = {*_USERS, *([user.lower()] if user else [])}
    found: list[tuple[Turn, ...]] = []
    left = MAX_TURNS
    for part in _START.split(text):
        turns: list[Turn] = []
        for line in part.split("\n"):
            said = _SAID.match(line[:200])
            who = said[1].strip("{}<> ").lower() if said else ""
            if said and (who in users or who in chars):
                turns.append(Turn(USER if who in users else AGENT, line[said.end() :].strip()))
            elif turns and line.strip():
                joined = f"{turns[-1].text} {line.strip()}".strip()
                turns[-1] = Turn(turns[-1].speaker, joined)
        dialogue = tuple(turn for turn in turns if turn.text)[:left]
        left -= len(dialogue)
        if dialogue:
            found.append(dialogue)
    return tuple(found)


def written(dialogues: tuple[tuple[Turn, ...], ...]) -> str:
    """The dialogues as a card has them."""
    names = {USER: "{{user}}", AGENT: "{{char}}"}
    blocks = ["\n".join(f"{names[turn.speaker]}: {turn.text}" for turn in one) for one in dialogues]
    return "".join(f"<START>\n{block}\n" for block in blocks)
