"""Composed dialogues follow from their seed, are well formed, and hold nothing that is kept for probes."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from convai.core import resources
from convai.core.dialog import AGENT, USER
from convai.text.compose.about_agent import check, lack, opposite, wrong
from convai.text.compose.about_partner import recall, tell, untold
from convai.text.compose.changes import correct
from convai.text.compose.dialogues import Composer
from convai.text.compose.people import Trait
from convai.text.compose.person import to_you
from convai.text.compose.scene import DialogueDraft

FOLDER = resources.data_dir() / "compose"
SHARED = Composer(FOLDER)


def scene(seed: int = 0) -> DialogueDraft:
    """A baker in Oslo with a dog, who has just begun to talk."""
    rng = random.Random(seed)
    agent, partner = SHARED.world.person(rng), SHARED.world.person(rng)
    for slot, values in (
        ("job", {"job": "baker"}),
        ("city", {"city": "Oslo"}),
        ("pet", {"pet": "dog", "petname": "Biscuit"}),
        ("dislike", {"dislike": "olives"}),
    ):
        agent.facts[slot] = Trait(slot, values)
    del agent.facts["name"]
    return DialogueDraft(rng, SHARED.world, SHARED.forms, SHARED.talk, SHARED.events, agent, partner)


def test_a_dialogue_follows_from_seed_and_number() -> None:
    some = list(SHARED.dialogs(12, 3))
    assert some[:5] == list(SHARED.dialogs(5, 3))
    assert some[0] != next(iter(SHARED.dialogs(1, 4)))


def test_dialogues_are_well_formed() -> None:
    for dialog in SHARED.dialogs(300, 0):
        texts = [turn.text for turn in dialog.turns] + list(dialog.persona.sentences)
        assert not [
            t for t in texts if re.search(r"[{}\[\]<>]|  | [.,?!]|\.\.(?!\.)|=>", t.replace("...", ""))
        ]
        assert [turn.speaker for turn in dialog.turns] == [USER, AGENT] * (len(dialog.turns) // 2)
        assert all(re.search(r"[.!?\"]$", turn.text) for turn in dialog.turns if turn.speaker == AGENT)
        replies = [turn.text for turn in dialog.turns if turn.speaker == AGENT]
        assert all(r == r.lower() for r in replies) or all(r[0] == r[0].upper() for r in replies)
        assert 1 <= len(dialog.persona.sentences) <= 14


def test_what_is_kept_for_probes_is_in_no_dialogue() -> None:
    """Values of one word may occur in other roles; those of several words may not occur at all."""
    kept = Composer(FOLDER, held_out=True).world
    for name, values in SHARED.world.lists.items():
        assert name in ("days", "seasons") or not set(values) & set(kept.lists[name])
    values = {v for name in ("hobbies", "dreams", "plans", "habits") for v in kept.lists[name] if " " in v}
    text = "\n".join(turn.text for dialog in SHARED.dialogs(300, 1) for turn in dialog.turns).lower()
    assert values
    assert not [value for value in values if value.lower() in text]


@pytest.mark.parametrize("seed", range(20))
def test_a_check_is_answered_by_what_is_so(seed: int) -> None:
    true, false = (check(scene(seed), true=so) for so in (True, False))
    if true:
        assert not re.match(r"(No|Nope|Not)\b", true[1])
    if false:
        assert not re.match(r"(Yes|Yep|Right|Exactly|Indeed)\b", false[1])
        assert re.search("baker|Oslo|dog|Biscuit|olives|I'm not|I don't|I haven't|isn't|not really", false[1])


@pytest.mark.parametrize("seed", range(20))
def test_what_is_not_so_is_put_right(seed: int) -> None:
    if found := wrong(scene(seed)):
        assert re.search(r"\b(not|no|never|isn't|don't|wouldn't)\b", found[1])
    other = opposite(scene(seed))
    assert other
    assert re.match(r"(No|Nope|Oh no|I'm afraid)\b", other[1])
    assert "olives" in other[0]


@pytest.mark.parametrize("seed", range(20))
def test_an_agent_lacks_what_its_facts_leave_open(seed: int) -> None:
    stage = scene(seed)
    found = lack(stage)
    assert found
    assert not stage.agent.lacks & stage.agent.facts.keys()


@pytest.mark.parametrize("slot", ["job", "city", "pet", "name", "lost", "plan", "food", "age"])
@pytest.mark.parametrize("seed", range(5))
def test_what_was_told_is_known(slot: str, seed: int) -> None:
    stage = scene(seed)
    told = tell(stage, slot)
    assert told
    values = stage.told[slot].fact.values
    stage.number += 5
    asked = recall(stage)
    assert asked
    assert any(to_you(value).lower() in asked[1].lower() for value in values.values())


def test_a_correction_replaces_what_was_told() -> None:
    stage = scene()
    tell(stage, "city")
    before = stage.told["city"].fact.values["city"]
    assert correct(stage)
    after = stage.told["city"].fact.values["city"]
    stage.number += 5
    asked = recall(stage)
    assert asked
    assert before != after
    assert before not in asked[1]


@pytest.mark.parametrize("seed", range(20))
def test_what_was_never_told_is_not_made_up(seed: int) -> None:
    found = untold(scene(seed))
    if found:
        assert re.search(
            r"(n't|never|not|No idea|no idea|nothing|Did you|How should|news to me|kept that)", found[1]
        )


def test_nothing_that_probes_say_is_composed() -> None:
    """Of what personas and users say in the probes, no sentence of five words or more that is no question."""
    files = [FOLDER.parent / "evaluation" / name for name in ("probes.jsonl", "probes_later.jsonl")]
    probes = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    said = {
        sentence
        for entry in map(json.loads, probes)
        for text in [*entry.get("persona", ()), *entry.get("live", ()), *_told(entry)]
        for sentence in re.split(r"(?<=[.!?]) ", text.lower())
        if len(sentence.split()) > 4 and not sentence.endswith("?")
    }
    assert len(said) > 150
    made = "\n".join(turn.text.lower() for dialog in SHARED.dialogs(150, 4) for turn in dialog.turns)
    assert not [sentence for sentence in said if sentence in made]


def _told(entry: dict[str, Any]) -> list[str]:
    return [turn["text"] for turn in entry.get("turns", ()) if turn["speaker"] == USER]
