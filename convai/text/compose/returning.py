"""Two sessions of the same people: what the partner told in the first is asked for in the second.

The second says nothing of what it asks for, so a model can only know it from a memory of the first
(`convai train --memory`). Their names are like those of Multi-Session Chat, `NAME-session1` and
`NAME-session2`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final

from convai.core.dialog import Dialog
from convai.text.compose.dialogues import MOVES, Composer, exchange, hello
from convai.text.compose.forms import sentences
from convai.text.compose.scene import DialogueDraft
from convai.text.compose.story_files import Exchange

_TELLING: Final = {
    "tell": 60,
    "tell_free": 60,
    "event": 8,
    "share": 12,
    "chat": 16,
    "ask": 10,
    "ask_free": 6,
    "correct": 4,
}
"""How often a kind of exchange comes in the first session."""
_ASKING: Final = {
    "recall": 34,
    "recall_free": 60,
    "recall_whether": 34,
    "recall_yes": 6,
    "recall_no": 8,
    "recall_value": 6,
    "recall_other": 10,
    "event_recall": 8,
    "about_me": 3,
    "two": 6,
    "ours": 6,
    "untold": 9,
    "untold_thing": 6,
    "untold_whether": 8,
    "correct": 5,
    "tell": 4,
    "chat": 14,
    "ask": 12,
    "ask_free": 6,
    "check": 4,
    "deny": 5,
    "lack": 3,
}
"""The same for the second."""
_MOST_FREE: Final = 5


def returning(composer: Composer, count: int, seed: int) -> Iterator[Dialog]:
    """`count` pairs of sessions, each first one followed by its second; pair i depends on the seed and i."""
    for i in range(count):
        rng = random.Random(f"returning {seed}/{i}")
        scene, persona = composer.draft(rng)
        scene.most_free = _MOST_FREE
        name = f"composed-{seed}-{i}"
        first = list(_first(scene))
        yield from composer.written(
            scene, persona, {f"{name}-session1": first, f"{name}-session2": list(_second(scene))}
        )


def _first(scene: DialogueDraft) -> Iterator[Exchange]:
    weights = dict.fromkeys(MOVES, 0) | _TELLING
    length = scene.rng.randrange(6, 13)
    yield hello(scene, scene.rng)
    scene.number += 1
    while scene.number < length:
        yield exchange(scene, scene.rng, weights)
        scene.number += 1


def _second(scene: DialogueDraft) -> Iterator[Exchange]:
    """A new conversation: nothing is pending, and what was put in some way may be put so again."""
    scene.used = {used for used in scene.used if used.startswith(("correct ", "bad", "good"))}
    scene.pending, scene.due, scene.hinted = None, [], {}
    scene.said_about, scene.number = set(), scene.number + 4
    weights = dict.fromkeys(MOVES, 0) | _ASKING
    end = scene.number + scene.rng.randrange(4, 10)
    if scene.rng.random() < 0.75:
        yield _hello_again(scene)
        scene.number += 1
    while scene.number < end:
        yield exchange(scene, scene.rng, weights)
        scene.number += 1


def _hello_again(scene: DialogueDraft) -> Exchange:
    values = scene.told["name"].fact.values if "name" in scene.told else {}
    said = scene.form("hello again")
    reply = scene.form("hello again back", values)
    if reply.endswith("?") and re.search(r"How|What", reply):
        scene.pending = list(scene.forms["fine"][""])
    return said, sentences(reply)
