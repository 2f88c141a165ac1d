"""The tree of a conversation and its rules: where a reply stands, what is shown, what may be done."""

from __future__ import annotations

import pytest

from convai.conversation.conversation import (
    LOOK_BACK,
    MOST_REJECTED,
    Conversation,
    Place,
    ReplyTurn,
    reply_seed,
)
from convai.conversation.tree import Conflict, check_answerable
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn

NURSE = Persona(("i am a nurse.",))


def talk(*texts: str) -> Conversation:
    """The user begins, then turn about."""
    made = Conversation(NURSE)
    for number, text in enumerate(texts):
        made.add(number % 2, text, parent=made.leaf)
    return made


def shown(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.branch()]


def test_every_place_has_a_seed_of_its_own() -> None:
    seeds = {
        reply_seed(seed, turn, attempt, retry)
        for seed in (-1, 0, 1)
        for turn in range(5)
        for attempt in range(-1, 5)
        for retry in range(3)
    }
    assert len(seeds) == 3 * 5 * 6 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_place_counts_turns_that_it_does_not_hold() -> None:
    turns = [Turn(i % 2, str(i)) for i in range(LOOK_BACK + 7)]
    place = Place.after(turns)
    assert (len(place.turns), place.number) == (LOOK_BACK, LOOK_BACK + 7)
    assert place.turns[-1].text == str(LOOK_BACK + 6)
    assert Place.after(turns[7:], earlier=7) == place, "whoever holds fewer turns stands at the same place"


def test_another_reply_stands_beside_the_others_and_does_not_repeat_the_latest() -> None:
    conversation = talk("hi", "0")
    for number in range(1, MOST_REJECTED + 4):
        parent, place = conversation.again()
        assert (parent, place.attempt, place.number) == ("1", number, 1)
        conversation.add(AGENT, str(number), parent=parent, attempt=place.attempt)
    _, place = conversation.again()
    assert place.rejected == tuple(str(n) for n in range(4, MOST_REJECTED + 4))
    assert place.turns == (Turn(USER, "hi"),)
    assert conversation.again("1")[1] == place, "asked for by the message that it answers"
    assert conversation.again("2")[1] == place, "or by an older reply"


def test_the_first_reply_to_what_is_said_has_no_attempts() -> None:
    conversation = talk("hi", "hello")
    assert conversation.after("and?") == Place.after([Turn(0, "hi"), Turn(1, "hello"), Turn(0, "and?")])
    conversation.undo()
    assert conversation.after("hi") == Place.after([Turn(0, "hi")]), "as if nobody had said it before"


def test_undo_and_switch_move_and_delete_nothing() -> None:
    conversation = talk("a", "b", "c", "d")
    assert [message.text for message in conversation.undo()] == ["c", "d"]
    assert shown(conversation) == ["a", "b"]
    conversation.edit("1", "A")
    assert shown(conversation) == ["A"]
    conversation.switch("1")
    assert shown(conversation) == ["a", "b", "c", "d"], "to its newest end"
    conversation.switch("5")
    assert shown(conversation) == ["A"]
    conversation.undo()
    assert shown(conversation) == []
    with pytest.raises(Conflict, match="nothing to take back"):
        conversation.undo()
    assert len(conversation.messages) == 5


def test_a_reply_is_gone_on_with_at_its_own_place() -> None:
    conversation = talk("hi", "hel")
    parent, place = conversation.again()
    conversation.add(AGENT, "good d", parent=parent, attempt=place.attempt, interrupted=True)
    message, place = conversation.onward()
    assert (message.text, place.prefill, place.attempt, place.number) == ("good d", "good d", 1, 1)
    assert place.turns == (Turn(USER, "hi"),)
    assert conversation.onward("2")[1].attempt == 0
    conversation.add(USER, "well", parent=conversation.leaf)
    with pytest.raises(Conflict, match="only a reply"):
        conversation.onward()
    with pytest.raises(Conflict, match="something was said after"):
        conversation.onward("3")


def test_what_cannot_be_is_a_conflict() -> None:
    conversation = talk()
    for ask in (conversation.again, conversation.onward):
        with pytest.raises(Conflict, match="say something first"):
            ask()
        with pytest.raises(Conflict, match="there is no message 'nonsuch'"):
            ask("nonsuch")
    with pytest.raises(Conflict, match="the last message is a reply"):
        check_answerable(talk("hi", "hello").message())
    check_answerable(None)


def test_a_persona_has_versions_and_messages_say_which() -> None:
    conversation = talk("hi")
    conversation.set_persona(NURSE)
    assert conversation.version == 1, "nobody else"
    conversation.set_persona(Persona(("i ski.",)))
    message = conversation.add(AGENT, "hello", parent="1")
    assert (message.persona, conversation.persona.sentences) == (2, ("i ski.",))


def test_a_dialogue_is_a_conversation_and_one_again() -> None:
    dialog = Dialog(
        (
            Turn(USER, "hi"),
            ReplyTurn(AGENT, "c", ("a", "b"), attempt=2),
            Turn(USER, "and?"),
            ReplyTurn(AGENT, "d", interrupted=True),
        ),
        (Persona(("i wait.",)), NURSE),
        id="7",
        labels={"x": 1},
    )
    conversation = Conversation.of_dialog(dialog)
    assert conversation.dialog == dialog
    assert conversation.again("4")[1].attempt == 3
    assert [message.text for message in conversation.replies("1")] == ["a", "b", "c"]
