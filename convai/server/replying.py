"""A reply is begun: asked of the engine first, so that a full queue changes nothing; committed; told of."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.group import NO_GROUP, Group
from convai.conversation.memory.finding import LOOK_BACK
from convai.conversation.reply import Reply
from convai.core.dialog import USER, Turn
from convai.server.convert import decoding_of, turns_of
from convai.server.limiter import Busy
from convai.server.protocol.answers import Accepted
from convai.server.room import Room
from convai.server.writing import Follow, Writing
from convai.store import Branch, Conversation, NewTurn, Receipt
from convai.store import Message as Kept


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there before somebody spoke: the branch that is shown, and where the reply to them stands."""

    conversation: Conversation
    shown: Branch
    place: Place
    version: int | None = None
    """Of the persona that answers, in a group."""
    group: Group = NO_GROUP
    nobody: bool = False
    """Nobody of the group answers."""


Then = Callable[[Room, str, str, str], Awaitable[None]]
"""What follows a reply that came to its end: in the room, of the request and address, behind that reply."""


def after_last(above: Branch, group: Group = NO_GROUP) -> Place:
    """Where the reply to what was said last stands."""
    return Place.after(turns_of(above.messages, group), earlier=above.earlier)


def answering(above: Branch, text: str, group: Group = NO_GROUP) -> Place:
    """Where the reply to `text` stands, which the user says now."""
    return Place.after([*turns_of(above.messages, group), Turn(USER, text)], earlier=above.earlier)


async def say(
    room: Room,
    request: str,
    address: str,
    look: Callable[[], Seen],
    commit: Callable[[Seen], NewTurn],
    retells: str | None = None,
    then: Then | None = None,
) -> Accepted:
    """Commit what the user says, and begin the reply to it; all that waits for the disk in one go.

    `retells`: the message in whose place it is said; `then`: what follows the reply.
    """
    service = room.service

    def both() -> tuple[Seen, Drawing[Reply] | None, NewTurn]:
        seen = look()
        if seen.nobody:
            return seen, None, commit(seen)
        drawing = asked(room, request, seen.place, seen.conversation, version=seen.version)
        try:
            return seen, drawing, commit(seen)
        except BaseException:
            drawing.close()
            raise

    if room.writing is not None:  # a request that was done is answered again; another one is a conflict
        receipt = (await service.in_store(lambda: commit(look()))).receipt
        return Accepted(request=request, message=receipt.message, again=receipt.again)
    with ExitStack() as undo_all:
        service.check_open()
        release = service.limiter.begin_reply(address)
        undo_all.callback(release)
        seen, drawing, said = await service.planned(both)
        if drawing is None:
            return await unanswered(room, request, seen.shown, said.receipt)
        undo_all.callback(drawing.close)
        receipt, draft = said.receipt, said.draft
        after = seen.shown.then(said.message) if said.message is not None else await room.branch()
        if receipt.again:
            drawing.close()
            if after.leaf != receipt.message:
                return Accepted(request=request, message=receipt.message, again=True)
            # it was done, but the server ended, or everybody left, before there was a reply
            place = after_last(after, seen.group)
            drawing = await service.planned(asked, room, request, place, version=seen.version)
            undo_all.callback(drawing.close)
        if draft is None:
            begin_it = partial(service.store.begin_reply, persona=seen.version)
            draft = await service.in_store(_draft, room, begin_it)
        undo_all.pop_all()
        writing = Writing(
            room,
            drawing,
            draft,
            request,
            release,
            _then(then if seen.group else None, room, request, address, draft),
        )
        _start(room, writing, seen.shown, after)
    if receipt.message is not None:
        last = turns_of(after.messages[-LOOK_BACK - 1 :])
        number = after.earlier + len(after.messages) - 1
        service.remembering.listen(room, receipt.message, last, number, retells=retells)
    return Accepted(request=request, message=receipt.message, again=receipt.again)


async def unanswered(room: Room, request: str, before: Branch, receipt: Receipt) -> Accepted:
    """What the user said, and nobody answers, is shown."""
    if not receipt.again:
        room.stop_suggesting()
        after = await room.branch()
        room.goes_on(after)
        room.emit_path(before.messages, after.messages)
        if receipt.message is not None:
            last = turns_of(after.messages[-LOOK_BACK - 1 :])
            number = after.earlier + len(after.messages) - 1
            room.service.remembering.listen(room, receipt.message, last, number)
    return Accepted(request=request, message=receipt.message, again=receipt.again)


async def begin(
    room: Room,
    request: str,
    address: str,
    before: Branch,
    above: Branch,
    place: Place,
    commit: Callable[[], Receipt],
    version: int | None = None,
    then: Then | None = None,
) -> Receipt:
    """Begin a reply at `place`, which is behind `above`; `commit` makes its draft.

    `version`: of the persona that speaks, in a group; `then`: what follows it.
    """
    service = room.service
    if room.writing is not None:
        return await service.in_store(commit)
    with ExitStack() as undo_all:
        service.check_open()
        release = service.limiter.begin_reply(address)
        undo_all.callback(release)
        drawing = await service.planned(asked, room, request, place, version=version)
        undo_all.callback(drawing.close)
        receipt = await service.in_store(commit)
        if receipt.again:
            return receipt
        draft = await service.in_store(service.store.message, room.owner, room.id, receipt.message)
        undo_all.pop_all()
        # the reply may be on another branch than the one that is shown
        elsewhere = above.leaf is not None and above.leaf not in {kept.id for kept in before.messages}
        writing = Writing(room, drawing, draft, request, release, _then(then, room, request, address, draft))
        _start(room, writing, before, above if elsewhere else before)
    return receipt


def _then(then: Then | None, room: Room, request: str, address: str, draft: Kept) -> Follow | None:
    return None if then is None else partial(then, room, request, address, draft.id)


def _start(room: Room, writing: Writing, before: Branch, after: Branch) -> None:
    """Tell of the branch and of the reply, in one go: the answer to the request is sent before them."""
    room.stop_suggesting()
    room.goes_on(after)
    room.emit_path(before.messages, after.messages)
    room.writing = writing
    writing.start()


def _draft(room: Room, begin: Callable[[str, str], Receipt]) -> Kept:
    receipt = begin(room.owner, room.id)
    assert receipt.message is not None
    return room.service.store.message(room.owner, room.id, receipt.message)


def asked(
    room: Room,
    request: str,
    place: Place,
    conversation: Conversation | None = None,
    prepare: Callable[[Reply], None] | None = None,
    version: int | None = None,
) -> Drawing[Reply]:
    """The reply at `place`, asked of the engine already. Raises Busy, SettingsError.

    `request`: the client's, by which logs call it; `prepare` is shown the reply before; `version`: of the
    persona that speaks, None for the one in use. Waits for the disk, where `conversation` is not given.
    """
    service = room.service
    now = conversation or service.store.load(room.owner, room.id)
    decoding = decoding_of(now, service.agent.decoding)
    reply = Reply(
        service.agent,
        now.persona if version is None else service.store.personas(room.owner, room.id)[version],
        place,
        decoding,
        seed=secrets.randbits(32) if decoding.seed is None else decoding.seed,
        max_history=service.agent.max_history,
        alternatives=room.alternatives,
        hooks=service.hooks,
        scene=service.scene(room.owner, now, version),
    )
    if prepare is not None:
        prepare(reply)
    drawing = Drawing(reply, partial(room.ask, trace=request))
    try:
        drawing.start()
    except Busy as error:
        service.metrics.rejected.labels(error.reason).inc()
        raise
    return drawing
