"""Persona sentences of a card: what is used, how it is split and bounded, and what never gets there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import Persona, check_text
from convai.core.errors import DataError
from convai.text.cards import Card, card_persona, load_card, parse_card, persona_card, save_card
from convai.text.cards.prose import MAX_SENTENCE, resolved, sentences
from convai.text.personas import characters_of, personas_of
from tests.linear import is_linear


def card(**fields: object) -> Card:
    return Card({"name": "Ann", **fields})


def test_description_and_personality_make_the_persona() -> None:
    found = card_persona(
        card(description="{{char}} is a nurse. She likes {{user}}!", personality="kind, quick")
    )
    assert found.persona == Persona(
        ("my name is Ann.", "Ann is a nurse.", "She likes you!", "kind, quick."), "Ann"
    )
    assert (found.left_out, found.notes) == ((), ())


def test_nothing_else_gets_into_the_persona() -> None:
    secret = {
        field: f"secret {field}. {{{{char}}}} tells."
        for field in (
            "creator_notes",
            "system_prompt",
            "post_history_instructions",
            "creator",
            "character_version",
            "scenario",
            "first_mes",
            "mes_example",
            "unknown",
        )
    }
    lists = {field: ["secret"] for field in ("tags", "alternate_greetings", "source")}
    notes = {
        "creator_notes_multilingual": {"en": "secret"},
        "character_book": {"entries": [{"content": "secret"}]},
    }
    data = {"name": "Ann", "description": "i bake.", **secret, **lists, **notes}
    for document in (data, {"spec": "chara_card_v3", "data": data, **secret}):
        found = card_persona(Card(document))
        assert found.persona.sentences == ("my name is Ann.", "i bake.")
        assert "secret" not in " ".join((*found.left_out, *found.notes))
    assert found.creator_notes.startswith("secret creator_notes")
    assert found.greeting == "secret first_mes. Ann tells."


def test_what_does_not_fit_is_left_out_from_the_end_and_told() -> None:
    many = card(description=" ".join(f"fact number {i}." for i in range(30)))
    found = card_persona(many)
    assert len(found.persona.sentences) == 12
    assert found.left_out == tuple(f"fact number {i}." for i in range(11, 30))
    assert found.notes == ("19 of 31 sentences were left out; they do not fit",)
    assert len(card_persona(many, most=3).persona.sentences) == 3
    assert sum(map(len, card_persona(many, chars=60).persona.sentences)) <= 60


def test_a_model_says_what_it_holds() -> None:
    asked: list[int] = []

    def fits(persona: Persona) -> bool:
        asked.append(len(persona.sentences))
        return len(persona.sentences) <= 2

    found = card_persona(card(description="One fact. Two facts. Three facts."), fits=fits)
    assert found.persona.sentences == ("my name is Ann.", "One fact.")
    assert found.left_out == ("Two facts.", "Three facts.")
    assert asked == [1, 2, 3]


def test_a_long_sentence_is_cut_between_words_and_told() -> None:
    found = card_persona(card(description="word " * 100))
    last = found.persona.sentences[-1]
    assert len(last) <= MAX_SENTENCE
    assert last.endswith("word...")
    assert found.notes == ("a sentence of 500 characters was cut",)


def test_what_is_said_twice_counts_once() -> None:
    found = card_persona(card(description="# Ann\ni bake. I BAKE.", personality="i bake."))
    assert found.persona.sentences == ("my name is Ann.", "i bake.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? four", ["One.", "Two!", "Three?", "four."]),
        ("a line\nanother line\r\n\r\nthird", ["a line.", "another line.", "third."]),
        ("Dr. Smith met J. R. Jones. He left.", ["Dr. Smith met J. R. Jones.", "He left."]),
        ("# Title\n- **tall**\n* _dark_\n1. rich", ["Title: tall, dark.", "rich."]),
        ("## Likes\n\n- tea\n- cake\n\nTall.", ["Likes: tea, cake.", "Tall."]),
        ("**Likes:**\n- tea\n- cake", ["Likes: tea, cake."]),
        ("## Ann\n- Age: 5\n- **Job:** spy", ["Ann.", "Age: 5.", "Job: spy."]),
        ("Note:\n- she is old. she sleeps.", ["Note.", "she is old.", "she sleeps."]),
        (
            '[character("Ann") { Age("25") Likes("tea" + "long walks") }]',
            ["character: Ann.", "Age: 25.", "Likes: tea, long walks."],
        ),
        ("[Age: 25; Likes: tea, cake; Job: nurse]", ["Age: 25.", "Likes: tea, cake.", "Job: nurse."]),
        ("<b>bold</b> and <!-- hidden --> [a link](http://x.org/y)", ["bold and a link."]),
        ("... !!! --- 12 \u200b", []),
        ("tab\there \x1b[31mred\x07", ["tab here 31mred."]),
        ("\u201cquoted\u201d", ["quoted."]),
        ("\u79c1\u306f\u770b\u8b77\u5e2b\u3067\u3059", ["\u79c1\u306f\u770b\u8b77\u5e2b\u3067\u3059."]),
        ("", []),
    ],
)
def test_the_ways_cards_are_written(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tess Hollow is a smith. Tess likes fog.", ["i am a smith.", "i like fog."]),
        ("# Tess Hollow\nShe keeps bees.", ["i am Tess Hollow.", "i keep bees."]),
        ("[ Tess van der Hollow; Age: 34 ]", ["i am Tess van der Hollow.", "Age: 34."]),
        (
            'Tess Hollow = ["smith", "34"]\nTess Personality = ["dry"]\nTess loves = ["fog", "tea"]',
            ["i am smith, 34.", "my personality: dry.", "i love fog, tea."],
        ),
        (
            '{"name": "Tess", "likes": ["fog", "tea"], "bio": {"job": "smith", "age": 34}}',
            ["likes: fog, tea.", "job: smith.", "age: 34."],
        ),
        ("\U0001f30aTess\U0001f30a\n\U0001f56f\ufe0f Age: 34 \u2551\n\u2554\u2550\u2557", ["Age: 34."]),
        ("<p>She likes &quot;fog&quot; &amp; tea.</p>&nbsp;", ['i like "fog" & tea.']),
        ("{{user}}'s my apprentice. I like {{user}}'s hat.", ["you are my apprentice.", "I like your hat."]),
    ],
    ids="last-name heading list boostyle json signs entities short-is".split(),
)
def test_ways_to_write_who_tess_is(text: str, expected: list[str]) -> None:
    found = card_persona(card(name="Tess", description=text), own=True)
    assert list(found.persona.sentences) == ["my name is Tess.", *expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{char}} {{CHAR}} <BOT> <char> {{ char }}", "A A A A A"),
        ("{{user}} <USER> {{User}}", "U U U"),
        ("{{random:x,y}} {{pick::y,z}} {{reverse:abc}}", "x y cba"),
        ("{{// a comment}}{{comment: x}}{{hidden_key:k}}{{original}}", ""),
        ("{{roll:2d6}} cats", "7 cats"),
        ("{{char", "{{char"),
        ("{{{{char}}}}", ""),
        ("<start> 1 < 2", "<start> 1 < 2"),
    ],
)
def test_placeholders(text: str, expected: str) -> None:
    assert resolved(text, "A", "U") == expected


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert resolved("{{char}} and {{user}}", "{{user}}", "{{char}}") == "{{user}} and {{char}}"
    hostile = Card({"name": "{{user}}<bot>\n</s>", "description": "{{char}} is here."})
    assert card_persona(hostile).persona.sentences == ("my name is userbot /s.", "userbot /s is here.")


def test_what_a_persona_lacks_for_want_of_a_value_is_told() -> None:
    card = Card({"name": "Ann", "description": "{{char}} is {{getvar::age}}. She has {{// two }} cats."})
    found = card_persona(card, own=True)
    assert found.persona.sentences == ("my name is Ann.", "i have cats.")
    [note] = found.notes
    assert note == "nothing says here what {{getvar::age}} is; what needs it of its description is left out"


def test_a_card_without_a_name() -> None:
    found = card_persona(Card({"description": "{{char}} waits."}))
    assert found.persona == Persona(("this character waits.",))


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 50_000,
        "<a" * 50_000,
        "[" * 100_000,
        '"("' * 33_000,
        "A. " * 33_000,
        "a(" * 50_000,
        "!" * 100_000,
        "-" * 100_000,
        "[a](" * 25_000,
        " " * 100_000 + "x",
        'Age("' * 20_000,
        "a" * 10_000_000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    assert is_linear(
        lambda part: card_persona(card(description=part, personality=part, first_mes=part)), text
    )


PIECES = [*"<>[](){}:;+*-.a", " ", "\n", '"', "{{", "}}", "char", "user", "\x00", "\ud800"]


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join), st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_card_says_the_persona_is_clean(text: str, name: str, user: str) -> None:
    found = card_persona(Card({"name": name, "description": text, "personality": text}), user=user)
    assert len(found.persona.sentences) <= 12
    assert sum(map(len, found.persona.sentences)) <= 600
    for sentence in found.persona.sentences:
        assert check_text(sentence, "") == sentence
        assert len(sentence) <= MAX_SENTENCE


class TestBack:
    def test_a_persona_makes_a_card_that_makes_the_persona(self) -> None:
        persona = Persona(("my name is Ann.", "i am a nurse.", "i have two dogs."), "Ann")
        assert card_persona(persona_card(persona)).persona == persona

    def test_the_card_that_it_came_from_stays_when_nothing_was_changed(self, tmp_path: Path) -> None:
        base = parse_card(json.dumps({"name": "Ann", "description": "i bake.", "x": [1]}), "f")
        assert persona_card(card_persona(base).persona, base) is base

    def test_what_was_changed_is_changed_and_the_rest_stays(self) -> None:
        base = Card(
            {
                "spec": "chara_card_v3",
                "description": "old",
                "data": {
                    "name": "Ann",
                    "nickname": "Annie",
                    "description": "old",
                    "personality": "p",
                    "x": [1],
                },
            }
        )
        made = persona_card(Persona(("my name is Bo.", "i sail."), "Bo"), base)
        assert card_persona(made).persona == Persona(("my name is Bo.", "i sail."), "Bo")
        assert made.document["description"] == made.data["description"] == "i sail."
        assert (made.data["x"], made.data["personality"]) == ([1], "")
        assert base.data["description"] == "old"

    @pytest.mark.parametrize(
        "value",
        [["i bake.", "i ski."], {"persona": ["i bake.", "i ski."]}, {"Personality": "i bake. i ski."}],
    )
    def test_json_with_nothing_but_sentences_is_a_persona(self, value: object, tmp_path: Path) -> None:
        file = tmp_path / "me.json"
        file.write_text(json.dumps(value), "utf-8")
        assert [persona.sentences for persona in personas_of(str(file), "x")] == [("i bake.", "i ski.")]
        assert [one.sentences for one in characters_of(str(file), "x")] == [("i bake.", "i ski.")]

    def test_a_card_file_is_a_persona_for_the_terminal(self, tmp_path: Path) -> None:
        path = tmp_path / "ann.png"
        save_card(path, persona_card(Persona(("i bake.",), "Ann")))
        assert personas_of(str(path), "--persona") == [Persona(("my name is Ann.", "i bake."), "Ann")]
        assert load_card(path).version == 3
        (tmp_path / "empty.json").write_text('{"first_mes": "hi"}')
        with pytest.raises(DataError, match="says nothing of who somebody is"):
            personas_of(str(tmp_path / "empty.json"), "--persona")


def test_example_dialogue_in_a_description_is_no_persona_and_attributes_are_sentences() -> None:
    text = (
        '[Ann\'s traits= "kind", "brave"] [Ann\'s hair= "red"]\n{{user}}: "Who are you?"\n'
        "{{char}}: I bake.\nShe loves {{user}}'s dog."
    )
    found = card_persona(Card({"name": "Ann", "description": text}))
    assert found.persona.sentences == (
        "my name is Ann.",
        "Ann's traits: kind, brave.",
        "Ann's hair: red.",
        "She loves your dog.",
    )
    assert "2 lines of its description are an example dialogue and no persona" in found.notes


def test_what_stands_elsewhere_counts_where_the_description_is_blank() -> None:
    card = Card({"name": "Ann", "description": " ", "scenario": "Ann bakes.", "system_prompt": "You sing."})
    assert card_persona(card).persona.sentences == ("my name is Ann.", "Ann bakes.", "You sing.")


def test_pygmalions_fields_and_a_package() -> None:
    pygmalion = {
        "char_name": "Ann",
        "char_persona": "A baker.",
        "char_greeting": "Hi!",
        "world_scenario": "x",
    }
    found = card_persona(parse_card(json.dumps(pygmalion), "x"))
    assert (found.persona.sentences, found.greeting) == (("my name is Ann.", "A baker."), "Hi!")
    with pytest.raises(DataError, match="no character card but a package's description"):
        parse_card('{"name": "my-package", "version": "1.0.0", "description": "does things"}', "x")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("{{random:{{random:a,b}},c}} clocks", "a clocks"),
        ("{{random:{{user}},c}} asks", "Bob asks"),
        ("{{random:" * 30 + "a" + "}}" * 30, None),
    ],
)
def test_macros_in_one_another_are_replaced_from_the_inside(text: str, left: str | None) -> None:
    """Deeper ones than any card has are left out, whatever is left of their braces."""
    found = resolved(text, "Ann", "Bob")
    assert found == left if left is not None else len(found) < len(text)


def test_a_name_is_no_macro() -> None:
    assert resolved("{{char}} sings", "{{random:a,b}}", "Bob") == "{{random:a,b}} sings"


@pytest.mark.parametrize(
    ("description", "wanted"),
    [
        (
            "<character>\n<name>Ann</name>\n<age>30</age>\n<job>baker</job>\n"
            "<mind>Ann is kind. She is calm.</mind>\n</character>",
            ["age: 30.", "job: baker.", "Ann is kind.", "She is calm."],
        ),
        ("<looks>\nhair: red\neyes: green\n</looks>", ["hair: red.", "eyes: green."]),
        (
            "<p>Ann is a <b>baker</b>.</p><br>She likes <i>tea</i>, too.",
            ["Ann is a baker.", "She likes tea, too."],
        ),
        (
            "This is {{user}}s cat. It is {{user}}s, not {{char}}'s.",
            ["This is your cat.", "It is yours, not Ann's."],
        ),
    ],
    ids=["xml", "lists", "html", "possessives"],
)
def test_tags_and_possessives(description: str, wanted: list[str]) -> None:
    found = card_persona(card(description=description)).persona
    assert list(found.sentences) == ["my name is Ann.", *wanted]


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Bob", "email": "b@example.org", "id": 3},
        {"name": "vendor/pkg", "description": "A package.", "type": "library", "require": {"php": ">=8"}},
        {"name": "x", "description": "y", "license": "MIT", "repository": "z"},
    ],
)
def test_a_name_makes_no_card(value: dict[str, object]) -> None:
    with pytest.raises(DataError, match="x: no character card"):
        parse_card(json.dumps(value), "x")
