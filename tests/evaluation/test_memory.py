"""What the memory is measured by: sessions of the same people, questions, perplexity; and its files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.evaluation.memory import read_labelled, read_told
from convai.evaluation.sessions import (
    ASKED,
    WAYS,
    answerable,
    ask_questions,
    pairs_of,
    perplexities,
    questions_of,
    told_of_user,
)
from tests.chatting import tiny_agent
from tests.conversation.test_scene import long_agent

FIRST = Dialog(
    (
        Turn(USER, "hi, i live in lima."),
        Turn(AGENT, "i am a nurse. do you have pets?"),
        Turn(USER, "yes, two cats"),
        Turn(AGENT, "nice."),
    ),
    (Persona(("i live in lima.", "my favorite color is teal.", "i have cats.")), Persona(("i am a nurse.",))),
    id="p7-session1",
)
LATER = Dialog(
    (Turn(USER, "where do i live?"), Turn(AGENT, "in lima."), Turn(USER, "right!"), Turn(AGENT, "yes.")),
    id="p7-session2",
)


def test_sessions_of_the_same_people_are_paired_from_both_chairs() -> None:
    one, other = pairs_of([LATER, FIRST, Dialog(id="p8-session1"), Dialog(id="p9-session3")])
    assert (one.first, one.later) == (FIRST, LATER)
    assert (other.first, other.later) == (FIRST.swapped(), LATER.swapped())
    with pytest.raises(DataError, match="NAME-session1"):
        pairs_of([Dialog(id="x")])


def test_questions_come_of_the_labelled_persona_and_are_found_where_they_were_told() -> None:
    pair = pairs_of([FIRST, LATER])[0]
    questions = list(questions_of(pair))
    assert [(one.ask, one.told) for one in questions] == [
        ("where do i live?", True),
        ("what is my favorite color?", False),
    ]
    assert answerable(questions) == {"questions": 2, "in_prompt": 0.5}


def test_replies_are_scored_in_each_way() -> None:
    agent = long_agent()
    pairs = pairs_of([FIRST, LATER])
    found = perplexities(agent, pairs)
    assert set(found) == {*WAYS, "counts"}
    # the ends of the agent's turns are learnt and measured too
    words = sum(len(agent.tokenizer.encode(turn.text)) + 1 for turn in LATER.turns)
    assert found["counts"] == {"pairs": 2, "tokens": words}
    assert all(math.isfinite(found[way]["ppl"]) for way in WAYS)
    assert found["without"]["tokens_added"] == found["whole"]["tokens_added"] == 0
    assert found["memory"]["tokens_added"] > 0
    assert len({found[way]["ppl"] for way in WAYS}) == len(WAYS)


def test_questions_are_asked_in_each_way() -> None:
    agent = long_agent()
    questions = list(questions_of(pairs_of([FIRST, LATER])[0]))
    asked = ask_questions(agent, questions)
    assert [one.question for one in asked] == questions
    assert all(set(one.answers) == set(one.right) == set(one.of_user) == set(ASKED) for one in asked)
    assert asked == ask_questions(agent, questions)


@pytest.mark.parametrize(
    ("answer", "so"),
    [
        ("You're a dentist, I think.", True),
        ("A dentist!", True),
        ("I'm a dentist.", False),
        ("I'm a nurse. Your job? A dentist.", True),
        ("You're a nurse.", False),
        ("Your guess. I'm a dentist.", False),
    ],
)
def test_an_answer_is_of_the_user_and_not_of_the_one_who_gives_it(answer: str, so: bool) -> None:
    assert told_of_user(answer, frozenset(["dentist"])) is so


@pytest.mark.parametrize(
    ("read", "entry", "message"),
    [
        (read_told, {"say": "i row.", "ask": "q", "right": "("}, "right: no regular expression"),
        (read_told, {"ask": "q", "right": "x"}, "say: expected text"),
        (read_labelled, {"say": "i row.", "facts": "i row."}, "make it a list"),
        (read_labelled, {"facts": []}, "say: expected text"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, read: Any, entry: object, message: str) -> None:
    file = tmp_path / "facts.jsonl"
    file.write_text(json.dumps(entry) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"facts.jsonl:1.*{message}"):
        read(file)
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="nothing in it"):
        read(file)


def test_a_model_with_few_positions_is_scored_on_what_all_ways_can_show() -> None:
    """Its prompts are cut, the whole first session's most of all."""
    agent = tiny_agent()
    long = Dialog(
        tuple(Turn(i % 2, "and then we walked home in the rain.") for i in range(40)), id="p7-session2"
    )
    found = perplexities(agent, pairs_of([FIRST, long])[:1])
    words = len(agent.tokenizer.encode("and then we walked home in the rain.")) + 1
    assert 0 < found["counts"]["tokens"] < 20 * words
    assert all(math.isfinite(found[way]["ppl"]) for way in WAYS)
