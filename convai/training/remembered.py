"""Dialogues as second sessions: what was told in the first part stands as the memory's lines in the second.

So a model learns to use what it is given in the form that it gets in a conversation
(`convai.conversation.memory`): facts and remarks are learnt from the user's turns of the first
part, and those that the second part calls for are recalled there, beside the persona or before a turn. Where
the partner's persona is known, some of its sentences count as told.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from convai.conversation.memory.facts import MOST_CHARACTERS, OpenShelf
from convai.conversation.memory.memory import Memory
from convai.core.dialog import AGENT, USER, Dialog, Persona

FEWEST: Final = 6
"""Turns of a dialogue that is worth cutting in two."""
_TOLD: Final = 0.5
"""Share of the partner's sentences that count as told."""
_WHO: Final = "partner"


def second_sessions(dialogs: Iterable[Dialog], share: float, seed: int, *, blocks: bool) -> Iterator[Dialog]:
    """The dialogues, about `share` of them as the second session of two; the same for the same seed.

    `blocks`: whether the model's frame can hold a line in the middle of a dialogue (`Frame.has_blocks`); else
    all lines stand beside the persona.
    """
    for number, dialog in enumerate(dialogs):
        rng = random.Random(f"memory {seed} {number}")
        yield _second(dialog, rng, blocks) or dialog if rng.random() < share else dialog


def _second(dialog: Dialog, rng: random.Random, blocks: bool) -> Dialog | None:
    """The second part of a dialogue with its memory; None where there is nothing to remember."""
    turns = dialog.turns
    able = [place for place in range(2, len(turns) - 2) if turns[place].speaker == USER]
    own = dialog.personas[USER].sentences
    if len(turns) < FEWEST or not able:
        return None
    # where much is known of the partner anyway, the whole dialogue may be the second session
    begin = 0 if own and rng.random() < 0.5 else rng.choice(able[: -(-2 * len(able) // 3)])
    memory = Memory(OpenShelf())
    for text in rng.sample(own, round(len(own) * _TOLD)):
        memory.add(_WHO, text[:MOST_CHARACTERS])
    for place in range(begin):
        if turns[place].speaker == USER:
            memory.learn(_WHO, turns[: place + 1], conversation="first", turn=place)
    later = turns[begin:]
    if not any(turn.speaker == AGENT and turn.target for turn in later[1:]):
        return None
    recalled = memory.recall(_WHO, later, conversation="later")
    if not recalled:
        return None
    lines = [(one.turn if blocks else None, one.text) for one in recalled]
    beside = tuple(dict.fromkeys(text for place, text in lines if place is None))
    agent = dialog.personas[AGENT]
    told = {place: text for place, text in lines if place is not None}
    return replace(
        dialog,
        turns=tuple(
            replace(turn, added=(told[place],)) if place in told else turn for place, turn in enumerate(later)
        ),
        personas=(dialog.personas[USER], Persona((*agent.sentences, *beside), agent.name)),
    )
