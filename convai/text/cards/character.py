"""A card as a `Character`, and a character as a card again; what of a card is used, and what is only kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from convai.core.character import Character
from convai.text.cards.books import book_json, book_of, role_of
from convai.text.cards.card import Card
from convai.text.cards.examples import example_dialogues, written
from convai.text.cards.persona import card_persona
from convai.text.cards.prose import split_examples

MAX_TEXT: Final = 100_000
"""Characters of a field that are taken."""
MAX_GREETINGS: Final = 100
USED: Final = frozenset(
    "name nickname description personality scenario system_prompt post_history_instructions mes_example "
    "first_mes alternate_greetings group_only_greetings character_book creator_notes".split()
)
"""Fields of a card that are shown to the model, said, or shown to the user."""
FILES_OWN: Final = frozenset("spec spec_version data create_date chat avatar fav json_data".split())
"""What a file says of itself, and SillyTavern beside a card, for itself."""
_COMMENT: Final = "creatorcomment"
"""SillyTavern's earlier name of `creator_notes`, which it still writes beside."""


def character_of(card: Card) -> Character:
    """Everything that a card says. Raises nothing: what is of a wrong type counts as not given."""
    names = (card.name, card.called)
    description, said = split_examples(card.text("description")[:MAX_TEXT], *names)
    examples = example_dialogues(card.text("mes_example")[:MAX_TEXT], names)
    examples += example_dialogues(said, names)
    found = card_persona(card, own=True)
    own = card.data.get("extensions")
    extensions: Mapping[str, Any] = own if isinstance(own, dict) else {}
    note = extensions.get("depth_prompt")
    prompt: Mapping[str, Any] = note if isinstance(note, dict) else {}
    book = card.data.get("character_book")
    greetings = (card.text("first_mes"), *_texts(card.data.get("alternate_greetings")))
    return Character(
        name=card.name,
        sentences=found.persona.sentences,
        description=description.strip(),
        personality=card.text("personality")[:MAX_TEXT].strip(),
        scenario=card.text("scenario")[:MAX_TEXT].strip(),
        system_prompt=card.text("system_prompt")[:MAX_TEXT].strip(),
        post_history=card.text("post_history_instructions")[:MAX_TEXT].strip(),
        examples=examples,
        greetings=tuple(text.strip()[:MAX_TEXT] for text in greetings if text.strip())[:MAX_GREETINGS],
        group_greetings=_texts(card.data.get("group_only_greetings") or extensions.get("group_greetings"))[
            :MAX_GREETINGS
        ],
        book=found_book if isinstance(book, dict) and (found_book := book_of(book)) else None,
        note=_prompt(extensions),
        note_depth=int(_within(prompt.get("depth"), 4, 1_000)),
        note_role=role_of(prompt.get("role")),
        talkativeness=_within(extensions.get("talkativeness", card.document.get("talkativeness")), 0.5, 1),
        nickname=card.called if card.called != card.name else "",
        creator_notes=creator_notes(card),
        rest=card.document,
    )


def card_of(character: Character) -> Card:
    """The character as a card: the one that it came from, where there is one, with what has changed."""
    base = Card(character.rest) if character.rest else None
    if base is not None and character_of(base) == character:
        return base
    data: dict[str, Any] = {**(base.as_version(3)["data"] if base else {"extensions": {}})}
    data |= {
        "name": character.name,
        "description": character.description or "\n".join(character.sentences),
        "personality": character.personality,
        "scenario": character.scenario,
        "system_prompt": character.system_prompt,
        "post_history_instructions": character.post_history,
        "mes_example": written(character.examples),
        "first_mes": character.greeting,
        "alternate_greetings": list(character.greetings[1:]),
        "group_only_greetings": list(character.group_greetings),
        "creator_notes": character.creator_notes,
    }
    if character.nickname:
        data["nickname"] = character.nickname
    if character.book is not None:
        data["character_book"] = book_json(character.book)
    extensions = dict(data.get("extensions") or {})
    if character.note:
        role = {"role": character.note_role}
        extensions["depth_prompt"] = {"prompt": character.note, "depth": character.note_depth, **role}
    extensions["talkativeness"] = character.talkativeness
    document = {"spec": "chara_card_v3", "spec_version": "3.0", "data": {**data, "extensions": extensions}}
    return Card(Card(document).as_version(3))


def unused(card: Card) -> list[str]:
    """Names of the fields that say something and are only kept, to be told in one line."""
    fields = {**card.document, **card.data}
    names = [name for name, value in fields.items() if value and name not in USED | FILES_OWN]
    own = fields.get("extensions")
    if "extensions" in names:
        names.remove("extensions")
    if isinstance(own, dict):
        empty = {"depth_prompt"} if isinstance(own.get("depth_prompt"), dict) and not _prompt(own) else set()
        names += [f"extensions.{name}" for name, value in own.items() if value and name not in empty]
    book = card.data.get("character_book")
    if isinstance(book, dict):
        names += [f"character_book.{name}" for name in book_of(book).unused]
    return sorted(set(names) - set(used(card)))


def creator_notes(card: Card) -> str:
    """What the maker of a card says to who uses it."""
    return card.text("creator_notes") or card.text(_COMMENT)


def used(card: Card) -> list[str]:
    """Names of the fields that say something and are used."""
    names = [name for name in USED if card.data.get(name) or card.text(name)]
    found, own = character_of(card), card.data.get("extensions")
    extensions: Mapping[str, Any] = own if isinstance(own, dict) else {}
    if found.note:
        names.append("extensions.depth_prompt")
    if extensions.get("talkativeness", "") != "":
        names.append("extensions.talkativeness")
    if card.document.get("talkativeness", "") != "":
        names.append("talkativeness")  # SillyTavern's copy
    if extensions.get("group_greetings") and not card.data.get("group_only_greetings"):
        names.append("extensions.group_greetings")
    comment = card.text(_COMMENT)
    if comment and comment == creator_notes(card):
        names.append(_COMMENT)
    return sorted(names)


def of_the_file(card: Card) -> list[str]:
    """Names of what the file says of itself, not of the character: its version, when it was made."""
    said = FILES_OWN - {"data"}
    return sorted(name for name in said if card.document.get(name) or card.data.get(name))


def _texts(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(text.strip()[:MAX_TEXT] for text in listed if isinstance(text, str) and text.strip())


def _prompt(extensions: Mapping[str, Any]) -> str:
    """The character's own note."""
    note = extensions.get("depth_prompt")
    text = note.get("prompt") if isinstance(note, dict) else ""
    return text[:MAX_TEXT].strip() if isinstance(text, str) else ""


def _within(value: object, default: float, most: float) -> float:
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        value = float(value)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
    return float(value) if sound and isinstance(value, int | float) else default
