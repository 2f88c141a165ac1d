"""A door that is taken for dead, and is not: its replies belong to another one, and it leaves them alone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from convai.server import heartbeat
from convai.server.heartbeat import Heartbeat
from convai.server.protocol.changes import Failed, Started, State, Stopped, TokenDrawn
from convai.store import Conflict, Draft, Store, StoreError, queries, writer
from convai.store.leases import Leases
from convai.store.shared import Shared
from tests.postgresql import schema
from tests.server.gate import Gate, gated
from tests.server.serving import PATIENCE, Chat, Running, serving

SETTINGS = {"max_length": 60, "min_length": 60, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0, "seed": 5}
REPLY = ("SELECT text, status, writer FROM messages WHERE speaker = 1 ORDER BY number LIMIT 1",)


@pytest.fixture
def where() -> Iterator[str]:
    with schema() as url:
        yield url


@pytest.fixture
def two(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Running]]:
    """Doors that look for others' replies all the time."""
    monkeypatch.setattr(heartbeat, "STEADY", 0)
    monkeypatch.setattr(heartbeat, "BEAT", 0.02)
    monkeypatch.setattr(heartbeat, "LOOK", 0.02)
    with serving(tmp_path, where=where) as one, serving(tmp_path, where=where) as other:
        yield one, other


@pytest.fixture
def gates(two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gate, Gate]]:
    """One for each door's model."""
    one, other = two
    with gated(monkeypatch, one.engine) as first, gated(monkeypatch, other.engine) as second:
        yield first, second


def shared(door: Running) -> Shared:
    assert door.store.shared is not None
    return door.store.shared


def silence(door: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others take it for dead from now on."""
    id, beat = shared(door).id, Leases.beat

    def unless_silent(self: Leases, held: bool = True) -> None:
        if self._writer.id != id:
            beat(self, held)

    monkeypatch.setattr(Leases, "beat", unless_silent)
    asked(door, f"UPDATE writers SET seen = seen - 60000 WHERE id = '{id}'")


def asked(door: Running, statement: str) -> Any:
    """Have the database do something; the first row of its answer, where there is one."""
    return asked_of(door.store, statement)


def asked_of(store: Store, statement: str) -> Any:
    with store.database.write() as connection:
        found = connection.execute(text(statement))
        return found.first() if found.returns_rows else None


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "it never comes"
        time.sleep(0.005)


def until_taken(other: Running) -> None:
    [statement] = REPLY
    until(lambda: asked(other, statement).writer == shared(other).id)


def hold(door: Running, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing that the door tells is numbered until the event is set."""
    told, append = threading.Event(), shared(door).changes.append_in_loop

    async def wait_and_append(posted: Any, in_thread: Any) -> Any:
        assert await asyncio.to_thread(told.wait, PATIENCE)
        return await append(posted, in_thread)

    monkeypatch.setattr(shared(door).changes, "append_in_loop", wait_and_append)
    return told


def midway(here: Chat, there: Chat, gate: Gate) -> None:
    """A reply is being written for `here`, whose conversation `there` has open at another door."""
    conversation = here.new(settings=SETTINGS)
    here.post("send", text="hello")
    gate.allow(20)
    for _ in range(15):
        here.until(TokenDrawn)
    there.done("open", conversation=conversation)
    there.until(State)


def whole(*chats: Chat) -> str:
    """Read to the end of the reply, which all of them are to be shown, and whose end nobody else told."""
    for chat in chats:
        while not (len(chat.view.messages) == 2 and chat.view.messages[-1].status == "complete"):
            chat.read()
        assert not [frame for frame in chat.frames if isinstance(frame, Failed | Stopped)]
    assert len({chat.view.messages[-1].text for chat in chats}) == 1
    return chats[0].view.messages[-1].text


def undisturbed(door: Running) -> str:
    with door.chat() as chat:
        chat.new(settings=SETTINGS)
        return chat.say("hello")


@pytest.mark.parametrize("told", ["as they come", "at its end"])
def test_a_reply_belongs_to_who_took_it_up(
    two: tuple[Running, Running], gates: tuple[Gate, Gate], monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    one, other = two
    mine, theirs = gates
    with one.chat() as here, other.chat() as there:
        midway(here, there, mine)
        go_on = hold(one, monkeypatch) if told == "at its end" else None
        silence(one, monkeypatch)
        until_taken(other)
        mine.open()  # it comes to its own end, or is told before that the reply is another's
        if go_on is not None:
            until(lambda: one.stats.running == 0)
            go_on.set()
        here.until(State)
        [statement] = REPLY
        assert asked(other, statement)[1:] == ("streaming", shared(other).id)
        assert asked(other, "SELECT writer FROM streams WHERE live IS NOT NULL") == (shared(other).id,)
        theirs.open()
        reply = whole(here, there)
        assert asked(other, statement) == (reply, "complete", None)
        assert undisturbed(other) == reply  # the same as if nothing had happened


def test_a_database_that_goes_away_while_a_reply_is_taken_up_costs_nothing(
    two: tuple[Running, Running], gates: tuple[Gate, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    mine, theirs = gates
    replies, away = other.store.replies, [StoreError("the database is away")] * 2

    def read(*args: Any, **kwargs: Any) -> Any:
        if away:
            raise away.pop()
        return replies(*args, **kwargs)

    with one.chat() as here, other.chat() as there:
        midway(here, there, mine)
        monkeypatch.setattr(other.store, "replies", read)
        silence(one, monkeypatch)
        until(lambda: not away)
        mine.open()
        theirs.open()
        reply = whole(here, there)
        [statement] = REPLY
        assert asked(other, statement) == (reply, "complete", None)
        assert undisturbed(other) == reply


def test_a_reply_that_nobody_was_told_of_belongs_to_who_took_it_up(
    two: tuple[Running, Running], gates: tuple[Gate, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first door tells of its beginning when the other one has told of that already."""
    one, other = two
    mine, theirs = gates
    with one.chat() as here, other.chat() as there:
        conversation = here.new(settings=SETTINGS)
        there.done("open", conversation=conversation)
        there.until(State)
        go_on = hold(one, monkeypatch)
        here.post("send", text="hello")
        [statement] = REPLY
        until(lambda: asked(other, statement) is not None)
        silence(one, monkeypatch)
        there.until(Started)
        go_on.set()
        mine.open()
        theirs.open()
        reply = whole(here, there)
        assert asked(other, statement) == (reply, "complete", None)
        assert asked(other, "SELECT count(*) FROM streams WHERE live IS NOT NULL") == (0,)
        assert undisturbed(other) == reply
        here.say("and you?")  # it is nobody's turn but ours


def test_who_has_lost_an_empty_draft_cannot_end_it(where: str) -> None:
    """Of which readers know nothing, since nothing of it was saved."""
    with Store(where) as one, Store(where) as other:
        assert other.shared is not None
        conversation = one.create("ann").conversation
        one.append_user("ann", conversation, "hello")
        message = one.begin_reply("ann", conversation).message
        assert message is not None
        [orphan] = other.shared.leases.orphans()
        assert other.shared.leases.claim(orphan) is not None
        with pytest.raises(Conflict):
            one.finish_reply("ann", conversation, message, "mine")
        with pytest.raises(Conflict):
            one.drop_reply("ann", conversation, message)
        assert other.finish_reply("ann", conversation, message, "yours").text == "yours"


def test_a_draft_is_saved_while_its_reply_changes_hands(where: str) -> None:
    """Everybody locks the conversation first: PostgreSQL ends one of two that wait for each other."""
    with Store(where) as one, Store(where) as other:
        conversation = one.create("ann").conversation
        one.append_user("ann", conversation, "hello")
        message = one.begin_reply("ann", conversation).message
        assert message is not None
        draft = Draft(owner="ann", conversation=conversation, message=message, text="so far")
        saving = threading.Thread(target=one.save_drafts, args=([draft],))

        def waits() -> bool:
            with one.database.read() as connection:
                return bool(connection.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted")).first())

        with other.database.write() as connection:
            queries.owned(connection, "ann", conversation, lock=True)
            saving.start()
            until(waits)
            connection.execute(text("UPDATE messages SET writer = 'who took it up'"))
        saving.join()
        assert asked_of(other, "SELECT text FROM messages WHERE speaker = 1") == ("",)


def test_who_was_killed_has_let_go_at_once(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL sees its connections end: nobody waits until its lease is over."""
    monkeypatch.setattr(writer, "LEASE_MS", 3_600_000)
    monkeypatch.setattr(writer, "UNHELD_MS", -3_600_000)  # no sign of life is young enough without the lock
    with Store(where) as one, Store(where) as other:
        assert one.shared is not None
        assert other.shared is not None
        leases = other.shared.leases
        listens, killed = threading.Event(), threading.Event()
        listening = threading.Thread(
            target=one.shared.changes.listen, args=(lambda said: None, listens.set, killed)
        )
        listening.start()
        try:
            assert listens.wait(PATIENCE)
            conversation = one.create("ann").conversation
            one.append_user("ann", conversation, "hello")
            message = one.begin_reply("ann", conversation).message
            one.shared.leases.beat(one.shared.changes.held)
            assert leases.orphans() == []
            with pytest.raises(Conflict, match="being written"):
                other.append_user("ann", conversation, "and me?")
        finally:
            killed.set()
            listening.join()
        until(lambda: leases.orphans() != [])
        [orphan] = leases.orphans()
        assert orphan.message == message
        assert leases.claim(orphan) is not None


def test_who_has_no_lock_yet_lives_for_a_whole_lease(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a restart of PostgreSQL, while its connection that listens is not there again."""
    monkeypatch.setattr(writer, "LEASE_MS", 3_600_000)
    monkeypatch.setattr(writer, "UNLOCKED_MS", 3_600_000)
    monkeypatch.setattr(writer, "UNHELD_MS", 0)
    with Store(where) as one, Store(where) as other:
        assert one.shared is not None
        assert other.shared is not None
        assert not one.shared.changes.held
        conversation = one.create("ann").conversation
        one.append_user("ann", conversation, "hello")
        one.begin_reply("ann", conversation)
        one.shared.leases.beat(one.shared.changes.held)
        assert other.shared.leases.orphans() == []
        one.shared.leases.beat(True)
        until(lambda: other.shared is not None and other.shared.leases.orphans() != [])


@pytest.mark.parametrize(("settled", "steady"), [(True, 10**9), (False, 6)])
def test_when_a_new_door_takes_replies_up(
    settled: bool, steady: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database has just come back, those that it does not know of may live."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.0)
    monkeypatch.setattr(heartbeat, "LOOK", 0.0)
    monkeypatch.setattr(heartbeat, "STEADY", steady)
    beats = 0

    def beat(held: bool) -> bool:
        nonlocal beats
        beats += 1
        return beats == 1

    def missing() -> bool:
        raise Looked(beats)

    leases = SimpleNamespace(beat=beat, living=frozenset, missing=missing, settled=lambda: settled)
    shared: Any = SimpleNamespace(leases=leases, changes=SimpleNamespace(held=True))

    async def first_look() -> int:
        made = Heartbeat(shared, asyncio.to_thread, lambda: False)
        beating = asyncio.create_task(made.beat(lambda: None))
        try:
            async with asyncio.timeout(PATIENCE):
                await made.look(nobody, nobody)
        except Looked as look:
            return look.beats
        finally:
            beating.cancel()
        raise AssertionError

    looked = asyncio.run(first_look())
    assert looked < steady if settled else looked > steady


class Looked(BaseException):
    """It has been looked for replies of others, after so many signs of life."""

    def __init__(self, beats: int) -> None:
        self.beats = beats


async def nobody(*_: Any) -> None:
    """Has nothing to take up."""


def test_replies_are_looked_for_when_a_door_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And now and then: to look for them reads all that are being written."""
    monkeypatch.setattr(heartbeat, "BEAT", 0.0)
    monkeypatch.setattr(heartbeat, "LOOK", 0.0)
    monkeypatch.setattr(heartbeat, "STEADY", 0)
    here, gone_at, last = frozenset({"a", "b"}), 10, 2 * heartbeat._ANYWAY
    rounds, looked = 0, list[int]()

    def living() -> frozenset[str]:
        nonlocal rounds
        rounds += 1
        if rounds > last:
            raise Looked(rounds)
        return here if rounds < gone_at else frozenset({"a"})

    def missing() -> bool:
        looked.append(rounds)
        return False

    leases = SimpleNamespace(
        beat=lambda held: False,
        living=living,
        missing=missing,
        settled=lambda: True,
        orphans=list,
        unsaid=list,
    )
    shared: Any = SimpleNamespace(leases=leases, changes=SimpleNamespace(held=True), sweep=lambda: None)

    async def looks() -> None:
        made = Heartbeat(shared, asyncio.to_thread, lambda: False)
        beating = asyncio.create_task(made.beat(lambda: None))
        try:
            async with asyncio.timeout(PATIENCE):
                await made.look(nobody, nobody)
        finally:
            beating.cancel()

    with pytest.raises(Looked):
        asyncio.run(looks())
    after = range(gone_at, gone_at + heartbeat._AFTER)
    assert looked == [1, *after, after[-1] + heartbeat._ANYWAY + 1][: len(looked)]
    assert len(looked) > 1 + len(after)


def test_what_the_database_does_after_a_death_is_found(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`living` tells of the death; `missing` of a reply as soon as it is there."""
    monkeypatch.setattr(writer, "UNHELD_MS", -3_600_000)
    with Store(where) as one, Store(where) as other:
        assert one.shared is not None
        assert other.shared is not None
        leases = other.shared.leases
        assert leases.living() == frozenset()
        monkeypatch.setattr(writer, "UNHELD_MS", 3_600_000)
        one.shared.leases.beat()
        assert leases.living() == {one.shared.id}
        conversation = one.create("ann").conversation
        one.append_user("ann", conversation, "hello")
        one.begin_reply("ann", conversation)
        assert not leases.missing()
        one.shared.leases.leave()
        assert leases.living() == frozenset()
        assert leases.missing()
