"""One reply being written: tokens from the engine to the room, drafts and the end to the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import replace as replace_settings
from typing import Any, Final, Literal, Protocol

from msgspec.structs import replace

from convai.conversation.drawing import Drawing
from convai.conversation.reply import Reply
from convai.core.errors import ConvaiError
from convai.engine import Overloaded, Token
from convai.server.convert import bounded, details_of, message_of
from convai.server.drafts import Drafts
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.metrics import Outcome, Pace
from convai.server.protocol import Change
from convai.server.protocol.changes import Failed, FinishedReply, Started, Stopped, TokenDrawn
from convai.server.protocol.values import Message
from convai.server.protocol.wire import encode
from convai.server.service import Service
from convai.store import Conflict, Draft, NotFound, StoreError
from convai.store import Message as Kept
from convai.store.change_records import DrawnToken

Follow = Callable[[], Awaitable[None]]
"""Begins what follows a reply."""
By = Literal["client", "left", "shutdown"]
_OUTCOMES: Final[dict[By | None, Outcome]] = {
    None: "finished",
    "client": "stopped",
    "left": "left",
    "shutdown": "shutdown",
}


_PATIENCE: Final = 120.0
"""Seconds for which the end of a reply waits for a database that is away."""
_BURST: Final = 16
"""Tokens that come at once, after which the readers have their turn: a buffer keeps a few dozen for them."""


class ReplyRoom(Protocol):
    """Where a reply is written; `convai.server.room.Room` is one."""

    service: Service
    drafts: Drafts
    owner: str
    id: str
    lock: asyncio.Lock

    def emit(self, change: Change, drawn: DrawnToken | None = None) -> None:
        """Number a change and tell everybody; `drawn` is what a token is to who goes on with the reply."""

    def written(self, reply: Kept | None) -> None:
        """Nothing is being written any more; `reply` is in the store."""

    def restate(self) -> None:
        """Everybody is to get the whole anew."""

    async def show_what_is(self, shown: str | None) -> None:
        """After a reply that came to nothing: show the branch again."""


class Writing:
    """The reply `message` of a room, from its first token to its place in the store."""

    def __init__(
        self,
        room: ReplyRoom,
        drawing: Drawing[Reply],
        draft: Kept,
        request: str,
        release: Callable[[], None],
        follow: Follow | None = None,
    ) -> None:
        """`drawing` has been started; `release` is called at its end, `follow` behind one that is whole."""
        self._follow = follow
        self.room = room
        self._drawing, self._draft, self._request, self._release = drawing, draft, request, release
        self.abandoned = False
        """Whether another door goes on with it."""
        self.settled = False
        """Whether it has come to its end, and belongs into the store as it is then."""
        self._by: By | None = None
        self._retold = False
        self._task: asyncio.Task[None] | None = None
        self._clock = time.monotonic

    @property
    def id(self) -> str:
        """The reply's id."""
        return self._draft.id

    @property
    def parent(self) -> str | None:
        """The message that it answers."""
        return self._draft.parent

    def message(self) -> Message:
        """The reply as far as it has been shown."""
        text = self._drawing.work.shown if self._drawing.work.live else ""
        shown = replace(message_of(self._draft, request=self._request), candidates=(), chosen=None)
        return replace(shown, text=text, status="streaming")

    def draft(self) -> Draft:
        """The reply as far as it is to be saved."""
        shown = self._drawing.work.shown
        return Draft(owner=self.room.owner, conversation=self.room.id, message=self.id, text=shown)

    def start(self) -> None:
        """Tell the room, and go on in a task."""
        self.room.emit(Started(message=self.message()))
        self._task = asyncio.create_task(self._run(), name="convai-reply")

    def go_on(self) -> None:
        """Go on, in a task, with what another door has begun and told."""
        self._task = asyncio.create_task(self._run(), name="convai-reply")

    def retell(self) -> None:
        """Tell the room of it anew, with what has been shown: nobody remembers the tokens one by one."""
        self._retold = True
        self.room.emit(Started(message=self.message()))

    def record(self) -> dict[str, Any]:
        """What another door needs to go on with it, should this one die."""
        work = self._drawing.work
        return {
            "id": self.id,
            "parent": self.parent,
            "request": self._request,
            "prefill": work.shown if self._retold else work.place.prefill,
            "seed": work.seed,
            "decoding": self.room.service.settings(replace_settings(work.request.config, seed=None)),
            "started": encode(Started(message=self.message()), 1),
        }

    async def abandon(self) -> None:
        """Stop here, and leave it as it is to another door."""
        self.abandoned = True
        await self.stop("shutdown")

    async def stop(self, by: By) -> None:
        """Stop the computation now; returns when what was shown is in the store. May be called twice."""
        if self._by is None:
            self._by = by
            self._drawing.close()
        if self._task is not None:
            await asyncio.shield(self._task)

    # -- the task ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        metrics = self.room.service.metrics
        outcome: Outcome = "failed"
        with ExitStack() as held:
            held.enter_context(self.room.service.work())
            held.callback(self._release)
            held.callback(self._drawing.close)
            try:
                await self._draw()
                outcome = _OUTCOMES[self._by]
            except Exception as error:
                failure: Exception | None = error
                if not isinstance(error, ConvaiError):
                    log_failure("a reply broke off", error)
            else:
                failure = None
            if self.abandoned:
                await self._leave()
                return
            try:
                async with self.room.lock:
                    outcome = await self._settle(failure, outcome)
            except Conflict:  # this door was taken for dead, and another one has it
                self.room.written(None)
                self.room.restate()
                return
            except Exception as error:
                log_failure("a reply could not be kept", error)
                self.room.written(None)
                self.room.emit(Failed(id=self.id, code="internal", error="the reply could not be kept"))
                outcome = "failed"
        metrics.replies.labels("socket", outcome).inc()
        if self._follow is not None and outcome == "finished":
            try:
                await self._follow()
            except Exception as error:
                log_failure("what follows a reply could not begin", error)

    async def ended(self) -> None:
        """Wait until it is in the store, and what follows it has begun."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _leave(self) -> None:
        """What was shown is in the store; nothing is told, since the reply goes on elsewhere."""
        self.settled = True
        with suppress(ConvaiError):
            await self.room.service.in_store(self.room.service.store.save_drafts, [self.draft()])
        self.room.written(None)

    async def _draw(self) -> None:
        pace = Pace(self.room.service.metrics, "socket", self._clock())
        drafts, live = self.room.drafts, self._drawing.work.live
        burst = 0
        async for event in self._drawing.adraw():
            if isinstance(event, Token):
                pace.token(self._clock())
                if live:
                    seed = self._drawing.work.request.config.seed
                    drawn = DrawnToken(event.id, seed) if seed is not None else None
                    self.room.emit(self._token(event), drawn)
                    drafts.changed(self)
                burst += 1
                if burst % _BURST == 0:
                    # behind what was told: who is shown the whole meanwhile gets no word twice
                    await asyncio.sleep(0)

    def _token(self, token: Token) -> TokenDrawn:
        return TokenDrawn(
            message=self.id,
            text=token.text,
            logprob=bounded(token.logprob, 0.0),
            alternatives=tuple((text, bounded(number, 0.0)) for text, number in token.alternatives),
        )

    async def _finish(self, text: str, **values: Any) -> Kept:
        """The end in the store. A database that is away for a while costs time and nothing else.

        Raises Conflict where another door has taken the reply up, and what the store raises.
        """
        room, store = self.room, self.room.service.store
        where = (room.owner, room.id, self.id)
        until, pause = self._clock() + _PATIENCE, 0.05
        while True:
            try:
                return await room.service.in_store(store.finish_reply, *where, text, **values)
            except Conflict:
                row = await room.service.in_store(store.message, *where)
                if row.status == values["status"] and row.text == text:
                    return row  # it was done, and the answer was lost
                raise
            except NotFound:
                raise
            except StoreError as error:
                if room.service.doors is None or self._clock() > until:
                    raise
                log_failure("the end of a reply could not be kept; once more", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)

    async def _settle(self, failure: Exception | None, outcome: Outcome) -> Outcome:
        """Put the reply's end into the store, then tell the room."""
        room, reply = self.room, self._drawing.work
        self.settled = True
        store, call = room.service.store, room.service.in_store
        whole = failure is None and self._by is None and reply.chosen is not None
        end = reply.finished[reply.chosen] if whole and reply.chosen is not None else None
        text = end.text if end is not None else (reply.shown if reply.live else "")
        kept: Message | None = None
        row: Kept | None = None
        if text:
            row = await self._finish(
                text,
                status="complete" if end is not None else "interrupted",
                details={**details_of(reply), "request": self._request},
            )
            kept = message_of(row, request=self._request)
        else:
            await call(store.drop_reply, room.owner, room.id, self.id)
        room.written(row)
        if end is not None and kept is not None:
            room.emit(FinishedReply(message=kept, reason="stop" if end.reason == "stop" else "length"))
            return outcome
        if failure is None:
            room.emit(Stopped(id=self.id, by=self._by or "client", message=kept))
        else:
            said = str(failure) if isinstance(failure, Busy | Overloaded) else "the model could not go on"
            room.emit(Failed(id=self.id, code="internal", error=said, message=kept))
            outcome = "failed"
        if kept is None:
            await room.show_what_is(self.parent)
        return outcome
