"""Two doors on one PostgreSQL: the same conversation at both, in mid-reply too; one outlives the other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from convai.server import doors, heartbeat, rooms
from convai.server.protocol.changes import Deleted, FinishedReply, Started, State, Stopped, TokenDrawn
from convai.store import Store, StoreError, rates, writer
from convai.store.change_records import DrawnToken, Numbered, Posted, Refused
from convai.store.leases import Leases
from convai.store.shared import Shared
from convai.store.writer import CLOCK
from tests.postgresql import schema
from tests.server.gate import Gate, gated
from tests.server.serving import Chat, Running, serving

SETTINGS = {"max_length": 60, "min_length": 60, "no_repeat_ngram": 0, "no_repeat_own_ngram": 0, "seed": 5}
PATIENCE = 240


@pytest.fixture
def where() -> Iterator[str]:
    with schema() as url:
        yield url


@pytest.fixture
def two(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Running]]:
    # however busy the machine is, a door that lives is not taken for dead
    monkeypatch.setattr(writer, "LEASE_MS", 3_600_000)
    monkeypatch.setattr(writer, "UNLOCKED_MS", 3_600_000)
    with serving(tmp_path, where=where) as one, serving(tmp_path, where=where) as other:
        yield one, other


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    with gated(monkeypatch) as made:
        yield made


def step_until(gate: Gate, done: threading.Event) -> None:
    """The model computes on, but leaves time for what is on its way."""
    while not done.wait(0.01):
        gate.allow()


def changes(chat: Chat) -> dict[int, Any]:
    """The numbered frames that a client got."""
    return {
        frame.n: frame for frame in chat.frames if not isinstance(frame, State) and getattr(frame, "n", 0)
    }


def read_to(chat: Chat, n: int) -> None:
    while chat.view.last < n:
        chat.read()


def opened(door: Running, conversation: str) -> Chat:
    chat = door.chat()
    chat.done("open", conversation=conversation)
    chat.until(State)
    return chat


def test_a_conversation_is_the_same_at_both(two: tuple[Running, Running]) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        with opened(other, conversation) as there:
            here.say("hello")
            read_to(there, here.view.last)
            there.say("and you?")
            there.done("regenerate")
            there.reply()
            there.done("undo")
            there.done("set_title", title="two doors")
            while not (here.view.title == there.view.title == "two doors"):
                (here if here.view.title != "two doors" else there).read()
            assert here.view.messages == there.view.messages
            assert here.view.stream == there.view.stream
            ours, theirs = changes(here), changes(there)
            both = ours.keys() & theirs.keys()
            assert len(both) > 150
            assert {n: ours[n] for n in both} == {n: theirs[n] for n in both}
            kept = one.store.branch("local", conversation)[0]
            assert [message.text for message in kept] == here.shown


def test_a_reader_goes_on_at_the_other_door_in_mid_reply(two: tuple[Running, Running], gate: Gate) -> None:
    one, other = two
    here = one.chat()
    conversation = here.new(settings=SETTINGS)
    with opened(one, conversation) as stays:
        here.post("send", text="hello")
        both = [other, one]
        for place in range(4):
            gate.allow(9)
            for _ in range(7):
                here.until(TokenDrawn)
            here.drop()
            here = both[place % 2].chat(view=here.view, resume=here.view.resume())
            assert here.ready().resumed, place
        gate.open()
        reply = stays.reply()
        assert here.reply() == reply
        tokens = [frame for frame in stays.frames if isinstance(frame, TokenDrawn)]
        assert "".join(token.text for token in tokens) == reply.text
        assert here.view.messages == stays.view.messages
    here.drop()


def test_a_door_that_has_not_heard_yet_of_what_was_read_looks(
    two: tuple[Running, Running], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        with opened(other, conversation) as stays:
            doors = other.app.service.doors
            assert doors is not None
            with monkeypatch.context() as late:
                late.setattr(doors, "_told", lambda news: None)
                late.setattr(doors, "_keep_up", lambda room: asyncio.sleep(0))
                here.post("send", text="hello")
                gate.allow(20)
                for _ in range(15):
                    here.until(TokenDrawn)
                here.drop()
                with other.chat(view=here.view, resume=here.view.resume()) as again:
                    assert again.ready().resumed
            gate.open()
            reply = stays.reply()
            assert "".join(f.text for f in stays.frames if isinstance(f, TokenDrawn)) == reply.text


def test_who_opens_it_elsewhere_sees_what_was_shown(two: tuple[Running, Running], gate: Gate) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings={**SETTINGS, "max_length": 300, "min_length": 300})
        here.post("send", text="hello")
        gate.allow(20)
        for _ in range(15):
            here.until(TokenDrawn)
        with opened(other, conversation) as there:
            assert there.view.writing == here.view.writing
            assert there.shown[-1].startswith(here.shown[-1])
            assert there.refused("send", text="me, too") == "conflict"
            name = there.post("stop")
            done = threading.Event()
            steps = threading.Thread(target=step_until, args=(gate, done))
            steps.start()
            there.until(lambda frame: getattr(frame, "request", None) == name)
            done.set()
            steps.join()
            end = there.until((Stopped, FinishedReply))
            assert isinstance(end, Stopped)
            gate.open()
            assert here.until(Stopped) == end
            assert here.view.messages == there.view.messages


def test_a_request_is_done_once_at_both(two: tuple[Running, Running]) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        first = here.done("send", request="once", text="hello")
        here.reply()
        here.drop()
        with other.chat(view=here.view, resume=here.view.resume()) as there:
            there.ready()
            again = there.done("send", request="once", text="hello")
            assert (again.message, again.again) == (first.message, True)
            assert len(other.store.branch("local", conversation)[0]) == 2


def test_what_is_deleted_is_gone_at_both(two: tuple[Running, Running]) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new()
        here.say("hello")
        with opened(other, conversation) as there:
            here.done("delete", conversation=conversation)
            there.until(Deleted)
            assert there.refused("send", text="hello?") in ("not_found", "bad_order", "order")
        shared = one.store.shared
        assert shared is not None
        assert [frame for _, frame in shared.changes.after(conversation, 0).frames][:1] != []
        assert len(shared.changes.after(conversation, 0).frames) == 1


def test_rates_hold_across_doors(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        rates, "_SPEND", text(rates._SPEND.text.replace(CLOCK, "1800000000000"))
    )  # no time passes
    with serving(tmp_path, where=where, rate=20) as one, serving(tmp_path, where=where, rate=20) as other:
        with one.chat() as here, other.chat() as there:
            answers = [chat.ask("list").type for _ in range(12) for chat in (here, there)]
    assert answers.count("conversations") == 20
    assert answers.count("overloaded") == 4


def test_nobody_gives_a_reply_up_that_is_read_elsewhere(
    two: tuple[Running, Running], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "_ASK", PATIENCE)  # however long the other door takes to say so
    one, other = two
    here = one.chat()
    conversation = here.new(settings=SETTINGS)
    here.post("send", text="hello")
    here.until(Started)
    with opened(other, conversation) as there:
        here.drop()
        gate.open()
        assert there.reply().status == "complete"


def followers(where: str) -> set[str]:
    with Store(where) as store, store.database.read() as connection:
        found = connection.execute(text("SELECT followers FROM streams")).scalar()
    return set(str(found).split())


def test_a_door_is_told_of_what_is_open_there(
    where: str, two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "KEPT", 0.05)
    one, other = two
    assert one.store.shared is not None
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        with opened(other, conversation) as there:
            here.say("hello")
            read_to(there, here.view.last)
        limit = time.monotonic() + PATIENCE
        while followers(where) != {one.store.shared.id}:  # it leaves when it hears of what nobody reads
            assert time.monotonic() < limit
            here.done("set_title", title="hello?")
        with opened(other, conversation) as there:
            here.say("and you?")
            read_to(there, here.view.last)
            assert there.view.messages == here.view.messages


def test_a_door_that_was_taken_for_gone_is_told_again(where: str, two: tuple[Running, Running]) -> None:
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        with opened(other, conversation) as there:
            in_database(where, "DELETE FROM writers", "UPDATE streams SET followers = ''")
            here.say("hello")
            read_to(there, here.view.last)
            assert there.view.messages == here.view.messages


def test_a_door_that_ends_hands_its_replies_over(
    where: str, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "STEADY", 1)
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "LOOK", 0.05)
    with serving(tmp_path, where=where) as other:
        with serving(tmp_path, where=where) as one:
            here = one.chat()
            here.new(settings=SETTINGS)
            here.post("send", text="hello")
            gate.allow(20)
            for _ in range(15):
                here.until(TokenDrawn)
            gate.open()
            one.terminate()
            while True:  # to the last word of this door
                try:
                    here.read()
                except Exception:
                    break
        with other.chat(view=here.view, resume=here.view.resume()) as there:
            there.ready()
            while there.view.writing:
                there.read()
            reply = there.view.messages[-1]
            assert reply.status == "complete"
            there.new(settings=SETTINGS)
            assert there.say("hello") == reply.text  # the same as if nothing had happened


# -- the store -----------------------------------------------------------------------------------------


def posted(conversation: str, *texts: str, **fields: Any) -> Posted:
    makes = [partial(lambda text, n: f"{n} {text}", text) for text in texts]
    drawn = fields.pop("drawn", [None] * len(texts))
    return Posted(conversation, makes, drawn, **fields)


@pytest.fixture
def shared(where: str) -> Iterator[tuple[Shared, Shared]]:
    with Store(where) as one, Store(where) as other:
        assert one.shared is not None
        assert other.shared is not None
        yield one.shared, other.shared


def test_changes_are_numbered_once(shared: tuple[Shared, Shared]) -> None:
    one, other = shared
    first, second = one.changes.follow("c"), other.changes.follow("c")
    assert first == second
    assert one.changes.append([posted("c", "a", "b")]) == [Numbered(first.stream, 1, ["1 a", "2 b"])]
    assert other.changes.append([posted("c", "c"), posted("d", "x")])[0] == Numbered(first.stream, 3, ["3 c"])
    assert other.changes.after("c", 1).frames == [(2, "2 b"), (3, "3 c")]
    again = posted("c", "once")
    assert one.changes.append([again]) == [Numbered(first.stream, 4, ["4 once"])]
    assert one.changes.append([again]) == [Numbered(first.stream, 5, [])]  # its answer was lost: it is there
    assert one.changes.after("c", 3).frames == [(4, "4 once")]


def test_tokens_are_told_by_who_writes(shared: tuple[Shared, Shared]) -> None:
    one, other = shared
    one.changes.append([posted("c", "started", begins=0, live='{"id": "m"}')])
    token = {"drawn": [DrawnToken(7, 2**62)]}
    assert isinstance(one.changes.append([posted("c", "t", **token)])[0], Numbered)
    assert other.changes.append([posted("c", "t", **token)]) == [Refused.ELSEWHERE]
    assert isinstance(one.changes.append([posted("c", "finished", ends=True)])[0], Numbered)
    assert one.changes.append([posted("c", "t", **token)]) == [Refused.ELSEWHERE]


def test_doors_hear_of_changes(shared: tuple[Shared, Shared]) -> None:
    one, other = shared
    heard: list[str] = []
    listening, ended, come = threading.Event(), threading.Event(), threading.Event()

    def tell(said: str) -> None:
        heard.append(said)
        come.set()

    thread = threading.Thread(target=other.changes.listen, args=(tell, listening.set, ended))
    thread.start()
    assert listening.wait(PATIENCE)
    one.changes.append([posted("c", "a", "b")])
    assert come.wait(PATIENCE)
    ended.set()
    thread.join()
    assert heard == [f"told {one.id} c 2 {one.changes.after('c', 2).stream}"]


def test_a_rate_is_a_bucket(shared: tuple[Shared, Shared]) -> None:
    one, other = shared
    waits = [(one if i % 2 else other).spend("10.0.0.1", 2) for i in range(3)]
    assert waits[:2] == [0.0] * 2
    assert 0 < waits[-1] <= 30.0
    assert one.spend("10.0.0.2", 2) == 0.0


# -- what PostgreSQL forgets when it crashes, and a door that is taken for dead ---------------------------


def in_database(where: str, *statements: str) -> None:
    with Store(where) as store, store.database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_crash_of_the_database_in_mid_reply_costs_no_word(
    where: str, two: tuple[Running, Running], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables of changes are empty then: what was shown is told anew, to readers at both doors."""
    # after a crash doors wait before they take replies up
    monkeypatch.setattr(heartbeat, "STEADY", 10**6)
    monkeypatch.setattr(Leases, "settled", lambda self: False)
    one, other = two
    with one.chat() as here:
        conversation = here.new(settings=SETTINGS)
        here.post("send", text="hello")
        gate.allow(20)
        for _ in range(15):
            here.until(TokenDrawn)
        with opened(other, conversation) as there:
            in_database(where, "TRUNCATE streams, changes, writers, rates")
            gate.open()
            for chat in (here, there):
                while not (chat.view.messages[-1].status == "complete" and len(chat.view.messages) == 2):
                    chat.read()
            kept = one.store.branch("local", conversation)[0]
            assert here.shown == there.shown == [message.text for message in kept]
            reply = here.shown[-1]
            there.say("and you?")
            read_to(here, there.view.last)
            assert here.view.messages == there.view.messages
        here.new(settings=SETTINGS)
        assert here.say("hello") == reply  # undisturbed


def test_the_end_of_a_reply_waits_for_a_database_that_is_away(
    two: tuple[Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = two
    finish, failures = one.store.finish_reply, [StoreError("gone"), StoreError("gone")]

    def failing(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        finish(*args, **kwargs)  # it is done, and the answer is lost
        monkeypatch.setattr(one.store, "finish_reply", finish)
        raise StoreError("gone")

    monkeypatch.setattr(one.store, "finish_reply", failing)
    with one.chat() as here:
        here.new(settings=SETTINGS)
        here.say("hello")
        assert here.view.messages[-1].status == "complete"
        assert not failures
