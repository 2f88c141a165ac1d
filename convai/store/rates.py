"""How much each address asks of all doors of one database together."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from convai.store.change_log import quick
from convai.store.database import Database
from convai.store.writer import CLOCK

# a token bucket as the moment until which it is spent (the generic cell rate algorithm, ITU-T I.371)
_SPEND: Final = text(
    f"INSERT INTO rates AS r (address, spent, wait, seen) VALUES (:address, {CLOCK} + :each, 0, {CLOCK}) "
    f"ON CONFLICT (address) DO UPDATE SET seen = {CLOCK}, "
    f"spent = CASE WHEN greatest(r.spent, {CLOCK}) + :each - {CLOCK} > :burst THEN r.spent "
    f"ELSE greatest(r.spent, {CLOCK}) + :each END, "
    f"wait = greatest(greatest(r.spent, {CLOCK}) + :each - {CLOCK} - :burst, 0) RETURNING wait"
)


def spend(database: Database, address: str, most: int) -> float:
    """One more request from an address, at all doors together: seconds to wait, 0 where it may be done.

    `most`: requests a minute, and so many at once.
    """
    each = max(round(60_000 / most), 1)
    with database.write() as connection:
        quick(connection)
        wait = connection.execute(
            _SPEND, {"address": address[:100], "each": each, "burst": each * most}
        ).scalar_one()
    return float(wait) / 1000
