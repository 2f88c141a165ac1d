"""Tokens of replies on PostgreSQL: one statement where all is as the door knows it, else the long way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, text

from convai.store import Store
from convai.store.change_records import DrawnToken, Numbered, Posted, Refused
from convai.store.loop_statement import LoopStatement
from convai.store.shared import Shared
from tests.postgresql import schema

SEED = 2**62


@pytest.fixture
def stores() -> Iterator[tuple[Store, Store]]:
    with schema() as where, Store(where) as one, Store(where) as other:
        yield one, other


def shared(store: Store) -> Shared:
    assert store.shared is not None
    return store.shared


@contextmanager
def statements(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The first words of what is asked of the database in the block."""
    said: list[str] = []

    def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(" ".join(statement.split()[:2]))

    row = LoopStatement.row

    async def telling(asked: LoopStatement, *values: str) -> list[str | None]:
        said.append("tokens")
        return await row(asked, *values)

    event.listen(store.database.engine, "before_cursor_execute", before)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(LoopStatement, "row", telling)
            yield said
    finally:
        event.remove(store.database.engine, "before_cursor_execute", before)


def append(store: Store, *posted: Posted) -> list[Numbered | Refused]:
    """As a door does it."""
    return asyncio.run(shared(store).changes.append_in_loop(posted, asyncio.to_thread))


def tokens(conversation: str, *ids: int, at: tuple[str, int] | None, **fields: Any) -> Posted:
    makes = [partial(lambda id, n: f"{n} token {id}", id) for id in ids]
    return Posted(conversation, makes, [DrawnToken(id, SEED) for id in ids], reply="m", at=at, **fields)


def begun(store: Store, *conversations: str) -> dict[str, tuple[str, int]]:
    """Streams in which this door writes a reply: their newest numbers."""
    found = {}
    for conversation in conversations:
        post = Posted(conversation, [lambda n: f"{n} started"], [None], begins=0, live='{"id": "m"}')
        [numbered] = append(store, post)
        assert isinstance(numbered, Numbered)
        found[conversation] = numbered.stream, numbered.first
    return found


def test_tokens_of_many_conversations_are_one_statement(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stores
    at = begun(one, "b", "a", "c")
    with statements(one, monkeypatch) as said:
        posts = tokens("b", 1, 2, at=at["b"]), tokens("a", 3, at=at["a"]), tokens("c", 4, at=at["c"])
        numbered = append(one, *posts)
    assert said == ["tokens"]
    assert numbered == [
        Numbered(at["b"][0], 2, ["2 token 1", "3 token 2"]),
        Numbered(at["a"][0], 2, ["2 token 3"]),
        Numbered(at["c"][0], 2, ["2 token 4"]),
    ]
    found = shared(other).changes.after("b", 0)
    assert found.frames == [(1, "1 started"), (2, "2 token 1"), (3, "3 token 2")]
    assert (found.last, found.writer) == (3, shared(one).id)


def test_what_has_moved_on_takes_the_long_way_and_the_others_do_not(stores: tuple[Store, Store]) -> None:
    one, other = stores
    at = begun(one, "a", "b")
    [title] = append(other, Posted("a", [lambda n: f"{n} title"], [None]))
    assert isinstance(title, Numbered)
    assert title.first == 2
    numbered = append(one, tokens("a", 1, at=at["a"]), tokens("b", 2, at=at["b"]))
    assert numbered == [Numbered(at["a"][0], 3, ["3 token 1"]), Numbered(at["b"][0], 2, ["2 token 2"])]
    assert [n for n, _ in shared(other).changes.after("a", 0).frames] == [1, 2, 3]


def test_what_was_told_already_is_not_told_twice(stores: tuple[Store, Store]) -> None:
    one, other = stores
    at = begun(one, "a")["a"]
    post = tokens("a", 1, at=at)
    assert append(one, post) == [Numbered(at[0], 2, ["2 token 1"])]
    assert append(one, post) == [Numbered(at[0], 3, [])]  # its answer was lost: it is there
    assert [n for n, _ in shared(other).changes.after("a", 0).frames] == [1, 2]


def test_only_who_writes_the_reply_tells_its_tokens(stores: tuple[Store, Store]) -> None:
    one, other = stores
    at = begun(one, "a")["a"]
    assert append(other, tokens("a", 1, at=at)) == [Refused.ELSEWHERE]
    assert append(one, tokens("a", 1, at=("another life", 1))) == [Numbered(at[0], 2, ["2 token 1"])]
    [end] = append(one, tokens("a", 2, at=(at[0], 2), ends=True))
    assert isinstance(end, Numbered)
    assert append(one, tokens("a", 3, at=(at[0], 3))) == [Refused.ELSEWHERE]


def test_old_changes_are_forgotten_on_the_way(stores: tuple[Store, Store]) -> None:
    """Those of the reply itself are kept however many there are; the others go when it has ended."""
    one, _ = stores
    stream, last = begun(one, "a")["a"]
    for _ in range(40):
        [numbered] = append(one, tokens("a", *range(10), at=(stream, last)))
        assert isinstance(numbered, Numbered)
        last = numbered.first + 9
    kept = shared(one).changes.after("a", 0).frames
    assert [n for n, _ in kept] == list(range(1, 402))
    append(one, tokens("a", *range(70), at=(stream, last), ends=True))
    append(one, Posted("a", [lambda n: f"{n} title"] * 70, [None] * 70))
    first = shared(one).changes.after("a", 0).frames[0][0]
    assert first > 200


def test_doors_hear_of_many_conversations_at_once(stores: tuple[Store, Store]) -> None:
    one, other = stores
    names = [f"c{i:03}" for i in range(150)]
    at = begun(one, *names)
    for name in names:
        shared(other).changes.follow(name)
    heard: list[str] = []
    listening, ended, all_of_them = threading.Event(), threading.Event(), threading.Event()

    def tell(said: str) -> None:
        heard.append(said)
        if sum(len(one.split()) // 3 for one in heard) >= len(names):
            all_of_them.set()

    thread = threading.Thread(target=shared(other).changes.listen, args=(tell, listening.set, ended))
    thread.start()
    assert listening.wait(60)
    append(one, *(tokens(name, 1, at=at[name]) for name in names))
    assert all_of_them.wait(60)
    ended.set()
    thread.join()
    assert len(heard) == 3  # and not 150
    assert all(said.startswith(f"told {shared(one).id} ") for said in heard)
    said = [word for said in heard for word in said.split()[2:]]
    assert dict(zip(said[::3], said[1::3], strict=True)) == dict.fromkeys(names, "2")
    assert dict(zip(said[::3], said[2::3], strict=True)) == {name: at[name][0] for name in names}


def test_doors_hear_of_what_they_follow_and_of_nothing_else(stores: tuple[Store, Store]) -> None:
    one, other = stores
    at = begun(one, "a", "b")
    heard: list[str] = []
    listening, ended, come = threading.Event(), threading.Event(), threading.Event()

    def tell(said: str) -> None:
        heard.append(said.split()[2])
        come.set()

    def told(*posts: Posted) -> None:
        """A notification comes behind all that were told before."""
        come.clear()
        for post in posts:
            append(one, post)
        assert come.wait(60)

    thread = threading.Thread(target=shared(other).changes.listen, args=(tell, listening.set, ended))
    thread.start()
    assert listening.wait(60)
    shared(other).changes.follow("a")
    told(tokens("b", 1, at=at["b"]), tokens("a", 1, at=at["a"]))
    assert heard == ["a"]
    shared(other).changes.leave(["a"])
    shared(other).changes.follow("b")
    title = [lambda n: f"{n} title"]
    told(Posted("a", title, [None]), Posted("b", title, [None]))
    assert heard == ["a", "b"]
    ended.set()
    thread.join()


def test_a_door_that_is_gone_follows_nothing(stores: tuple[Store, Store]) -> None:
    one, other = stores
    begun(one, "a")
    for store in stores:
        assert shared(store).leases.beat()
        assert not shared(store).leases.beat()
        shared(store).changes.follow("a")
    with one.database.write() as connection:
        connection.execute(text("UPDATE writers SET seen = 0 WHERE id = :id"), {"id": shared(other).id})
    shared(one).sweep()
    with one.database.read() as connection:
        assert connection.execute(text("SELECT followers FROM streams")).scalar() == shared(one).id
    assert shared(other).leases.beat()  # and so it knows that it was taken for gone
