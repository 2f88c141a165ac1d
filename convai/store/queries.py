"""Reading rows: a conversation of an owner, branches, siblings. Every query goes by the owner, or by a
conversation that was found by its owner.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    select,
)

from convai.core.dialog import AGENT, Persona
from convai.store.errors import NotFound
from convai.store.prepared import Prepared, Row
from convai.store.records import INTERRUPTED, STREAMING, Conversation, DrawnBefore, Message
from convai.store.tables import conversations, messages, personas

IDENT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Names of conversations, messages and requests; no database is asked for anything else."""


def shown(writer: str | BindParameter[str]) -> ColumnElement[bool]:
    """Of messages, those that exist for a reader: not the empty draft of a writer that died."""
    draft = and_(messages.c.status == STREAMING, messages.c.writer != writer, messages.c.text == "")
    return ~draft


# Built once: building a statement takes longer than running it.
_OF_OWNER: Final = select(conversations).where(
    conversations.c.id == bindparam("id"), conversations.c.owner == bindparam("owner")
)
_OWNED: Final = Prepared(_OF_OWNER)
_OWNED_LOCKED: Final = Prepared(_OF_OWNER.with_for_update())
_INSIDE: Final = messages.c.conversation == conversations.c.id
BEING_WRITTEN: Final = messages.c.status == literal_column(f"'{STREAMING}'")
"""Drafts, in the words of their index: SQLite would not use it for a value that it is told of later."""
_ENTERED: Final = Prepared(
    select(
        conversations,
        select(func.max(messages.c.number)).where(_INSIDE).scalar_subquery().label("last_number"),
        exists().where(_INSIDE, BEING_WRITTEN).correlate(conversations).label("drafting"),
        exists()
        .where(_INSIDE, messages.c.parent == conversations.c.leaf)
        .correlate(conversations)
        .label("followed"),
    ).where(conversations.c.id == bindparam("id"))
)
_PERSONA: Final = Prepared(
    select(personas).where(
        personas.c.conversation == bindparam("conversation"), personas.c.version == bindparam("version")
    )
)
_MESSAGE: Final = Prepared(
    select(messages).where(
        messages.c.id == bindparam("id"),
        messages.c.conversation == bindparam("conversation"),
        shown(bindparam("writer")),
    )
)
_CHILDREN: Final = (
    select(messages.c.parent, messages.c.id)
    .where(messages.c.conversation == bindparam("conversation"), shown(bindparam("writer")))
    .order_by(messages.c.number)
)
_FIRST: Final = Prepared(_CHILDREN.where(messages.c.parent.is_(None)))
_CHILDREN_OF_ONE: Final = Prepared(_CHILDREN.where(messages.c.parent == bindparam("parent")))
_CHILDREN_OF_MANY: Final = _CHILDREN.where(messages.c.parent.in_(bindparam("parents", expanding=True)))


def owned(connection: Connection, owner: str, id: str, *, lock: bool = False) -> Row:
    """The row of a conversation; `lock` keeps other writers out until the transaction ends.

    Raises NotFound for one that does not exist or is another owner's.
    """
    row = None
    if IDENT.fullmatch(id) and owner.isprintable():
        statement = _OWNED_LOCKED if lock else _OWNED
        row = statement.one_or_none(connection, {"id": id, "owner": owner})
    if row is None:
        raise NotFound(f"there is no conversation {id[:64]!r}")
    return row


def entered(connection: Connection, owner: str, id: str) -> Row:
    """`owned`, locked, and what is to be known before something is put at the conversation's end.

    `last_number` (None: there is no message), `drafting`: some reply is being written, or was, when its
    writer died; `followed`: the current branch has been gone on with. Raises NotFound.
    """
    owned(connection, owner, id, lock=True)
    # a statement of its own: one that waits for the lock sees other tables as they were before it
    [row] = _ENTERED.all(connection, {"id": id})
    return row


def conversation(connection: Connection, owner: str, id: str) -> Conversation:
    """One conversation. Raises NotFound."""
    row = owned(connection, owner, id)
    return Conversation(
        id=row.id,
        title=row.title,
        opening=row.opening,
        persona=persona(connection, row.id, row.persona),
        persona_version=row.persona,
        settings=json.loads(row.settings),
        leaf=row.leaf,
        created=row.created,
        updated=row.updated,
    )


def persona(connection: Connection, conversation: str, version: int) -> Persona:
    """One version of a conversation's persona. Raises NotFound."""
    row = _PERSONA.one_or_none(connection, {"conversation": conversation, "version": version})
    if row is None:
        raise NotFound(f"there is no version {version} of the persona")
    return Persona(tuple(json.loads(row.sentences)), row.name)


def message_row(connection: Connection, conversation: str, id: str, writer: str) -> Row:
    """One message's row. Raises NotFound."""
    row = None
    if IDENT.fullmatch(id):
        row = _MESSAGE.one_or_none(connection, {"id": id, "conversation": conversation, "writer": writer})
    if row is None:
        raise NotFound(f"there is no message {id[:64]!r} in this conversation")
    return row


def branch(
    connection: Connection, conversation: str, leaf: str | None, writer: str, limit: int | None = None
) -> list[Message]:
    """The messages from the first one to `leaf`, or the last `limit` of them."""
    if leaf is None:
        return []
    up = (
        select(messages.c.id, messages.c.parent, messages.c.number, literal(1).label("depth"))
        .where(messages.c.id == leaf, messages.c.conversation == conversation)
        .cte("up", recursive=True)
    )
    above = select(messages.c.id, messages.c.parent, messages.c.number, up.c.depth + 1).where(
        # by its id alone: told of the conversation, PostgreSQL reads all of that at every step
        messages.c.id == up.c.parent,
        messages.c.number < up.c.number,  # a parent is older; so even a damaged tree has no circle
    )
    if limit is not None:
        above = above.where(up.c.depth < limit)
    up = up.union_all(above)
    rows = connection.execute(
        select(messages).join(up, messages.c.id == up.c.id).order_by(messages.c.number)
    ).all()
    return with_siblings(connection, conversation, rows, writer)


def branch_length(connection: Connection, conversation: str, leaf: str | None) -> int:
    """How many messages there are from the first one to `leaf`."""
    up = (
        select(messages.c.parent, messages.c.number)
        .where(messages.c.id == leaf, messages.c.conversation == conversation)
        .cte("up", recursive=True)
    )
    up = up.union_all(
        select(messages.c.parent, messages.c.number).where(
            messages.c.id == up.c.parent,
            messages.c.number < up.c.number,
        )
    )
    return connection.execute(select(func.count()).select_from(up)).scalar_one()


def links(connection: Connection, conversation: str, writer: str) -> list[tuple[str, str | None]]:
    """Every message and its parent, oldest first."""
    rows = connection.execute(
        select(messages.c.id, messages.c.parent)
        .where(messages.c.conversation == conversation, shown(writer))
        .order_by(messages.c.number)
    )
    return [(row.id, row.parent) for row in rows]


def replies(
    connection: Connection,
    conversation: str,
    parent: str | None,
    writer: str,
    before: int | None,
    latest: int,
) -> DrawnBefore:
    """The agent's messages behind `parent` (only those with a number below `before`)."""
    wanted = and_(
        messages.c.conversation == conversation,
        messages.c.parent.is_(None) if parent is None else messages.c.parent == parent,
        messages.c.speaker == AGENT,
        shown(writer),
        *([] if before is None else [messages.c.number < before]),
    )
    count = connection.execute(select(func.count()).select_from(messages).where(wanted)).scalar_one()
    texts = connection.execute(
        select(messages.c.text).where(wanted).order_by(messages.c.number.desc()).limit(latest)
    ).scalars()
    return DrawnBefore(count, [*texts][::-1])


def tree(connection: Connection, conversation: str, writer: str) -> list[Message]:
    """All messages, oldest first, so that a parent comes before its children."""
    rows = connection.execute(
        select(messages)
        .where(messages.c.conversation == conversation, shown(writer))
        .order_by(messages.c.number)
    ).all()
    return with_siblings(connection, conversation, rows, writer)


def with_siblings(
    connection: Connection, conversation: str, rows: Iterable[Row], writer: str
) -> list[Message]:
    """Messages from rows, each with its place among its siblings."""
    rows = list(rows)
    parents = {row.parent for row in rows}
    known = {"conversation": conversation, "writer": writer}
    groups: dict[str | None, list[str]] = {}

    def collect(rows: Iterable[Row]) -> None:
        for parent, id in rows:
            groups.setdefault(parent, []).append(id)

    if None in parents:
        collect(_FIRST.all(connection, known))
    wanted = sorted(parent for parent in parents if parent is not None)
    if len(wanted) == 1:
        collect(_CHILDREN_OF_ONE.all(connection, {**known, "parent": wanted[0]}))
    else:
        for start in range(0, len(wanted), 500):  # SQLite takes so many parameters and no more
            some = {**known, "parents": wanted[start : start + 500]}
            collect(connection.execute(_CHILDREN_OF_MANY, some))
    places = {id: (i, group) for group in groups.values() for i, id in enumerate(group)}
    return [_message(row, *places[row.id], writer) for row in rows]


def children(connection: Connection, conversation: str, parent: str | None, writer: str) -> list[str]:
    """The ids of what follows a message (None: of the first messages), oldest first."""
    known = {"conversation": conversation, "writer": writer}
    if parent is None:
        return [id for _, id in _FIRST.all(connection, known)]
    return [id for _, id in _CHILDREN_OF_ONE.all(connection, {**known, "parent": parent})]


def message_of(values: Mapping[str, Any], siblings: Sequence[str], writer: str) -> Message:
    """A message from its row's values and all the ids beside it, its own among them."""
    return _message(SimpleNamespace(**values), siblings.index(values["id"]), siblings, writer)


def _message(row: Row | SimpleNamespace, index: int, group: Sequence[str], writer: str) -> Message:
    died = row.status == STREAMING and row.writer != writer
    return Message(
        id=row.id,
        parent=row.parent,
        speaker=row.speaker,
        text=row.text,
        status=INTERRUPTED if died else row.status,
        persona=row.persona,
        created=row.created,
        number=row.number,
        request=row.request,
        details=json.loads(row.details),
        index=index,
        siblings=len(group),
        previous=group[index - 1] if index else None,
        next=group[index + 1] if index + 1 < len(group) else None,
    )


def personas_of(connection: Connection, conversation: str) -> dict[int, Persona]:
    """Every persona that a conversation has had, by its version."""
    versions = select(personas.c.version).where(personas.c.conversation == conversation)
    return {
        version: persona(connection, conversation, version)
        for version in connection.scalars(versions.order_by(personas.c.version)).all()
    }
