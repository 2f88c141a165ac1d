"""A tiny random agent to chat with, and an engine that says what a test wants it to say."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any, Self

import torch

from convai.conversation.agent import Agent
from convai.conversation.session import Session
from convai.core.dialog import Persona
from convai.core.settings import DecodingConfig
from convai.engine import Event, Finished, Health, ModelLimits, Request, Stats, Token
from convai.text.tokenizer import Tokenizer
from tests.tiny import tiny_model

NURSE = Persona(("i am a nurse.", "i have two dogs."))


def tiny_agent(n_positions: int = 400, **decoding: Any) -> Agent:
    """Random weights, a token a byte; its replies are short noise."""
    model = tiny_model(vocab_size=261, n_positions=n_positions)
    with torch.no_grad():
        model.transformer.wte.weight.mul_(0.3)  # no byte is much likelier than the others
    config = DecodingConfig(**{"max_length": 20, "temperature": 1.0, **decoding})
    return Agent(model, Tokenizer.byte_level(), config, 4, "tiny")


class ScriptedEngine:
    """Gives the texts of a script, a reply a request: Token events of a few characters, then Finished.

    A reply in the script is a text; a list of (text, score), the candidates; or a list of pieces in which an
    exception is raised where it stands. `requests` are those that came.
    """

    def __init__(self, *script: str | Sequence[tuple[str, float]] | Sequence[str | BaseException]) -> None:
        self._script = list(script)
        self.requests: list[Request] = []
        self.closed = 0

    def stream(self, request: Request) -> Generator[Event, None, None]:
        self.requests.append(request)
        reply = self._script.pop(0)
        try:
            if isinstance(reply, str):
                yield from self._candidate(0, [reply[i : i + 3] for i in range(0, len(reply), 3)], 0.5)
            elif reply and isinstance(reply[0], tuple):
                for number, (text, score) in enumerate(reply):  # type: ignore[misc]
                    yield from self._candidate(number, [text], score)
            else:
                yield from self._candidate(0, reply, 0.5)  # type: ignore[arg-type]
        finally:
            self.closed += 1

    def _candidate(
        self, number: int, pieces: Sequence[str | BaseException], score: float
    ) -> Generator[Event, None, None]:
        ids: list[int] = []
        text = ""
        for piece in pieces:
            if isinstance(piece, BaseException):
                raise piece
            ids.append(97)
            text += piece
            yield Token(number, 97, piece, -1.0)
        yield Finished(number, tuple(ids), text, -float(len(ids) + 1), score, "stop")


class DigestEngine:
    """Says what follows from the whole request: another prompt, seed, setting or ban, another text.

    Now and then it says nothing at all, so that it is asked again.
    """

    def __init__(self, agent: Agent) -> None:
        self._tokenizer = agent.tokenizer

    @property
    def limits(self) -> ModelLimits:
        return ModelLimits(positions=400, vocabulary=self._tokenizer.vocab_size, slots=64)

    def stream(self, request: Request) -> Events:
        asked = (request.prompt, request.config, [list(ids) for ids in request.own_turns])
        found = hashlib.sha256(repr(asked).encode())
        return Events([event for i in range(request.width) for event in self._candidate(i, found.copy())])

    def _candidate(self, number: int, found: Any) -> Iterator[Event]:
        found.update(bytes([number]))
        digest = found.digest()
        ids = self._tokenizer.encode("" if digest[0] < 20 else digest[1 : 4 + digest[4] % 3].hex())
        yield from (Token(number, id, self._tokenizer.decode([id]), -1.0) for id in ids)
        text, score = self._tokenizer.decode(ids), digest[5] / 64
        yield Finished(number, tuple(ids), text, -float(len(ids)), score, "stop")

    def stats(self) -> Stats:
        return Stats()

    def health(self) -> Health:
        return Health("ok")

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Events:
    """Events that are there already, for a thread or a coroutine."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = iter(events)

    def __iter__(self) -> Iterator[Event]:
        return self._events

    async def __aiter__(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event

    def close(self) -> None:
        self._events = iter(())


def scripted(*script: Any, persona: Persona = NURSE, **decoding: Any) -> tuple[Session, ScriptedEngine]:
    """A session with a ScriptedEngine."""
    engine = ScriptedEngine(*script)
    return Session(tiny_agent(**decoding), engine, persona), engine  # type: ignore[arg-type]


def ended(events: Generator[Event, None, None]) -> Finished:
    """Read a reply to its end."""
    *_, last = events
    assert isinstance(last, Finished)
    return last
