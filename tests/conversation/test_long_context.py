"""A long conversation: what is cut from it depends on itself alone, and is seldom computed again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from convai.conversation.agent import Agent, load_agent
from convai.conversation.conversation import LOOK_BACK, Place
from convai.conversation.prompt_input import prompt_input
from convai.conversation.session import Session
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Finished
from convai.text.history import DEFAULT_CONTEXT, LONG
from convai.text.prompt import encode_persona
from convai.text.segments import build_prompt
from tests.chat_templates import chat_bytes
from tests.chatting import NURSE, tiny_agent
from tests.tiny import tiny_model

TURNS = 200


def long_agent() -> Agent:
    """Random weights in ChatML, a token a byte."""
    tokenizer = chat_bytes()
    model = tiny_model(vocab_size=tokenizer.vocab_size, n_positions=LONG)
    return Agent(model, tokenizer, DecodingConfig(max_length=8, temperature=1.0, seed=1), None, "long")


def test_a_prompt_is_seldom_computed_again() -> None:
    """Of 200 turns at most one in ten begins otherwise than the one before it."""
    agent = long_agent()
    engine = agent.engine()
    session = Session(agent, engine, NURSE)
    rng = random.Random(0)
    ends: list[Finished] = []
    while len(session.turns) < TURNS:
        text = " ".join(rng.choice(("tea", "bread", "we")) for _ in range(4))
        *_, end = session.say(text)
        assert isinstance(end, Finished)
        ends.append(end)
        assert end.timings.prompt_tokens + end.timings.tokens < DEFAULT_CONTEXT
    again = [end for end in ends if end.timings.reused_tokens < end.timings.prompt_tokens // 2]
    assert 2 <= len(again) <= TURNS // 10
    said = [end.timings.prompt_tokens for end in ends]
    assert min(said[20:]) > DEFAULT_CONTEXT // 3, "half of it stays"
    stats = engine.stats()
    assert stats.tokens_computed < sum(said) / 8, "what is new in each turn, and now and then a prompt"
    assert stats.tokens_reused > 0.85 * sum(said)


def test_what_is_shown_depends_on_the_conversation_alone() -> None:
    """A door that was told everything at once shows what one shows that was there from the beginning."""
    agent = long_agent()
    session = Session(agent, agent.engine(), NURSE)
    left_out = set()
    for number in range(40):
        session.answer(f"message {number} is as long as a message is")
        turns = session.turns[:-1]
        fresh = prompt_input(agent, NURSE, Place.after(turns), AGENT, max_history=None, max_length=8)
        assert fresh.prompt.ids == [row.id for row in session.explain().rows[: len(fresh.prompt)]]
        suggested = prompt_input(
            agent,
            NURSE,
            Place.after(session.turns),
            USER,
            max_history=None,
            max_length=agent.decoding.max_length,
        )
        assert suggested.left_out >= fresh.left_out
        left_out.add(fresh.left_out)
        persona = encode_persona(agent.tokenizer, NURSE)
        assert fresh.prompt.ids == build_prompt(agent.tokenizer.frame, persona, fresh.turns).ids
        assert not fresh.turns or fresh.turns[0].speaker == USER
    assert 2 <= len(left_out) <= 8, "it goes in large steps"


def test_a_place_that_knows_the_latest_turns_alone_cuts_in_steps_too() -> None:
    agent = long_agent()
    told = [Turn(i % 2, f"{i} is said") for i in range(3 * LOOK_BACK)]
    begins = set()
    for number in range(LOOK_BACK, len(told), 2):
        shown = prompt_input(
            agent, NURSE, Place.after(told[: number + 1]), AGENT, max_history=None, max_length=8
        )
        begins.add(shown.left_out)
        assert len(shown.turns) + shown.left_out == number + 1
        assert len(shown.prompt) > DEFAULT_CONTEXT // 3
    assert len(begins) <= (len(told) - LOOK_BACK) // 10


def test_what_was_told_fifteen_turns_ago_is_shown() -> None:
    agent = long_agent()
    session = Session(agent, agent.engine(), Persona())
    for number in range(60):
        session.answer(f"line {number}")
        if number >= 8:
            ids = [row.id for row in session.explain().rows]
            shown = bytes(id for id in ids if id < 256).decode(errors="replace")
            assert f"line {number - 7}\n" in shown


def test_the_context_is_the_models_or_what_is_asked_for(tmp_path: Path) -> None:
    agent = long_agent()
    assert (agent.positions, agent.engine().positions) == (DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    assert tiny_agent(n_positions=400).positions == 400
    agent.save(tmp_path)
    assert load_agent(tmp_path).positions == DEFAULT_CONTEXT
    assert load_agent(tmp_path, context=LONG).positions == LONG
    agent.context = 512
    agent.save(tmp_path)
    assert load_agent(tmp_path).engine().positions == 512
    with pytest.raises(SettingsError, match=r"^--context=9999: use 64 to the model's 2048 positions$"):
        load_agent(tmp_path, context=9999)


def test_a_long_context_has_no_number_of_exchanges(tmp_path: Path) -> None:
    agent = long_agent()
    agent.save(tmp_path)
    (tmp_path / "convai.json").unlink()
    assert load_agent(tmp_path).max_history is None
