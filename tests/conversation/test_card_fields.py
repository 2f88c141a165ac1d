"""What docs/characters.md says of each field of a card is what becomes of it; and every field is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.agent import Agent
from convai.conversation.cast import Company
from convai.conversation.conversation import Place
from convai.conversation.scene import Scene
from convai.core.dialog import USER, Turn
from convai.text.cards import Card, character_of, parse_card
from convai.text.cards.character import FILES_OWN, USED, of_the_file, unused, used
from tests.chatting import tiny_agent
from tests.conversation.test_characters import chatml

DOCS = Path(__file__).parents[2] / "docs" / "characters.md"
SAID = {
    "name": "Wordofname",
    "system_prompt": "Wordofsystem is what counts.",
    "description": "She likes wordofdescription.",
    "personality": "wordofpersonality",
    "scenario": "There is a wordofscenario.",
    "mes_example": "<START>\n{{user}}: hi\n{{char}}: wordofexample",
    "first_mes": "Wordoffirst!",
    "alternate_greetings": ["Wordofalternate!"],
    "group_only_greetings": ["Wordofgroup!"],
    "post_history_instructions": "Mind the wordofhistory.",
    "character_book": {"entries": [{"keys": [], "constant": True, "content": "A wordofbook."}]},
    "creator_notes": "Wordofnotes.",
    "tags": ["wordoftags"],
    "creator": "wordofcreator",
    "assets": [{"uri": "wordofassets"}],
    "character_version": "wordofversion",
    "extensions": {
        "depth_prompt": {"prompt": "A wordofdepth.", "depth": 2},
        "talkativeness": "0.25",
        "mine": "wordofextension",
    },
}
BESIDE = {
    "talkativeness": "0.25",
    "creatorcomment": "Wordofnotes.",
    **dict.fromkeys(FILES_OWN - {"data"}, "x"),
}
CARD = parse_card(json.dumps({**BESIDE, "spec": "chara_card_v3", "data": SAID}), "card")
WORDS = {
    "system_prompt": "wordofsystem",
    "mes_example": "wordofexample",
    "first_mes": "wordoffirst",
    "alternate_greetings": "wordofalternate",
    "group_only_greetings": "wordofgroup",
    "post_history_instructions": "wordofhistory",
    "character_book": "wordofbook",
    "creator_notes": "wordofnotes",
    "creatorcomment": "wordofnotes",
    "character_version": "wordofversion",
    "extensions.depth_prompt": "wordofdepth",
}
NOT_WORDS = {
    "nickname",
    "extensions.talkativeness",
    "talkativeness",
    "extensions.group_greetings",
    *FILES_OWN,
}
"""Those that are numbers, or stand in another's place: tested by themselves."""


def table() -> dict[str, str]:
    """The fields of the table, and what becomes of each in models with blocks."""
    text = DOCS.read_text().partition("## What becomes of each field")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    return {name: becomes for names, becomes in rows for name in re.findall(r"`([^`]+)`", names)}


def told(card: Card, agent: Agent, company: Company | None = None) -> str:
    """All that the card brings into a conversation: beside the persona, in it, as examples, said first."""

    def texts() -> Iterator[str]:
        character = character_of(card)
        scene = Scene(character=character, company=company, seed=1)
        place = Place.after([Turn(USER, "hi")])
        yield from scene.persona(character.persona, agent).sentences
        added = scene.additions(place, agent)
        yield from (one.text for one in added.insertions)
        yield from (turn.text for dialogue in added.examples for turn in dialogue)
        yield from scene.greetings()

    return "\n".join(texts()).lower()


@pytest.mark.parametrize("frame", ["blocks", "personas"])
def test_what_the_table_says_of_a_field_is_so(frame: str) -> None:
    agent = chatml() if frame == "blocks" else tiny_agent(1500)
    company = Company("Wordofname", ("Bob",))
    reached = told(CARD, agent, company)
    found = table()
    assert set(found) >= USED
    for name, becomes in found.items():
        if name not in NOT_WORDS:
            word = WORDS.get(name, f"wordof{name}")
            assert (word in reached) == ("never" not in becomes), (name, becomes)
    assert "wordofextension" not in reached


def test_those_that_are_no_words_are_so_too() -> None:
    data = {
        **SAID,
        "nickname": "Nick",
        "group_only_greetings": [],
        "extensions": {"group_greetings": ["All!"]},
    }
    character = character_of(parse_card(json.dumps({"spec": "chara_card_v3", "data": data}), "card"))
    assert (character.called, character.group_greetings, character.talkativeness) == ("Nick", ("All!",), 0.5)
    assert character_of(CARD).talkativeness == 0.25
    assert (
        character_of(parse_card(json.dumps({**BESIDE, "data": {"name": "Ann"}}), "card")).talkativeness
        == 0.25
    )


def fields(card: Mapping[str, Any]) -> set[str]:
    """The names of what a card says, those of its extensions apart."""
    inner = {name: value for name, value in {**card, **card["data"]}.items() if name != "data" and value}
    own = inner.pop("extensions", {})
    return {*inner, *(f"extensions.{name}" for name, value in own.items() if value)}


def test_every_field_is_used_or_named() -> None:
    listed = [*used(CARD), *unused(CARD), *of_the_file(CARD)]
    assert len(set(listed)) == len(listed)
    assert set(listed) == fields(CARD.document)
    assert {"extensions.depth_prompt", "extensions.talkativeness", "talkativeness"} <= set(used(CARD))
    assert unused(CARD) == ["assets", "character_version", "creator", "extensions.mine", "tags"]


def test_a_note_that_says_nothing_and_greetings_that_another_has_taken() -> None:
    """SillyTavern writes an empty note into every card."""
    empty = {"depth_prompt": {"prompt": "", "depth": 4}, "group_greetings": ["Not these."]}
    card = parse_card(json.dumps({"spec": "chara_card_v2", "data": {**SAID, "extensions": empty}}), "card")
    assert "extensions.group_greetings" in unused(card)
    assert not {one for one in (*used(card), *unused(card)) if "depth_prompt" in one}
