"""What a client may do inside an open conversation. Each returns its answer once that is on the disk.

An operation that begins a reply asks the engine first, so that a full queue changes nothing, then commits,
then tells the room.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from convai.conversation.cast import another_greeting
from convai.conversation.conversation import Place, answered_by_another, check_goes_on
from convai.conversation.drawing import Drawing
from convai.conversation.memory.finding import LOOK_BACK
from convai.conversation.reply import Reply, check_persona
from convai.core.dialog import USER, Turn
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.core.token_texts import check_bias
from convai.server.convert import decoding_of, message_of, persona_of, title_of, turns_of
from convai.server.limiter import Busy
from convai.server.protocol import client
from convai.server.protocol.answers import Accepted
from convai.server.protocol.changes import DecodingSet, Path, PersonaSet, TitleSet
from convai.server.protocol.kinds import SettingValue
from convai.server.room import Room
from convai.server.service import Service
from convai.server.writing import Writing
from convai.store import Branch, Conversation, Receipt, Said
from convai.store import Message as Kept
from convai.store.shared import Claimed


class Refused(ConvaiError):
    """What was asked for does not fit."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was there before somebody spoke: the branch that is shown, and where the reply to them stands."""

    conversation: Conversation
    shown: Branch
    place: Place


async def send(room: Room, event: client.Send, address: str) -> Accepted:
    """The user says something; a reply follows. Raises Busy, Conflict, SettingsError."""
    store, owner = room.service.store, room.owner

    def look() -> _Seen:
        conversation, shown = room.latest()
        return _Seen(conversation, shown, _answering(shown, event.text))

    def commit(seen: _Seen) -> Said:
        after = event.after if event.after is not None else seen.shown.leaf
        return store.say(owner, room.id, event.text, after=after, request=event.request)

    async with room.lock:
        return await _say(room, event.request, address, look, commit)


async def edit(room: Room, event: client.Edit, address: str) -> Accepted:
    """A message is written anew, beside the old one; after a user's message a reply follows."""
    service = room.service
    store, owner = service.store, room.owner
    async with room.lock:
        before = await room.branch()
        until = await room.branch(event.message)
        old = until.messages[-1]

        def commit() -> Receipt:
            return store.edit(owner, room.id, event.message, event.text, request=event.request)

        if old.speaker == USER:
            place = _answering(until.above(), event.text)
            return await _say(
                room,
                event.request,
                address,
                lambda: _Seen(store.load(owner, room.id), before, place),
                lambda _: Said(receipt=commit()),
                retells=event.message,
            )
        receipt = await service.in_store(commit)
        if not receipt.again:
            await _emit_branch(room, before)
        return Accepted(request=event.request, message=receipt.message, again=receipt.again)


async def regenerate(room: Room, event: client.Regenerate, address: str) -> Accepted:
    """Another reply beside the old one, or the first one to a user's message."""
    async with room.lock:
        before = await room.branch()
        if event.message is None and not before.messages:
            raise Refused("there is no reply to draw again; say something first")
        until = await room.branch(event.message)
        store, target = room.service.store, until.messages[-1]

        def commit() -> Receipt:
            return store.regenerate(room.owner, room.id, target.id, request=event.request)

        parent = answered_by_another(target)
        above = until if parent == target.id else until.above()
        drawn = await room.service.in_thread(store.replies, room.owner, room.id, parent)
        if not event.begun and (text := await room.service.in_thread(_greeting, room, target, drawn.texts)):
            said = await room.service.in_store(
                store.edit, room.owner, room.id, target.id, text, request=event.request
            )
            if not said.again:
                await _emit_branch(room, before)
            return Accepted(request=event.request, message=said.message, again=said.again)
        place = replace(_after(above).beside(drawn.texts, drawn.attempts), prefill=event.begun)
        receipt = await _begin(room, event.request, address, before, above, place, commit)
        return Accepted(request=event.request, again=receipt.again)


async def go_on(room: Room, event: client.Continue, address: str) -> Accepted:
    """A reply that was stopped, or cut, is gone on with."""
    async with room.lock:
        before = await room.branch()
        if event.message is None and not before.messages:
            raise Refused("there is no reply to go on with; say something first")
        until = await room.branch(event.message)
        store, target = room.service.store, until.messages[-1]
        check_goes_on(target, followed=False)  # the store knows whether it is

        def commit() -> Receipt:
            return store.continue_reply(room.owner, room.id, target.id, request=event.request)

        drawn = await room.service.in_thread(store.replies, room.owner, room.id, target.parent, before=target)
        above = until.above()
        place = _after(above).onward(target.text, drawn.attempts)
        receipt = await _begin(room, event.request, address, before, above, place, commit)
        return Accepted(request=event.request, again=receipt.again)


async def stop(room: Room, event: client.Stop) -> Accepted:
    """The reply that is being written ends here. One that has just ended is no mistake."""
    writing, doors = room.writing, room.service.doors
    if writing is not None and event.message in (None, writing.id):
        await writing.stop("client")
    elif doors is not None:
        await doors.stop(room, event.message)
    return Accepted(request=event.request)


async def take_up(room: Room, claimed: Claimed) -> None:
    """Go on with a reply of a door that died, which is ours now, from the tokens that were shown.

    Raises Busy, SettingsError, NotFound.
    """
    service, draft, live = room.service, claimed.draft, claimed.live
    store = service.store
    async with room.lock:
        above = Branch([]) if draft.parent is None else await room.branch(draft.parent)
        drawn = await service.in_thread(store.replies, room.owner, room.id, draft.parent, before=draft)
        conversation = await service.in_thread(store.load, room.owner, room.id)
        personas = await service.in_thread(store.personas, room.owner, room.id)
        conversation = replace(conversation, persona=personas.get(draft.persona, conversation.persona))
        place, prefill = _after(above), draft.text if live is None else str(live["prefill"])
        place = (
            place.onward(prefill, drawn.attempts) if prefill else place.beside(drawn.texts, drawn.attempts)
        )
        if live is not None:
            conversation = replace(conversation, settings={**live["decoding"], "seed": live["seed"]})

        def begun(reply: Reply) -> None:
            if claimed.tokens:
                tokens = [(token.id, logprob) for token, logprob in claimed.tokens]
                reply.resume(tokens, claimed.tokens[-1][0].seed)

        drawing = await service.planned(_asked, room, place, conversation, begun)
        request = draft.request if live is None else live["request"]
        room.goes_on(above)
        room.writing = Writing(room, drawing, draft, request or "taken-up", lambda: None)
        if live is not None:
            room.writing.go_on()
            return
        # its door died before anybody was told of it
        if above.messages:
            keep = above.messages[-2].id if len(above.messages) > 1 else None
            room.emit(Path(keep=keep, messages=(message_of(above.messages[-1]),)))
        room.writing.start()


async def undo(room: Room, event: client.Undo) -> Accepted:
    """Back to before the user's last message."""
    store = room.service.store
    return await _move(room, event.request, lambda: store.undo(room.owner, room.id, request=event.request))


async def switch(room: Room, event: client.Switch) -> Accepted:
    """To the branch that a message is on."""
    store = room.service.store
    return await _move(
        room,
        event.request,
        lambda: store.switch(room.owner, room.id, event.message, request=event.request),
    )


async def set_persona(room: Room, event: client.SetPersona) -> Accepted:
    """The agent is somebody else from now on. Raises SettingsError where the model has no room for them."""
    service, persona = room.service, persona_of(event.persona)
    async with room.lock:
        await service.in_thread(check_persona, service.agent, persona, service.agent.decoding.max_length)
        receipt = await service.in_store(
            service.store.set_persona, room.owner, room.id, persona, request=event.request
        )
        if not receipt.again:
            room.emit(PersonaSet(persona=event.persona))
    return Accepted(request=event.request, again=receipt.again)


async def set_decoding(room: Room, event: client.SetDecoding) -> Accepted:
    """Some decoding settings change. Raises SettingsError where they do not go together."""
    service = room.service
    async with room.lock:
        conversation = await service.in_store(service.store.load, room.owner, room.id)
        config = checked_decoding(service, decoding_of(conversation, service.agent.decoding), event.settings)
        settings = service.settings(config)
        receipt = await service.in_store(
            service.store.set_settings, room.owner, room.id, settings, request=event.request
        )
        if not receipt.again:
            room.emit(DecodingSet(settings=settings))
    return Accepted(request=event.request, again=receipt.again)


def checked_decoding(
    service: Service, config: DecodingConfig, given: dict[str, SettingValue]
) -> DecodingConfig:
    """`given` laid over `config`, within what the engine can do. Raises SettingsError."""
    config = laid_over(config, given)
    check_bias(config.logit_bias, service.engine.limits.vocabulary)
    slots = service.engine.limits.slots
    if max(config.candidates, config.num_beams) > slots:
        raise Refused(f"the server draws at most {slots} replies side by side; use fewer candidates or beams")
    return config


async def set_title(room: Room, event: client.SetTitle) -> Accepted:
    """The conversation is called something else."""
    service = room.service
    async with room.lock:
        receipt = await service.in_store(
            service.store.rename, room.owner, room.id, event.title, request=event.request
        )
        if not receipt.again:
            conversation = await service.in_store(service.store.load, room.owner, room.id)
            room.emit(TitleSet(title=title_of(conversation)))
    return Accepted(request=event.request, again=receipt.again)


# -- inside -------------------------------------------------------------------------------------------


def _greeting(room: Room, target: Kept, shown: list[str]) -> str | None:
    """The greeting that takes the place of one, which is not drawn. Waits for the disk."""
    if target.parent is not None or target.speaker == USER:
        return None
    found = room.service.scene(room.owner, room.service.store.load(room.owner, room.id)).greetings()
    return another_greeting(found, target.text, shown)


async def _move(room: Room, request: str, do: Callable[[], Receipt]) -> Accepted:
    async with room.lock:
        before = await room.branch()
        receipt = await room.service.in_store(do)
        if not receipt.again:
            room.stop_suggesting()
            await _emit_branch(room, before)
    return Accepted(request=request, again=receipt.again)


async def _emit_branch(room: Room, before: Branch) -> None:
    after = await room.branch()
    room.emit_path(before.messages, after.messages)


def _after(above: Branch) -> Place:
    """Where the reply to what was said last stands."""
    return Place.after(turns_of(above.messages), earlier=above.earlier)


def _answering(above: Branch, text: str) -> Place:
    """Where the reply to `text` stands, which the user says now."""
    return Place.after([*turns_of(above.messages), Turn(USER, text)], earlier=above.earlier)


async def _say(
    room: Room,
    request: str,
    address: str,
    look: Callable[[], _Seen],
    commit: Callable[[_Seen], Said],
    retells: str | None = None,
) -> Accepted:
    """Commit what the user says, and begin the reply to it; all that waits for the disk in one go.

    `retells`: the message in whose place it is said.
    """
    service = room.service

    def begin() -> tuple[_Seen, Drawing[Reply], Said]:
        seen = look()
        drawing = _asked(room, seen.place, seen.conversation)
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
        seen, drawing, said = await service.planned(begin)
        undo_all.callback(drawing.close)
        receipt, draft = said.receipt, said.draft
        after = seen.shown.then(said.message) if said.message is not None else await room.branch()
        if receipt.again:
            drawing.close()
            if after.leaf != receipt.message:
                return Accepted(request=request, message=receipt.message, again=True)
            # it was done, but the server ended, or everybody left, before there was a reply
            drawing = await service.planned(_asked, room, _after(after))
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


async def _begin(
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
        drawing = await service.planned(_asked, room, place)
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


def _asked(
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
