"""Facts on a disk: what the shelf in memory does, and that people are kept apart and deleted whole."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from convai.conversation.memory.facts import MemoryFull, NoSuchFact, OpenShelf, Shelf, new_fact
from convai.conversation.memory.memory import Memory
from convai.store import Store, StoreError
from tests.store.helpers import ANN, BOB, Chat


def test_a_store_does_what_a_shelf_in_memory_does(store: Store) -> None:
    for shelf in (OpenShelf(), store.memories):
        check_shelf(shelf)


def check_shelf(shelf: Shelf) -> None:
    old, new, other = (new_fact(text, created=n) for n, text in enumerate(("i row.", "i ski.", "i sew.")))
    assert list(shelf.facts(ANN)) == []
    shelf.put(ANN, old)
    first = shelf.revision(ANN)
    shelf.put(ANN, new, [old.id])
    shelf.put(BOB, other)
    assert shelf.revision(ANN) != first
    assert list(shelf.facts(ANN)) == [replace(old, instead=new.id), new]
    assert list(shelf.facts(BOB)) == [other]
    shelf.change(ANN, replace(new, text="i skate."))
    assert shelf.facts(ANN)[1].text == "i skate."
    with pytest.raises(NoSuchFact):
        shelf.change(BOB, new)
    assert shelf.drop(BOB, [new.id]) == 0
    assert shelf.drop(ANN, [old.id, "nonsense"]) == 1
    assert shelf.drop(ANN) == 1
    assert list(shelf.facts(ANN)) == []
    assert list(shelf.facts(BOB)) == [other]
    assert shelf.enabled(ANN)
    shelf.enable(ANN, False)
    assert (shelf.enabled(ANN), shelf.enabled(BOB)) == (False, True)
    shelf.enable(ANN, True)
    assert shelf.enabled(ANN)


def test_facts_outlive_their_conversation_and_the_process(where: str) -> None:
    with Store(where) as store:
        chat = Chat(store)
        store.memories.put(ANN, new_fact("i row.", conversation=chat.id))
        store.delete(ANN, chat.id)
    with Store(where) as again:
        assert [fact.text for fact in again.memories.facts(ANN)] == ["i row."]


def test_a_clock_that_stands_still_costs_no_order_and_hides_no_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    memory = Memory(store.memories, embed=None)
    told = ["my shoe size is 47.", "i row.", "i have a dog.", "i bake rye bread.", "i fear moths.", "i ski."]
    revisions = {store.memories.revision(ANN)}
    for text in told:
        memory.add(ANN, text)
        revisions.add(store.memories.revision(ANN))
    assert [fact.text for fact in memory.facts(ANN)] == told
    assert len(revisions) == len(told) + 1


def test_a_person_is_deleted_with_everything(store: Store, where: str) -> None:
    for owner in (ANN, BOB):
        Chat(store, owner).say("a word")
        store.memories.put(owner, new_fact(f"i am {owner} the heron."))
    store.memories.enable(ANN, False)
    before = store.memories.revision(ANN)
    store.memories.drop_person(ANN)
    assert store.find(ANN).items == ()
    assert store.memories.facts(ANN) == []
    assert store.memories.enabled(ANN)
    assert len(store.find(BOB).items) == len(store.memories.facts(BOB)) == 1
    store.memories.put(ANN, new_fact("i am new."))
    assert store.memories.revision(ANN) != before  # nobody takes what was known of the deleted for this


def test_nothing_of_a_forgotten_fact_stays_in_the_file(tmp_path: Path) -> None:
    with Store(tmp_path / "chats.db") as store:
        fact = new_fact("i hide the word xylophagous.")
        store.memories.put(ANN, fact)
        store.memories.drop(ANN, [fact.id])
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"xylophagous" not in left


def test_bounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.conversation.memory.facts.MOST_FACTS", 1)
    store.memories.put(ANN, new_fact("i row."))
    with pytest.raises(MemoryFull):
        store.memories.put(ANN, new_fact("i ski."))
    with pytest.raises(StoreError, match="owner"):
        store.memories.enable("", True)
