"""Little stories: told whole and in order, asked about when they are over, the last value answered."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from convai.core import resources
from convai.core.errors import DataError
from convai.text.compose.about_partner import ours, tell
from convai.text.compose.dialogues import Composer
from convai.text.compose.people import Trait
from convai.text.compose.scene import DialogueDraft
from convai.text.compose.stories import ask_story, tell_story
from convai.text.compose.story_files import read_stories

FOLDER = resources.data_dir() / "compose"
SHARED = Composer(FOLDER)


def scene(seed: int = 0) -> DialogueDraft:
    rng = random.Random(seed)
    agent, partner = SHARED.world.person(rng), SHARED.world.person(rng)
    agent.facts["city"] = Trait("city", {"city": "Oslo"})
    return DialogueDraft(rng, SHARED.world, SHARED.forms, SHARED.talk, SHARED.events, agent, partner)


def test_the_shipped_stories_are_whole() -> None:
    stories = read_stories(FOLDER / "stories.txt")
    assert {story.teller for story in stories} == {"user", "agent"}
    for story in stories:
        assert story.exchanges
        assert len(story.questions) > 1
        assert all(replies and all(replies) for _, replies in story.questions)


@pytest.mark.parametrize("seed", range(40))
def test_a_story_is_told_to_its_end_before_it_is_asked_about(seed: int) -> None:
    stage = scene(seed)
    first = tell_story(stage)
    assert first
    assert ask_story(stage) is None
    told = " ".join(text for exchange in (first, *stage.script) for text in exchange).lower()
    stage.number += 1 + len(stage.script)
    stage.script.clear()
    assert ask_story(stage) is None
    stage.number += 1
    found = ask_story(stage)
    assert found
    assert "{" not in told + " ".join(found)
    names = re.findall(r"(?<=[a-z] )[A-Z][a-z]{3,}", found[1])
    assert all(name.lower() in told for name in names)


def test_the_last_value_is_answered(tmp_path: Path) -> None:
    told = "u: It's {hue}.\na: Nice.\nu: No, {hue2}.\na: {Hue2}!\n? What is it? => {Hue2}.\n"
    (tmp_path / "stories.txt").write_text(f"[user]\nhue = red / blue\n{told}")
    stage = scene()
    stage.world = Composer(FOLDER).world
    stage.world.stories = read_stories(tmp_path / "stories.txt")
    first = tell_story(stage)
    assert first
    stage.number = 9
    found = ask_story(stage)
    assert found
    assert {first[0], found[1]} in ({"It's red.", "Blue."}, {"It's blue.", "Red."})
    assert tell_story(stage) is None


@pytest.mark.parametrize("line", ["? Who? => me", "a: Hello.", "What?"])
def test_a_line_under_nothing_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "stories.txt"
    path.write_text(f"# head\n{line}\n")
    with pytest.raises(DataError, match=r"stories\.txt:2"):
        read_stories(path)


@pytest.mark.parametrize("seed", range(20))
def test_of_two_cities_each_gets_its_own(seed: int) -> None:
    stage = scene(seed)
    assert ours(stage) is None
    assert tell(stage, "city")
    theirs = stage.told["city"].fact.values["city"]
    found = ours(stage)
    assert found
    halves = re.split(r"(?<!^),? and |, but |\. And ", found[1])
    assert re.search(r"\b(I|I'm|I've|my|me|My|Me)\b", next(half for half in halves if "Oslo" in half))
    assert re.search(r"\b[Yy]ou", next(half for half in halves if theirs in half))
