"""What has left the window, in a few lines: facts that both said in turns that are not shown any more.

Extractive: sentences as they were said, the latest first where not all fit. It depends on the turns that were
left out alone, so it changes when the history is cut, and then the prompt is computed anew anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from convai.conversation.memory.attributes import same, takes_place_of
from convai.conversation.memory.finding import Found, found_in
from convai.core.dialog import AGENT, USER, Turn

WORDS: Final = 90
"""Words of a summary at most."""
_BEGIN: Final = {USER: "Earlier the user said: ", AGENT: "Earlier you said: "}


@lru_cache(8192)
def _found(speaker: int, text: str, before: str) -> tuple[Found, ...]:
    turns = [Turn(1 - speaker, before)] if before else []
    return tuple(found_in([*turns, Turn(speaker, text)], speaker=speaker))


def summary_of(turns: Sequence[Turn]) -> str:
    """The facts of `turns` on a line, at most WORDS words; nothing where there are none.

    What was taken back later is left out.
    """
    return _summary(tuple((turn.speaker, turn.text) for turn in turns))


@lru_cache(256)
def _summary(turns: tuple[tuple[int, str], ...]) -> str:
    told: dict[int, list[str]] = {USER: [], AGENT: []}
    for number, (speaker, text) in enumerate(turns):
        before = turns[number - 1][1] if number and turns[number - 1][0] != speaker else ""
        for found in _found(speaker, text, before):
            mine = told[speaker]
            if any(same(found.text, old) for old in mine):
                continue
            mine[:] = [old for old in mine if not takes_place_of(found.text, old, corrects=found.corrects)]
            mine.append(found.text)
    parts: list[str] = []
    for speaker, share in ((USER, WORDS * 2 // 3), (AGENT, WORDS)):
        used = sum(len(part.split()) for part in parts)
        kept: list[str] = []
        for fact in reversed(told[speaker]):
            size = len(fact.split())
            if used + size > share:
                break
            kept.append(fact)
            used += size
        if kept:
            parts.append(_BEGIN[speaker] + " ".join(reversed(kept)))
    return " ".join(parts)
