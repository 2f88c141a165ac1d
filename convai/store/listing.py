"""The list of an owner's conversations, and searching in it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Select, and_, func, or_, select

from convai.store import queries
from convai.store.records import Page, Summary
from convai.store.tables import conversations, messages, personas

PREVIEW: Final = 120
"""Characters of a summary's preview."""


def page(connection: Connection, owner: str, writer: str, search: str, after: str | None, limit: int) -> Page:
    """An owner's conversations, the latest first. Raises NotFound where `after` is none of them."""
    wanted = _searched(select(conversations).where(conversations.c.owner == owner), search)
    if after is not None:
        last = queries.owned(connection, owner, after)
        wanted = wanted.where(
            or_(
                conversations.c.updated < last.updated,
                and_(conversations.c.updated == last.updated, conversations.c.id < last.id),
            )
        )
    rows = connection.execute(
        wanted.order_by(conversations.c.updated.desc(), conversations.c.id.desc()).limit(limit + 1)
    ).all()
    more, rows = len(rows) > limit, rows[:limit]
    ids = [row.id for row in rows]
    counts: dict[str, int] = dict(
        connection.execute(
            select(messages.c.conversation, func.count())
            .where(messages.c.conversation.in_(ids), queries.shown(writer))
            .group_by(messages.c.conversation)
        ).all()
    )
    leaves = [row.leaf for row in rows if row.leaf is not None]
    previews = dict(
        connection.execute(
            select(messages.c.conversation, func.substr(messages.c.text, 1, PREVIEW)).where(
                messages.c.id.in_(leaves)
            )
        ).all()
    )
    names = dict(
        connection.execute(
            select(personas.c.conversation, personas.c.name)
            .join(conversations, conversations.c.id == personas.c.conversation)
            .where(conversations.c.id.in_(ids), personas.c.version == conversations.c.persona)
        ).all()
    )
    items = tuple(
        Summary(
            id=row.id,
            title=row.title or row.opening,
            persona=names.get(row.id, ""),
            preview=previews.get(row.id, ""),
            messages=counts.get(row.id, 0),
            created=row.created,
            updated=row.updated,
        )
        for row in rows
    )
    return Page(items=items, more=more)


def _searched(wanted: Select[Any], search: str) -> Select[Any]:
    """Only conversations that have each of the words in the title or in some message, in any case."""
    for word in search.split()[:16]:
        inside = select(messages.c.conversation).where(
            messages.c.conversation == conversations.c.id, messages.c.text.icontains(word, autoescape=True)
        )
        wanted = wanted.where(or_(conversations.c.title.icontains(word, autoescape=True), inside.exists()))
    return wanted
