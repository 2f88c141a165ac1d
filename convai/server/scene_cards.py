"""What is in a conversation as it goes over the wire: characters, the user, notes, lorebooks."""

from __future__ import annotations

import itertools
from typing import Final

from convai.conversation.conversation import NOBODY
from convai.conversation.group import Group
from convai.conversation.staging import Staging
from convai.core.character import Character, Lorebook
from convai.server.convert import persona_card
from convai.server.protocol.kinds import LIMITS
from convai.server.protocol.values import BookCard, CharacterCard, GroupCard, MemberCard, NoteCard
from convai.server.protocol.values import Scene as SceneCard

MOST_GREETINGS: Final = 40_000
"""Characters of greetings that are told; what is beyond is there all the same."""


def scene_card(staging: Staging, character: Character | None) -> SceneCard:
    """A scene as it goes over the wire."""
    note = (
        NoteCard(text=staging.note.text[: LIMITS.note_chars], depth=staging.note.depth)
        if staging.note
        else None
    )
    user = staging.partner
    return SceneCard(
        character=None if character is None else character_card(character),
        user=None if user == NOBODY else persona_card(user),
        note=note,
        books=tuple(book_card(book) for book in staging.books[: LIMITS.books]),
        group=group_card(staging.group) if staging.group else None,
    )


def group_card(group: Group) -> GroupCard:
    """A group as it goes over the wire."""
    members = [
        MemberCard(
            persona=one.version,
            name=one.name,
            talkativeness=one.talkativeness,
            muted=one.muted,
            here=one.here,
        )
        for one in group.members
    ]
    return GroupCard(members=tuple(members), order=group.order, cards=group.cards)


def character_card(character: Character, id: str | None = None) -> CharacterCard:
    """A character as it goes over the wire."""
    sizes = itertools.accumulate(map(len, character.greetings))
    fit = sum(size <= MOST_GREETINGS for size in sizes)
    return CharacterCard(
        id=id,
        name=character.called[:100].rstrip(),
        greetings=character.greetings[: min(fit, LIMITS.greetings)],
        notes=character.creator_notes[:4_000],
        entries=0 if character.book is None else len(character.book.entries),
    )


def book_card(book: Lorebook, id: str | None = None) -> BookCard:
    """A lorebook as it goes over the wire."""
    return BookCard(id=id, name=book.name, entries=len(book.entries))
