"""The memory of people at the doors of a server: learnt beside conversations; what a client may do with it.

Learning has a thread of its own, so that it keeps no reply waiting; what comes too fast to keep up with is
left out and counted. Nothing is kept in silence: everybody who has the conversation open is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol

from convai.conversation.memory.facts import Fact
from convai.conversation.memory.memory import Learnt, Memory
from convai.core.dialog import Turn
from convai.core.errors import ConvaiError
from convai.server.logs import log_failure
from convai.server.metrics import Metrics
from convai.server.protocol import Change, client
from convai.server.protocol.answers import Accepted, Facts
from convai.server.protocol.changes import MemoryChanged
from convai.server.protocol.values import MemoryFact

MOST_WAITING: Final = 64
"""Messages that wait to be read, in the whole server; others are left out."""
_SHOWN: Final = 300
"""Characters of the words that a fact was told in, as they are shown."""


class NoMemory(ConvaiError):
    """This server keeps none."""


class MemoryRoom(Protocol):
    """A conversation in which something was told; `convai.server.room.Room` is one."""

    owner: str
    id: str
    deleted: bool
    lock: asyncio.Lock

    def emit(self, change: Change) -> None:
        """Number a change and tell everybody."""


class Remembering:
    """The memory of a server, if it keeps one. `told` runs in the event loop and raises nothing; `do`
    waits for the disk, so it is called from a thread.
    """

    def __init__(self, memory: Memory | None, metrics: Metrics) -> None:
        self._memory, self._metrics = memory, metrics
        self._thread = ThreadPoolExecutor(1, "convai-memory")
        self._tasks: dict[asyncio.Task[None], str] = {}
        """What is being learnt, and of whom."""

    def listen(
        self,
        room: MemoryRoom,
        message: str,
        turns: Sequence[Turn],
        number: int,
        *,
        retells: str | None = None,
    ) -> None:
        """The user has said the last of `turns`, as `message`, in the place of another (`retells`) if any.

        `number`: of that turn in the conversation.
        """
        if self._memory is None or room.deleted:
            return
        if len(self._tasks) >= MOST_WAITING:
            self._metrics.marks.labels("memory", "left_out").inc()
            return
        learn = partial(
            _learnt,
            self._memory,
            room.owner,
            list(turns),
            conversation=room.id,
            message=message,
            turn=number,
            retells=retells,
        )
        task = asyncio.get_running_loop().create_task(self._learn(room, learn), name="convai-memory")
        self._tasks[task] = room.owner
        task.add_done_callback(self._tasks.pop)

    def ready(self, owner: str) -> None:
        """Somebody's conversation is opened: what recalling needs is made in a thread. What goes wrong there
        goes wrong again, and is logged, when a prompt is written.
        """
        if self._memory is not None:
            with contextlib.suppress(RuntimeError):  # closed
                self._thread.submit(self._memory.ready, owner)

    async def settled(self, owner: str) -> None:
        """Wait for what is being learnt of somebody."""
        learning = [task for task, whose in self._tasks.items() if whose == owner]
        await asyncio.gather(*learning, return_exceptions=True)

    async def _learn(self, room: MemoryRoom, learn: Callable[[], Learnt]) -> None:
        try:
            learnt = await asyncio.get_running_loop().run_in_executor(self._thread, learn)
            self._metrics.marks.labels("memory", "done").inc()
            if learnt:
                async with room.lock:
                    if not room.deleted:
                        room.emit(changed(learnt))
        except Exception as error:
            self._metrics.marks.labels("memory", "failed").inc()
            log_failure("what was told could not be kept", error)

    def close(self) -> None:
        """Learn no more."""
        for task in self._tasks:
            task.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)

    # -- what a person does with it ----------------------------------------------------------------

    @property
    def keeps(self) -> bool:
        """Whether there is a memory."""
        return self._memory is not None

    @property
    def memory(self) -> Memory:
        """The memory. Raises NoMemory where the server keeps none."""
        if self._memory is None:
            raise NoMemory("this server keeps no memory; start it with --memory on")
        return self._memory

    def do(self, owner: str, event: client.MemoryRequest) -> tuple[Accepted | Facts, MemoryChanged | None]:
        """Do what was asked for: the answer, and what everybody is told of it.

        Raises ConvaiError for what is not there, and for what can be no fact.
        """
        memory = self.memory
        done = Accepted(request=event.request)
        match event:
            case client.ListFacts():
                return self.listed(owner, event), None
            case client.Remember():
                learnt = memory.add(owner, event.text, "remember.text")
                return done, changed(learnt) if learnt else None
            case client.EditFact():
                return done, changed(Learnt((memory.edit(owner, event.fact, event.text, "edit_fact.text"),)))
            case client.RestoreFact():
                before = {fact.id for fact in memory.facts(owner)}
                back = memory.bring_back(owner, event.fact)
                now = {fact.id for fact in memory.facts(owner)}
                gone = [fact for fact in memory.facts(owner, history=True) if fact.id in before - now]
                return done, changed(Learnt((back,), tuple(gone)))
            case client.Forget():
                if event.fact is None:
                    memory.forget_all(owner)
                    return done, MemoryChanged(all=True)
                return done, MemoryChanged(forgotten=(memory.forget(owner, event.fact).id,))
            case client.SetMemory():
                memory.enable(owner, event.enabled)
                return done, MemoryChanged(enabled=event.enabled)

    def listed(self, owner: str, event: client.ListFacts) -> Facts:
        """A part of the person's facts, the latest first."""
        memory = self.memory
        found = [shown(fact) for fact in reversed(memory.facts(owner, history=event.history))]
        if event.after is not None:
            places = [place for place, fact in enumerate(found) if fact.id == event.after]
            found = found[places[0] + 1 :] if places else []
        return Facts(
            request=event.request,
            enabled=memory.enabled(owner),
            items=tuple(found[: event.limit]),
            more=len(found) > event.limit,
        )


def shown(fact: Fact) -> MemoryFact:
    """A fact as it goes over the wire."""
    return MemoryFact(
        id=fact.id,
        text=fact.text,
        said=fact.said[:_SHOWN],
        conversation=fact.conversation or None,
        message=fact.message or None,
        time=fact.created,
        instead=fact.instead,
        aside=fact.aside,
    )


def changed(learnt: Learnt) -> MemoryChanged:
    """What was learnt, as everybody in the conversation is told."""
    return MemoryChanged(
        kept=tuple(map(shown, learnt.kept)), replaced=tuple(shown(fact) for fact in learnt.replaced[:16])
    )


def as_json(fact: Fact) -> dict[str, Any]:
    """A fact as REST gives it, all of it."""
    return {
        "id": fact.id,
        "text": fact.text,
        "said": fact.said,
        "conversation": fact.conversation or None,
        "message": fact.message or None,
        "time": fact.created,
        "instead": fact.instead,
        "aside": fact.aside,
    }


def _learnt(memory: Memory, owner: str, turns: Sequence[Turn], **where: Any) -> Learnt:
    """What a turn added; what recalling needs then is made at once, in this thread."""
    learnt = memory.learn(owner, turns, **where)
    memory.ready(owner)
    return learnt
