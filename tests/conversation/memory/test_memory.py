"""The memory: learnt, corrected, shown, edited, forgotten; each person's own; switched off."""

from __future__ import annotations

import pytest

from convai.conversation.memory.facts import MOST_CHARACTERS, Fact, MemoryFull, NoSuchFact, OpenShelf
from convai.conversation.memory.memory import Learnt, Memory
from convai.conversation.memory.recalling import lines
from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import ConvaiError, DataError

ANN, BOB = "ann", "bob"


def memory() -> Memory:
    return Memory(OpenShelf(), embed=None)


def tell(memory: Memory, text: str, owner: str = ANN, conversation: str = "c1") -> Learnt:
    return memory.learn(owner, [Turn(USER, text)], conversation=conversation, message="m1")


def texts(facts: list[Fact]) -> list[str]:
    return [fact.text for fact in facts]


def held(memory: Memory, ask: str, owner: str = ANN) -> list[str]:
    return list(lines(memory.recall(owner, [Turn(USER, ask)], conversation="c2")))


def test_what_is_told_is_kept_with_where_it_comes_from_and_once() -> None:
    kept = memory()
    (fact,) = tell(kept, "well, i live in lima now!").kept
    assert (fact.said, fact.conversation, fact.message) == ("well, i live in lima now!", "c1", "m1")
    assert fact.created > 0
    assert not tell(kept, "I live in Lima.")
    assert not tell(kept, "how are you?")
    assert texts(kept.facts(ANN)) == ["i live in lima now."]


def test_a_correction_takes_the_place_and_can_be_undone() -> None:
    kept = memory()
    tell(kept, "i live in lima.")
    learnt = tell(kept, "no, i moved to oslo.")
    assert (texts(list(learnt.kept)), texts(list(learnt.replaced))) == (
        ["i moved to oslo."],
        ["i live in lima."],
    )
    assert texts(kept.facts(ANN)) == ["i moved to oslo."]
    old, new = kept.facts(ANN, history=True)
    assert (old.instead, new.instead) == (new.id, None)
    assert "i live in lima." not in held(kept, "where do i live?")
    kept.bring_back(ANN, old.id)
    assert texts(kept.facts(ANN)) == ["i live in lima."]
    assert held(kept, "where do i live?") == ["i live in lima."]
    with pytest.raises(ConvaiError, match="this fact holds"):
        kept.bring_back(ANN, old.id)


def test_what_only_follows_is_kept_where_nothing_is_known() -> None:
    kept = memory()
    assert texts(list(tell(kept, "i walked my dog yesterday").kept)) == ["i have a dog."]
    assert not tell(kept, "my dog barked")
    tell(kept, "i have a cat named tom.")
    assert not tell(kept, "my cat is asleep")


def test_a_person_edits_and_forgets() -> None:
    kept = memory()
    tell(kept, "i live in lima.")
    tell(kept, "no, i moved to oslo.")
    tell(kept, "i have a dog.")
    fact = kept.facts(ANN)[0]
    assert kept.edit(ANN, fact.id, "i live in  Bergen.").text == "i live in Bergen."
    kept.forget(ANN, fact.id)  # and what was there before it, or it would be told again
    assert texts(kept.facts(ANN, history=True)) == ["i have a dog."]
    assert texts(list(kept.add(ANN, "my shoe size is 47").kept)) == ["my shoe size is 47"]
    assert kept.forget_all(ANN) == 2
    assert kept.facts(ANN, history=True) == held(kept, "what do i have?") == []


def test_nobody_sees_anothers_memory() -> None:
    kept = memory()
    (fact,) = tell(kept, "i live in lima.").kept
    assert kept.facts(BOB) == held(kept, "where do i live?", BOB) == []
    for act in (lambda: kept.forget(BOB, fact.id), lambda: kept.edit(BOB, fact.id, "x"),
                lambda: kept.bring_back(BOB, fact.id), lambda: kept.fact(BOB, fact.id)):  # fmt: skip
        with pytest.raises(NoSuchFact):
            act()
    tell(kept, "i live in oslo.", BOB)
    assert kept.forget_all(BOB) == 1
    assert texts(kept.facts(ANN)) == ["i live in lima."]


def test_one_switch_turns_it_off() -> None:
    kept = memory()
    tell(kept, "i live in lima.")
    kept.enable(ANN, False)
    assert not tell(kept, "i have a dog.")
    assert held(kept, "where do i live?") == []
    assert kept.enabled(BOB)
    kept.enable(ANN, True)
    assert held(kept, "where do i live?") == ["i live in lima."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 1_000_000, "fact: 1,000,000 characters; a fact has at most 300"),
        ("a\x1b[31mred", "fact: control characters"),
        ("  ", "fact: empty text"),
        (7, "fact: expected text"),
    ],
)
def test_what_can_be_no_fact_is_refused_in_one_line(text: str, message: str) -> None:
    kept = memory()
    with pytest.raises(DataError, match=message) as caught:
        kept.add(ANN, text)
    assert "\n" not in str(caught.value)
    assert kept.facts(ANN) == []


def test_a_full_memory_says_so_and_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.conversation.memory.facts.MOST_FACTS", 2)
    monkeypatch.setattr("convai.conversation.memory.memory.MOST_FACTS", 2)
    kept = memory()
    tell(kept, "i live in lima.")
    tell(kept, "i have a dog.")
    assert not tell(kept, "i have a cat.")
    with pytest.raises(MemoryFull, match="forget some"):
        kept.add(ANN, "i have a cat.")
    assert len(kept.facts(ANN)[0].text) <= MOST_CHARACTERS


def test_a_fact_of_a_turn_that_was_answered_is_learnt_from_its_question() -> None:
    kept = memory()
    turns = [Turn(USER, "hi"), Turn(AGENT, "Hello! What's your name?"), Turn(USER, "Marta")]
    (fact,) = kept.learn(ANN, turns).kept
    assert (fact.text, fact.turn) == ("my name is Marta.", 2)


def test_one_thing_in_the_place_of_another_is_a_correction() -> None:
    memory = Memory(OpenShelf(), embed=None)
    tell(memory, "our holiday is booked, two weeks in crete in august")
    tell(memory, "my best mate shireen's getting married in cyprus in june")
    tell(memory, "its kos not crete, i never listen when kofi does the booking")
    assert not any("two weeks in crete" in text for text in texts(memory.facts(ANN)))
    tell(memory, "scrap that, the marathon's off. i'm gonna do the swim in september instead")
    assert any("shireen" in text for text in texts(memory.facts(ANN)))  # an "'s" in common is nothing
    tell(memory, "that'd be niamh, she's a nurse at the children's hospital")
    assert any("niamh" in text for text in texts(memory.facts(ANN)))
    tell(memory, "there's a rescue greyhound asleep on my feet, pilot")
    tell(memory, "sorry, pilot's not a greyhound, he's a whippet")
    assert not any("rescue greyhound" in text for text in texts(memory.facts(ANN)))


def test_what_a_remark_says_beside_what_is_corrected_stays() -> None:
    memory = Memory(OpenShelf(), embed=None)
    tell(memory, "the flat's on the fifth floor, no lift, with a spaniel who refuses stairs")
    poodle = [Turn(USER, "actually it's not a spaniel, it's a poodle")]
    memory.learn(ANN, poodle, conversation="c1", message="m2")
    now = texts(memory.facts(ANN))
    assert "the flat's on the fifth floor, no lift." in now
    assert not any("refuses stairs" in text for text in now)
    rest = next(fact for fact in memory.facts(ANN) if "lift" in fact.text)
    assert rest.aside
    assert "spaniel" in rest.said
    # the correction is written anew: all of the remark holds again, and once
    memory.learn(ANN, [Turn(USER, "never mind")], conversation="c1", message="m3", retells="m2")
    assert [text for text in texts(memory.facts(ANN)) if "lift" in text] == [
        "the flat's on the fifth floor, no lift, with a spaniel who refuses stairs."
    ]


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        ("coffee keeps me up at night.", "i drink tea, not coffee", True),
        ("i drink coffee every morning.", "i drink tea, not coffee", False),
        ("my grandmother was born in crete.", "it's kos, not crete", True),
        ("we have two weeks in crete in august.", "it's kos, not crete", False),
        ("my brother is a vet.", "i'm a nurse, not a vet", True),
        ("my brother is a vet.", "no, my brother is a nurse, not a vet", False),
    ],
)
def test_a_contrast_takes_back_what_it_is_about_alone(old: str, new: str, stays: bool) -> None:
    memory = Memory(OpenShelf(), embed=None)
    memory.add(ANN, old)
    tell(memory, new)
    assert (old in texts(memory.facts(ANN))) is stays
