"""Who speaks in a completion: a character that the caller has imported, and who they are themselves.

The parameters are those of text-generation-webui's API (`character`, `greeting`, `user_name`, `user_bio`) and
`you`, which names somebody the caller keeps to be known as (`/api/you`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from convai.conversation.conversation import NOBODY, Place
from convai.conversation.scene import Scene
from convai.conversation.staging import character_in, checked_partner, partner_in
from convai.core.dialog import AGENT, Persona, Turn
from convai.core.errors import DataError
from convai.core.safe_text import one_line, readable
from convai.server.api_error import ApiError
from convai.server.completion_request import CompletionRequest, Wanted
from convai.server.service import Service
from convai.store.scenes import Imported, Kind
from convai.text.insertions import Insertion

_NOTHING_SAID: Final = "messages: give a list of at least one message"


@dataclass(frozen=True, slots=True)
class Staged:
    """A completion's persona, place and scene; `said`: the greeting, where that is all that is asked for."""

    persona: Persona
    place: Place
    scene: Scene
    said: str = ""


def staged(service: Service, owner: str, request: CompletionRequest) -> Staged:
    """What a request asks for, of what its sender keeps. Raises ApiError; waits for the disk."""
    wanted, turns = request.wanted, request.turns
    partner = _partner(service, owner, wanted)
    if not wanted.character:
        scene = Scene(partner=partner)
        return Staged(request.persona, Place.after(turns).onward(request.prefill), scene)
    character = character_in(_named(service, owner, "character", wanted.character, "character").content)
    told = [Insertion(text, None, "system", ahead=True) for text in request.persona.sentences]
    sources = ((lambda _place: told),) if told else ()
    scene = Scene(sources, character=character, partner=partner, seed=request.decoding.seed or 0)
    silent = not turns and not request.prefill
    greeting = _greeting(scene, wanted.greeting, silent)
    if greeting and (not turns or turns[0].speaker != AGENT):
        turns = (Turn(AGENT, greeting), *turns)
    place = Place.after(turns).onward(request.prefill)
    return Staged(character.persona, place, scene, said=greeting if silent else "")


def _greeting(scene: Scene, wanted: int | str | None, silent: bool) -> str:
    """What the character has said first; nothing said yet: what it says now."""
    found = scene.greetings()
    if isinstance(wanted, str):
        return one_line(readable(wanted))
    if wanted is not None and not 0 <= wanted < len(found):
        raise ApiError(400, f"greeting: the character has {len(found)}, counted from 0", param="greeting")
    if silent and not found:
        raise ApiError(400, f"{_NOTHING_SAID}; the character has no greeting", param="messages")
    return found[wanted or 0] if silent or wanted is not None else ""


def _partner(service: Service, owner: str, wanted: Wanted) -> Persona:
    """Who the caller is."""
    if wanted.you:
        return partner_in(_named(service, owner, "you", wanted.you, "you").content)
    if not wanted.name and not wanted.bio:
        return NOBODY
    try:
        return checked_partner(Persona(Persona.parse(readable(wanted.bio)).sentences, wanted.name))
    except DataError as error:
        raise ApiError(400, str(error), param="user_bio") from None


def _named(service: Service, owner: str, kind: Kind, name: str, param: str) -> Imported:
    """What a person keeps by its id, or its name: the latest of several."""
    kept = service.store.scenes.kept(owner, kind)
    plain = one_line(name).casefold()
    found = next((one for one in kept if one.id == name), None)
    found = found or next((one for one in kept if one.name.casefold() == plain), None)
    if found is None:
        listed = ", ".join(repr(one.name) for one in kept[:5]) or "nobody"
        raise ApiError(
            404,
            f"there is no {param} {name[:100]!r}; there is {listed}",
            param=param,
            code=f"{param}_not_found",
        )
    return found


def listed(service: Service, owner: str) -> list[dict[str, Any]]:
    """The caller's characters, as `/v1/characters` tells them."""
    found = []
    for one in service.store.scenes.kept(owner, "character"):
        character = character_in(one.content)
        scene = Scene(character=character)
        found.append(
            {
                "id": one.id,
                "object": "character",
                "created": one.created // 1_000,
                "name": character.called,
                "greetings": list(scene.greetings()),
            }
        )
    return found
