"""What a scene costs a chat, counted: new tokens, and those that are computed again."""

from __future__ import annotations

from convai.bench.context import Cost, figures, measure
from convai.conversation.agent import load_agent
from convai.core import resources
from convai.evaluation.memory import read_told


def test_what_is_computed_beside_the_new_is_computed_again() -> None:
    full = Cost(prompt=[10, 20, 30], computed=[10, 12, 30], new=[10, 10, 10])
    bare = Cost(prompt=[10, 15, 20], computed=[10, 5, 5], new=[10, 5, 5])
    found = figures({"with": full, "without": bare})
    assert (found["again_with"], found["again_without"]) == (22, 0)
    assert found["computed_ratio"] == 52 / 20
    assert found["first_token_ratio"] == 21 / 30


def test_several_chats_are_summed_up() -> None:
    one = {"with": Cost([9, 9, 10], [8, 8, 8], [6, 6, 6]), "without": Cost([9] * 3, [4] * 3, [3] * 3)}
    two = {"with": Cost([9, 9, 20], [8, 8, 8], [6, 6, 6]), "without": Cost([9] * 3, [4] * 3, [2] * 3)}
    found = figures(one, two)
    assert (found["computed_ratio"], found["again_ratio"]) == (2.0, 12 / 9)
    assert found["prompt_50"] == 15
    assert "again_ratio" not in figures({**one, "without": Cost([9] * 3, [4] * 3, [4] * 3)})


def test_what_was_told_is_asked_for_in_the_chat() -> None:
    agent = load_agent("persona-mini")
    told = read_told(resources.memory_facts_path("unseen"))
    costs = {share: measure(agent, 6, told=told, asked=share, embed=None) for share in (0.0, 1.0)}
    assert costs[1.0]["with"].prompt != costs[0.0]["with"].prompt
    assert costs[1.0]["without"].prompt != costs[0.0]["without"].prompt
