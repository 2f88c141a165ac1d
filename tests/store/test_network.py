"""A PostgreSQL on another host, whose cable is cut: noticed within bounds, and used again when mended."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import make_url

from convai.bench.cluster.processes import OwnPostgres
from convai.core.errors import ConvaiError
from convai.store import Store, writer
from convai.store.errors import Conflict, StoreError
from tests.namespaces import Host, hosts, inside
from tests.postgresql import schema
from tests.server.serving import PATIENCE

NOTICED = 30.0
"""Seconds in which it must be noticed on a busy machine; left to itself it takes a quarter of an hour."""


class Relay:
    """What arrives at a port of a host goes on to PostgreSQL's socket in a folder of this machine."""

    def __init__(self, host: Host, target: Path) -> None:
        self._target = target
        self._open = ExitStack()
        self._at = self._open.enter_context(host.do(lambda: socket.create_server((host.address, 5432))))
        self._sockets = [self._at]
        self._threads: list[threading.Thread] = []
        self._start(self._serve)

    def _start(self, target: Any, *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near = self._open.enter_context(self._at.accept()[0])
                self._sockets.append(near)
                far = self._open.enter_context(socket.socket(socket.AF_UNIX))
                far.connect(str(self._target))
                self._start(self._carry, near, far)
                self._start(self._carry, far, near)

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        _hang_up(one, other)

    def close(self) -> None:
        _hang_up(self._at)
        self._threads[0].join()  # from here on there are no more
        _hang_up(*self._sockets)  # which hangs up at the other side as well
        for one in self._threads[1:]:
            one.join()
        self._open.close()


def _hang_up(*each: socket.socket) -> None:
    for one in each:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def elsewhere() -> Iterator[tuple[str, Host, str]]:
    """The URL of an empty schema on a host of its own, the host, and the namespace it is reached from."""
    with schema() as where, hosts(1) as (centre, [host]):
        url = make_url(where)
        folder = url.query.get("host")
        if not isinstance(folder, str) or not folder.startswith("/"):
            pytest.skip("CONVAI_TEST_PG names no folder with PostgreSQL's socket")
        relay = Relay(host, Path(folder, ".s.PGSQL.5432"))
        query: dict[str, Any] = {
            name: value for name, value in url.query.items() if name not in ("host", "user")
        }
        user = url.query.get("user") or url.username
        assert user is None or isinstance(user, str)
        there = url.set(host=host.address, username=user, query=query)
        try:
            yield there.render_as_string(hide_password=False), host, centre
        finally:
            relay.close()


@pytest.mark.slow
def test_a_database_over_a_cut_cable_is_missed_in_time() -> None:
    with elsewhere() as (where, host, centre):

        def there() -> None:
            with Store(where) as store:
                assert store.shared is not None
                changes = store.shared.changes
                listening, again, ended = threading.Event(), threading.Event(), threading.Event()

                def connected() -> None:
                    (again if listening.is_set() else listening).set()

                hearing = threading.Thread(target=changes.listen, args=(lambda _: None, connected, ended))
                hearing.start()
                try:
                    assert listening.wait(PATIENCE)
                    changes.follow("c")
                    host.cut()
                    lost = threading.Event()

                    def read() -> None:
                        with pytest.raises(StoreError):
                            changes.after("c", None)
                        lost.set()

                    threading.Thread(target=read, daemon=True).start()
                    assert lost.wait(NOTICED)
                    host.mend()
                    assert again.wait(PATIENCE)  # who listens has noticed as well, and listens again
                    assert changes.after("c", None).last == 0
                finally:
                    host.mend()
                    ended.set()
                    hearing.join(PATIENCE)

        inside(centre, there)


@contextmanager
def server(folder: Path, centre: str, address: str) -> Iterator[OwnPostgres]:
    """A PostgreSQL in the middle of the cables: a cut leaves its own connections without an answer."""
    folder.chmod(0o711)
    try:
        made = inside(centre, lambda: OwnPostgres(folder / "postgresql", address))
    except ConvaiError as error:
        pytest.skip(str(error))
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
def test_a_door_that_is_cut_off_loses_its_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL asks after the connection that holds its lock: nobody waits until its lease is over."""
    monkeypatch.setattr(writer, "LEASE_MS", 3_600_000)
    monkeypatch.setattr(writer, "UNHELD_MS", -3_600_000)  # no sign of life is young enough without the lock
    with hosts(1) as (centre, [host]), TemporaryDirectory(prefix="convai-") as folder:
        with server(Path(folder), centre, host.here) as database, Store(database.url) as near:
            assert near.shared is not None
            leases = near.shared.leases
            began, taken = threading.Event(), threading.Event()
            of_far: list[str] = []

            def far() -> None:
                url = make_url(database.url)
                there = url.set(host=host.here, username=url.query["user"], query={})
                with Store(there.render_as_string(hide_password=False)) as store:
                    assert store.shared is not None
                    listens, ended = threading.Event(), threading.Event()
                    told = (lambda said: None, listens.set, ended)
                    hearing = threading.Thread(target=store.shared.changes.listen, args=told)
                    hearing.start()
                    assert listens.wait(PATIENCE)
                    conversation = store.create("ann").conversation
                    store.append_user("ann", conversation, "hello")
                    of_far.append(store.begin_reply("ann", conversation).message)
                    store.shared.leases.beat()
                    began.set()
                    assert taken.wait(PATIENCE)
                    with pytest.raises((Conflict, StoreError)):  # noticed over there as well, or not yet
                        store.finish_reply("ann", conversation, of_far[0], "it is too late")
                    ended.set()
                    hearing.join(PATIENCE)

            away = threading.Thread(target=inside, args=(host.name, far))
            away.start()
            try:
                assert began.wait(PATIENCE)
                assert leases.orphans() == []
                host.cut()
                limit = time.monotonic() + PATIENCE
                while not (orphans := leases.orphans()):
                    assert time.monotonic() < limit
                [orphan] = orphans
                assert orphan.message == of_far[0]
                assert leases.claim(orphan) is not None
            finally:
                host.mend()
                taken.set()
                away.join()
