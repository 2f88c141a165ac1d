"""convai's own engine, through its public interface."""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import torch

from convai.bench.contenders.base import Setup, Timing, Together
from convai.bench.workload import BenchChat, chats, persona, words
from convai.conversation.agent import load_agent
from convai.core.dialog import USER
from convai.core.errors import ConvaiError
from convai.core.settings import EngineConfig
from convai.engine import Engine, Request, Timings, Token
from convai.engine.backends.precision import chosen
from convai.text.segments import EncodedTurn

USER_WORDS = 16
"""Words of the user's turn in a conversation."""
PATIENCE = 300.0
"""Seconds after which a load that never gets going is an error."""


class Ours:
    """The engine as the doors use it, at the precision asked for, with the defaults for everything else."""

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        self._setup = setup
        self._agent = load_agent(setup.folder)
        self._tokenizer = self._agent.tokenizer
        self._config = EngineConfig(precision=setup.precision)  # type: ignore[arg-type]
        self._engine = self._agent.engine(self._config)

    def about(self) -> dict[str, Any]:
        """The precision that `auto` chose."""
        model = self._agent.model
        return {"precision": chosen(self._config.precision, model.config, model.device)}

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        """All at once; whoever reads computes, as in the terminal."""
        times = Together(time.perf_counter(), len(chats))
        streams = [self._engine.stream(self._request(chat, seed + i)) for i, chat in enumerate(chats)]
        ends: list[Timings] = []
        for i, stream in enumerate(streams):
            for event in stream:
                if isinstance(event, Token):
                    times.token(i, event.id, time.perf_counter())
                else:
                    ends.append(event.timings)
        timing = times.timing(time.perf_counter())
        if len(chats) == 1:
            return timing
        # the others' events were read later than they came: the engine has noted when that was
        first, last = tuple(t.first_token for t in ends), tuple(t.total for t in ends)
        return Timing(timing.seconds, first, last, timing.replies)

    def conversation(self, turns: int, seed: int) -> list[tuple[float, int, int]]:
        """Seconds to the first token, prompt tokens, and how many of them were known, of each turn.

        A new persona of the workload's length, then 16 words of the user and a reply, again and again.
        """
        vocab, rng = self._tokenizer.vocab_size, random.Random(f"conversation {seed}")
        about = persona(rng, self._setup.work.persona, vocab)
        chat = BenchChat(about, (EncodedTurn(USER, words(rng, USER_WORDS, vocab)),))
        told = []
        for turn in range(turns):
            start, first, reply = time.perf_counter(), 0.0, list[int]()
            for event in self._engine.stream(self._request(chat, seed + turn)):
                first = first or time.perf_counter() - start
                if isinstance(event, Token):
                    reply.append(event.id)
                else:
                    told.append((first, event.timings.prompt_tokens, event.timings.reused_tokens))
            chat = chat.said(reply, words(rng, USER_WORDS, vocab))
        return told

    def first_tokens(self, busy: int, count: int, seed: int) -> list[float]:
        """Seconds to the first token of `count` new chats, one after another, while `busy` others run.

        Whoever has a complete reply goes on with a new chat at once, so that `busy` run at any time. Read by
        coroutines from an engine with a thread of its own, as the server does. Raises ConvaiError when a
        chat fails.
        """
        asking = [self._new_chats(random.Random(f"chair {seed} {i}")) for i in range(busy + 1)]
        with self._agent.engine(self._config) as engine:
            return asyncio.run(_first_tokens(engine.start(), asking[0], asking[1:], count))

    def memory(self, count: int, seed: int) -> tuple[int, int]:
        """Bytes of this process at its peak, once `count` chats that fill the context have run at once; and
        the tokens of each, its reply counted.
        """
        work = self._setup.work
        free = self._agent.positions - work.prompt - work.reply - 1  # the end of a reply takes a place too
        full = replace(work, history=work.history + max(0, free))
        asked = chats(full, self._tokenizer.vocab_size, count, seed)
        self.run(asked, seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tokens = len(asked[0].prompt(self._tokenizer.frame)) + full.reply
        return peak * (1 if sys.platform == "darwin" else 1024), tokens

    def _new_chats(self, rng: random.Random) -> Iterator[Request]:
        while True:
            seed = rng.randrange(2**32)
            [chat] = chats(self._setup.work, self._tokenizer.vocab_size, 1, seed)
            yield self._request(chat, seed)

    def _request(self, chat: BenchChat, seed: int) -> Request:
        return Request(chat.prompt(self._tokenizer.frame), self._setup.work.decoding(seed))

    def close(self) -> None:
        """Take no more."""
        self._engine.close()


async def _first_tokens(
    engine: Engine, new: Iterator[Request], others: Sequence[Iterator[Request]], count: int
) -> list[float]:
    arrived = asyncio.Semaphore(0)

    async def keep_busy(asking: Iterator[Request]) -> None:
        for request in asking:
            async with aclosing(engine.stream(request)) as stream:
                async for _event in stream:
                    arrived.release()

    loads = [asyncio.create_task(keep_busy(asking)) for asking in others]
    try:
        for _ in range(2 * len(others)):  # until the load is under way
            await asyncio.wait_for(arrived.acquire(), timeout=PATIENCE)
        found = []
        for request in itertools.islice(new, count + 1):
            start = time.perf_counter()
            async with aclosing(engine.stream(request)) as stream:
                await anext(stream)
                found.append(time.perf_counter() - start)
                async for _event in stream:
                    pass
    except TimeoutError:
        raise ConvaiError(f"no token came for {PATIENCE:.0f} seconds") from None
    finally:
        for load in loads:
            load.cancel()
        ends = await asyncio.gather(*loads, return_exceptions=True)
    if failures := [end for end in ends if isinstance(end, Exception)]:
        raise ConvaiError(f"a chat of the load failed: {failures[0]}")
    return found[1:]  # the first one warms up
