"""What is no database, damaged, foreign or too new is reported in one line and left as it is."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from convai.store import NotFound, Store, StoreError
from convai.store.database import Database
from convai.store.disk import Disk
from convai.store.migrations import MIGRATIONS
from convai.store.sqlite_file import APPLICATION_ID
from tests.store.helpers import ANN

INSERT = "INSERT INTO requests (owner, name, conversation, created) VALUES ('a', 'r', 'c', 1)"


def refused(where: Path | str) -> str:
    """The line that opening it ends with; the file and its folder are as they were."""
    path = Path(where)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    with pytest.raises(StoreError) as caught:
        Store(where)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    assert after == before
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with a conversation in it, closed."""
    path = tmp_path / "chats.db"
    with Store(path) as store:
        store.import_text(ANN, "".join(f"user: line {i} {'x' * 200}\n" for i in range(300)), "x")
    assert [one.name for one in tmp_path.iterdir()] == ["chats.db"]
    return path


def test_a_new_file_is_ours_alone_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "new" / "chats.db"
    with Store(path) as store:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with store.database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
            assert connection.exec_driver_sql("PRAGMA application_id").scalar() == APPLICATION_ID


@pytest.mark.parametrize("content", [b"not a database at all", b"SQLite format 3", b"\x00" * 5000])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert "is no database, or its beginning is damaged" in refused(path)


def test_a_folder_and_a_place_that_cannot_be(tmp_path: Path) -> None:
    assert "Is a directory" in refused(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        Store(tmp_path / "file" / "chats.db")


@pytest.mark.parametrize("where", ["", ":memory:", "sqlite://"])
def test_it_needs_a_file(where: str) -> None:
    with pytest.raises(StoreError, match="needs a file"):
        Store(where)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsuch://host/name", "no driver"),
        ("postgresql://user:secret@127.0.0.1:1/name", "check that the server runs"),
        ("://", "cannot be read"),
    ],
)
def test_a_url_that_leads_nowhere(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("damage", ["a page", "the end", "the header"])
def test_a_damaged_database_is_reported_and_left_as_it_is(file: Path, damage: str) -> None:
    content = bytearray(file.read_bytes())
    assert len(content) > 12 * 4096
    if damage == "a page":
        content[8 * 4096 : 10 * 4096] = os.urandom(2 * 4096)
    elif damage == "the end":
        del content[len(content) // 2 :]
    else:
        content[16:100] = b"\xff" * 84
    file.write_bytes(content)
    line = refused(file)
    assert "damaged" in line or "not a database" in line or "malformed" in line


def test_damage_that_comes_while_it_is_open_is_one_line(file: Path) -> None:
    with Store(file) as store:
        store.find(ANN)
        content = bytearray(file.read_bytes())
        content[4096:] = os.urandom(len(content) - 4096)
        file.write_bytes(content)
        store.database.engine.dispose()  # what was cached in memory goes
        with pytest.raises(StoreError) as caught:
            store.find(ANN)
        assert str(caught.value).startswith(f"{file}: ")
        assert "restore a copy" in str(caught.value)


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    connection.close()
    assert "it belongs to something else (it has the tables photos)" in refused(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE migrations (id INTEGER)")  # a name that others use as well
    connection.close()
    assert "it belongs to something else" in refused(path)


def test_a_database_of_a_later_convai(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO migrations VALUES (?, 'more', 0)", (MIGRATIONS[-1].number + 1,))
    connection.close()
    line = refused(file)
    assert f"written by a later convai (version {MIGRATIONS[-1].number + 1}" in line
    assert "update convai" in line


def test_a_gap_in_the_migrations_is_damage(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM migrations WHERE number = 1")
    connection.close()
    assert "list of migrations is damaged" in refused(file)


def test_what_is_locked_by_another_process_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.store.sqlite_file.BUSY_SECONDS", 0)
    with Store(file) as store:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked; another process holds it"):
            store.create(ANN)
        assert len(store.find(ANN).items) == 1  # readers go on
        other.execute("ROLLBACK")
        other.close()
        store.create(ANN)


def test_a_failed_write_leaves_no_trace_and_no_lock(where: str) -> None:
    database = Database(where)

    class Trouble(Exception):
        pass

    def fail() -> None:
        with database.write() as connection:
            connection.exec_driver_sql(INSERT)
            raise Trouble

    with pytest.raises(Trouble):
        fail()
    with database.write() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM requests").scalar() == 0
    database.close()


def test_a_reader_sees_one_moment(where: str) -> None:
    database = Database(where)
    count = "SELECT count(*) FROM requests"
    with database.read() as reading:
        assert reading.exec_driver_sql(count).scalar() == 0

        def write() -> None:
            with database.write() as writing:
                writing.exec_driver_sql(INSERT)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()  # a writer does not wait for a reader
        assert reading.exec_driver_sql(count).scalar() == 0
    with database.read() as reading:
        assert reading.exec_driver_sql(count).scalar() == 1
    database.close()


def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation ends with a wait for the log that it is in."""
    waited: list[int] = []
    real = os.fsync
    with Store(tmp_path / "chats.db") as store:

        def fsync(file: int) -> None:
            waited.append(os.fstat(file).st_ino)
            real(file)

        monkeypatch.setattr(os, "fsync", fsync)
        log = tmp_path / "chats.db-wal"
        for _ in range(3):
            before, size = len(waited), log.stat().st_size
            store.say(ANN, store.create(ANN).conversation, "hi")
            assert waited[before:].count(log.stat().st_ino) == 2
            assert log.stat().st_size > size
        full = OSError(28, "No space left on device")

        def broken(file: int) -> None:
            raise full

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(StoreError, match="No space left on device; free some space"):
            store.create(ANN)


def test_those_who_wait_for_the_disk_wait_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text("x")
    disk = Disk(log)
    first, others = threading.Event(), threading.Event()
    waits: list[int] = []

    def fsync(file: int) -> None:
        waits.append(file)
        first.set()
        assert others.wait(60)

    monkeypatch.setattr(os, "fsync", fsync)
    threads = [threading.Thread(target=disk.sync) for _ in range(10)]
    threads[0].start()
    assert first.wait(60)
    for thread in threads[1:]:
        thread.start()
    while disk._asked < 10:  # all of them have committed, and wait
        pass
    others.set()
    for thread in threads:
        thread.join(60)
    assert len(waits) <= 3, "the first one's log, its folder, and once for all the others"


def test_a_connection_in_use_is_closed_when_it_is_given_back_to_a_closed_store(where: str) -> None:
    store = Store(where)
    with store.database.read() as connection:
        driver = connection.connection.driver_connection
        store.close()
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    assert driver is not None
    with pytest.raises(Exception, match="closed"):
        driver.execute("SELECT 1")


def test_at_one_moment_all_is_as_it_was_at_first(where: str) -> None:
    with Store(where) as store:
        first = store.create(ANN).conversation
        with store.at_one_moment():
            assert [one.id for one in store.find(ANN).items] == [first]
            other = threading.Thread(target=store.create, args=(ANN,))
            other.start()
            other.join()
            assert [one.id for one in store.find(ANN).items] == [first]
            with pytest.raises(NotFound):  # which leaves the moment as it is
                store.load(ANN, "nobody")
            assert store.load(ANN, first).id == first
        assert len(store.find(ANN).items) == 2
