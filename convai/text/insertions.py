"""What features add to a prompt beside persona and turns: lore, notes, memories, example dialogues.

An insertion at a depth stands before the last so many turns of the place that the reply is drawn for. What
the engine computed up to there stays valid; what follows is computed anew wherever the insertion was not at
the turn before. So a feature that means to be cheap leaves its insertions where they were: it gives them the
depth at which they stood (`depth` grows by the turns that were said since), marks them `fades`, and puts a
new one where that is needed (`repeated`, `BLOCK`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from convai.core.character import Role
from convai.core.dialog import USER, Turn
from convai.core.errors import SettingsError

IMPORTANCE: Final = (
    "system",
    "description",
    "personality",
    "scenario",
    "group",
    "user",
    "post_history",
    "note",
    "summary",
    "memory",
    "lore",
)
"""Kinds of insertions, those that stay longest first; a kind that is not among them goes before these."""
RUNNING: Final = frozenset({"system", "description", "personality", "scenario", "group", "user"})
"""Kinds that are one text in pieces: where one does not fit, those behind it are left out as well."""
BLOCK: Final = 20
"""Turns, counted in blocks from the first, in which a text that is called more than once is added once."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """A text that goes into the prompt. `kind` is what it is accounted as; `why` says what called it.

    `depth` None: beside the persona, behind it or `ahead` of it; n: before the last n turns. One that is
    deeper than the turns that are shown goes before the first of them, or is left out, if it `fades`.
    `role`: at a depth, in whose words it stands where the frame has blocks.
    Raises SettingsError for a negative depth.
    """

    text: str
    depth: int | None
    kind: str
    fades: bool = False
    ahead: bool = False
    why: str = ""
    role: Role = "system"

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth < 0:
            raise SettingsError(f"depth={self.depth}: use 0 (behind the last turn) or more")


@dataclass(frozen=True, slots=True)
class Additions:
    """All that is added to a prompt: insertions in their order, and dialogues before the first turn."""

    insertions: tuple[Insertion, ...] = ()
    examples: tuple[tuple[Turn, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.insertions or self.examples)


NOTHING: Final = Additions()


def repeated(
    text: str,
    depth: int,
    kind: str,
    turns: Sequence[Turn],
    number: int,
    why: str = "",
    role: Role = "system",
) -> list[Insertion]:
    """A text that is `depth` turns from the end on average and yet never moves: it is said again and again.

    It stands before every one of the user's turns that is a multiple of twice `depth` away from the first,
    so it is 1 to 2 `depth` turns from the end; `turns` are the latest of `number`. At depth 0 it is behind
    the last turn, always, and moves with it.
    """
    if not depth:
        return [Insertion(text, 0, kind, why=why, role=role)]
    earlier = number - len(turns)
    asked = [place for place, turn in enumerate(turns, earlier) if turn.speaker == USER]
    begin = asked[-1] % 2 if asked else 0
    last = begin + (max(number - 1, begin) - begin) // (2 * depth) * 2 * depth
    anchors = range(last, earlier - 1, -2 * depth)
    found = [
        Insertion(text, number - at, kind, fades=at != last, why=why, role=role)
        for at in anchors
        if at < number
    ]
    return found[::-1] or [Insertion(text, depth, kind, why=why, role=role)]


def dropped_by_importance(insertions: Sequence[tuple[Insertion, int]], room: int) -> set[int]:
    """Indices of the insertions that are left out so that the others' tokens fit `room`.

    `insertions`: each with its tokens. The less important a kind, and the later one of a kind, the sooner
    it goes.
    """
    rank = {kind: number for number, kind in enumerate(IMPORTANCE)}
    order = sorted(range(len(insertions)), key=lambda i: rank.get(insertions[i][0].kind, len(rank)))
    gone: set[int] = set()
    ended: set[str] = set()
    for i in order:
        insertion, size = insertions[i]
        if size > room or insertion.kind in ended:
            gone.add(i)
            if insertion.kind in RUNNING:
                ended.add(insertion.kind)
        else:
            room -= size
    return gone
