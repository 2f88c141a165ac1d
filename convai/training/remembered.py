"""Dialogues as second sessions: what was told before stands as the memory's lines in them.

So a model learns to use what it is given in the form that it gets in a conversation
(`convai.conversation.memory`): facts and remarks are learnt from what the user said before, and those that
the second session calls for are recalled there, beside the persona or before a turn. Before is an earlier
session, where the data has it (`NAME-session1`, `NAME-session2`, as in Multi-Session Chat), or else the first
part of the dialogue; where the partner's persona is known, some of its sentences count as told.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from convai.conversation.memory.facts import MOST_CHARACTERS, OpenShelf
from convai.conversation.memory.memory import Memory
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.text.claims.words import Words, content, normal

FEWEST: Final = 6
"""Turns of a dialogue that is worth cutting in two."""
_TOLD: Final = 0.5
"""Share of the partner's sentences that count as told."""
_WHO: Final = "partner"
_OF_THEMSELVES: Final = re.compile(r"\b(?:i|me|my|mine)\b|\bi'", re.IGNORECASE)
_FIRST: Final = re.compile(r"[^.!?]+")


def second_sessions(dialogs: Iterable[Dialog], share: float, seed: int, *, blocks: bool) -> Iterator[Dialog]:
    """The dialogues, about `share` of them as the second session of two; the same for the same seed.

    A session whose people were heard before always is one, with what was told then. `blocks`: whether the
    model's frame can hold a line in the middle of a dialogue (`Frame.has_blocks`); else all lines stand
    beside the persona.
    """
    heard: dict[tuple[str, int], list[Dialog]] = {}
    times: Counter[str] = Counter()
    for number, dialog in enumerate(dialogs):
        rng = random.Random(f"memory {seed} {number}")
        earlier: list[Dialog] = []
        if dialog.session:
            # both chairs of a session have one name: the first time it comes is one, the second the other
            before = heard.setdefault((dialog.session[0], times[dialog.id]), [])
            times[dialog.id] += 1
            earlier = [one for one in before if one.session and one.session[1] < dialog.session[1]]
            before.append(dialog)
        if earlier:
            yield _later(dialog, earlier, blocks)
        else:
            yield _second(dialog, rng, blocks) or dialog if rng.random() < share else dialog


def _later(dialog: Dialog, earlier: list[Dialog], blocks: bool) -> Dialog:
    """A session with the memory of those before it.

    Replies that answer the user about themselves with words that were told then, but are in no line, are no
    targets: to say what one cannot know is what is not to be learnt.
    """
    memory = Memory(OpenShelf())
    for one in earlier:
        for place, turn in enumerate(one.turns):
            if turn.speaker == USER:
                memory.learn(_WHO, one.turns[: place + 1], conversation=one.id, turn=place)
    shown = _shown(dialog, dialog.turns, memory, blocks)
    told = _words(turn.text for one in earlier for turn in one.turns if turn.speaker == USER)
    known = _words(shown.persona.sentences)
    turns: list[Turn] = []
    for turn in shown.turns:
        known |= _words(turn.added)
        said = turns[-1].text if turns and turns[-1].speaker == USER else ""
        answers = turn.speaker == AGENT and _OF_THEMSELVES.search(said)
        # the first sentence answers; what is behind it is talk
        unknown = answers and (_words(_FIRST.findall(turn.text)[:1]) & told) - known
        turns.append(replace(turn, target=False) if unknown else turn)
        known |= _words([turn.text])
    return replace(shown, turns=tuple(turns))


def _words(texts: Iterable[str]) -> Words:
    return content(normal(" ".join(texts)))


def _shown(dialog: Dialog, turns: tuple[Turn, ...], memory: Memory, blocks: bool) -> Dialog:
    """The dialogue from some turn on, with the lines that the memory gives it."""
    lines = [
        (one.turn if blocks else None, one.text) for one in memory.recall(_WHO, turns, conversation="later")
    ]
    beside = tuple(dict.fromkeys(text for place, text in lines if place is None))
    agent = dialog.personas[AGENT]
    told = {place: text for place, text in lines if place is not None}
    return replace(
        dialog,
        turns=tuple(
            replace(turn, added=(told[place],)) if place in told else turn for place, turn in enumerate(turns)
        ),
        personas=(dialog.personas[USER], Persona((*agent.sentences, *beside), agent.name)),
    )


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
    shown = _shown(dialog, later, memory, blocks)
    return None if shown.turns == later and shown.persona == dialog.persona else shown
