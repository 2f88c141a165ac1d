"""How much of a conversation a prompt holds: the one place where history is cut.

The persona and the last turn always stay. What is left out is the oldest, whole exchanges of it. In a long
context it goes in large steps: a prompt whose beginning changes with every turn would have to be computed
anew every time, one that loses half its history now and then is computed once in many turns, and else goes on
from what the engine's cache holds. Where it is cut depends on the conversation alone, never on what was cut
before, so every door shows the model the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from convai.core.dialog import USER
from convai.core.errors import SettingsError
from convai.text.frames import Frame
from convai.text.segments import EncodedTurn

LONG: Final = 2048
"""Positions from which on a model has a long context: history is what fits, not a number of exchanges."""
DEFAULT_CONTEXT: Final = 1024
"""Of a long context, the positions that a prompt and its reply take, unless more are asked for."""


def default_context(n_positions: int) -> int:
    """Positions that a prompt and its reply take, in a model of `n_positions`."""
    return DEFAULT_CONTEXT if n_positions >= LONG else n_positions


def fit_history(
    frame: Frame,
    persona: Sequence[Sequence[int]],
    turns: Sequence[EncodedTurn],
    *,
    n_positions: int,
    reserve: int,
    in_steps: bool = False,
    beside: Sequence[int] = (),
    always: int = 0,
) -> Sequence[EncodedTurn]:
    """The turns that fit: the oldest exchange goes first, the persona and the last turn never do.

    `reserve`: positions kept free for the reply, what opens it and its end counted. With `in_steps` the
    tokens that are left out are rounded up to whole halves of the room, to two thirds where something is
    `always` shown: what is added fills the room sooner, and a cut that leaves less is made less often.
    `beside`: tokens that come and go with each turn; `always`: tokens of what is shown whatever is cut.
    Raises SettingsError when the persona and the last turn alone do not fit, naming the sentence that is
    too much.
    """
    room = room_for_turns(frame, persona, n_positions, reserve)
    sizes = [turn.size(frame) for turn in turns]
    if beside:
        sizes = [own + other for own, other in zip(sizes, beside, strict=True)]
    size = sum(sizes)
    # what is added changes by a few tokens from turn to turn, and the cut is to stay where it is
    grain = max(room // 8, 1) if in_steps and always else 1
    for_turns = max(room - -(-always // grain) * grain, 0)
    room -= always
    step = max(for_turns * 2 // 3 if always else for_turns // 2, 1) if in_steps else 1
    too_much = -(-max(size - for_turns, 0) // step) * step
    ends = list(itertools.accumulate(sizes, initial=0))  # tokens before each turn
    start = 0
    while ends[start] < too_much and start < len(turns) - 1:
        start += 1
        # a history that begins with the agent's answer to nothing helps nobody: drop the whole exchange
        while start < len(turns) - 1 and turns[start].speaker != USER:
            start += 1
    if size - ends[start] > room:
        around = sizes[-1] - len(turns[-1].ids)
        raise SettingsError(
            f"the last message is too long: {len(turns[-1].ids)} tokens, {max(room - around, 0)} fit beside "
            f"the persona ({n_positions} positions, {reserve} kept for the reply); shorten it"
        )
    return turns[start:]


def room_for_turns(frame: Frame, persona: Sequence[Sequence[int]], n_positions: int, reserve: int) -> int:
    """Positions that are left for the turns. Raises SettingsError where the persona leaves none."""
    room = n_positions - reserve - (frame.persona_size(persona) - sum(map(len, persona)))
    if room < 0:
        raise SettingsError(
            f"the model has {n_positions} positions and {reserve} are kept for the reply: "
            "nothing is left for the prompt; ask for a shorter reply"
        )
    for number, sentence in enumerate(persona, 1):
        room -= len(sentence)
        if room < 0:
            raise SettingsError(
                f"persona sentence {number} is too much: the model has {n_positions} positions, "
                f"{reserve} of them kept for the reply; shorten the persona"
            )
    return room
