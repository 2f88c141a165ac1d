"""What several doors on one PostgreSQL have in common: numbered changes, who writes which reply, rates."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from convai.store import rates
from convai.store.change_log import ChangeLog, quick
from convai.store.database import Database
from convai.store.leases import Leases
from convai.store.writer import Writer, now

_KEPT_MS: Final = 600_000
"""How long changes are kept, and doors that say nothing are remembered."""
_UNFOLLOW: Final = text(
    "WITH gone AS (SELECT conversation FROM streams WHERE EXISTS (SELECT 1 FROM "
    "unnest(string_to_array(followers, ' ')) AS door WHERE door NOT IN (SELECT id FROM writers)) "
    "ORDER BY conversation FOR UPDATE) UPDATE streams SET followers = coalesce((SELECT string_agg(door, ' ') "
    "FROM unnest(string_to_array(followers, ' ')) AS door WHERE door IN (SELECT id FROM writers)), '') "
    "FROM gone WHERE streams.conversation = gone.conversation"
)
"""Doors that are gone follow nothing."""


class Shared:
    """The common part of one database. Safe to use from any thread."""

    def __init__(self, writer: Writer) -> None:
        self._database: Database = writer.database
        self.id = writer.id
        """What this door's replies are known by."""
        self.changes = ChangeLog(writer.database, writer.id)
        self.leases = Leases(writer)

    def spend(self, address: str, most: int) -> float:
        """One more request from an address, at all doors together: seconds to wait, 0 where it may be done.

        `most`: requests a minute, and so many at once.
        """
        return rates.spend(self._database, address, most)

    def sweep(self) -> None:
        """Forget what nobody asks for any more."""
        with self._database.write() as connection:
            quick(connection)
            old = now() - _KEPT_MS
            connection.execute(
                text(
                    "DELETE FROM changes USING streams WHERE streams.conversation = changes.conversation "
                    "AND changes.created < :old AND (streams.begun IS NULL OR changes.n < streams.begun)"
                ),
                {"old": old},
            )
            connection.execute(text("DELETE FROM writers WHERE seen < :old"), {"old": old})
            connection.execute(_UNFOLLOW)
            connection.execute(text("DELETE FROM rates WHERE seen < :old"), {"old": old})
            connection.execute(
                text(
                    "DELETE FROM streams WHERE NOT EXISTS "
                    "(SELECT 1 FROM conversations WHERE conversations.id = streams.conversation) "
                    "AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.conversation = streams.conversation)"
                )
            )
