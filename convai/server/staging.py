"""What is in a conversation on the server: characters, the user, notes, lorebooks; made, changed, told."""

from __future__ import annotations

import json
from dataclasses import replace

from convai.conversation.cast import Note
from convai.conversation.conversation import NOBODY
from convai.conversation.prompt_input import check_persona
from convai.conversation.scene import Scene
from convai.conversation.staging import Staging, character_in, checked_partner
from convai.conversation.tree import Conflict
from convai.core.character import Character, Lorebook
from convai.core.dialog import AGENT
from convai.server.convert import persona_card, persona_of
from convai.server.protocol import client
from convai.server.protocol.answers import Accepted
from convai.server.protocol.changes import PersonaSet, SceneSet
from convai.server.protocol.values import Scene as SceneCard
from convai.server.room import Room
from convai.server.scene_cards import scene_card
from convai.server.service import Service, seed_of
from convai.store import Conversation
from convai.text.cards.books import book_of


def library_character(service: Service, owner: str, id: str) -> Character:
    """A character that was imported. Raises NotFound."""
    return character_in(service.store.scenes.one(owner, "character", id).content)


def greetings_of(service: Service, owner: str, conversation: Conversation) -> tuple[str, ...]:
    """What the conversation's character may say first."""
    return service.scene(owner, conversation).greetings()


async def set_scene(room: Room, event: client.SetScene) -> Accepted:
    """Change what is in the conversation. Raises NotFound, SettingsError where there is no room for it."""
    service = room.service
    store, owner = service.store, room.owner

    def do() -> tuple[Accepted, SceneCard, Character | None]:
        conversation = store.load(owner, room.id)
        staging = store.scenes.scene(owner, room.id)
        character = None
        if event.character is not None:
            if staging.group:
                raise Conflict("this conversation is a group; let the character in instead")
            character = library_character(service, owner, event.character)
            check_persona(service.agent, character.persona, service.agent.decoding.max_length)
            staging = replace(staging, characters={**staging.characters, 0: character})
        if event.user is not None:
            staging = replace(staging, partner=checked_partner(persona_of(event.user)))
        if event.note is not None:
            staging = replace(staging, note=Note(event.note.text, event.note.depth))
        if event.books is not None:
            staging = replace(staging, books=tuple(_book(service, owner, id) for id in event.books))
        persona = None if character is None else character.persona
        receipt = store.scenes.set_scene(owner, room.id, staging, persona=persona, request=event.request)
        shown = character or staging.characters.get(conversation.persona_version)
        answer = Accepted(request=event.request, again=receipt.again)
        return answer, scene_card(staging, shown), character

    async with room.lock:
        answer, card, character = await service.in_thread(do)
        if not answer.again:
            if character is not None:
                room.emit(PersonaSet(persona=persona_card(character.persona)))
            room.emit(SceneSet(scene=card))
    return answer


async def greet(room: Room, event: client.Greet) -> Accepted:
    """The character says one of its greetings. Raises Conflict where something else was said already."""
    service = room.service
    async with room.lock:
        before = await room.branch()
        if any(one.speaker != AGENT for one in before.messages) or len(before.messages) > 1:
            raise Conflict("something was said already; begin a new conversation to be greeted")

        def do() -> Accepted:
            conversation = service.store.load(room.owner, room.id)
            if service.store.scenes.known(room.id).group:
                raise Conflict("a group greets at its begin; begin a new conversation")
            found = greetings_of(service, room.owner, conversation)
            if event.greeting >= len(found):
                raise Conflict(f"there is no greeting {event.greeting}; the character has {len(found)}")
            text = found[event.greeting]
            if before.messages:
                said = service.store.edit(
                    room.owner, room.id, before.messages[0].id, text, request=event.request
                )
            else:
                said = service.store.append_reply(room.owner, room.id, text, request=event.request)
            return Accepted(request=event.request, message=said.message, again=said.again)

        answer = await service.in_store(do)
        if not answer.again:
            room.emit_path(before.messages, (await room.branch()).messages)
    return answer


def begin(
    service: Service,
    owner: str,
    conversation: str,
    event: client.New,
    character: Character | None,
) -> None:
    """Put into a new conversation what it is to begin with."""
    characters = {} if character is None or character.is_plain else {1: character}
    staging = replace(staged(event), characters=characters)
    if staging != Staging():
        service.store.scenes.set_scene(owner, conversation, staging)
    if character is None or event.greeting is None:
        return
    begun = service.store.load(owner, conversation)
    scene = Scene(character=character, partner=staging.partner, seed=seed_of(begun), began=begun.created)
    found = scene.greetings()
    if found:
        service.store.append_reply(owner, conversation, found[min(event.greeting, len(found) - 1)])


def staged(event: client.New) -> Staging:
    """The user and the note that a new conversation is to have."""
    partner = NOBODY if event.user is None else checked_partner(persona_of(event.user))
    note = Note("") if event.note is None else Note(event.note.text, event.note.depth)
    return Staging(partner=partner, note=note)


def _book(service: Service, owner: str, id: str) -> Lorebook:
    return book_of(json.loads(service.store.scenes.one(owner, "book", id).content))
