"""What features add to a conversation's prompts: the same at every door, accounted for, and cheap."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from convai.conversation.agent import Agent
from convai.conversation.conversation import Place
from convai.conversation.scene import EMPTY, Scene
from convai.conversation.session import Session
from convai.core.dialog import USER
from convai.core.settings import DecodingConfig
from convai.engine import Finished
from convai.text.history import LONG
from convai.text.insertions import Insertion, repeated
from tests.chat_templates import chat_bytes
from tests.chatting import NURSE, tiny_agent
from tests.tiny import tiny_model


def long_agent() -> Agent:
    """Random weights in ChatML, a token a byte, and a context of its whole length."""
    tokenizer = chat_bytes()
    model = tiny_model(vocab_size=tokenizer.vocab_size, n_positions=LONG)
    decoding = DecodingConfig(max_length=16, min_length=16, temperature=1.0, seed=1)
    return Agent(model, tokenizer, decoding, None, "long")


def book(place: Place) -> Sequence[Insertion]:
    """Something in the system block, and a note that is said again and again."""
    fixed = Insertion("Bread is baked at night.", None, "lore", why="constant")
    return [fixed, *repeated("Be brief.", 4, "note", place.turns, place.number)]


def recalled(place: Place) -> Sequence[Insertion]:
    """A memory before every third message of the user, where it stays."""
    earlier = place.number - len(place.turns)
    asked = [i for i, turn in enumerate(place.turns, earlier) if turn.speaker == USER and i % 6 == 0]
    return [Insertion(f"You know of {i}.", place.number - i, "memory", fades=True) for i in asked]


def talked(scene: Scene, turns: int = 50) -> tuple[Session, list[Finished], int]:
    """A conversation, the ends of its replies, and the tokens that were computed."""
    agent = long_agent()
    engine = agent.engine()
    session = Session(agent, engine, NURSE, scene=scene)
    rng = random.Random(0)
    ends = []
    for _ in range(turns):
        *_, end = session.say(" ".join(rng.choice(("tea", "bread", "we", "like")) for _ in range(10)))
        assert isinstance(end, Finished)
        ends.append(end)
    return session, ends, engine.stats().tokens_computed


def test_what_is_added_leaves_most_of_the_prompt_computed() -> None:
    """50 turns: little more is computed than without, and the last turn costs what an early one does."""
    _, _, plain = talked(EMPTY)
    session, ends, computed = talked(Scene((book, recalled)))
    assert computed <= 1.3 * plain
    new = [end.timings.prompt_tokens - end.timings.reused_tokens for end in ends]
    again = [number for number, count in enumerate(new) if count > 200]
    assert len(again) <= 10, "where the history is cut"
    assert {"persona", "lore", "note", "memory", "history"} == set(session.explain().account.tokens)


def test_the_account_adds_up() -> None:
    session, _, _ = talked(Scene((book, recalled)), 12)
    explained = session.explain()
    account = explained.account
    shown = [row for row in explained.rows if row.logprob is None]
    for part in account.tokens:
        assert account.tokens[part] == sum(row.part == part for row in shown)
    assert sum(account.tokens.values()) + account.reply + account.free == account.positions
    assert account.left_out == explained.left_out
    assert {one.kind for one in account.insertions} == {"lore", "note", "memory"}


def test_what_has_no_room_is_named() -> None:
    agent = tiny_agent(n_positions=200)
    long = Insertion("x" * 150, None, "lore", why="key x")
    session = Session(agent, agent.engine(), NURSE, scene=Scene((lambda _: [long],)))
    session.answer("hi")
    assert session.explain().account.missing == (long,)


@pytest.mark.parametrize("agent", [tiny_agent(), long_agent()], ids=["blog", "chatml"])
def test_suggestions_are_drawn_from_the_same_prompt(agent: Agent) -> None:
    """The prefix is shared: of a suggestion's prompt only the end is new."""
    engine = agent.engine()
    session = Session(agent, engine, NURSE, scene=Scene((book,)))
    session.answer("hello there, how are you?")
    before = engine.stats().tokens_computed
    session.suggest(1)
    assert engine.stats().tokens_computed - before < 120
