"""Wrong replies for corpora that bring none, drawn from the agent's turns of other dialogues."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from convai.core.dialog import Dialog, Turn
from convai.core.errors import DataError

_TRIES: Final = 20
"""Draws for one distractor before the replies that are left are listed and drawn from."""

_Pool = list[tuple[int, str]]
"""(number of the dialogue, reply)."""


def with_distractors(dialogs: Sequence[Dialog], n: int, seed: int) -> list[Dialog]:
    """The dialogues with `n` distractors for every agent reply that has none.

    Replies are drawn evenly from the agent's turns of all other dialogues, never one equal to the gold
    reply, none twice in a set; where there are fewer than `n` different ones, all of them. The same
    dialogues, `n` and seed give the same result. A reply for which no wrong one exists stays without. Raises
    DataError when n is negative, or when only one dialogue has replies.
    """
    if n < 0:
        raise DataError(f"{n} distractors; use 0 or more")
    pool = [(number, turn.text) for number, d in enumerate(dialogs) for _, turn in d.replies()]
    lacking = any(not turn.distractors for d in dialogs for _, turn in d.replies())
    if n and lacking and pool[0][0] == pool[-1][0]:
        raise DataError("only one dialogue has replies, so no wrong ones can be drawn; add more dialogues")
    rng = random.Random(seed)
    return [_filled(d, number, pool, n, rng) for number, d in enumerate(dialogs)]


def _filled(d: Dialog, number: int, pool: _Pool, n: int, rng: random.Random) -> Dialog:
    turns: list[Turn] = list(d.turns)
    for i, turn in d.replies():
        if not turn.distractors:
            turns[i] = replace(turn, distractors=_draw(turn.text, number, pool, n, rng))
    return replace(d, turns=tuple(turns))


def _draw(gold: str, number: int, pool: _Pool, n: int, rng: random.Random) -> tuple[str, ...]:
    if not n:
        return ()
    drawn: dict[str, None] = {}
    for _ in range(n * _TRIES):
        if len(drawn) == n:
            return tuple(drawn)
        owner, text = rng.choice(pool)
        if owner != number and text != gold:
            drawn[text] = None
    wrong = list(dict.fromkeys(text for owner, text in pool if owner != number and text != gold))
    left = [text for text in wrong if text not in drawn]
    rng.shuffle(left)
    return tuple([*drawn, *left][:n])
