"""The people of a soak test: each chats, edits, changes its mind and leaves, at random.

A guest has one conversation. Again and again it does something to it (says more, goes back and says something
else, takes another persona, or only asks again), asks for a reply with settings of its own, and reads it to
the end or leaves in the middle, in any of the ways there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from convai.bench.workload import BenchChat, Workload, persona, words
from convai.core.dialog import AGENT, USER
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.engine import Engine, Finished, Overloaded, Request, Stream
from convai.text.history import fit_history
from convai.text.segments import EncodedTurn, build_prompt

MOST_TURNS: Final = 40
"""After which a guest begins anew, so that its list of turns does not grow for ever."""
LONGEST_REPLY: Final = 40
LONGEST_BACKOFF: Final = 2.0
"""Seconds a refused guest waits at most, however long the engine advises: the queue is to be full again."""


@dataclass(slots=True)
class Ledger:
    """What the guests saw, to be held against what the engine counted.

    `outcomes`: requests that were `taken`, and became `complete`, `failed`, or were `left` by their reader;
    and those that were `refused`. `waiting`: guest → since when (seconds) it has waited for an event.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    longest_wait: float = 0.0
    errors: list[str] = field(default_factory=list)
    waiting: dict[int, float] = field(default_factory=dict)


class Guest:
    """One of them. `stop` tells that the time is over."""

    def __init__(
        self, number: int, engine: Engine, work: Workload, ledger: Ledger, rng: random.Random
    ) -> None:
        self._number = number
        self._engine = engine
        self._work = work
        self._ledger = ledger
        self._rng = rng
        self._vocab = engine.tokenizer.vocab_size
        self._chat = self._fresh()

    async def run(self, stop: Callable[[], bool]) -> None:
        """Chat until `stop` says so."""
        refused = False
        while not stop():
            if not refused:
                self._change()
            refused = False
            try:
                await self._ask()
            except Overloaded as refusal:
                refused = True  # the same once more, a little later
                self._ledger.outcomes["refused"] += 1
                await asyncio.sleep(min(refusal.retry_after, LONGEST_BACKOFF) * self._rng.random())
            except ConvaiError as error:
                self._ledger.outcomes["failed"] += 1
                self._ledger.errors.append(str(error))
            finally:
                self._ledger.waiting.pop(self._number, None)

    # -- the conversation --------------------------------------------------------------------------

    def _fresh(self) -> BenchChat:
        return BenchChat(
            persona(self._rng, self._rng.randint(0, self._work.persona), self._vocab), (self._said(),)
        )

    def _said(self) -> EncodedTurn:
        return EncodedTurn(USER, words(self._rng, self._rng.randint(1, 20), self._vocab))

    def _change(self) -> None:
        """Do something to the conversation that leaves the user's turn its last."""
        chat, rng = self._chat, self._rng
        what = rng.choices(("say", "edit", "again", "persona", "new"), (10, 4, 3, 1, 1))[0]
        if len(chat.turns) >= MOST_TURNS:
            what = "new"
        if what == "say" and chat.turns[-1].speaker == AGENT:
            self._chat = replace(chat, turns=(*chat.turns, self._said()))
        elif what == "edit":  # one of the user's turns, and nothing of what came after it stays
            places = [i for i, turn in enumerate(chat.turns) if turn.speaker == USER]
            self._chat = replace(chat, turns=(*chat.turns[: rng.choice(places)], self._said()))
        elif what == "persona":
            self._chat = replace(chat, persona=self._fresh().persona)
        elif what == "new":
            self._chat = self._fresh()
        elif chat.turns[-1].speaker == AGENT:  # another reply in the place of the last
            self._chat = replace(chat, turns=chat.turns[:-1])
        self._ledger.actions[what] += 1

    def _request(self) -> Request:
        frame, chat, rng = self._engine.tokenizer.frame, self._chat, self._rng
        settings = random_settings(rng)
        turns = fit_history(
            frame,
            chat.persona,
            chat.turns,
            n_positions=self._engine.positions,
            reserve=settings.max_length + frame.around_reply,
        )
        own = [turn.ids for turn in turns if turn.speaker == AGENT]
        return Request(
            build_prompt(frame, chat.persona, turns),
            settings,
            own_turns=own,
            alternatives=rng.choice((0, 0, 0, 3)),
            deadline=rng.choice((None, None, None, rng.uniform(0, 2))),
        )

    # -- a reply -----------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """Ask, and read to the end or leave: by closing, by being cancelled, or by dropping the stream."""
        how = self._rng.choices(("read", "close", "cancel", "drop"), (6, 1, 1, 1))[0]
        stream = self._engine.stream(self._request())  # what it raises was not taken
        self._ledger.outcomes["taken"] += 1
        self._ledger.actions[how] += 1
        if how == "cancel":
            over = await self._cancelled(stream)
        else:
            over = await self._read(stream, None if how == "read" else self._rng.randint(0, 12))
        if how == "close":
            await stream.aclose()
        del stream
        self._ledger.outcomes["complete" if over else "left"] += 1

    async def _cancelled(self, stream: Stream) -> bool:
        """Have a task read, and cancel it; True when it came to the end before."""
        reading = asyncio.create_task(self._read(stream, None))
        await asyncio.wait([reading], timeout=self._rng.uniform(0, 1))
        reading.cancel()
        try:
            return await reading
        except asyncio.CancelledError:
            return False

    async def _read(self, stream: Stream, most: int | None) -> bool:
        """Read `most` events (None: all); True at the end. What was said to the end belongs to the chat."""
        replies: list[Finished] = []
        count = 0
        while most is None or count < most:
            since = self._ledger.waiting[self._number] = time.monotonic()
            try:
                event = await anext(stream)
            except StopAsyncIteration:
                self._answered(replies)
                return True
            finally:
                self._ledger.longest_wait = max(self._ledger.longest_wait, time.monotonic() - since)
            count += 1
            if isinstance(event, Finished):
                replies.append(event)
                self._ledger.tokens += len(event.ids)
        return False

    def _answered(self, replies: Sequence[Finished]) -> None:
        best = max(replies, key=lambda reply: reply.score)
        if best.ids:
            self._chat = replace(self._chat, turns=(*self._chat.turns, EncodedTurn(AGENT, best.ids)))


def random_settings(rng: random.Random) -> DecodingConfig:
    """Decoding settings of every kind, one in five a beam search."""
    longest = rng.randint(1, LONGEST_REPLY)
    beams = rng.choice((1, 1, 1, 1, rng.randint(2, 4)))
    return DecodingConfig(
        max_length=longest,
        min_length=rng.randint(0, longest),
        repetition_penalty=rng.choice((1.0, 1.2)),
        no_repeat_ngram=rng.choice((0, 3)),
        no_repeat_own_ngram=rng.choice((0, 4)),
        temperature=rng.choice((0.0, 0.7, 1.3)),
        top_k=rng.choice((0, 0, 40)),
        top_p=rng.choice((0.9, 0.9, 1.0)),
        min_p=rng.choice((0.0, 0.0, 0.05)),
        typical_p=rng.choice((1.0, 1.0, 0.9)),
        num_beams=beams,
        candidates=1 if beams > 1 else rng.choice((1, 1, 2, 4)),
        seed=rng.choice((None, rng.randrange(1000))),
    )
