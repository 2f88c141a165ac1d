"""What the model is shown as somebody is to speak, and how much room a persona leaves for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from convai.conversation.agent import Talker
from convai.conversation.conversation import LOOK_BACK, Place
from convai.conversation.explain import Input
from convai.conversation.scene import Summarise
from convai.core.dialog import AGENT, Persona, Turn, history_window
from convai.text.history import fit_history
from convai.text.insertions import NOTHING, Additions, Insertion
from convai.text.layout import Layout, lay_out
from convai.text.prompt import encode_additions, encode_persona, encode_turns

SUMMARY: Final = "summary"
"""What the line about turns that are not shown any more is accounted as."""
_MESSAGE: Final = 8
"""Positions that a persona leaves at least for what is said to it."""


def prompt_input(
    agent: Talker,
    persona: Persona,
    place: Place,
    speaker: int,
    *,
    max_history: int | None,
    max_length: int,
    additions: Additions = NOTHING,
    summary: Summarise | None = None,
) -> Input:
    """What the model is shown as `speaker` is to speak at `place`.

    That is the last `max_history` exchanges before it, what is added to them, and what the speaker has said
    already; with `summary` a line about what has left the window. Raises SettingsError where persona and last
    turn leave no room for a reply.
    """
    tokenizer, texts = agent.tokenizer, agent.texts
    window = [Turn(turn.speaker, turn.text, name=turn.name) for turn in _window(place, max_history)]
    reserve = _reserve(agent, max_length)

    def laid(additions: Additions) -> Layout:
        added, examples = encode_additions(texts, additions) if additions else ((), ())
        return lay_out(
            tokenizer.frame,
            encode_persona(texts, persona),
            encode_turns(texts, window),
            added,
            examples,
            speaker=speaker,
            prefill=tokenizer.encode(place.prefill) if place.prefill else (),
            n_positions=agent.positions,
            reserve=reserve,
            in_steps=max_history is None and agent.has_long_context,
        )

    layout = laid(additions)
    told = window if max_history is None else place.turns
    for _ in range(2 if summary is not None else 0):  # a summary takes room, for which more may have to go
        assert summary is not None
        gone = told[: len(told) - len(layout.turns)]
        text = summary([turn for turn in gone if turn.speaker == AGENT or not turn.name])
        if not text or any(one.text == text for one in layout.insertions):
            break
        line = Insertion(text, None, SUMMARY, why="what is not shown any more")
        layout = laid(Additions((*additions.insertions, line), additions.examples))
    return Input(layout, place.number - len(layout.turns), agent.positions, reserve)


def _window(place: Place, max_history: int | None) -> Sequence[Turn]:
    """The turns of which as many are shown as fit, or the last `max_history` exchanges.

    Of a place that knows the latest turns alone those count that follow a multiple of half of what it knows.
    So the first of them, from which a history is cut in steps, stays for many turns.
    """
    if max_history is not None:
        return history_window(place.turns, max_history)
    earlier = place.number - len(place.turns)
    return place.turns[-earlier % (LOOK_BACK // 2) :] if earlier > 0 else place.turns


def check_persona(agent: Talker, persona: Persona, max_length: int) -> None:
    """Raise SettingsError where a persona leaves the model no room for a message and its reply."""
    ids = encode_persona(agent.texts, persona)
    reserve = _reserve(agent, max_length) + _MESSAGE
    fit_history(agent.tokenizer.frame, ids, (), n_positions=agent.positions, reserve=reserve)


def room_of(agent: Talker, max_length: int) -> int:
    """Tokens that there are for what stands before the turns, so that these have a quarter of the prompt."""
    room = agent.positions - _reserve(agent, max_length) - _MESSAGE
    return max(room - room // 4, 0)


def longest_reply(agent: Talker, persona: Persona, place: Place) -> int:
    """Most tokens of a reply at `place`, where given the last turn alone before it; 0: none fits."""
    frame = agent.tokenizer.frame
    last = encode_turns(agent.texts, [Turn(turn.speaker, turn.text) for turn in place.turns[-1:]])
    taken = frame.persona_size(encode_persona(agent.texts, persona)) + frame.around_reply
    taken += sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in last)
    taken += len(agent.tokenizer.encode(place.prefill)) if place.prefill else 0
    return max(agent.positions - taken, 0)


def _reserve(agent: Talker, max_length: int) -> int:
    """Positions kept for the reply and what is around it; a long one has what is left."""
    return min(max_length, agent.positions // 4) + agent.tokenizer.frame.around_reply
