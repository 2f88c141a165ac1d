"""Conversations kept in a database: trees of messages, on SQLite by default, on PostgreSQL by URL.

`store.Store` is put together from its parts: `reading` looks, `conversations` has the operations on whole
conversations (export and import by `transfer`), `turns` and `replies` those inside one, by the rules of
`convai.conversation.conversation`. Below them `writer` (how all is written), `queries` and `listing` (reading
rows), `records` (what comes out), `database` (opening, transactions), `migrations`, `tables` and `errors`.
"""

from convai.store.errors import Conflict, NotFound, StoreError
from convai.store.records import (
    Asked,
    Branch,
    Conversation,
    Draft,
    Drawn,
    Message,
    Page,
    Receipt,
    Said,
    Summary,
)
from convai.store.store import Store

__all__ = [
    "Asked",
    "Branch",
    "Conflict",
    "Conversation",
    "Draft",
    "Drawn",
    "Message",
    "NotFound",
    "Page",
    "Receipt",
    "Said",
    "Store",
    "StoreError",
    "Summary",
]
