"""Conversations kept in a database: trees of messages, on SQLite by default, on PostgreSQL by URL.

`store` has the operations on whole conversations, `turns` those inside one; `base` what both rest on. Below
them `queries` (reading), `records` (what comes out), `database` (opening, transactions), `migrations`,
`tables` and `errors`; above them `transfer` (export and import).
"""

from convai.store.errors import Conflict, NotFound, StoreError
from convai.store.records import Branch, Conversation, Draft, Drawn, Message, Page, Receipt, Said, Summary
from convai.store.store import Store

__all__ = [
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
