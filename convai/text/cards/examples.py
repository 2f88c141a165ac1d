"""Example dialogues of a card: text with `<START>`, `{{user}}:` and `{{char}}:` as turns of the speakers.

character.ai writes `END_OF_DIALOG` between two, and `{{random_user_1}}:` for others who talk with the
character.
"""

from __future__ import annotations

import re
from typing import Final

from convai.core.dialog import AGENT, USER, Turn

MAX_TURNS: Final = 200
"""Turns of examples that are taken."""
BETWEEN: Final = re.compile(
    r"^\s*(?:<START>|\{\{\s*start\s*\}\}|\[?\s*example chat\s*\]?|END_OF_DIALOG(?:UE)?)\s*$", re.I | re.M
)
"""A line between two dialogues."""
SAID: Final = re.compile(
    r"\s*(\{\{\s*(?:user|char|random_user_\d{1,3})\s*\}\}|<(?:user|bot|char)>|[^\s:{}<>][^:{}<>\n]{0,60}?)\s*:\s*",
    re.I,
)
"""What begins a line with a turn: who speaks."""
_OTHERS: Final = re.compile(r"random_user_\d{1,3}")
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
    for part in BETWEEN.split(text):
        turns: list[Turn] = []
        for line in part.split("\n"):
            said = SAID.match(line[:200])
            who = speaker(said[1]) if said else ""
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


def speaker(name: str) -> str:
    """Who a name before a colon stands for, in small letters: `user`, `char`, or somebody with a name."""
    who = name.strip("{}<> ").lower()
    if _OTHERS.fullmatch(who):
        return "user"
    return "char" if name.startswith("<") and who == "bot" else who


def written(dialogues: tuple[tuple[Turn, ...], ...]) -> str:
    """The dialogues as a card has them."""
    names = {USER: "{{user}}", AGENT: "{{char}}"}
    blocks = ["\n".join(f"{names[turn.speaker]}: {turn.text}" for turn in one) for one in dialogues]
    return "".join(f"<START>\n{block}\n" for block in blocks)
