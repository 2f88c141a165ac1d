"""The memory beside a conversation: what it adds to prompts costs little, and what it learns is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from convai.conversation.conversation import Place
from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.listening import KIND, MemoryLearner, Recollection
from convai.conversation.memory.memory import Memory
from convai.conversation.memory.summary import WORDS, summary_of
from convai.conversation.memory.vectors import Floats
from convai.conversation.prompt_input import SUMMARY
from convai.conversation.scene import EMPTY, Scene
from convai.conversation.session import Session
from convai.core.dialog import AGENT, USER, Turn
from tests.chatting import NURSE, tiny_agent
from tests.conversation.test_scene import long_agent, talked

FACTS = (
    "my name is Marta.",
    "i live in Bergen.",
    "i like to bake bread.",
    "we drink tea with milk.",
    "i have a parrot named Gustav.",
)


def memory(*facts: str) -> Memory:
    kept = Memory(OpenShelf(), embed=None)
    for fact in facts or FACTS:
        kept.add("ann", fact)
    return kept


def test_lines_stay_where_they_were_called_for() -> None:
    source = Recollection(memory(), "ann", "later")
    turns = [Turn(USER, "what's my parrot called?"), Turn(AGENT, "Gustav."), Turn(USER, "right!")]
    first = source(Place(tuple(turns[:1]), 1))
    later = source(Place(tuple(turns), 3))
    assert [(one.text, one.depth, one.fades) for one in first] == [
        ("The user told you: my name is Marta. i live in Bergen.", None, False),
        ("The user told you: i have a parrot named Gustav.", 1, True),
    ]
    assert [(one.text, one.depth) for one in later] == [(first[0].text, None), (first[1].text, 3)]
    assert {one.kind for one in later} == {KIND}
    assert later[1].why == "called for by: what's my parrot called?"


def test_fifty_turns_with_a_memory_cost_little_more_than_without() -> None:
    _, _, plain = talked(EMPTY)
    scene = Scene((Recollection(memory(), "ann", "later"),))
    session, ends, computed = talked(scene)
    assert computed <= 1.3 * plain
    assert session.explain().account.tokens[KIND] > 50
    new = [end.timings.prompt_tokens - end.timings.reused_tokens for end in ends]
    assert sum(count > 200 for count in new) <= 10, "where the history is cut"


def test_a_memory_that_cannot_be_read_keeps_nobody_from_talking(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(OpenShelf):
        def facts(self, owner: str) -> list[object]:  # type: ignore[override]
            raise OSError("the disk is gone")

    source = Recollection(Memory(Broken(), embed=None), "ann", "c")
    assert source(Place((Turn(USER, "hi"),), 1)) == []
    assert "the memory could not be read" in caplog.text


def test_a_session_is_listened_to_and_says_what_was_kept() -> None:
    agent = tiny_agent()
    session = Session(agent, agent.engine(), NURSE)
    kept = memory("my name is Marta.")
    listener = MemoryLearner(kept, "ann", lambda: session.turns)
    session.on_turn = listener
    session.scene = Scene((Recollection(kept, "ann", lambda: listener.conversation),))
    first = listener.conversation
    session.answer("i live in lima.")
    session.answer("hello")
    (learnt,) = listener.news(10)
    (fact,) = learnt.kept
    assert (fact.text, fact.conversation, fact.turn) == ("i live in lima.", first, 0)
    assert listener.news() == []
    assert session.explain().account.tokens[KIND] > 0
    listener.begin()
    assert listener.conversation != first
    listener.close()


# -- what has left the window ------------------------------------------------------------------------


def test_a_summary_has_the_facts_of_both_and_what_holds() -> None:
    turns = [
        Turn(USER, "hi! i live in lima."),
        Turn(AGENT, "I am a nurse. Do you have any pets?"),
        Turn(USER, "yes, two cats"),
        Turn(AGENT, "how nice."),
        Turn(USER, "no, i moved to oslo."),
    ]
    assert (
        summary_of(turns)
        == "Earlier the user said: i have two cats. i moved to oslo. Earlier you said: I am a nurse."
    )
    assert summary_of([]) == summary_of(turns[3:4]) == ""


def test_a_summary_is_bounded_and_keeps_the_latest() -> None:
    turns = [Turn(USER, f"i have a dog named dog{chr(97 + n % 26)}{chr(97 + n // 26)}.") for n in range(300)]
    found = summary_of(turns)
    assert len(found.split()) <= WORDS
    assert "dogn" in found
    assert "dogaa" not in found


def test_what_leaves_the_window_is_summed_up_once_for_many_turns() -> None:
    """With a summary as much is computed as without, but for the summary itself."""
    said = ["i have two cats.", *["bread and tea we like, like we bread, and tea again"] * 49]

    def talk(scene: Scene) -> tuple[Session, int, list[str]]:
        agent = long_agent()
        engine = agent.engine()
        session = Session(agent, engine, NURSE, scene=scene)
        texts = []
        for text in said:
            session.answer(text)
            account = session.explain().account
            texts.append(next((one.text for one in account.insertions if one.kind == SUMMARY), ""))
        return session, engine.stats().tokens_computed, texts

    _, plain, _ = talk(EMPTY)
    session, computed, texts = talk(Scene(summary=summary_of))
    assert texts[0] == ""
    assert texts[-1].startswith("Earlier the user said: i have two cats.")
    assert len(dict.fromkeys(texts)) <= 8
    assert computed <= 1.3 * plain
    assert session.explain().left_out > 0


def test_the_same_place_has_the_same_summary_at_every_door() -> None:
    seen: list[int] = []

    def summary(turns: Sequence[Turn]) -> str:
        seen.append(len(turns))
        return summary_of(turns)

    agent = tiny_agent(n_positions=120)
    session = Session(agent, agent.engine(), NURSE, scene=Scene(summary=summary))
    for _ in range(6):
        session.answer("i have two cats.")
    explained = session.explain()
    assert explained.left_out
    assert {one.kind for one in explained.account.insertions} == {SUMMARY}
    assert max(seen) <= explained.left_out


def test_what_recalling_needs_is_made_while_it_is_listened() -> None:
    """In the thread that learns, when a conversation begins and behind each turn: no reply waits for it."""
    read: list[list[str]] = []

    def embed(texts: Sequence[str]) -> Floats:
        read.append(list(texts))
        return np.eye(len(texts), 4, dtype=np.float32)

    kept = Memory(OpenShelf(), embed=lambda: embed)
    kept.add("ann", "i live in Bergen.")
    learner = MemoryLearner(kept, "ann", lambda: [])
    learner(Turn(USER, "i have a parrot named Gustav."))
    learner.close()
    assert read == [["i live in Bergen."], ["i live in Bergen.", "i have a parrot named Gustav."]]
    kept.enable("ann", False)
    MemoryLearner(kept, "ann", lambda: []).close()
    assert len(read) == 2
