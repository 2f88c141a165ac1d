"""Conversations kept in a database: trees of messages, on SQLite by default, on PostgreSQL by URL.

`store.Store` is put together from its parts: `reading` looks, `conversations` has the operations on whole
conversations (export and import by `transfer`), `turns` and `replies` those inside one, by the rules of
`convai.conversation.conversation`. Below them `writer` (how all is written), `queries` and `listing` (reading
rows), `records` (what comes out), `database` (opening, transactions), `migrations`, `tables` and `errors`.
"""

from convai.store.errors import Conflict, NotFound, StoreError
from convai.store.records import (
    Branch,
    Conversation,
    Draft,
    DrawnBefore,
    Message,
    NewTurn,
    Page,
    Receipt,
    RequestName,
    Summary,
)
from convai.store.store import Store

__all__ = [
    "Branch",
    "Conflict",
    "Conversation",
    "Draft",
    "DrawnBefore",
    "Message",
    "NewTurn",
    "NotFound",
    "Page",
    "Receipt",
    "RequestName",
    "Store",
    "StoreError",
    "Summary",
]
