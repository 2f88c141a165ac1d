"""Whole dialogues from scenes: how long they are, in what order the moves come, and how they are written."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import SettingsError
from convai.text.compose import about_agent, about_partner, small_talk, unknown
from convai.text.compose.changes import correct
from convai.text.compose.checks import check_value
from convai.text.compose.forms import Parts, read_parts, sentences
from convai.text.compose.people import PERSONA_SLOTS, Person
from convai.text.compose.scene import DialogueDraft
from convai.text.compose.stories import ask_story, tell_story
from convai.text.compose.story_files import Exchange
from convai.text.compose.world import World

Move = Callable[[DialogueDraft], Exchange | None]

MOVES: Final[dict[str, tuple[Move, int]]] = {
    "ask": (about_agent.ask, 22),
    "ask_free": (about_agent.ask_free, 30),
    "tell_free": (about_partner.tell_free, 6),
    "recall_free": (about_partner.recall_free, 30),
    "check": (partial(about_agent.check, true=True), 14),
    "deny": (partial(about_agent.check, true=False), 14),
    "check_value": (partial(check_value, partner=False, true=True), 8),
    "deny_value": (partial(check_value, partner=False, true=False), 9),
    "recall_value": (partial(check_value, partner=True, true=True), 4),
    "recall_other": (partial(check_value, partner=True, true=False), 7),
    "lack": (about_agent.lack, 8),
    "invent": (unknown.invent, 9),
    "wrong": (about_agent.wrong, 7),
    "right": (about_agent.right, 5),
    "opposite": (about_agent.opposite, 5),
    "tell": (about_partner.tell, 13),
    "recall": (about_partner.recall, 18),
    "recall_yes": (partial(about_partner.recall_check, true=True), 3),
    "recall_no": (partial(about_partner.recall_check, true=False), 5),
    "recall_whether": (about_partner.recall_whether, 9),
    "untold": (about_partner.untold, 8),
    "untold_thing": (unknown.untold_thing, 7),
    "untold_whether": (unknown.untold_whether, 4),
    "two": (about_partner.two, 3),
    "ours": (about_partner.ours, 5),
    "two_of_agent": (about_agent.two_of_agent, 3),
    "correct": (correct, 20),
    "event": (about_partner.event, 8),
    "event_recall": (about_partner.event_recall, 40),
    "story": (tell_story, 22),
    "ask_story": (ask_story, 60),
    "chat": (small_talk.chat, 14),
    "share": (small_talk.share, 6),
    "about_me": (about_partner.about_me, 2),
    "about_you": (about_agent.about_you, 3),
}
"""What may happen in an exchange, and how often beside the others."""

_COMMON: Final = ("job", "city", "hobby", "pet", "food")


class Composer:
    """Composes dialogues from the lists and forms in a folder (data/compose).

    `weights`: how often a kind of exchange comes, where that is not to be as in `MOVES`. Raises SettingsError
    for a kind that there is not, and for weights that leave nothing to say.
    """

    def __init__(
        self, folder: Path, *, held_out: bool = False, weights: Mapping[str, int] | None = None
    ) -> None:
        self.weights = {name: weight for name, (_, weight) in MOVES.items()} | dict(weights or {})
        if unknown_kinds := sorted(self.weights.keys() - MOVES.keys()):
            raise SettingsError(
                f"no exchanges of the kind {unknown_kinds[0]!r}: use one of {', '.join(MOVES)}"
            )
        self.world = World(folder, held_out=held_out)
        self.forms: Parts = read_parts(folder / "forms.txt")
        self.events: Parts = read_parts(folder / "events.txt")
        self.talk = read_talk(folder / "talk.txt")

    def dialogs(self, count: int, seed: int) -> Iterator[Dialog]:
        """`count` dialogues; number i depends on the seed and i alone."""
        for i in range(count):
            yield self.dialog(random.Random(f"{seed}/{i}"), f"composed-{seed}-{i}")

    def dialog(self, rng: random.Random, name: str) -> Dialog:
        """One dialogue of 4 to 18 exchanges, the partner speaking first."""
        scene, persona = self.draft(rng)
        [dialog] = self.written(scene, persona, {name: list(_exchanges(scene, rng, self.weights))})
        return dialog

    def draft(self, rng: random.Random) -> tuple[DialogueDraft, list[str]]:
        """Two people who have said nothing yet, and the persona of the agent's."""
        agent, persona = self._agent(rng)
        partner = self.world.person(rng, taken=agent.name)
        scene = DialogueDraft(rng, self.world, self.forms, self.talk, self.events, agent, partner)
        return scene, persona

    def written(
        self, scene: DialogueDraft, persona: list[str], said: Mapping[str, Sequence[Exchange]]
    ) -> list[Dialog]:
        """What was said in each session (by the dialogue's name), in the spelling of these two."""
        rng = scene.rng
        lower = rng.random() < 0.4
        sessions = {
            name: [
                turn
                for user, reply in exchanges
                for turn in (
                    Turn(USER, _as_typed(user, rng) if lower else user),
                    Turn(AGENT, reply.lower() if lower else reply),
                )
            ]
            for name, exchanges in said.items()
        }
        if lower and rng.random() < 0.8:
            persona = [sentence.lower() for sentence in persona]
        theirs = self.world.persona(rng, scene.partner, named="name" in scene.told, style="first")
        if lower:
            theirs = [sentence.lower() for sentence in theirs]
        if rng.random() < 0.5:
            sessions = {
                name: [replace(turn, text=american(turn.text)) for turn in turns]
                for name, turns in sessions.items()
            }
            persona, theirs = [american(s) for s in persona], [american(s) for s in theirs]
        personas = (Persona(tuple(theirs)), Persona(tuple(persona)))
        return [
            Dialog(tuple(turns), personas, id=name, source="composed") for name, turns in sessions.items()
        ]

    def _agent(self, rng: random.Random) -> tuple[Person, list[str]]:
        person = self.world.person(rng)
        style = rng.choices(("first", "third", "second", "card", "you card"), (54, 16, 12, 9, 9))[0]
        named = style != "first" or rng.random() < 0.6
        slots = [slot for slot in _COMMON if rng.random() < 0.6]
        wanted = rng.randrange(2, 7)
        others = rng.sample(PERSONA_SLOTS, len(PERSONA_SLOTS))
        for slot in dict.fromkeys([*slots, *others]):
            if len(person.facts) > wanted:
                break
            if (slot == "subject" and "job" in person.facts) or (slot == "job" and "subject" in person.facts):
                continue
            self.world.add(rng, person, slot)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            self.world.add_own_words(rng, person)
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            self.world.add_free(rng, person)
        persona = self.world.persona(rng, person, named=named, style=style)
        if not named:
            del person.facts["name"]
            person.lacks.add("name")
        return person, persona


def american(text: str) -> str:
    """The text in American spelling, as far as the forms have words that differ."""
    for one, other in (("avourite", "avorite"), ("olour", "olor"), ("grey", "gray"), ("eighbour", "eighbor")):
        text = text.replace(one, other)
    return text


def read_talk(path: Path) -> list[tuple[str, list[str]]]:
    """Small talk: what is said, and what may be answered."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.split(" => ") for line in lines if line and not line.startswith("#")]
    return [(said, replies.split(" / ")) for said, replies in pairs]


def _exchanges(scene: DialogueDraft, rng: random.Random, kinds: dict[str, int]) -> Iterator[Exchange]:
    long = rng.random() < 0.45
    length = rng.randrange(10, 19) if long else rng.randrange(4, 10)
    if rng.random() < 0.6:
        yield hello(scene, rng)
        scene.number += 1
    while scene.number < length:
        weights = dict(kinds)
        if long and scene.number < 4:
            weights |= {"tell": 45, "tell_free": 20, "recall": 0, "recall_no": 0, "recall_yes": 0}
        elif long and scene.number < length - 4:
            weights |= {"chat": 40, "recall": 8, "recall_free": 0}
        elif long:
            weights |= {"recall": 60, "recall_no": 10, "recall_other": 16, "recall_free": 50, "two": 8}
        if long and scene.number == 4:
            early = rng.sample(sorted(scene.told), min(2, len(scene.told)))
            scene.due += [(slot, rng.randrange(9, length)) for slot in early]
        yield exchange(scene, rng, weights)
        scene.number += 1
    while scene.script:
        yield scene.script.pop(0)
        scene.number += 1
    while question := ask_story(scene, waited=False):
        yield question
        scene.number += 1
    while scene.due:
        yield exchange(scene, rng, kinds, asking=True)
        scene.number += 1
    if rng.random() < 0.25:
        values = scene.told["name"].fact.values if "name" in scene.told else {}
        yield scene.form("bye"), sentences(scene.form("bye back", values))


def hello(scene: DialogueDraft, rng: random.Random) -> Exchange:
    """How the two greet each other; a third of the partners say their name."""
    said = scene.form("hello")
    replies = scene.forms["hello back"][""]
    if "how" in said.lower():
        replies = [r for r in replies if re.search("I'm (good|well|fine|doing)|All good", r)]
    reply = rng.choice(replies)
    if rng.random() < 0.35:
        told = scene.learn("name")
        if told:
            said = f"{re.sub(r'[?].*', '?', said)} {sentences(told.clause + '.')}"
            reply = f"Hi {scene.partner.name}! " + rng.choice(
                ("How are you today?", "Nice to meet you.", "What's on your mind?", "Good to have you here.")
            )
    if reply.endswith("?") and ("How" in reply or "And you" in reply):
        scene.pending = list(scene.forms["fine"][""])
    return said, reply


def _due(scene: DialogueDraft, *, asking: bool) -> Exchange | None:
    """A question that is due (or, `asking`, that would be later); each is taken once."""
    ready = [d for d in scene.due if asking or d[1] <= scene.number]
    if not ready:
        return None
    scene.due.remove(ready[0])
    for _ in range(4):
        if found := about_partner.recall(scene, ready[0][0]):
            return found
    return None


def exchange(
    scene: DialogueDraft, rng: random.Random, weights: Mapping[str, int], *, asking: bool = False
) -> Exchange:
    """What comes next: an answer to what is pending, a question that is due, or a move by the `weights`.

    `asking`: what would be asked later is due, too. Raises SettingsError where the weights leave nothing.
    """
    prefix = ""
    if scene.pending is not None and not (isinstance(scene.pending, list) and rng.random() < 0.25):
        told = isinstance(scene.pending, str)
        prefix, reply = about_partner.answer_pending(scene)
        if told and reply and rng.random() < 0.65:
            return prefix, small_talk.lengthened(scene, "tell", reply)
    scene.pending = None
    if scene.script:
        said, reply = scene.script.pop(0)
        return f"{prefix} {said}".strip(), reply
    for _ in range(2000):
        kind, before = "recall", scene.pending
        found = _due(scene, asking=asking)
        if found is None:
            kind = rng.choices(list(MOVES), [weights[name] for name in MOVES])[0]
            found = MOVES[kind][0](scene)
        if found is not None:
            if kind == "story":
                return f"{prefix} {found[0]}".strip(), found[1]
            return f"{prefix} {found[0]}".strip(), small_talk.lengthened(scene, kind, found[1])
        scene.pending = before
    raise SettingsError("these weights leave nothing to say: give ask, tell or chat more than 0")


def _as_typed(text: str, rng: random.Random) -> str:
    """Small letters, and now and then no apostrophes, stops or question marks, as people type."""
    text = text.lower()
    if rng.random() < 0.25:
        text = text.replace("'", "")
    if rng.random() < 0.3:
        text = re.sub(r"(\.\.\.|[.?!])$", "", text)
    return text
