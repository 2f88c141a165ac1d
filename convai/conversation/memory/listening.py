"""Memory beside a conversation: what it adds to prompts, and facts learnt in a thread of their own.

What goes wrong there is logged, and the conversation goes on.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from convai.conversation.conversation import Place
from convai.conversation.memory.memory import Learnt, Memory
from convai.core.dialog import USER, Turn
from convai.text.insertions import Insertion

KIND: Final = "memory"
"""What insertions of the memory are accounted as."""
_WAIT: Final = 0.3
"""Seconds that somebody waits for what was learnt, who has had a reply meanwhile."""
_logger: Final = logging.getLogger(__name__)


class Recollection:
    """What a person's memory adds to the prompts of a conversation; a source of a `Scene`."""

    def __init__(self, memory: Memory, owner: str, conversation: str | Callable[[], str]) -> None:
        """`conversation`: its name, of which what was told there is known; or what gives it."""
        self._memory, self._owner, self._conversation = memory, owner, conversation

    def __call__(self, place: Place) -> list[Insertion]:
        """The lines for the reply at `place`: what holds always, and what was called for before each turn."""
        named = self._conversation
        try:
            found = self._memory.recall(
                self._owner, place.turns, place.number, named if isinstance(named, str) else named()
            )
        except Exception:  # a memory that cannot be read must not keep anybody from talking
            _logger.exception("the memory could not be read")
            return []
        added = []
        for one in found:
            if one.turn is None:
                added.append(Insertion(one.text, None, KIND, why="always"))
            else:
                said = place.turns[one.turn - place.number].text
                depth = place.number - one.turn
                added.append(Insertion(one.text, depth, KIND, fades=True, why=f"called for by: {said[:80]}"))
        return added


class MemoryLearner:
    """Learns what the user of a session tells, turn by turn; `news` says what was kept."""

    def __init__(self, memory: Memory, owner: str, turns: Callable[[], Sequence[Turn]]) -> None:
        """`turns` gives those that were said before the one that is heard."""
        self.memory, self.owner = memory, owner
        self.conversation = ""
        self.begin()
        self._turns = turns
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="memory")
        self._learning: list[Future[Learnt]] = []
        self._worker.submit(memory.ready, owner)

    def begin(self) -> None:
        """Another conversation begins: what was told before is remembered in it."""
        self.conversation = f"chat-{secrets.token_hex(8)}"

    def __call__(self, turn: Turn) -> None:
        """Learn from a turn, if it is the user's; returns at once. For `Session(on_turn=...)`."""
        if turn.speaker == USER:
            turns = [*self._turns(), turn]
            self._learning.append(
                self._worker.submit(self.memory.learn, self.owner, turns, conversation=self.conversation)
            )
            self._worker.submit(self.memory.ready, self.owner)

    def news(self, wait: float = _WAIT) -> list[Learnt]:
        """What was learnt since this was asked last, as far as that is known by now, or in a moment."""
        found = []
        while self._learning:
            work = self._learning[0]
            try:
                learnt = work.result(wait)
            except TimeoutError:
                break
            except Exception:
                _logger.exception("what was told could not be kept")
                learnt = Learnt()
            del self._learning[0]
            if learnt:
                found.append(learnt)
        return found

    def close(self) -> None:
        """Learn no more, but what was told already."""
        self._worker.shutdown(wait=True, cancel_futures=False)
