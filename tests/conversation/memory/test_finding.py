"""Facts found in what people say: plain cases, precision and recall on labelled turns, and bad input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from convai.conversation.memory.finding import MOST_FACTS, found_in
from convai.conversation.memory.statements import statements
from convai.core import resources
from convai.core.dialog import AGENT, USER, Turn
from convai.evaluation.memory import finding, read_labelled


def facts(text: str, ask: str = "") -> list[str]:
    turns = [Turn(AGENT, ask)] if ask else []
    return [found.text for found in found_in([*turns, Turn(USER, text)])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I have two dogs, do you?", ["I have two dogs."]),
        ("oh hi! i'm a nurse and my wife is a cook.", ["i'm a nurse.", "my wife is a cook."]),
        ("Yeah. I've lived in Lima since 2009.", ["I've lived in Lima since 2009."]),
        ("My boyfriend Tom is a chef. Tom works in Paris.",
         ["my boyfriend Tom is a chef.", "my boyfriend Tom works in Paris."]),
        ("My brother and I run a bakery.", ["my brother and I run a bakery."]),
        ("League of Legends is my favorite game.", ["my favorite game is League of Legends."]),
        ("hi, tracy here!", ["my name is tracy."]),
        ("nothing here", []),
        ("what music do you like?i love jazz", ["i love jazz."]),
        ("i just walked my two dogs", ["i have two dogs."]),
        ("my sister's friend was here", []),
        ("i wish my wife was here", []),
        ("i am so tired today", []),
        ("do you have a dog? i wish i had one", []),
        ("he said \"i am a king\" and left", []),
        ("if i were rich i would own a boat", []),
        ("tell me about your dog", []),
        ("i like it", []),
        ("i love you", []),
    ],
)  # fmt: skip
def test_what_lasts_is_found_and_nothing_else(text: str, found: list[str]) -> None:
    assert facts(text) == found


@pytest.mark.parametrize(
    ("ask", "text", "found"),
    [
        ("What's your name?", "Ann", ["my name is Ann."]),
        ("where do you live?", "in lima, it is warm", ["i live in lima."]),
        ("do you have any pets?", "yes, two cats", ["i have two cats."]),
        ("do you have any pets?", "no", ["i do not have any pets."]),
        ("are you married?", "yes!", ["i am married."]),
        ("how are you?", "fine", []),
        ("are you there?", "yes", []),
    ],
)
def test_short_answers_are_read_with_their_question(ask: str, text: str, found: list[str]) -> None:
    assert facts(text, ask) == found


def test_precision_and_recall_on_labelled_turns() -> None:
    labelled = read_labelled(resources.memory_turns_path())
    assert len(labelled) > 100
    for part in ("tune", "test"):
        scores = finding([turn for turn in labelled if turn.part == part])
        assert scores["facts"] > 30
        assert scores["precision"] >= 0.95
        assert scores["recall"] >= 0.9


def test_pronouns_are_replaced_by_what_the_resolver_says() -> None:
    asked: list[list[str]] = []

    def resolve(turns: Sequence[Turn]) -> list[Turn]:
        asked.append([turn.text for turn in turns])
        return [replace(turn, text=turn.text.replace("She", "My sister")) for turn in turns]

    told = Turn(USER, "My sister is a judge.")
    turns = [told, Turn(AGENT, "Nice."), Turn(USER, "She lives in Lima.")]
    (found,) = found_in(turns, resolve)
    assert (found.text, found.said) == ("my sister lives in Lima.", "She lives in Lima.")
    assert found_in(turns) == []
    assert asked == [[turn.text for turn in turns]]
    found_in([told], resolve)  # nobody is to be asked where there is no pronoun
    assert len(asked) == 1


def test_only_the_users_last_turn_is_read() -> None:
    told = [Turn(USER, "i am a nurse."), Turn(AGENT, "i am a baker.")]
    assert found_in(told) == []
    assert [found.text for found in found_in(told, speaker=AGENT)] == ["i am a baker."]
    assert found_in([]) == []


def test_a_correction_is_told_from_other_facts() -> None:
    (moved,) = found_in([Turn(USER, "no, i moved to oslo")])
    (lives,) = found_in([Turn(USER, "i live in oslo")])
    assert (moved.corrects, lives.corrects) == (True, False)


def test_long_turns_are_bounded() -> None:
    many = " ".join(f"i have {n} dogs." for n in range(2, 5000))
    assert len(found_in([Turn(USER, many)])) == MOST_FACTS
    assert found_in([Turn(USER, "i like " + "very " * 20_000 + "much tea")]) == []
    assert statements("(" * 4000 + "'" * 4000) == []


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("My partner's a cook.", ["my partner is a cook."]),
        ("mum died last winter", ["my mum died last winter."]),
        ("By trade I'm a welder.", ["I'm a welder."]),
        ("People call me Kit, you see.", ["my nickname is Kit."]),
        ("The band I'm in is called Blue Mud.", ["my band is called Blue Mud."]),
        ("I've got tickets for Rome in May.", ["I've got tickets for Rome in May."]),
        ("I've got to go", []),
        ("I've got a cold", []),
        ("I keep hens in the garden.", ["I keep hens in the garden."]),
        ("i keep things in the car", []),
        ("I take my tea with lemon.", ["I take my tea with lemon."]),
        ("I get migraines when I skip lunch.", ["I get migraines when I skip lunch."]),
        ("My tortoise Bob sleeps in a box.", ["my tortoise Bob sleeps in a box."]),
        ("my brother's car is red", ["my brother's car is red."]),
        ("i'm growing tired of this", []),
    ],
)
def test_what_people_tell_in_other_ways(said: str, kept: list[str]) -> None:
    assert [one.text for one in found_in([Turn(USER, said)], None)] == kept


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("hi, how are you doing? i'm pavel.", "my name is pavel."),
        ("I'm Oliver, since you ask.", "my name is Oliver."),
        ("Bram's the name, I drive a tram", "my name is Bram."),
        ("this is Joe", "my name is Joe."),
        ("never been on a plane", "i have never been on a plane."),
    ],
)
def test_what_is_told_in_few_words(text: str, fact: str) -> None:
    assert fact in [one.text for one in found_in([Turn(USER, text)])]


@pytest.mark.parametrize("text", ["i'm tired", "i'm rich", "i'm sunny today", "i've never been better"])
def test_moods_are_no_names(text: str) -> None:
    assert found_in([Turn(USER, text)]) == []


def test_a_sentence_that_answers_is_no_value_of_its_question() -> None:
    asked = [Turn(AGENT, "What's your favorite color?"), Turn(USER, "White is my favorite color.")]
    assert [one.text for one in found_in(asked)] == ["my favorite color is White."]
    asked = [Turn(AGENT, "What's your favorite drink?"), Turn(USER, "Well, I love iced tea.")]
    assert [one.text for one in found_in(asked)] == ["I love iced tea."]


def test_two_people_are_one_subject() -> None:
    found = found_in([Turn(USER, "Rhiannon and I are moving to Crete in June")], asides=True)
    assert [one.text for one in found] == ["Rhiannon and I are moving to Crete in June."]
