"""A statement of PostgreSQL's that an event loop asks itself: it wakes no thread, and is planned once.

What doors ask most, the tokens of replies, would otherwise wake a thread, the loop and the thread's lock in
turns, which costs them more than the statement does. psycopg's own coroutines do as much for every statement
as for a whole query language; this is libpq, by psycopg's binding, and its socket.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from convai.store.database import Database

_NAME: Final = b"convai"
_ENCODING: Final = "utf-8"
_BY_KEYS: Final = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit")
"""Ways that PostgreSQL is not to choose. It takes values as JSON for a hundred rows, and would rather read a
table of some thousand rows as a whole for them: with every statement, and the more the larger the table."""


class LoopStatement:
    """`sql`, whose values are $1, $2, …, on a connection of its own. One coroutine at a time may ask it.

    It is planned for few rows that are found by their keys.
    """

    def __init__(self, database: Database, sql: str) -> None:
        """The connection is made with the first question, and anew after an error."""
        self._database, self._sql = database, sql
        self._driver: Any = None

    async def row(self, *values: str) -> list[str | None]:
        """Its first row. Raises StoreError; nobody knows then whether the statement was done."""
        with self._database.reported():
            if self._driver is None:
                self._driver = await self._connected()
            try:
                return await self._ask([value.encode(_ENCODING) for value in values])
            except BaseException:  # cancelled as well: the answer of this one is not the next one's
                self.close()
                raise

    def close(self) -> None:
        """Hang up."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.close()

    async def _connected(self) -> Any:
        connecting = asyncio.get_running_loop().run_in_executor(None, self._connect)
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_hang_up)
            raise

    def _connect(self) -> Any:
        driver = self._database.apart()
        try:
            for way in _BY_KEYS:
                driver.execute(f"SET {way} TO off")
            self._look(driver.pgconn.prepare(_NAME, self._sql.encode(_ENCODING)))
            driver.pgconn.nonblocking = 1
        except BaseException:
            driver.close()
            raise
        return driver

    async def _ask(self, values: list[bytes]) -> list[str | None]:
        libpq, loop = self._driver.pgconn, asyncio.get_running_loop()
        come: asyncio.Future[None]

        def wake() -> None:
            if not come.done():
                come.set_result(None)

        libpq.send_query_prepared(_NAME, values)
        socket: int = libpq.socket
        results: list[Any] = []
        unsent = libpq.flush()
        loop.add_reader(socket, wake)
        try:
            while True:
                if unsent:
                    loop.add_writer(socket, wake)
                come = loop.create_future()
                await come
                libpq.consume_input()
                if unsent:
                    loop.remove_writer(socket)
                    unsent = libpq.flush()
                while not unsent and not libpq.is_busy():
                    result = libpq.get_result()
                    if result is None:
                        return self._first(results)
                    results.append(result)
        finally:
            loop.remove_reader(socket)
            loop.remove_writer(socket)

    def _first(self, results: list[Any]) -> list[str | None]:
        for result in results:
            self._look(result)
        [result] = results
        found = [result.get_value(0, column) for column in range(result.nfields)]
        return [None if value is None else value.decode(_ENCODING) for value in found]

    def _look(self, result: Any) -> None:
        if result.error_message:
            raise self._database.driver_error(result.error_message.decode(_ENCODING, "replace"))


def _hang_up(connecting: asyncio.Future[Any]) -> None:
    """Of a connection that nobody waits for any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
