"""The file of little stories: who tells them, their values, what is said, and the questions they answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from convai.core.errors import DataError

Exchange = tuple[str, str]
"""What the partner says, and what the agent replies."""


@dataclass(slots=True)
class Story:
    """A story with fields: who tells it, what it settles for them, and the questions it answers.

    `lists`: values of its own fields. `but`: a pattern; not for an agent whose persona matches.
    """

    teller: str
    settles: frozenset[str]
    but: str
    lists: dict[str, list[str]] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    questions: list[tuple[str, list[str]]] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Everything with fields in it."""
        said = [text for exchange in self.exchanges for text in exchange]
        return said + [text for ask, replies in self.questions for text in (ask, *replies)]


def read_stories(path: Path) -> list[Story]:
    """The stories in a file; values under [lists] are every story's. Raises DataError by line."""
    shared: dict[str, list[str]] = {}
    stories: list[Story] = []
    said = ""
    lists = shared
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#") or line == "[lists]":
            continue
        if head := re.fullmatch(r"\[(user|agent)([a-z ]*)\](?: ! (.+))?", line):
            stories.append(Story(head[1], frozenset(head[2].split()), head[3] or "$^", dict(shared)))
            lists = stories[-1].lists
        elif values := re.fullmatch(r"([a-z]+) = (.+)", line):
            lists[values[1]] = values[2].split(" / ")
        elif line.startswith("u: "):
            said = line[3:]
        elif line.startswith("a: ") and stories and said:
            stories[-1].exchanges.append((said, line[3:]))
            said = ""
        elif line.startswith("? ") and " => " in line and stories:
            ask, _, replies = line[2:].partition(" => ")
            stories[-1].questions.append((ask, replies.split(" / ")))
        else:
            raise DataError(f"{path}:{number}: {line!r} stands under nothing; see the head of the file")
    return stories
