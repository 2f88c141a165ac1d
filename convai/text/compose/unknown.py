"""What nobody has said: of the partner's, the agent says so; of its own, it invents and keeps to it."""

from __future__ import annotations

import re

from convai.text.compose.forms import sentences
from convai.text.compose.person import to_me
from convai.text.compose.scene import ASKED_BACK, AskedTrait, DialogueDraft
from convai.text.compose.story_files import Exchange


def untold_thing(scene: DialogueDraft) -> Exchange | None:
    """The partner asks for something of its own that was never told and is no slot of a person."""
    said = " ".join(
        (*(t.clause for t in scene.told.values()), *scene.free_told, *(c for _, c, _ in scene.events_told))
    )
    able = [
        u
        for u in scene.world.unknown
        if u.asks[0] not in scene.used and not re.search(u.settled_by, said, re.I)
    ]
    if not able:
        return None
    unknown = scene.rng.choice(able)
    scene.used.add(unknown.asks[0])
    asked = scene.wrapped("remember", AskedTrait(unknown.asks[0], to_me(unknown.answers[0]), []), swap=False)
    return asked, not_told(scene, unknown.answers[0])


def untold_whether(scene: DialogueDraft) -> Exchange | None:
    """The partner asks whether it has something that it never spoke of."""
    pairs = [
        (line, slot)
        for slot in ASKED_BACK
        if scene.open_to(slot)
        for line in (entry.partition(" => ")[0] for entry in scene.world.forms[slot].get("exists", ()))
        if re.match(r"Do you\b", line) and line not in scene.used
    ]
    if not pairs:
        return None
    line, _ = scene.rng.choice(pairs)
    scene.used.add(line)
    what = f"whether you{line.removeprefix('Do you').removesuffix('?')}"
    asked = scene.wrapped("plain check", AskedTrait(to_me(line), "", []), swap=False)
    return asked, not_told(scene, what)


def not_told(scene: DialogueDraft, what: str, own: str = "") -> str:
    """The agent says that it was not told `what` (an embedded question, or nothing).

    `own`: a clause about itself on the same matter.
    """
    if own and what:
        return sentences(
            scene.form("untold.own", {"what": what, "say": own, "Say": own[:1].upper() + own[1:]})
        )
    reply = scene.form("untold", {"what": what}) if what else scene.form("untold.plain")
    if scene.rng.random() < 0.4 and not reply.endswith("?"):
        reply += " " + scene.form("untold.then")
        scene.pending = list(scene.forms["after untold"][""])
    return sentences(reply)


def invent(scene: DialogueDraft) -> Exchange | None:
    """A question about the agent that its persona leaves open; asked again, the answer is the same."""
    again = [u for u in scene.world.invented if u.asks[0] in scene.invented]
    again = [
        u
        for u in again
        if scene.invented[u.asks[0]][1] < scene.number - 1 and f"again {u.asks[0]}" not in scene.used
    ]
    if again and scene.rng.random() < 0.6:
        unknown = scene.rng.choice(again)
        scene.used.add(f"again {unknown.asks[0]}")
        clause = scene.invented[unknown.asks[0]][0]
        asked = scene.wrapped("again you", AskedTrait(scene.rng.choice(unknown.asks), "", []), swap=False)
        return asked, scene.statement("as said", clause)
    able = [
        u
        for u in scene.world.invented
        if u.asks[0] not in scene.invented
        and not scene.agent.mentions(u.settled_by)
        and not any(re.search(u.settled_by, slot, re.I) for slot in scene.agent.facts)
    ]
    if not able:
        return None
    unknown = scene.rng.choice(able)
    clause = scene.rng.choice(unknown.answers)
    scene.invented[unknown.asks[0]] = (clause, scene.number)
    asked = scene.wrapped("ask", AskedTrait(scene.rng.choice(unknown.asks), "", []), swap=False)
    return asked, scene.statement("invented", clause)
