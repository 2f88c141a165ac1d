"""Small talk and common ground, and what makes a short reply as long as people's are."""

from __future__ import annotations

from typing import Final

from convai.text.compose.forms import fields, fill, sentences
from convai.text.compose.people import usable
from convai.text.compose.scene import DialogueDraft, ToldTrait
from convai.text.compose.story_files import Exchange

_SHARED: Final = "food hobby drink colour music season sport instrument job city fear dislike dream".split()
_TAILS: Final = {
    "ask": "tail answer",
    "ask_free": "tail answer",
    "two_of_agent": "tail answer",
    "invent": "tail answer",
    "deny": "tail check",
    "deny_value": "tail check",
    "wrong": "tail check",
    "opposite": "tail check",
    "check": "tail right",
    "check_value": "tail right",
    "recall": "tail recall",
    "recall_free": "tail recall",
    "recall_yes": "tail recall",
    "recall_no": "tail recall",
    "recall_value": "tail recall",
    "recall_other": "tail recall",
    "two": "tail recall",
    "chat": "tail chat",
    "tell": "tail told",
    "tell_free": "tail told",
    "event": "tail news",
    "correct": "tail corrected",
}
"""The endings that fit behind a reply of each kind."""
_ALONE: Final = frozenset(("event", "event_recall", "correct", "untold", "untold_thing", "untold_whether"))
"""Kinds of exchange whose reply has nothing of the agent's own behind it."""


def chat(scene: DialogueDraft) -> Exchange | None:
    """Small talk."""
    values = {
        k: v for f in scene.agent.facts.values() for k, v in f.values.items() if k in ("hobby", "dream")
    }
    for _ in range(5):
        said, replies = scene.rng.choice(scene.talk)
        able = [r for r in replies if fields(r) <= values.keys()]
        if said not in scene.used and able:
            scene.used.add(said)
            return said, sentences(fill(scene.rng.choice(able), values))
    return None


def share(scene: DialogueDraft) -> Exchange | None:
    """The partner tells something and asks whether the agent is alike: only where it is, "me too"."""
    slots = [s for s in _SHARED if scene.open_to(s)]
    own = [s for s in slots if s in scene.agent.facts]
    if not slots:
        return None
    slot = scene.rng.choice(own if own and scene.rng.random() < 0.75 else slots)
    mine = scene.agent.facts.get(slot)
    if mine is None:
        if not scene.agent.may_lack(slot):
            return None
        told = scene.learn(slot)
        if told is None:
            return None
        reply = sentences(scene.form("no common"))
    else:
        same = scene.rng.random() < 0.5
        fact = mine if same else scene.world.other(scene.rng, mine)
        told = ToldTrait(fact, scene.rng.choice(scene.world.clauses(fact)), scene.number)
        scene.told[slot] = told
        scene.partner.facts[slot] = fact
        clause = scene.rng.choice(scene.world.clauses(mine))
        values = {"say": clause, "Say": clause[:1].upper() + clause[1:]}
        reply = sentences(scene.form("same" if same else "differs", values))
        scene.said_about.add(slot)
    clause = told.clause
    return sentences(scene.form("you too", {"say": clause, "Say": clause[:1].upper() + clause[1:]})), reply


def lengthened(scene: DialogueDraft, kind: str, reply: str) -> str:
    """The reply to an exchange of that kind, now and then with a second clause or a question behind it."""
    words = len(reply.split())
    often = 0.4 if words < 6 else 0.3 if words < 9 else 0.15 if words < 12 and ". " not in reply else 0.0
    if reply.endswith("?") or isinstance(scene.pending, str) or scene.rng.random() > often:
        return reply
    found = ""
    if kind not in _ALONE:
        about_partner = kind.startswith("recall") or kind in ("two", "about_me")
        ways = (_follow, _mention) if about_partner else (_aside, _follow, _mention)
        for way in scene.rng.sample(ways, len(ways)):
            if not found and scene.rng.random() < 0.4:
                found = way(scene)
    if not found and kind in _TAILS and scene.rng.random() < 0.45:
        new = [t for t in scene.forms[_TAILS[kind]][""] if t not in scene.used]
        found = scene.fresh(new) if new else ""
    if found:
        return f"{reply} {sentences(found)}"
    return reply if kind in _ALONE else scene.then_ask(reply, "", always=True)


def _aside(scene: DialogueDraft) -> str:
    """Something about a fact of the agent's, in passing."""
    pairs = [
        (form, fact)
        for fact in scene.agent.facts.values()
        for form in scene.world.asides.get(fact.slot, {}).get("", ())
        if form not in scene.used and usable(form, fact.values)
    ]
    if not pairs:
        return ""
    form, fact = scene.rng.choice(pairs)
    scene.used.add(form)
    return fill(form, fact.values)


def _follow(scene: DialogueDraft) -> str:
    """A question about something the partner told before."""
    pairs = [
        (form, told.fact)
        for slot, told in scene.told.items()
        for form in scene.world.asides.get(f"{slot} follow", {}).get("", ())
        if told.at < scene.number - 1
        and form not in scene.used
        and usable(form.partition(" => ")[0], told.fact.values)
    ]
    if not pairs:
        return ""
    form, fact = scene.rng.choice(pairs)
    scene.used.add(form)
    question, _, answers = form.partition(" => ")
    scene.pending = answers.split(" / ")
    return fill(question, fact.values)


def _mention(scene: DialogueDraft) -> str:
    """A fact of the agent's that has not come up yet."""
    facts = [f for f in scene.agent.facts.values() if f.slot not in scene.said_about and f.slot != "name"]
    if not facts:
        return ""
    fact = scene.rng.choice(facts)
    scene.said_about.add(fact.slot)
    clause = scene.rng.choice(scene.world.clauses(fact))
    return scene.form("mention", {"say": clause, "Say": clause[:1].upper() + clause[1:]})
