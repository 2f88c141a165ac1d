"""A chat as it grows: places in messages, the same as read at once, nothing read twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.dialog import AGENT, USER, Turn
from convai.coref.chat import ChatReader, Linked
from convai.coref.parsing.load import load_parser
from tests.coref.stand_in import StandIn

TURNS = [
    Turn(USER, "I do see Anna. My dog likes her!"),
    Turn(AGENT, "\tI see."),
    Turn(USER, ""),
    Turn(USER, "She sleeps in Paris."),
    Turn(AGENT, "my dog likes Paris"),
]


@pytest.fixture(scope="module")
def nlp(parser_folder: Path):
    return load_parser(parser_folder)


def test_mentions_are_places_in_messages(nlp) -> None:
    found = ChatReader(nlp, StandIn())(TURNS)
    texts = [[TURNS[turn].text[start:end] for turn, start, end in link.mentions] for link in found]
    assert texts == [["I", "My"], ["Anna", "her", "She"], ["I", "my"], ["Paris", "Paris"]]
    assert [link.main for link in found] == ["I", "Anna", "I", "Paris"]
    assert found[1] == Linked("Anna", ((0, 9, 13), (0, 28, 31), (3, 0, 3)))


def test_a_chat_that_goes_on_is_the_same_and_no_turn_is_read_twice(nlp) -> None:
    resolver = StandIn()
    reader = ChatReader(nlp, resolver)
    for i in range(len(TURNS) + 1):
        assert reader(TURNS[:i]) == ChatReader(nlp, StandIn())(TURNS[:i])
    [growing] = resolver.begun
    assert growing.added == len(growing.sentences) == sum(len(reader.prepare(turn)[0]) for turn in TURNS)


def test_a_chat_that_was_changed_begins_anew(nlp) -> None:
    resolver = StandIn()
    reader = ChatReader(nlp, resolver)
    reader(TURNS)
    for other in (TURNS[:2], [*TURNS[:2], Turn(AGENT, "Anna likes Paris")], TURNS[1:], []):
        assert reader(other) == ChatReader(nlp, StandIn())(other)
    assert len(resolver.begun) > 1


def test_pronouns_are_resolved_as_they_were_understood_when_they_were_said(nlp) -> None:
    turns = [
        Turn(USER, "I do see Anna. She sleeps!"),
        Turn(AGENT, "She sleeps. I see her dog."),
        Turn(USER, ""),
        Turn(USER, "I see that she sleeps in Paris."),
    ]
    reader = ChatReader(nlp, StandIn())
    reader(turns[:1])
    found = reader.resolved(turns)
    assert [turn.text for turn in found] == [
        "I do see Anna. Anna sleeps!",
        "Anna sleeps. I see Anna's dog.",
        "",
        "I see that Anna sleeps in Paris.",
    ]
    assert [turn.speaker for turn in found] == [turn.speaker for turn in turns]
    assert all(ChatReader(nlp, StandIn()).resolved(turns[:i]) == found[:i] for i in range(5))
    assert reader(turns) == ChatReader(nlp, StandIn())(turns)
    assert reader.resolved([*turns, Turn(AGENT, "Anna, she sleeps.")])[-1].text == "Anna, Anna sleeps."
    assert reader.resolved([Turn(AGENT, "She sleeps."), *turns])[0].text == "She sleeps."
