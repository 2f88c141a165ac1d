"""A group on the server: members come and go, one is let speak, the others who are to answer follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convai.conversation.company import Members
from convai.conversation.conversation import NOBODY, Place
from convai.conversation.conversation import Conversation as Talk
from convai.conversation.group import Group, Member, due, next_one
from convai.conversation.staging import Staging
from convai.core.character import Character
from convai.core.errors import SettingsError
from convai.server.limiter import Busy
from convai.server.protocol import client
from convai.server.protocol.answers import Accepted
from convai.server.protocol.changes import SceneSet
from convai.server.replying import after_last, answering, begin
from convai.server.room import Room
from convai.server.scene_cards import scene_card
from convai.server.service import Service, seed_of
from convai.server.staging import library_character, staged
from convai.store import Branch, Conversation, Receipt


async def set_group(room: Room, event: client.SetGroup) -> Accepted:
    """Members come, leave, are muted. Raises NotFound, SettingsError where that cannot be."""
    service, owner = room.service, room.owner
    store = service.store

    def do() -> tuple[Accepted, Staging, Character | None]:
        conversation = store.load(owner, room.id)
        talk = _talk(service, owner, conversation)
        members = Members(talk, service.agent, service.agent.decoding.max_length)
        if event.add is not None:
            members.join(library_character(service, owner, event.add))
        if not talk.group:
            raise SettingsError("there is no group; add a character first")
        if event.remove is not None:
            members.leave(event.remove)
        for name, muted in ((event.mute, True), (event.unmute, False)):
            if name is not None:
                members.mute(name, muted)
        if event.order is not None:
            members.order(event.order)
        if event.cards is not None:
            members.cards(event.cards)
        staging = replace(store.scenes.known(room.id), group=talk.group, characters=talk.characters)
        receipt = store.scenes.set_group(owner, room.id, staging, talk.personas, request=event.request)
        answer = Accepted(request=event.request, again=receipt.again)
        return answer, staging, talk.characters.get(conversation.persona_version)

    async with room.lock:
        answer, staging, character = await service.in_thread(do)
        if not answer.again:
            room.emit(SceneSet(scene=scene_card(staging, character)))
    return answer


def check_cast(service: Service, characters: Sequence[Character]) -> None:
    """Raise SettingsError where these cannot be a group."""
    Members(Talk(NOBODY), service.agent, service.agent.decoding.max_length).gather(characters)


def gather(
    service: Service, owner: str, conversation: str, event: client.New, characters: Sequence[Character]
) -> None:
    """Make a new conversation a group's; each says a greeting, where one is wanted. Waits for the disk."""
    store = service.store
    talk = _talk(service, owner, store.load(owner, conversation))
    Members(talk, service.agent, service.agent.decoding.max_length).gather(characters)
    staging = replace(staged(event), group=talk.group, characters=talk.characters)
    store.scenes.set_group(owner, conversation, staging, talk.personas, version=talk.version)
    if event.greeting is not None:
        greet_all(service, owner, store.load(owner, conversation), event.greeting)


def greet_all(service: Service, owner: str, conversation: Conversation, number: int = 0) -> None:
    """Each of the group says a greeting, in the order of the list. Waits for the disk."""
    for one in service.store.scenes.known(conversation.id).group.here:
        found = () if one.muted else service.scene(owner, conversation, one.version).greetings()
        if found:
            text = found[number] if number < len(found) else found[0]
            service.store.append_reply(owner, conversation.id, text, persona=one.version)


def answers(
    shown: Branch, text: str, conversation: Conversation, group: Group
) -> tuple[Place, Member | None]:
    """Where the reply to `text` stands, and who answers it; None: nobody."""
    place = answering(shown, text, group)
    return place, _due(group, place, conversation)


async def speak(room: Room, event: client.Speak, address: str) -> Accepted:
    """One of the group speaks. Raises SettingsError where there is no such member, Busy, Conflict."""
    async with room.lock:
        group = await room.group()
        if not group:
            raise SettingsError("there is no group; add a character first")
        conversation, shown = await room.service.in_store(room.latest)
        place = after_last(shown, group)
        if event.member:
            one = group.one(event.member)
        else:
            one = next_one(group, place.turns, place.number, seed_of(conversation))
        receipt = await _begin(room, event.request, address, shown, group, one, event.request)
        return Accepted(request=event.request, again=receipt.again)


async def follow_up(room: Room, request: str, address: str, said: str) -> None:
    """After the reply `said` another one who is to answer does so, unless something else was said."""
    try:
        async with room.lock:
            if room.writing is not None or room.deleted:
                return
            group = await room.group()
            conversation, shown = await room.service.in_store(room.latest)
            if shown.leaf != said or (one := _due(group, after_last(shown, group), conversation)) is None:
                return
            await _begin(room, request, address, shown, group, one, None)
    except Busy:
        pass  # others wait for their first reply


async def _begin(
    room: Room, request: str, address: str, shown: Branch, group: Group, one: Member, named: str | None
) -> Receipt:
    """A reply of a member behind the end of the branch, once under `named`."""
    store, owner = room.service.store, room.owner
    place = after_last(shown, group)
    drawn = await room.service.in_thread(store.replies, owner, room.id, shown.leaf)
    if drawn.attempts:
        place = place.beside(drawn.texts, drawn.attempts)

    def commit() -> Receipt:
        return store.begin_reply(owner, room.id, request=named, persona=one.version)

    return await begin(
        room, request, address, shown, shown, place, commit, version=one.version, then=follow_up
    )


def _due(group: Group, place: Place, conversation: Conversation) -> Member | None:
    return due(group, place.turns, place.number, seed_of(conversation)) if group else None


def _talk(service: Service, owner: str, conversation: Conversation) -> Talk:
    """Who is in a stored conversation, as one in memory, without its messages. Waits for the disk."""
    staging = service.store.scenes.known(conversation.id)
    talk = Talk(conversation.persona, staging.partner)
    talk.personas = service.store.personas(owner, conversation.id)
    talk.version = conversation.persona_version
    talk.characters, talk.group = dict(staging.characters), staging.group
    return talk
