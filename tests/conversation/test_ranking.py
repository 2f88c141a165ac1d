"""Among candidates the head's score counts, and what was said before, taken back, or unlikely costs."""

from __future__ import annotations

import pytest

from convai.conversation.ranking import (
    ASKED_AGAIN,
    ASKING,
    DENIED,
    IDLE,
    KNOWN,
    LEAVING,
    MADE_UP,
    OF_ITSELF,
    OPPOSED,
    RECALLED,
    REPEATED,
    SURPRISING,
    TAKEN_OVER,
    Ranking,
)
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.engine import Finished
from tests.chatting import scripted


def said_(text: str, logprob: float = 0.0) -> Finished:
    return Finished(0, (1, 2, 3), text, logprob, 0.0, "stop")


def turns(*texts: str) -> list[Turn]:
    return [Turn((USER, AGENT)[i % 2], text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("I'm so glad you came!", 1.0),
        ("He is so tired of it", 0.0),
        ("glad", 0.0),
        ("I'm so glad for her.", 1 / 3),
        ("", 0.0),
    ],
)
def test_a_reply_loses_by_the_share_that_was_said_before(text: str, share: float) -> None:
    ranking = Ranking((), turns("i'm so tired of it", "what's new?", "I’m so glad you came?"))
    assert ranking.lost(said_(text)) == pytest.approx(REPEATED * share)


@pytest.mark.parametrize(
    ("text", "gain"),
    [
        ("stick insects, two of them.", 1.0),
        ("i'm a plumber.", 0.5),
        ("a dog and a cat.", 0.0),
        ("i'm 20, and i keep stick insects.", -OPPOSED / KNOWN),
    ],
)
def test_an_answer_gains_that_tells_what_is_known_of_its_speaker(text: str, gain: float) -> None:
    persona = ("i keep stick insects.", "i am 44 and a plumber.")
    asked = turns("hello", "hi there", "which pets do you keep?")
    assert Ranking(persona, asked).lost(said_(text)) == pytest.approx(-KNOWN * gain)


def test_what_a_reply_says_twice_counts_alike() -> None:
    ranking = Ranking((), turns("hello there"))
    assert ranking.lost(said_("It rained all day. It rained all day!")) == pytest.approx(REPEATED / 3)
    assert ranking.lost(said_("no, no, no, no")) == pytest.approx(REPEATED / 2)


def test_a_short_reply_that_was_said_before_loses_too() -> None:
    assert Ranking((), turns("so do i")).lost(said_("So do I!")) == REPEATED


@pytest.mark.parametrize(
    ("text", "opposes"),
    [
        ("no, i have no pets.", True),
        ("i am fine.", False),
        ("i am 40.", True),
        ("i'm 30 and i have a dog.", False),
        ("i am 40. i am 50.", True),
    ],
)
def test_a_reply_loses_that_takes_back_persona_or_an_earlier_reply(text: str, opposes: bool) -> None:
    ranking = Ranking(("i have a dog.",), turns("hm", "i am 30, you know.", "what about pets?"))
    assert ranking.lost(said_(text)) == (OPPOSED if opposes else 0.0)


def test_a_reply_loses_that_takes_over_who_the_partner_is() -> None:
    keeper = "i have been a lighthouse keeper for years."
    said = turns("i'm a lighthouse keeper.", "nice.", "it's lonely.")
    assert Ranking(("i like tea.",), said).lost(said_(keeper)) == OPPOSED
    assert Ranking(("i am a lighthouse keeper.",), said).lost(said_(keeper)) == 0.0


def test_an_answer_loses_that_says_of_the_user_what_they_never_said() -> None:
    ranking = Ranking(("i am a roofer.",), turns("hi.", "hello!", "what's my job?"))
    assert ranking.lost(said_("you're a roofer, right?")) == MADE_UP
    assert ranking.lost(said_("you haven't told me yet.")) == 0.0
    told = Ranking(("i am a roofer.",), turns("i'm a vet.", "oh!", "what's my job?"))
    assert told.lost(said_("you're a vet.")) == -RECALLED
    asked = Ranking((), turns("i was born in rome.", "oh!", "where was i born?"))
    assert asked.lost(said_("i don't know, you never said.")) == DENIED
    remembered = Ranking((), turns("hi.", "hello!", "what's my job?"), ["The user is a vet."])
    assert remembered.lost(said_("you're a vet.")) == -RECALLED
    assert remembered.lost(said_("i'm a roofer.")) == OF_ITSELF


@pytest.mark.parametrize(
    ("heard", "text", "loses"),
    [
        ("I'm glad you are.", "Thank you! Bye!", True),
        ("I'm glad you are.", "Thank you, have a lovely day.", True),
        ("It was nice to meet you, bye!", "Talk soon, bye!", False),
        ("I have to go to bed now.", "Good night, sleep well.", False),
        ("What did you do?", "I have a long day.", False),
        ("What did you do?", "I slept. Did you have a good night?", False),
    ],
)
def test_a_reply_loses_that_takes_leave_of_somebody_who_stays(heard: str, text: str, loses: bool) -> None:
    assert Ranking((), turns(heard)).lost(said_(text)) == (LEAVING if loses else 0.0)


def test_an_unlikely_reply_loses() -> None:
    ranking = Ranking((), ())
    assert ranking.lost(said_("hm", -8.0)) == pytest.approx(2.0 * SURPRISING)
    assert ranking.lost(said_("hm", -2.0)) == pytest.approx(0.5 * SURPRISING)


def test_the_best_by_score_is_passed_over_where_it_takes_back_the_persona() -> None:
    persona = Persona(("i have a dog.",))
    good, bad = ("i love my dog.", 1.0), ("i have no dog.", 2.0)
    session, _ = scripted([bad, good], [("yes.", 1.0), ("no idea.", 2.0)], persona=persona, candidates=2)
    assert session.answer("do you have a dog?") == good[0]
    assert session.answer("really?") == "no idea."


def test_a_reply_loses_that_brings_nothing_new_to_a_statement() -> None:
    said = turns("hi", "hello!", "i'm so glad.")
    ranking = Ranking((), said)
    assert ranking.lost(said_("glad, me too.")) == IDLE
    assert ranking.lost(said_("glad about the harbour?")) == -ASKING
    assert ranking.lost(said_("the harbour was quiet.")) == 0.0
    asked = Ranking((), turns("hi", "hello!", "are you glad?"))
    assert asked.lost(said_("yes, glad.")) == 0.0


def test_a_reply_gains_that_asks_back_unless_asked_or_asking_all_the_time() -> None:
    question = said_("what's your garden like?")
    assert Ranking((), turns("hi", "hello!", "i was out digging.")).lost(question) == -ASKING
    assert Ranking((), turns("hi", "hello!", "do you dig")).lost(question) == 0.0
    assert Ranking((), turns("hi", "how is it going?", "i was out digging.")).lost(question) == 0.0
    assert Ranking((), turns("i was out digging.")).lost(question) == 0.0
    comfort = said_("i'm sorry to hear that. what's your garden like?")
    assert Ranking((), turns("hi", "hello!", "i was out digging.")).lost(comfort) == 0.0


@pytest.mark.parametrize(
    ("told", "question"),
    [
        ("i work as a baker.", "nice. what do you do for a living?"),
        ("i'm a piano mover.", "so, what do you do for a living?"),
        ("i live in oslo.", "where do you live?"),
        ("my name is tom.", "what's your name?"),
        ("i'm from norway.", "where are you from?"),
    ],
)
def test_a_reply_loses_that_asks_for_what_was_told(told: str, question: str) -> None:
    said = turns(told, "good to know.", "the weather is fine.")
    assert Ranking((), said).lost(said_(question)) == ASKED_AGAIN
    assert Ranking((), turns("hm.", *[turn.text for turn in said[1:]])).lost(said_(question)) == -ASKING


def test_a_reply_loses_that_takes_over_what_the_partner_is_like() -> None:
    said = turns("i am allergic to peanuts.", "oh dear.", "it is a bother.")
    same = "i am allergic to peanuts. the harbour was quiet."
    assert Ranking((), said).lost(said_(same)) == pytest.approx(TAKEN_OVER)
    assert Ranking((same,), said).lost(said_(same)) == 0.0
    assert Ranking((), said).lost(said_("i am allergic to peanuts too. the harbour was quiet.")) == 0.0
