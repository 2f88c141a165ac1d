"""Moves around little stories: told by either chair, taken back in free words, asked about later."""

from __future__ import annotations

import random
import re
from typing import Final

from convai.text.compose.forms import fill, sentences
from convai.text.compose.own_words import Lists, pronouns, source_of
from convai.text.compose.scene import AskedTrait, DialogueDraft, Telling
from convai.text.compose.story_files import Exchange, Story

_FIELD: Final = re.compile(r"\{(?:a )?([A-Za-z]+?)([2-9]?)\}")
_TWICE: Final = 2
"""How many stories a dialogue holds at most, and how often each is asked about."""


def tell_story(scene: DialogueDraft) -> Exchange | None:
    """Begin a story that goes with what is known; its later exchanges wait in `scene.script`."""
    if len(scene.tellings) >= _TWICE:
        return None
    able = [s for s in scene.world.stories if f"story {s.exchanges[0][0]}" not in scene.used]
    able = [s for s in able if _goes_with(scene, s)]
    if not able:
        return None
    story = scene.rng.choice(able)
    scene.used.add(f"story {story.exchanges[0][0]}")
    values = _values(scene.rng, scene.world.lists, story)
    if story.teller == "user":
        scene.partner.settled |= story.settles
    exchanges = [(sentences(fill(u, values)), sentences(fill(a, values))) for u, a in story.exchanges]
    questions = [(fill(ask, values), [fill(r, values) for r in replies]) for ask, replies in story.questions]
    scene.rng.shuffle(questions)
    scene.script.extend(exchanges[1:])
    scene.tellings.append(Telling(story.teller, scene.number + len(exchanges), questions))
    return exchanges[0]


def ask_story(scene: DialogueDraft, *, waited: bool = True) -> Exchange | None:
    """A question about a story that was told; with `waited` one that was told to its end a turn ago."""
    ready = [t for t in scene.tellings if t.questions and t.asked < _TWICE]
    ready = [t for t in ready if t.until < scene.number] if waited else [t for t in ready if not t.asked]
    if not ready:
        return None
    telling = scene.rng.choice(ready)
    telling.asked += 1
    ask, replies = telling.questions.pop()
    part = "remember" if telling.teller == "user" else "plain check"
    return scene.wrapped(part, AskedTrait(ask, "", []), swap=False), sentences(scene.rng.choice(replies))


def _goes_with(scene: DialogueDraft, story: Story) -> bool:
    if story.teller == "agent":
        return not scene.agent.mentions(story.but)
    return all(scene.open_to(slot) for slot in story.settles)


def _values(rng: random.Random, lists: Lists, story: Story) -> dict[str, str]:
    """A value for every field; of one list no value twice."""
    woman = rng.random() < 0.5
    wanted = sorted({(m[1][0].lower() + m[1][1:], m[2]) for t in story.texts() for m in _FIELD.finditer(t)})
    values = pronouns(woman)
    taken: set[str] = set()
    for name, digit in wanted:
        if name in values and not digit:
            continue
        if name in story.lists:
            every = story.lists[name]
        elif name == "n":
            every = [str(n) for n in range(2, 18)]
        else:
            every = [value.split(" | ")[0] for value in lists[source_of(name, woman, lists)]]
        values[name + digit] = rng.choice([v for v in every if v not in taken])
        taken.add(values[name + digit])
    return values
