"""What a client may do inside an open conversation. Each returns its answer once that is on the disk.

An operation that begins a reply asks the engine first, so that a full queue changes nothing, then commits,
then tells the room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from convai.conversation.cast import another_greeting
from convai.conversation.conversation import LOOK_BACK
from convai.conversation.group import Group, next_one
from convai.conversation.prompt_input import check_persona
from convai.conversation.reply import Reply
from convai.conversation.tree import answered_by_another, check_goes_on
from convai.core.dialog import USER, Persona
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.core.token_texts import check_bias
from convai.server import grouping
from convai.server.convert import decoding_of, message_of, persona_of, title_of
from convai.server.protocol import client
from convai.server.protocol.answers import Accepted
from convai.server.protocol.changes import DecodingSet, Path, PersonaSet, TitleSet
from convai.server.protocol.kinds import SettingValue
from convai.server.replying import Seen, after_last, answering, asked, begin, say
from convai.server.room import Room
from convai.server.service import Service, seed_of
from convai.server.writing import Writing
from convai.store import Branch, Conversation, DrawnBefore, NewTurn, Receipt
from convai.store import Message as Kept
from convai.store.leases import Claimed


class Refused(ConvaiError):
    """What was asked for does not fit."""


async def send(room: Room, event: client.Send, address: str) -> Accepted:
    """The user says something; a reply follows. Raises Busy, Conflict, SettingsError."""
    store, owner = room.service.store, room.owner

    def look() -> Seen:
        conversation, shown = room.latest()
        group = store.scenes.known(room.id).group
        if not group:
            return Seen(conversation, shown, answering(shown, event.text))
        place, one = grouping.answers(shown, event.text, conversation, group)
        return Seen(conversation, shown, place, None if one is None else one.version, group, one is None)

    def commit(seen: Seen) -> NewTurn:
        after = event.after if event.after is not None else seen.shown.leaf
        if seen.nobody:
            said = store.append_user(owner, room.id, event.text, after=after, request=event.request)
            return NewTurn(receipt=said)
        return store.say(owner, room.id, event.text, after=after, request=event.request, persona=seen.version)

    async with room.lock:
        return await say(room, event.request, address, look, commit, then=grouping.follow_up)


async def edit(room: Room, event: client.Edit, address: str) -> Accepted:
    """A message is written anew, beside the old one; after a user's message a reply follows."""
    service = room.service
    store, owner = service.store, room.owner
    async with room.lock:
        before = await room.branch()
        until = await room.branch(event.message)
        old = until.messages[-1]
        group = await room.group()
        persona = old.persona if group else None

        def commit() -> Receipt:
            return store.edit(
                owner, room.id, event.message, event.text, request=event.request, persona=persona
            )

        if old.speaker == USER:

            def look() -> Seen:
                conversation = store.load(owner, room.id)
                place, one = grouping.answers(until.above(), event.text, conversation, group)
                version = None if one is None else one.version
                return Seen(conversation, before, place, version, group, bool(group) and one is None)

            return await say(
                room,
                event.request,
                address,
                look,
                lambda _: NewTurn(receipt=commit()),
                retells=event.message,
                then=grouping.follow_up,
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
        group = await room.group()
        parent = answered_by_another(target)
        above = until if parent == target.id else until.above()
        place = after_last(above, group)
        version = None
        if group and target.speaker == USER:
            conversation = await room.service.in_store(store.load, room.owner, room.id)
            version = next_one(group, place.turns, place.number, seed_of(conversation)).version
        elif group:
            version = target.persona

        def commit() -> Receipt:
            return store.regenerate(room.owner, room.id, target.id, request=event.request, persona=version)

        drawn = await room.service.in_thread(store.replies, room.owner, room.id, parent)
        begin_of_it = target.parent is None or (
            group and not above.earlier and all(one.speaker != USER for one in above.messages)
        )
        if (
            not event.begun
            and begin_of_it
            and (text := await room.service.in_thread(_greeting, room, target, drawn.texts, version))
        ):
            said = await room.service.in_store(
                store.edit, room.owner, room.id, target.id, text, request=event.request, persona=version
            )
            if not said.again:
                await _emit_branch(room, before)
            return Accepted(request=event.request, message=said.message, again=said.again)
        place = replace(place.beside(drawn.texts, drawn.attempts), prefill=event.begun)
        receipt = await begin(room, event.request, address, before, above, place, commit, version)
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
        group = await room.group()
        place = after_last(above, group).onward(target.text, drawn.attempts)
        version = target.persona if group else None
        receipt = await begin(room, event.request, address, before, above, place, commit, version)
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

    def known() -> tuple[Branch, DrawnBefore, Conversation, dict[int, Persona], Group]:
        with store.at_one_moment():
            above = Branch([])
            if draft.parent is not None:
                above = store.branch(room.owner, room.id, until=draft.parent, limit=LOOK_BACK + 1)
            return (
                above,
                store.replies(room.owner, room.id, draft.parent, before=draft),
                store.load(room.owner, room.id),
                store.personas(room.owner, room.id),
                store.scenes.known(room.id).group,
            )

    async with room.lock:
        above, drawn, conversation, personas, group = await service.in_thread(known)
        conversation = replace(conversation, persona=personas.get(draft.persona, conversation.persona))
        place, prefill = after_last(above, group), draft.text if live is None else str(live["prefill"])
        place = (
            place.onward(prefill, drawn.attempts) if prefill else place.beside(drawn.texts, drawn.attempts)
        )
        if live is not None:
            conversation = replace(conversation, settings={**live["decoding"], "seed": live["seed"]})

        def resume(reply: Reply) -> None:
            if claimed.tokens:
                tokens = [(token.id, logprob) for token, logprob in claimed.tokens]
                reply.resume(tokens, claimed.tokens[-1][0].seed)

        version = draft.persona if group else None
        request = (draft.request if live is None else live["request"]) or "taken-up"
        drawing = await service.planned(asked, room, request, place, conversation, resume, version)
        room.goes_on(above)
        room.writing = Writing(room, drawing, draft, request, lambda: None)
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
        check_alone(await room.group())
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
    limits = service.engine.limits
    limits.check_adapter(config.adapter)
    check_bias(config.logit_bias, limits.vocabulary)
    slots = limits.slots
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


def check_alone(group: Group) -> None:
    """Raise Refused where a group is there: its members are changed by `set_group`."""
    if group:
        raise Refused("this conversation is a group; let somebody in, or begin a new conversation")


def _greeting(room: Room, target: Kept, shown: list[str], version: int | None) -> str | None:
    """The greeting that takes the place of one, which is not drawn. Waits for the disk."""
    if target.speaker == USER:
        return None
    conversation = room.service.store.load(room.owner, room.id)
    found = room.service.scene(room.owner, conversation, version).greetings()
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
