"""What the user might say next: the model in the user's chair of the same conversation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from convai.conversation.agent import Talker
from convai.conversation.conversation import Place, reply_seed
from convai.conversation.own_words import stops_of
from convai.conversation.prompt_input import prompt_input
from convai.conversation.reply_text import BegunLine
from convai.conversation.scene import EMPTY, Scene
from convai.core.dialog import USER, Persona
from convai.core.settings import DecodingConfig
from convai.engine import Event, Finished, Request

SUGGESTION_TOKENS: Final = 24
"""Most tokens of a suggestion: what can be read at a glance."""
_SUGGESTION: Final = -1
"""Stands for the attempt in the seed of a suggestion."""


class Suggesting:
    """Lines that the user might say next, drawn as `Reply` is: `requests`, then `take` of every event.

    The model takes the user's chair in the same conversation, whose cached prefix it shares. The same
    conversation and seed give the same lines.
    """

    def __init__(
        self,
        agent: Talker,
        persona: Persona,
        place: Place,
        decoding: DecodingConfig,
        *,
        seed: int,
        max_history: int | None,
        count: int = 3,
        rounds: int = 1,
        scene: Scene = EMPTY,
    ) -> None:
        """`count` lines a round; up to `rounds` of them, until `count` lines are distinct and came to an end.

        Where the `place` has a prefill, the lines begin with it.

        Raises SettingsError where `count` is out of range or the conversation does not fit into the model.
        """
        self._count, self._rounds = count, rounds
        length = min(decoding.max_length, SUGGESTION_TOKENS)
        config = replace(
            decoding,
            candidates=count,
            num_beams=1,
            max_length=length,
            min_length=min(decoding.min_length, length),
            seed=reply_seed(seed, place.number, _SUGGESTION),
        )
        source = prompt_input(
            agent,
            scene.persona(persona, agent),
            scene.seen(place),
            USER,
            max_history=max_history,
            max_length=decoding.max_length,
            additions=scene.additions(place, agent),
            summary=scene.summary,
        )
        said = [turn.text for turn in place.turns if turn.speaker == USER]
        own: tuple[str, ...] = ()
        stops: tuple[str, ...] = ()
        if scene.company is not None:
            own = (scene.partner.name or "User",)
            stops = stops_of((scene.company.speaker, *scene.company.others), own[0])
        self._request = Request(source.prompt, config, agent.texts.encode_batch(said), stops=stops)
        self._finished: list[Finished] = []
        self._begun = BegunLine(agent.tokenizer, place.prefill, own, stops)

    waits = False

    def requests(self) -> Iterator[Request]:
        """The requests to draw, one after another."""
        for number in range(self._rounds):
            yield replace(self._request, first_candidate=number * self._count)
            if len(self._distinct(whole=True)) >= self._count:
                return

    def take(self, event: Event) -> Event:
        """Keep an event of the stream; returns it."""
        if isinstance(event, Finished) and math.isfinite(event.score) and (text := self._begun.whole(event)):
            self._finished.append(replace(event, text=text))
        return event

    def lines(self) -> list[tuple[str, float]]:
        """The best lines and their scores by the next-sentence head, best first; whole ones before cut ones.

        Two lines that differ in case or punctuation alone are one.
        """
        found = self._distinct(whole=True)[: self._count]
        if len(found) < self._count:
            known = {_sounds(text) for text, _ in found}
            cut = [line for line in self._distinct(whole=False) if _sounds(line[0]) not in known]
            found = sorted([*found, *cut[: self._count - len(found)]], key=lambda line: -line[1])
        return found

    def _distinct(self, *, whole: bool) -> list[tuple[str, float]]:
        ends = sorted(
            (end for end in self._finished if not whole or end.reason == "stop"), key=lambda end: -end.score
        )
        best: dict[str, tuple[str, float]] = {}
        for end in ends:
            best.setdefault(_sounds(end.text), (end.text, end.score))
        return list(best.values())


def _sounds(text: str) -> str:
    """A line as it sounds, for comparing; one of signs alone stays as it is."""
    return " ".join("".join(char if char.isalnum() else " " for char in text.lower()).split()) or text
