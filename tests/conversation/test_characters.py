"""A character in a conversation: what of its card stands where, greetings, the user, notes; and saving it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.agent import Agent
from convai.conversation.cast import Note, greetings, partner_texts, to_you
from convai.conversation.scene import Scene
from convai.conversation.session import Session
from convai.core.character import Character, Lorebook, LoreEntry
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Finished
from convai.text.cards import character_of, parse_card
from convai.text.cards.macros import Macros
from tests.chat_templates import chat_bytes
from tests.chatting import NURSE, tiny_agent
from tests.text.cards.test_character import CARD
from tests.tiny import tiny_model

ANN = character_of(parse_card(json.dumps(CARD), "card"))


def chatml(n_positions: int = 1500, **decoding: Any) -> Agent:
    tokenizer = chat_bytes()
    model = tiny_model(vocab_size=tokenizer.vocab_size, n_positions=n_positions)
    return Agent(model, tokenizer, DecodingConfig(max_length=8, seed=1, **decoding), None, "chatml")


def session_of(agent: Agent, character: Character = ANN) -> Session:
    session = Session(agent, agent.engine())
    session.set_character(character)
    return session


def shown(session: Session) -> str:
    """The prompt of the last reply as text, control tokens as signs."""
    rows = [row for row in session.explain().rows if row.logprob is None]
    return bytes(row.id if row.id < 256 else ord("|") for row in rows).decode(errors="replace")


def test_persona_sentences_alone_give_todays_ids() -> None:
    for agent in (chatml(), tiny_agent()):
        plain, cast = Session(agent, agent.engine(), NURSE), Session(agent, agent.engine())
        cast.set_character(Character.of_persona(NURSE))
        cast.decoding = plain.decoding = agent.decoding
        for session in (plain, cast):
            session.answer("hi")
        first, second = ([row.id for row in s.explain().rows if row.logprob is None] for s in (plain, cast))
        assert first == second
        assert cast.character is None


def test_in_a_system_block_the_cards_words_stay() -> None:
    session = session_of(chatml())
    session.conversation.partner = Persona(("i am a smith.",), "Bob")
    session.conversation.note = Note("It rains.", 1)
    assert session.greet() == "Morning, Bob!"
    session.answer("a cat?")
    text = shown(session)
    assert text.startswith(
        "|system\nStay in role.\nAnnie is a baker. She loves Bob.\nAnnie's personality: kind\n"
        "Scenario: a bakery\nThe user is called Bob.\nBob has told you: i am a smith.|\n"
        "|user\nhi|\n|assistant\nhello my dear|\n|assistant\nyes?|\n|assistant\nMorning, Bob!|\n"
    )
    assert text.endswith("|user\na cat?|\n|system\nBe brief.|\n|assistant\n")
    between = text.partition("Morning, Bob!|\n")[2]
    assert "|system\nA cat.|\n" in between
    assert "|system\nIt rains.|\n" in between
    assert "tired" in text
    kinds = set(session.explain().account.tokens)
    assert kinds == {
        "system", "description", "personality", "scenario", "user", "examples",
        "history", "lore", "note", "post_history",
    }  # fmt: skip


def test_in_the_blogs_frame_the_character_speaks_for_itself() -> None:
    session = session_of(tiny_agent(n_positions=600))
    session.conversation.partner = Persona(("i am a smith.",), "Bob")
    session.answer("hi")
    text = shown(session)
    assert text.startswith("|my name is Annie.i am a baker.i love you.kind.")
    for part in ("a bakery.", "Stay in role.", "you are called Bob.", "you are a smith.", "Be brief."):
        assert part in text.partition("|hi|")[0]
    assert "|hi|hello my dear|yes?|hi|" in text


def test_a_card_too_long_for_the_context_leaves_room_for_the_talk() -> None:
    long = Character("Ann", description="\n".join(f"Ann has a thing number {i}." for i in range(200)))
    session = session_of(chatml(n_positions=700), long)
    session.answer("hi")
    account = session.explain().account
    assert account.missing
    assert [one.text for one in account.insertions][:1] == ["Ann has a thing number 0."]
    assert account.tokens["history"] > 0


def test_greetings_are_chosen_by_drawing_again() -> None:
    session = session_of(chatml())
    assert session.greetings == ("Morning!", "Hi.", "Closed!")
    assert session.greet() == "Morning!"
    assert session.turns[0].speaker == AGENT
    said = []
    for _ in range(3):
        (event,) = session.regenerate()
        assert isinstance(event, Finished)
        said.append(event.text)
        assert session.turns[-1].text == event.text
    assert said == ["Hi.", "Closed!", "Morning!"]
    with pytest.raises(ConvaiError, match="said already"):
        session.greet()
    session.answer("hello")
    session.answer("how are you?")
    assert [turn.speaker for turn in session.turns] == [AGENT, USER, AGENT, USER, AGENT]
    session.reset()
    assert session.character == ANN
    with pytest.raises(ConvaiError, match="no greeting 9"):
        session.greet(8)


def test_a_greeting_keeps_its_lines_and_is_a_turn_of_one(tmp_path: Path) -> None:
    """Shown, drawn again, saved and loaded it has them; to the model it is what it always was."""
    lines, flat = '*She nods.*\n\n"Hello there."', '*She nods.* "Hello there."'
    book = Lorebook((LoreEntry("It is early.", constant=False, keys=("nods",), greeting=1),))
    card = replace(ANN, greetings=("Morning!", f"\n{lines}  \r\n"), book=book)
    session = session_of(chatml(), card)
    assert session.greet(1) == lines
    session.answer("hi")
    assert f"|assistant\n{flat}|\n" in shown(session)
    assert "It is early." in shown(session)
    again, one_lined = (
        session_of(chatml(), card),
        session_of(chatml(), replace(card, greetings=("Morning!", flat))),
    )
    session.save(tmp_path / "talk.json")
    again.load(tmp_path / "talk.json")
    assert [turn.text for turn in again.turns] == [turn.text for turn in session.turns]
    assert again.turns[0].text == lines
    one_lined.greet(1)
    assert one_lined.answer("hi") == session.turns[-1].text
    again.reset()
    again.greet()
    (event,) = again.regenerate()
    assert event.text == again.turns[0].text == lines


def test_pictures_in_a_greeting_are_not_said() -> None:
    said = '![tent](https://files.example/a.png)\n"Mind [the ink](https://example.org)!" <IMG src="x.png">'
    assert greetings(Character("Ann", greetings=(said, "![a](b)")), Macros("Ann", "Bob")) == (
        '"Mind [the ink](https://example.org)!"',
    )


def test_nobody_greets_without_a_greeting() -> None:
    session = session_of(chatml(), Character("Ann", description="A baker."))
    assert session.greet() == ""
    assert session.turns == ()


def test_a_saved_conversation_goes_on_with_all_of_it(tmp_path: Path) -> None:
    agent = chatml()
    first = session_of(agent)
    first.conversation.partner = Persona(("i am a smith.",), "Bob")
    first.conversation.note = Note("It rains.", 2)
    first.conversation.books = (Lorebook((LoreEntry("Rye is dear.", ("rye",)),), name="grain"),)
    first.greet(1)
    first.answer("rye?")
    first.save(tmp_path / "chat.jsonl")
    second = Session(agent, agent.engine())
    second.load(tmp_path / "chat.jsonl")
    assert (
        second.character,
        second.conversation.partner,
        second.conversation.note,
        second.conversation.books,
    ) == (
        first.character,
        first.conversation.partner,
        first.conversation.note,
        first.conversation.books,
    )
    assert first.answer("and oats?") == second.answer("and oats?")
    assert shown(first) == shown(second)
    assert "Rye is dear." in shown(second)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ("i am a smith.", "you are a smith."),
        ("My dog loves me", "your dog loves you"),
        ("I've two", "you have two"),
    ],
)
def test_what_the_user_says_is_said_to_them(own: str, told: str) -> None:
    assert to_you(own) == told


def test_a_user_without_a_name() -> None:
    texts = [one.text for one in partner_texts(Persona(("i bake.",)), blocks=True)]
    assert texts == ["The user has told you: i bake."]


def test_notes_are_bounded() -> None:
    with pytest.raises(SettingsError, match="use at most 10,000"):
        Note("x" * 10_001)
    with pytest.raises(SettingsError, match="a note at depth -1"):
        Note("x", -1)
    assert not Note(" ")


def test_fifty_turns_with_a_card_cost_little_more() -> None:
    """Lorebook, author's note and the character's: at most 1.3 times the tokens of those without them."""
    bare = Character("Ann", description="Ann is a baker. " * 5)
    book = Lorebook((LoreEntry("Bread is baked at night.", ("bread",)), LoreEntry("A cat.", constant=True)))
    full = Character("Ann", description="Ann is a baker. " * 5, book=book, note="Ann is tired.", note_depth=4)
    computed = []
    for character, note in ((bare, Note("")), (full, Note("It rains.", 4))):
        agent = chatml(n_positions=2048, min_length=8)
        engine = agent.engine()
        session = Session(agent, engine)
        session.set_character(character)
        session.conversation.note = note
        for number in range(50):
            session.answer(
                f"message {number} about {'bread' if number % 3 == 0 else 'tea'} and more, my dear"
            )
        computed.append(engine.stats().tokens_computed)
    assert computed[1] <= 1.3 * computed[0]


def test_examples_are_no_part_of_what_was_said() -> None:
    session = session_of(chatml())
    session.answer("hi")
    assert [turn.text for turn in session.turns][:1] == ["hi"]
    assert session.turns[0] == Turn(USER, "hi")


def test_macros_tell_when_the_conversation_was_begun_and_keep_telling_it(tmp_path: Path) -> None:
    ticks = iter(range(1_781_000_000_000, 1_782_000_000_000, 86_400_000))  # a clock that a day passes on
    agent = chatml()
    card = Character("Ann", description="It is {{isodate}}, a {{weekday}}.", greetings=("{{isotime}}!",))

    def session() -> Session:
        made = Session(agent, agent.engine(), clock=lambda: next(ticks))
        made.set_character(card)
        return made

    def local(day: int) -> datetime:
        return datetime.fromtimestamp(1_781_000_000 + 86_400 * day)

    first = session()
    assert first.greet() == f"{local(0):%H:%M}!"
    for said in ("hi", "and now?"):
        first.answer(said)
        assert f"It is {local(0):%Y-%m-%d}, a {local(0):%A}." in shown(first)
    first.save(tmp_path / "talk.json")
    second = session()
    second.load(tmp_path / "talk.json")
    second.answer("still?")
    assert f"It is {local(0):%Y-%m-%d}," in shown(second)
    second.reset()
    second.answer("hi")
    assert f"It is {local(2):%Y-%m-%d}," in shown(second)


@pytest.mark.parametrize("began", [0, -5, 10**18])
def test_a_time_that_nobody_knows_is_left_out(began: int) -> None:
    scene = Scene(character=Character("Ann", greetings=("It is {{time}}. Hello!",)), began=began)
    assert scene.greetings() == ("Hello!",)
