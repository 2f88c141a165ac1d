"""What every contender offers: answer some chats that come at once, and say when its tokens came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from convai.bench.workload import BenchChat, Workload
from convai.core.processor import Cores


@dataclass(frozen=True, slots=True)
class Setup:
    """What a contender starts from: a model folder with random weights, and what is asked of everybody."""

    folder: Path
    work: Workload
    threads: int
    chats: int
    """Most chats that come at once."""
    precision: str = "auto"
    """Of our engine; the others have a contender for each."""
    cores: Cores = frozenset()
    """Where it is to run; empty: anywhere."""


@dataclass(frozen=True, slots=True)
class Timing:
    """One run over some chats: `first` and `last` are when each chat's tokens came, in seconds.

    Both count from the moment when the chat was asked: for all at once where chats are answered together,
    one after another where they are not. `seconds` is the whole run.
    """

    seconds: float
    first: tuple[float, ...]
    last: tuple[float, ...]
    replies: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        return sum(len(reply) for reply in self.replies)

    @property
    def rate(self) -> float:
        """Tokens a second over all chats, prompts included."""
        return self.tokens / self.seconds

    @property
    def decode_rate(self) -> float:
        """Tokens a second behind the first, of one chat (the mean chat's where there are more)."""
        rates = [
            (len(reply) - 1) / (last - first)
            for reply, first, last in zip(self.replies, self.first, self.last, strict=True)
            if last > first
        ]
        return sum(rates) / len(rates) if rates else 0.0


class Contender(Protocol):
    """One way to answer chats."""

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        """Answer `chats`, which come at once, with the workload's settings."""

    def close(self) -> None:
        """Free what it holds."""


class Together:
    """Collects the times of tokens of chats that are answered together; make it when they are asked."""

    def __init__(self, clock: float, chats: int) -> None:
        self.start = clock
        self._first: list[float] = [0.0] * chats
        self._last: list[float] = [0.0] * chats
        self._replies: list[list[int]] = [[] for _ in range(chats)]

    def token(self, chat: int, token: int, now: float) -> None:
        """Chat `chat` got a token at `now`."""
        if not self._replies[chat]:
            self._first[chat] = now - self.start
        self._last[chat] = now - self.start
        self._replies[chat].append(token)

    def timing(self, now: float) -> Timing:
        """Everything was over at `now`."""
        replies = tuple(tuple(reply) for reply in self._replies)
        return Timing(now - self.start, tuple(self._first), tuple(self._last), replies)


def one_after_another(timings: Sequence[Timing]) -> Timing:
    """The run that consists of runs of one chat each."""
    return Timing(
        sum(t.seconds for t in timings),
        tuple(t.first[0] for t in timings),
        tuple(t.last[0] for t in timings),
        tuple(t.replies[0] for t in timings),
    )
