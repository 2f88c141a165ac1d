"""Whose persona: given as text, in a file, or drawn."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from convai.core import resources
from convai.core.dialog import Persona
from convai.core.errors import DataError
from convai.text.corpora import read_personas
from convai.text.personas import PersonaDeck, characters_of, personas_of, trained_persona

SMITH, BAKER = Persona(("i am a smith.",)), Persona(("i bake.", "i sing."))


def test_text_is_read_as_sentences() -> None:
    assert personas_of("i am a smith. i ski!", "--persona") == [Persona(("i am a smith.", "i ski!"))]
    assert personas_of("smith", "--persona") == [Persona(("smith",))]
    assert personas_of("smith.", "--persona") == [Persona(("smith.",))]
    assert personas_of("i like and/or gates", "--persona") == [Persona(("i like and/or gates",))]


@pytest.mark.parametrize("blank", ["", "  "])
def test_blank_text_is_nobody_in_particular(blank: str) -> None:
    assert personas_of(blank, "--persona") == [Persona()]


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "who"
    file.write_text("i am a smith.\n\ni bake.\ni sing.\n")
    assert personas_of(str(file), "--persona") == [SMITH, BAKER]


@pytest.mark.parametrize("path", ["nowhere/who", "who.txt", "./who", "who.json", "~/who"])
def test_a_file_that_is_not_there_is_not_taken_for_a_sentence(path: str) -> None:
    with pytest.raises(DataError, match=r"^--persona: there is no file .+; check the path"):
        personas_of(path, "--persona")


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^--persona, persona: control characters"):
        personas_of("i am \x1b[31mred. so there.", "--persona")
    file = tmp_path / "who"
    file.write_bytes(b"\x00\x01")
    with pytest.raises(DataError, match=r"who:1: a NUL byte"):
        personas_of(str(file), "--persona")
    with pytest.raises(DataError, match="a folder, not a file"):
        personas_of(str(tmp_path), "--persona")


def test_a_seed_fixes_the_draws_and_nobody_comes_twice_in_a_row() -> None:
    samples = read_personas(resources.personas_path())

    def draws(seed: int) -> list[Persona]:
        deck, drawn = PersonaDeck(seed=seed), [Persona()]
        for _ in range(50):
            drawn.append(deck.draw(but=drawn[-1]))
        return drawn[1:]

    first = draws(1)
    assert first == draws(1) != draws(2)
    assert set(first) <= set(samples)
    assert all(one != other for one, other in itertools.pairwise(first))


def test_the_only_persona_there_is_may_come_again() -> None:
    deck = PersonaDeck([SMITH], seed=0)
    assert deck.draw(but=SMITH) == SMITH
    deck.take([SMITH, BAKER])
    assert deck.draw(but=SMITH) == BAKER


def test_a_run_of_one_person_has_that_persona(tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    for personas, own in (
        ([["i bake bread.", "i am griotte."]], Persona(("i bake bread.", "i am griotte."))),
        ([["i bake."], ["i row."]], None),
        ([[]], None),
        ([], None),
        (None, None),
    ):
        run.write_text(json.dumps({"personas": personas}), encoding="utf-8")
        assert trained_persona(tmp_path) == own
    for text in ("", "[]", "{}"):
        run.write_text(text, encoding="utf-8")
        assert trained_persona(str(tmp_path)) is None
    assert trained_persona(None) is trained_persona("persona-mini") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[Character("Tess Hollow") { Age("34") Likes("fog" + "tea") }]',
            ["my name is Tess Hollow.", "Age: 34.", "Likes: fog, tea."],
        ),
        ("[ Tess; Age: 34; Likes: fog, tea ]", ["my name is Tess.", "Age: 34.", "Likes: fog, tea."]),
        ('Tess = ["smith"]\nTess loves = ["fog"]', ["my name is Tess.", "i am smith.", "i love fog."]),
        (
            "# Tess\n\nTess bakes.\n\n## Likes\n- fog\n- tea\n",
            ["my name is Tess.", "i bake.", "Likes: fog, tea."],
        ),
        ("{{char}} bakes. {{user}} is new.\n{{user}}: hi", ["this character bakes.", "you are new."]),
        ('["i bake.", "i ski."]', ["i bake.", "i ski."]),
        ("I like C# and f(x). # no heading", ["I like C# and f(x).", "# no heading"]),
    ],
    ids="w++ properties boostyle markdown macros list sentences".split(),
)
def test_a_character_that_is_written_as_a_text(text: str, expected: list[str], tmp_path: Path) -> None:
    file = tmp_path / "tess.md"
    file.write_text(text, "utf-8")
    (found,) = characters_of(text, "x")
    assert list(found.sentences) == expected
    (persona,) = personas_of(text, "x")
    assert (persona.name, len(persona.sentences)) == (found.name, len(expected))
    if found.description:  # as a file, too
        assert characters_of(str(file), "x") == [found]
