"""A reply is begun: asked of the engine first, so that a full queue changes nothing; committed; told of."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.memory.finding import LOOK_BACK
from convai.conversation.reply import Reply
from convai.core.dialog import USER, Turn
from convai.server.convert import decoding_of, turns_of
from convai.server.limiter import Busy
from convai.server.protocol.answers import Accepted
from convai.server.room import Room
from convai.server.writing import Writing
from convai.store import Branch, Conversation, Receipt, Said
from convai.store import Message as Kept


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there before somebody spoke: the branch that is shown, and where the reply to them stands."""

    conversation: Conversation
    shown: Branch
    place: Place


def after_last(above: Branch) -> Place:
    """Where the reply to what was said last stands."""
    return Place.after(turns_of(above.messages), earlier=above.earlier)


def answering(above: Branch, text: str) -> Place:
    """Where the reply to `text` stands, which the user says now."""
    return Place.after([*turns_of(above.messages), Turn(USER, text)], earlier=above.earlier)


async def say(
    room: Room,
    request: str,
    address: str,
    look: Callable[[], Seen],
    commit: Callable[[Seen], Said],
    retells: str | None = None,
) -> Accepted:
    """Commit what the user says, and begin the reply to it; all that waits for the disk in one go.

    `retells`: the message in whose place it is said.
    """
    service = room.service

    def both() -> tuple[Seen, Drawing[Reply], Said]:
        seen = look()
        drawing = asked(room, seen.place, seen.conversation)
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
        undo_all.callback(drawing.close)
        receipt, draft = said.receipt, said.draft
        after = seen.shown.then(said.message) if said.message is not None else await room.branch()
        if receipt.again:
            drawing.close()
            if after.leaf != receipt.message:
                return Accepted(request=request, message=receipt.message, again=True)
            # it was done, but the server ended, or everybody left, before there was a reply
            drawing = await service.planned(asked, room, after_last(after))
            undo_all.callback(drawing.close)
        if draft is None:
            draft = await service.in_store(_draft, room, service.store.begin_reply)
        undo_all.pop_all()
        _start(room, Writing(room, drawing, draft, request, release), seen.shown, after)
    if receipt.message is not None:
        last = turns_of(after.messages[-LOOK_BACK - 1 :])
        number = after.earlier + len(after.messages) - 1
        service.remembering.told(room, receipt.message, last, number, retells=retells)
    return Accepted(request=request, message=receipt.message, again=receipt.again)


async def begin(
    room: Room,
    request: str,
    address: str,
    before: Branch,
    above: Branch,
    place: Place,
    commit: Callable[[], Receipt],
) -> Receipt:
    """Begin a reply at `place`, which is behind `above`; `commit` makes its draft."""
    service = room.service
    if room.writing is not None:
        return await service.in_store(commit)
    with ExitStack() as undo_all:
        service.check_open()
        release = service.limiter.begin_reply(address)
        undo_all.callback(release)
        drawing = await service.planned(asked, room, place)
        undo_all.callback(drawing.close)
        receipt = await service.in_store(commit)
        if receipt.again:
            return receipt
        draft = await service.in_store(service.store.message, room.owner, room.id, receipt.message)
        undo_all.pop_all()
        # the reply may be on another branch than the one that is shown
        elsewhere = above.leaf is not None and above.leaf not in {kept.id for kept in before.messages}
        _start(room, Writing(room, drawing, draft, request, release), before, above if elsewhere else before)
    return receipt


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
    place: Place,
    conversation: Conversation | None = None,
    prepare: Callable[[Reply], None] | None = None,
) -> Drawing[Reply]:
    """The reply at `place`, asked of the engine already. Raises Busy, SettingsError.

    `prepare` is shown it before. Waits for the disk, where `conversation` is not given.
    """
    service = room.service
    now = conversation or service.store.load(room.owner, room.id)
    decoding = decoding_of(now, service.agent.decoding)
    reply = Reply(
        service.agent,
        now.persona,
        place,
        decoding,
        seed=secrets.randbits(32) if decoding.seed is None else decoding.seed,
        max_history=service.agent.max_history,
        alternatives=room.alternatives,
        hooks=service.hooks,
        scene=service.scene(room.owner, now),
    )
    if prepare is not None:
        prepare(reply)
    drawing = Drawing(reply, room.ask)
    try:
        drawing.start()
    except Busy as error:
        service.metrics.rejected.labels(error.reason).inc()
        raise
    return drawing
