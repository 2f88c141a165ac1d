"""Macros: what they stand for, the same every time, and bounded whatever a card does."""

from __future__ import annotations

import datetime
import re
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.text.cards.macros import MAX_RESULT, MOST_DICE, SOMEBODY, YOU, Macros
from convai.text.cards.prose import resolved

NOW = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
ANN = Macros("Ann", "Bob", 7, NOW)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("{{char}} and {{user}}, {{Char}} {{ user }}", "Ann and Bob, Ann Bob"),
        ("<BOT> <USER> <char>", "Ann Bob Ann"),
        ("{{char}}'s hat, {{user}}'s cat", "Ann's hat, Bob's cat"),
        ("a{{// a comment, {{char}} in it }}b", "ab"),
        ("a {{trim}}\n\n b", "ab"),
        ("a{{newline}}b", "a\nb"),
        ("{{reverse:abc}}", "cba"),
        ("{{time}} {{isodate}} {{weekday}} {{time_UTC+2}}", "03:04 2026-01-02 Friday 05:04"),
        ("{{random:x}}{{pick::y}}", "xy"),
        ("{{random:a\\,b}}", "a,b"),
        ("{{random::{{char}}::{{char}}}}", "Ann"),
        ("{{roll:1}} {{roll:2d1+3}} {{roll d1}}", "1 5 1"),
        ("{{hidden_key:x}}{{comment: x}}{{unknown}}{{getvar::x}}.", ""),
        ("{{original}}", ""),
        ("no macros, <b>bold</b> {x}", "no macros, <b>bold</b> {x}"),
    ],
)
def test_what_they_stand_for(text: str, right: str) -> None:
    assert ANN.replaced(text) == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("{{user}}'s hat", "Your hat"),
        (
            "{{user}} is tall, {{user}} has time, {{user}} was here",
            "You are tall, you have time, you were here",
        ),
        (
            "As {{user}} logs in, {{user}} quietly tries it. {{user}} asks?",
            "As you log in, you quietly try it. You ask?",
        ),
        ("She gives {{user}} kisses, {{user}} always goes.", "She gives you kisses, you always go."),
        ("what {{user}} doesn't know, {{user}} this once", "what you don't know, you this once"),
        ("{user}} and {char}, {{user} {x}", "You and Ann, you {x}"),
        ("{{sub}} {{obj}} {{poss}} {{ref}}", "you you your yourself"),
        ("Hello, {{user}}!", "Hello!"),
        ("How are you, {{user}}? I am well, {{user}}.", "How are you? I am well."),
        ("Likes: tea, {{user}}. Hates: rain, {{user}}'s dog.", "Likes: tea, you. Hates: rain, your dog."),
        ("Good morning {{user}}. I like {{user}}.", "Good morning. I like you."),
    ],
)
def test_a_user_without_a_name(text: str, right: str) -> None:
    assert Macros("Ann", YOU).replaced(text) == right
    somebody = Macros("Ann", SOMEBODY).replaced(f"Of {text}")
    assert SOMEBODY in somebody or "them" in somebody


def test_somebody_begins_a_sentence_and_has_pronouns() -> None:
    somebody = Macros("Ann", SOMEBODY)
    assert (
        somebody.replaced("{{user}}'s hat. {{user}} is {{user}}.") == "The user's hat. The user is the user."
    )
    assert somebody.replaced("She likes {{obj}} and {{poss}} hat") == "She likes them and their hat"
    assert Macros("Ann", "Bob").replaced("{{user}} asks. {{user}}'s") == "Bob asks. Bob's"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("It is {{date}} now. {{char}} bakes.", "Ann bakes."),
        ("{{getvar::pet}}'s name is Rex. {{char}} is kind.", "Ann is kind."),
        ("She is {{getvar::age}}, and lives in Ghent.", "She lives in Ghent."),
        ("It is {{time}}, and {{char}} is tired.", "Ann is tired."),
        ("{{char}} lives by the sea, with {{input}} cats, and sings.", "Ann lives by the sea, and sings."),
        ("{{char}} ({{getvar::age}}) bakes.", "Ann bakes."),
        ("Likes: tea, {{getvar::x}}, cake", "Likes: tea, cake"),
        ("Mood: {{getvar::x}}; Job: baker; Town: {{getvar::y}}.", "Job: baker."),
        ("Age: {{getvar::x}}\nJob: baker", "\nJob: baker"),
        ('Age("{{getvar::x}}") Likes("tea" + "{{getvar::x}}" + "cake")', ' Likes("tea" + "cake")'),
        ('*It is {{time}} as she opens.* "Hello!" She is {{getvar::x}}', '"Hello!"'),
        ("{{persona}}", ""),
        ("{{char}} {{// a note }} bakes {{comment: x}}.", "Ann bakes."),
        ("{{char}} wears {{getvar::coat::a red coat}}.", "Ann wears a red coat."),
        ("{{char}} wears {{getvar::coat::}}. {{char}} bakes.", "Ann bakes."),
        ("{{setvar::x::y}}{{#if x}}{{char}} is tall.{{/if}}", "Ann is tall."),
        ("[{{Name: Ann, Trade: baker}}]", "[Name: Ann, Trade: baker]"),
    ],
)
def test_what_needs_a_value_that_nobody_knows_goes_and_the_rest_stays(text: str, right: str) -> None:
    assert Macros("Ann", "Bob", fields={"persona": ""}).replaced(text) == right
    assert resolved(text, "Ann", "Bob") == right


def test_which_values_are_missing_is_told() -> None:
    text = "{{char}} is {{getvar::age}}, {{getvar::age}}. {{// note}} It is {{time}}, {{user}}."
    assert Macros("Ann").missing(text) == ["{{getvar::age}}", "{{time}}"]
    assert ANN.missing(text) == ["{{getvar::age}}"]


def test_nothing_is_drawn_without_a_seed() -> None:
    still = Macros("Ann", seed=None)
    assert still.replaced("{{random:a,b}} {{pick::c::d}} {{roll:2d6+1}} {{roll:9}}") == "a c 8 5"


def test_what_is_drawn_stays() -> None:
    text = "{{random:a,b,c,d,e,f}} {{roll:999999}}"
    assert len({ANN.replaced(text) for _ in range(5)}) == 1
    assert len({Macros("Ann", "Bob", seed).replaced(text) for seed in range(9)}) == 9
    assert set("abc") == {Macros("A", "B", seed).replaced("{{random:a,b,c}}") for seed in range(60)}
    assert all(2 <= int(Macros("A", "B", seed).replaced("{{roll:2d6}}")) <= 12 for seed in range(60))


def test_a_name_is_not_looked_at_again() -> None:
    assert Macros("{{user}}", "{{char}}").replaced("{{char}} {{user}}") == "user char"


@pytest.mark.parametrize(
    "bomb",
    [
        "{{random:" * 20_000,
        "{{random:" * 20_000 + "}}" * 20_000,
        "{{description}}" * 5_000,
        "{{" * 50_000 + "}}" * 50_000,
        "{{// " * 20_000,
        "{{roll:9999d999999}}" * 2_000,
        " " * 90_000 + "{{trim",
        " " * 90_000 + "{{unknown}} {{// }}",
        "a, {{unknown}} (" * 6_000,
        '"{{unknown}}" + ' * 6_000,
    ],
)
def test_a_bomb_is_bounded(bomb: str) -> None:
    macros = Macros("Ann", "Bob", fields={"description": "{{description}}" * 1_000})
    assert len(macros.replaced(bomb)) <= MAX_RESULT


def test_what_macros_stand_for_never_grows_beyond_the_result() -> None:
    """A field in a field, ten thousand times, would be hundreds of megabytes before it is cut."""
    large = {"description": "{{personality}}" * 6_600, "personality": "x" * 100_000}
    tracemalloc.start()
    said = Macros("Ann", fields=large).replaced("{{personality}}" * 6_600)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said == "x" * MAX_RESULT
    assert peak < 20 * MAX_RESULT
    thrown = Macros("Ann").replaced("{{roll:1000d6}} " * 100).split()
    assert len(thrown) == MOST_DICE // 1_000


@given(st.text("{}:/ <>adnorstu,\\|", max_size=80))
def test_nothing_raises_and_no_macro_is_left(text: str) -> None:
    assert re.search(r"\{\{(?:user|char|random)[^{}]*\}\}", ANN.replaced(text)) is None
