"""Among candidates the head's score counts, and what was said before, taken back, or unlikely costs."""

from __future__ import annotations

import pytest

from convai.conversation.ranking import OPPOSED, REPEATED, SURPRISING, Ranking
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.engine import Finished
from tests.chatting import scripted


def said(text: str, logprob: float = 0.0) -> Finished:
    return Finished(0, (1, 2, 3), text, logprob, 0.0, "stop")


def turns(*texts: str) -> list[Turn]:
    return [Turn((USER, AGENT)[i % 2], text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("I'm so glad you came!", 1.0),
        ("Im so tired of it", 0.0),
        ("glad", 0.0),
        ("I'm so glad for her.", 1 / 3),
        ("", 0.0),
    ],
)
def test_a_reply_loses_by_the_share_that_was_said_before(text: str, share: float) -> None:
    ranking = Ranking((), turns("i'm so tired of it", "what's new?", "I’m so glad you came."))
    assert ranking.lost(said(text)) == pytest.approx(REPEATED * share)


def test_a_short_reply_that_was_said_before_loses_too() -> None:
    assert Ranking((), turns("so do i")).lost(said("So do I!")) == REPEATED


@pytest.mark.parametrize(
    ("text", "opposes"),
    [
        ("no, i have no pets.", True),
        ("i am fine.", False),
        ("my age is 40.", True),
        ("i am 30 and i have a dog.", False),
        ("i am 40. i am 50.", True),
    ],
)
def test_a_reply_loses_that_takes_back_persona_or_an_earlier_reply(text: str, opposes: bool) -> None:
    ranking = Ranking(("i have a dog.",), turns("hm", "my age is 30.", "and your pets?"))
    assert ranking.lost(said(text)) == (OPPOSED if opposes else 0.0)


def test_an_unlikely_reply_loses() -> None:
    ranking = Ranking((), ())
    assert ranking.lost(said("hm", -8.0)) == pytest.approx(2.0 * SURPRISING)
    assert ranking.lost(said("hm", -2.0)) == pytest.approx(0.5 * SURPRISING)


def test_the_best_by_score_is_passed_over_where_it_takes_back_the_persona() -> None:
    persona = Persona(("i have a dog.",))
    good, bad = ("i love my dog.", 1.0), ("i have no dog.", 2.0)
    session, _ = scripted([bad, good], [("yes.", 1.0), ("no idea.", 2.0)], persona=persona, candidates=2)
    assert session.answer("do you have a dog?") == good[0]
    assert session.answer("really?") == "no idea."
