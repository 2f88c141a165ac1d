"""What calls an entry of a lorebook, where it goes, and that nothing in a book can hang a chat."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest

from convai.conversation import lore_keys
from convai.conversation.conversation import Place
from convai.conversation.lore import called_lore, constant_lore
from convai.conversation.lore_keys import MAX_STEPS, has_key, steps
from convai.core.character import Lorebook, LoreEntry
from convai.core.dialog import USER, Turn
from convai.text.cards.books import read_book
from convai.text.insertions import Insertion

CAT = LoreEntry("The cat is called Tom.", ("cat",))


def size(text: str) -> int:
    return len(text.split())


def place(*said: str, first: int = USER) -> Place:
    return Place.after([Turn((first + i) % 2, text) for i, text in enumerate(said)])


def called(book: Lorebook | LoreEntry, *said: str, **more: Any) -> list[Insertion]:
    book = book if isinstance(book, Lorebook) else Lorebook((book,))
    return called_lore([book], place(*said), lambda text: text, size, **more)


def texts(book: Lorebook | LoreEntry, *said: str, **more: Any) -> list[str]:
    return [one.text for one in called(book, *said, **more)]


def test_an_entry_stands_before_the_message_that_called_it_and_stays() -> None:
    assert called(CAT, "hi") == []
    (found,) = called(CAT, "hi", "hello", "a Cat?")
    assert (found.text, found.depth, found.kind, found.fades) == (CAT.content, 1, "lore", True)
    assert found.why == "“cat” in turn 3"
    (later,) = called(CAT, "hi", "hello", "a Cat?", "yes", "fine")
    assert later.depth == 3


def test_it_is_added_once_in_a_block_of_turns() -> None:
    said = ["cat" if i % 2 == 0 else "yes" for i in range(59)]
    assert [59 - (one.depth or 0) for one in called(CAT, *said)] == [0, 20, 40]


@pytest.mark.parametrize(
    ("entry", "said", "there"),
    [
        ({}, "concatenate", True),
        ({"whole_words": True}, "concatenate", False),
        ({"whole_words": True}, "the cat!", True),
        ({"case_sensitive": True}, "Cat", False),
        ({"enabled": False}, "cat", False),
        ({"selective": True, "secondary_keys": ("black", "white")}, "cat", False),
        ({"selective": True, "secondary_keys": ("black", "white")}, "black cat", True),
        ({"selective": True, "secondary_keys": ("black", "white"), "logic": "all"}, "black cat", False),
        ({"selective": True, "secondary_keys": ("black", "white"), "logic": "not_any"}, "black cat", False),
        ({"selective": True, "secondary_keys": ("black", "white"), "logic": "not_all"}, "black cat", True),
        ({"use_regex": True, "keys": (r"c.t\b",)}, "a cut", True),
        ({"use_regex": True, "keys": ("(",)}, "(", False),
        ({"keys": ("/c.T/i",)}, "CUT", True),
        ({"keys": ("/c.T/",)}, "CUT", False),
        ({"exclude_keys": ("dog",)}, "cat and dog", False),
        ({"additional_keys": ("dog",)}, "cat", False),
        ({"additional_keys": ("dog",)}, "cat and dog", True),
        ({"probability": 0.0}, "cat", False),
        ({"after": 1}, "cat", False),
        ({"activate": False}, "cat", False),
    ],
)
def test_what_calls_it(entry: dict[str, Any], said: str, there: bool) -> None:
    assert bool(texts(LoreEntry(**{"content": "x", "keys": ("cat",), **entry}), said)) is there


def test_conditions_on_turns() -> None:
    talk = ["cat", "yes"] * 6 + ["cat"]
    late = called(LoreEntry("x", ("cat",), after=3), *talk)
    assert [13 - (one.depth or 0) for one in late] == [6]
    once = LoreEntry("x", ("cat",), after_match="stop")
    assert len(called(once, *["cat", "yes"] * 30, "cat")) == 1
    keep = LoreEntry("x", ("cat",), after_match="keep")
    assert len(called(keep, "cat", *["yes", "no"] * 29)) == 3
    only = LoreEntry("x", ("cat",), greeting=1)
    assert texts(only, "cat", greeting=1) == ["x"]
    assert texts(only, "cat", greeting=0) == []


def test_the_scan_depth() -> None:
    for depth, there in ((0, False), (1, False), (2, False), (3, True)):
        book = Lorebook((LoreEntry("x", ("cat",), after=1),), scan_depth=depth)
        assert bool(texts(book, "cat", "yes", "no")) is there
    own = Lorebook((LoreEntry("x", ("cat",), after=1, scan_depth=3),), scan_depth=0)
    assert texts(own, "cat", "yes", "no") == ["x"]


def test_order_priority_and_budget() -> None:
    entries = (
        LoreEntry("one two three", ("k",), order=3, priority=1),
        LoreEntry("four five", ("k",), order=2, priority=5),
        LoreEntry("six", ("k",), order=1, priority=3),
    )
    assert texts(Lorebook(entries), "k") == ["six", "four five", "one two three"]
    assert texts(Lorebook(entries, budget=3), "k") == ["six", "four five"]


def test_recursion_is_bounded_and_can_be_prevented() -> None:
    chain = tuple(LoreEntry(f"key{i + 1} and key{i}", (f"key{i}",)) for i in range(30))
    assert len(texts(Lorebook(chain, recursive=True, budget=10_000), "key0 ")) >= 10
    assert len(texts(Lorebook(chain), "key29")) == 1 + sum(f"key{i}" in "key29" for i in range(29))
    itself = LoreEntry("cat cat", ("cat",))
    assert texts(Lorebook((itself,), recursive=True), "cat") == ["cat cat"]
    second = LoreEntry("x", ("Tom",))
    assert texts(Lorebook((CAT, second), recursive=True), "cat") == [CAT.content, "x"]
    assert texts(
        Lorebook((CAT, LoreEntry("x", ("Tom",), exclude_recursion=True)), recursive=True), "cat"
    ) == [CAT.content]
    silent = LoreEntry(CAT.content, ("cat",), prevent_recursion=True)
    assert texts(Lorebook((silent, second), recursive=True), "cat") == [CAT.content]
    hidden = Lorebook((LoreEntry("y {{hidden_key:Tom}}", ("cat",)), second), recursive=True)
    assert texts(hidden, "cat") == ["y", "x"]


def test_constant_entries_are_beside_the_persona_or_at_a_depth() -> None:
    book = Lorebook(
        (
            LoreEntry("a", constant=True, order=2, position="after_char"),
            LoreEntry("b", constant=True, order=1),
            LoreEntry("c", constant=True, depth=2),
            LoreEntry("d", activate=True),
        )
    )
    found = constant_lore([book], lambda text: text, size)
    assert [(one.text, one.ahead, one.depth) for one in found] == [
        ("b", True, None),
        ("a", False, None),
        ("d", True, None),
    ]
    assert {one.text for one in called(book, "hi")} == {"c"}


def test_a_depth_of_its_own() -> None:
    (found,) = called(LoreEntry("x", ("cat",), depth=0), "hi", "yes", "cat")
    assert found.depth == 0
    (deep,) = called(LoreEntry("x", ("cat",), depth=3), "hi", "yes", "cat")
    assert deep.depth == 3


def test_a_regular_expression_that_explodes_is_given_up() -> None:
    text = "a" * 5_000 + "!"
    begun = time.process_time()
    assert not has_key("(a+)+$", text, True, False, False)
    assert not has_key("(a|a)*b$", text + "x", True, False, False)
    assert not has_key("(a+)+$", text + "y", True, False, False), "not tried again"
    assert time.process_time() - begun < 20


def test_many_that_are_slow_take_no_longer_than_a_reply_may(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted, not timed: each search is said to take as long as one may."""
    now = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(now) * lore_keys.REGEX_SECONDS)
    monkeypatch.setattr(lore_keys, "time", clock)
    entries = [LoreEntry(f"x{i}", (f"/c[a]t{{{i}}}/",)) for i in range(1, 100)]
    book = Lorebook(
        (LoreEntry("first", ("/c.t/",)), *entries, LoreEntry("/plain/", ("cat",))),
        name="grain",
        budget=99_999,
    )
    found = texts(book, "a ca" + "t" * 200)
    assert [*found[:2], found[-1]] == ["first", "x1", "/plain/"]
    assert len(found) < 50, "those behind what the time is enough for"
    (line,) = [one.getMessage() for one in caplog.records if "too long together" in one.getMessage()]
    assert "grain" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("abc", 3),
        ("(ab){3}", 6),
        ("a{2,4}b", 5),
        (r"\(\)[)(]{9}", 11),
        ("((a{100}){100}){100}", 10**6),
        (")(", 1),
        ("x{", 2),
    ],
)
def test_a_regular_expression_is_as_large_as_it_is_written_out(pattern: str, size: int) -> None:
    assert steps(pattern) == size


def test_one_that_would_be_too_large_is_left_out_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    assert has_key("/(ab{9}){9}/", "abbbbbbbbb" * 9, True, False, False)
    assert not has_key(f"/((a{{{MAX_STEPS // 90}}}){{99}})|a/", "a", True, False, False)
    (record,) = caplog.records
    assert "repeats too much" in record.getMessage()


def test_a_book_has_so_many_keys_and_what_is_behind_is_told() -> None:
    entries = [{"keys": [f"k{n}x{i}" for i in range(200)], "content": f"c{n}"} for n in range(102)]
    book = read_book({"entries": entries}, "book")
    assert len(book.entries) == 100
    assert book.unused == ("entries (behind the first 20,000 keys)",)


def test_the_same_place_gives_the_same_whatever_was_asked_before() -> None:
    entry = LoreEntry("x", ("cat",), probability=50)
    talk = ["cat", "yes"] * 40 + ["cat"]
    whole = called(entry, *talk, seed=3)
    assert whole == called(entry, *talk, seed=3)
    latest = Place(tuple(place(*talk).turns[20:]), 81)
    part = called_lore([Lorebook((entry,))], latest, lambda text: text, size, seed=3)
    assert part == whole[len(whole) - len(part) :]
