"""One open conversation: who reads along, what they are told, and the reply that is being written."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

import msgspec

from convai.conversation.conversation import LOOK_BACK
from convai.conversation.group import Group
from convai.conversation.staging import NOTHING_STAGED, Staging
from convai.core.dialog import Turn
from convai.engine import Request, Stream
from convai.server.convert import decoding_of, message_in, message_of, persona_card, title_of, turns_of
from convai.server.drafts import Drafts
from convai.server.protocol import Change, ReplayBuffer, SentChange, newest_that_fit
from convai.server.protocol.changes import Deleted, Failed, FinishedReply, Marks, Path, State, Stopped
from convai.server.protocol.values import Message, Resume
from convai.server.scene_cards import scene_card
from convai.server.service import Service
from convai.server.shared_room import Abroad
from convai.server.writing import Writing
from convai.store import Branch, Conversation, NotFound
from convai.store import Message as Kept
from convai.store.change_records import DrawnToken, Snapshot

IN_VIEW: Final = 50
"""Messages from the end of a branch that every reader has; changes farther back are told by a `state`."""


class Reader(Protocol):
    """One window on a conversation: it asks the room for what follows what it has sent."""

    alternatives: int
    """Alternatives that it wants beside every token."""

    def wake(self) -> None:
        """There is something new."""

    def restate(self) -> None:
        """What it has sent is of no use any more: a `state` is to come next."""


class Room:
    """A conversation that somebody has open, or had a while ago.

    `lock` is held by whatever changes the tree, so that readers are told of changes in their order.
    """

    def __init__(self, service: Service, drafts: Drafts, owner: str, id: str) -> None:
        self.service, self.drafts, self.owner, self.id = service, drafts, owner, id
        self.buffer = ReplayBuffer(secrets.token_hex(8))
        self.lock = asyncio.Lock()
        self.writing: Writing | None = None
        self.suggesting: asyncio.Task[None] | None = None
        self.deleted = False
        self.left = time.monotonic()
        """When it was made, or the last reader left."""
        self._giving_up: asyncio.Handle | None = None
        """What ends a reply that nobody comes back to."""
        self._ending: asyncio.Task[None] | None = None
        self._links: tuple[str, dict[str, Any]] | None = None
        self._path: Branch | None = None
        self._readers: set[Reader] = set()
        self.abroad = Abroad()

    def ask(self, request: Request, trace: str = "") -> Stream:
        """The engine's stream for this conversation, for a client's request `trace`. Raises Busy."""
        return self.service.stream(
            request, self.id, str(trace)
        )  # it goes over a wire: no name of the store's

    # -- readers -----------------------------------------------------------------------------------

    @property
    def empty(self) -> bool:
        """Whether nobody reads."""
        return not self._readers

    @property
    def alternatives(self) -> int:
        """Alternatives beside every token: what the one who wants most of them asked for."""
        return max((reader.alternatives for reader in self._readers), default=0)

    def join(self, reader: Reader) -> None:
        """Somebody reads along from now on."""
        self._readers.add(reader)
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    async def leave(self, reader: Reader) -> None:
        """Somebody is gone; a while after the last one, who may come back, the computing ends."""
        self._readers.discard(reader)
        if not self.empty:
            return
        self.left = time.monotonic()
        self._path = None
        self.stop_suggesting()
        if not self.service.config.grace:
            await self._give_up()
        elif self._giving_up is None:
            self._giving_up = self.service.later(self.service.config.grace, self._given_up)

    def _given_up(self) -> None:
        self._giving_up = None
        self._ending = asyncio.create_task(self._give_up(), name="convai-left")

    async def _give_up(self) -> None:
        """Nobody has come back: the reply that is being written ends here."""
        doors = self.service.doors
        writing = self.writing
        if not self.empty or writing is None:
            return
        if doors is not None and await doors.read_elsewhere(self):
            if self._giving_up is None:
                self._giving_up = self.service.later(max(self.service.config.grace, 1.0), self._given_up)
        elif self.empty:
            await writing.stop("left")

    def has_others(self, reader: Reader) -> bool:
        """Whether somebody else reads."""
        return bool(self._readers - {reader})

    def emit(self, change: Change, drawn: DrawnToken | None = None) -> None:
        """Number a change and tell everybody; `drawn` is what a token is to who goes on with the reply."""
        if self.service.doors is None:
            self.buffer.append(change)
            self.wake()
        else:
            self.service.doors.emit(self, change, drawn)
        if isinstance(change, Path):
            self.service.marker.seen(self, change.messages)
        elif isinstance(change, FinishedReply | Stopped | Failed) and change.message is not None:
            self.service.marker.seen(self, (change.message,))
        if isinstance(change, Path | FinishedReply | Stopped | Failed):
            self.service.marker.changed(self)

    async def mark(self, message: str, kind: Literal["emotion", "coref"], data: dict[str, Any]) -> None:
        """Tell what was found in a message; a mood is kept with it. One that is gone has no marks."""
        async with self.lock:
            if self.deleted:
                return
            if kind == "emotion":
                call = self.service.store.mark
                try:
                    await self.service.in_store(call, self.owner, self.id, message, kind, data)
                except NotFound:
                    return
            else:
                if self._links is None and not data["clusters"]:
                    return  # nothing is news where there was nothing
                self._links = (message, data)
            self.emit(Marks(message=message, kind=kind, data=data))

    def missed(self, resume: Resume) -> bool:
        """Whether what followed a returning reader's last number is here."""
        return self.buffer.resume(resume) is not None

    def after(self, last: int) -> list[SentChange] | None:
        """The changes behind number `last`; None: a state is needed."""
        return self.buffer.after(last)

    def stop_suggesting(self) -> None:
        """Suggestions are for what is shown: something else is, or somebody waits for a reply."""
        if self.suggesting is not None:
            self.suggesting.cancel()
            self.suggesting = None

    # -- other doors ---------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something new in the buffer."""
        for reader in self._readers:
            reader.wake()

    def record(self) -> dict[str, Any]:
        """What another door needs to go on with the reply that begins."""
        assert self.writing is not None
        return self.writing.record()

    def retell(self) -> None:
        """Tell of the reply that is written here anew, as far as it has come."""
        if self.writing is not None:
            self.writing.retell()

    async def lost(self) -> None:
        """The reply that is written here belongs to another door: what was told last, nobody was told."""
        if self.writing is not None:
            await self.writing.abandon()
        self.restate()

    async def stop(self, message: str) -> None:
        """Stop a reply that is written here, if it is that one."""
        if self.writing is not None and self.writing.id == message:
            await self.writing.stop("client")

    # -- the state ---------------------------------------------------------------------------------

    async def group(self) -> Group:
        """Who is in the conversation, where that is more than one."""
        return (await self.service.in_store(self.service.store.scenes.known, self.id)).group

    async def branch(self, until: str | None = None) -> Branch:
        """The current branch, or that up to `until`: its end, and all that a reply depends on."""
        call = self.service.store.branch
        return await self.service.in_thread(call, self.owner, self.id, until=until, limit=LOOK_BACK + 1)

    def latest(self) -> tuple[Conversation, Branch]:
        """The conversation and its current branch, whose messages may lack their details and neighbours.

        Waits for the disk. The branch is read anew only where its end is not the one that `goes_on` told of.
        """
        store, known = self.service.store, self._path
        conversation = store.load(self.owner, self.id)
        if known is not None and conversation.leaf == known.leaf:
            return conversation, known
        return conversation, store.branch(self.owner, self.id, limit=LOOK_BACK)

    def goes_on(self, path: Branch) -> None:
        """Remember the branch up to what is said now, or was written last."""
        last = [replace(kept, details={}) if kept.details else kept for kept in path.messages[-LOOK_BACK:]]
        self._path = Branch(last, path.earlier + len(path.messages) - len(last))

    def written(self, reply: Kept | None) -> None:
        """Nothing is being written any more; `reply` is in the store.

        It is remembered behind the branch that is known; of another one nothing is known any more.
        """
        self.writing = None
        if reply is None:
            return
        path = self._path
        if path is not None and reply.parent == path.leaf:
            self.goes_on(path.then(reply))
        else:
            self._path = None

    async def turns(self, most: int) -> tuple[list[Turn], list[str]]:
        """The last `most` messages of the branch, but for a reply that is being written, and their ids."""
        path, _ = await self.branch()
        whole = [kept for kept in path if kept.status != "streaming"][-most:]
        return turns_of(whole), [kept.id for kept in whole]

    async def state(self) -> State:
        """The whole conversation as it is now. Raises NotFound where it was deleted."""
        if self.service.doors is not None:
            found = await self.service.doors.snapshot(self)
            return self._stated(found, await self.service.in_thread(self.service.store.scenes.known, self.id))
        async with self.lock:
            store = self.service.store
            conversation = await self.service.in_store(store.load, self.owner, self.id)
            staging = await self.service.in_store(store.scenes.known, self.id)
            before = self.writing.parent if self.writing is not None else None
            path: list[Kept] = []
            earlier = 0
            if self.writing is None or before is not None:
                path, earlier = await self.branch(before)
            # from here on nothing waits: number and text belong together
            writing = None if self.writing is None else self.writing.message()
            shown = Branch(path, earlier)
            return self._state(conversation, staging, shown, writing, self.buffer.stream, self.buffer.last)

    def _stated(self, found: Snapshot, staging: Staging) -> State:
        """The conversation as it was at one moment for all doors."""
        live, stream = found.followed.live, found.followed
        writing = None if live is None else message_in(live, found.shown)
        return self._state(found.conversation, staging, found.branch, writing, stream.stream, stream.last)

    def _state(
        self,
        conversation: Conversation,
        staging: Staging,
        path: Branch,
        writing: Message | None,
        stream: str,
        n: int,
    ) -> State:
        character = staging.characters.get(conversation.persona_version)
        messages = [self._with_links(message_of(kept)) for kept in path.messages]
        if writing is not None:
            messages.append(writing)
        fit = newest_that_fit(messages, self.service.limits)
        self.service.marker.seen(self, messages)
        if self._links is None:
            self.service.marker.changed(self)
        return State(
            n=n,
            stream=stream,
            conversation=self.id,
            title=title_of(conversation),
            persona=persona_card(conversation.persona),
            settings=self.service.settings(decoding_of(conversation, self.service.agent.decoding)),
            messages=tuple(messages[len(messages) - fit :]),
            earlier=path.earlier + len(messages) - fit,
            scene=None if staging == NOTHING_STAGED else scene_card(staging, character),
        )

    def _with_links(self, message: Message) -> Message:
        if self._links is None or self._links[0] != message.id:
            return message
        return msgspec.structs.replace(message, marks={**(message.marks or {}), "coref": self._links[1]})

    def emit_path(self, before: list[Kept], after: list[Kept]) -> None:
        """Tell everybody how the current branch has changed; by a `state` where that is shorter."""
        known = {kept.id: place for place, kept in enumerate(before)}
        keep = max((place for place, kept in enumerate(after) if kept.id in known), default=-1)
        if keep == len(after) - 1 == len(before) - 1 and keep >= 0:
            return
        added = [message_of(kept) for kept in after[keep + 1 :]]
        far = keep >= 0 and known[after[keep].id] < len(before) - IN_VIEW
        partial = keep < 0 and any(path and path[0].parent is not None for path in (before, after))
        if far or partial or newest_that_fit(added, self.service.limits) < len(added):
            self.restate()
            return
        self.emit(Path(keep=after[keep].id if keep >= 0 else None, messages=tuple(added)))

    def restate(self) -> None:
        """Everybody is to get the whole anew."""
        for reader in self._readers:
            reader.restate()

    async def show_what_is(self, shown: str | None) -> None:
        """After a reply that came to nothing: show the branch again, where more of it was there before."""
        after, _ = await self.branch()
        ids = [kept.id for kept in after]
        if shown not in ids and shown is not None:
            self.restate()
            return
        self.emit_path(after[: ids.index(shown) + 1] if shown is not None else [], after)

    def end(self) -> None:
        """The conversation is gone."""
        self.deleted = True
        self.stop_suggesting()
        self.emit(Deleted())
