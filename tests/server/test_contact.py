"""A door that is cut off from its database says so, and sends its readers to others; who waits does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from convai.server import heartbeat
from convai.server.contact import SILENT, UNANSWERED, Contact
from convai.server.protocol import parse_server
from convai.server.protocol.answers import GoingAway
from convai.store import Store
from convai.store.shared import Shared
from tests.namespaces import inside
from tests.postgresql import schema
from tests.server.serving import PATIENCE, Running, serving
from tests.store.test_network import elsewhere


class Database:
    """`held`: whether the connection that listens is there; `now`: seconds."""

    def __init__(self) -> None:
        self.held, self.now = True, 0.0
        self.contact = Contact(lambda: self.held, lambda: self.now)

    def ask(self, *, refuses: bool = False, seconds: float = 0.0) -> None:
        """A question that is answered, or refused, after so many seconds."""

        def asked() -> None:
            with self.contact.asking():
                self.now += seconds
                if refuses:
                    raise ConnectionError

        if refuses:
            with pytest.raises(ConnectionError):
                asked()
        else:
            asked()


def test_one_that_is_only_slow_is_well() -> None:
    database = Database()
    with database.contact.asking():
        database.now = 100.0
        assert database.contact.away == 0.0
        assert not database.contact.cut_off


def test_one_that_restarts_is_away_and_not_cut_off() -> None:
    database = Database()
    database.ask()
    database.held = False
    database.now = SILENT - 0.1
    assert database.contact.away == 0.0
    database.now = SILENT
    database.ask(refuses=True)
    assert database.contact.away == SILENT
    assert not database.contact.cut_off
    database.ask()
    assert database.contact.away == 0.0


def test_one_that_says_nothing_is_cut_off_until_it_answers_or_refuses() -> None:
    database = Database()
    contact = database.contact
    database.ask()
    database.held, database.now = False, 10.0
    with contact.asking():
        database.now += UNANSWERED - 0.1
        assert not contact.cut_off
        database.now += 0.1
        assert contact.cut_off
    assert not contact.cut_off
    assert contact.away == 0.0
    database.ask(refuses=True, seconds=SILENT)  # it was given up, and not refused
    assert contact.cut_off
    with contact.asking():
        assert contact.cut_off
    assert not contact.cut_off
    database.ask(refuses=True, seconds=SILENT)
    assert contact.cut_off
    database.ask(refuses=True)
    assert contact.away > 0
    assert not contact.cut_off
    database.ask(seconds=SILENT)  # slow, and there
    assert contact.away == 0.0
    assert not contact.cut_off


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(heartbeat, "BEAT", 0.01)
    with schema() as where, serving(tmp_path, where=where) as running:
        yield running


def test_readers_are_sent_away_while_it_is_cut_off(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    health = f"{door.url}/healthz"
    chat = door.chat()
    chat.new()
    assert httpx2.get(health, timeout=PATIENCE).status_code == 200
    with monkeypatch.context() as cut:
        cut.setattr(Contact, "away", 4.0)
        answer = httpx2.get(health, timeout=PATIENCE)
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "database",
            "detail": "the database has not answered for 4 seconds",
        }
        cut.setattr(Contact, "cut_off", True)
        assert chat.until(GoingAway).reason == "database"
        with pytest.raises(ConnectionClosed) as closed:
            chat.read()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    while httpx2.get(health, timeout=PATIENCE).status_code != 200:  # while the engine is asked
        pass
    with door.chat() as again:
        again.new()


def test_who_comes_while_it_is_cut_off_is_sent_on(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT", PATIENCE)
    monkeypatch.setattr(Contact, "cut_off", True)
    with connect(door.socket_url, open_timeout=PATIENCE) as socket:
        event = parse_server(str(socket.recv(PATIENCE)))
        assert isinstance(event, GoingAway)
        assert event.reason == "database"
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


@pytest.mark.slow
def test_a_cut_cable_is_noticed_and_forgotten() -> None:
    """By a door on another host than its database."""
    with elsewhere() as (where, host, centre):

        async def noticed(shared: Shared) -> None:
            beats, left = asyncio.Event(), asyncio.Event()
            made = heartbeat.Heartbeat(shared, asyncio.to_thread, lambda: False)
            tasks = [asyncio.create_task(made.beat(beats.set)), asyncio.create_task(made.watch(left.set))]
            async with asyncio.timeout(PATIENCE):
                await beats.wait()
                assert made.contact.away == 0.0
                host.cut()
                await left.wait()
                assert made.contact.away >= SILENT
                host.mend()
                while made.contact.away:
                    await asyncio.sleep(0.01)
                assert not made.contact.cut_off
            for task in tasks:
                task.cancel()

        def there() -> None:
            with Store(where) as store:
                assert store.shared is not None
                listens, ended = threading.Event(), threading.Event()
                told = (lambda _: None, listens.set, ended)
                hearing = threading.Thread(target=store.shared.changes.listen, args=told)
                hearing.start()
                try:
                    assert listens.wait(PATIENCE)
                    asyncio.run(noticed(store.shared))
                finally:
                    host.mend()
                    ended.set()
                    hearing.join(PATIENCE)

        inside(centre, there)
