"""Exchanges about the agent: what its persona says, what it does not, what is wrongly taken for granted."""

from __future__ import annotations

import re

from convai.text.compose.forms import fill, listed, sentences
from convai.text.compose.people import PERSONA_SLOTS, Trait
from convai.text.compose.questions import embedded_question, pair, question_about, recall_question
from convai.text.compose.scene import AskedTrait, DialogueDraft, ToldTrait, is_open
from convai.text.compose.story_files import Exchange


def ask(scene: DialogueDraft) -> Exchange | None:
    """A question about the agent's persona."""
    fact = _agent_fact(scene)
    if fact is None:
        return None
    part = scene.world.forms[fact.slot]
    if "exists" in part and scene.rng.random() < 0.4:
        question = question_about(scene, fact, "exists")
        said = scene.wrapped("ask", question, swap=False)
        reply = _exists_answer(scene, fact, question)
    else:
        question = (
            embedded_question(scene, fact) if scene.rng.random() < 0.35 else question_about(scene, fact)
        )
        again = fact.slot in scene.said_about and question.direct and "again" not in question.direct
        said = scene.wrapped(
            "again you" if again and is_open(question.direct) else "ask", question, swap=False
        )
        clause = scene.rng.choice(question.answers)
        if again:
            reply = scene.statement("as said", clause)
        else:
            reply = scene.statement("answer", clause)
    scene.said_about.add(fact.slot)
    return said, scene.then_ask(reply, fact.slot)


def check(scene: DialogueDraft, true: bool) -> Exchange | None:
    """A yes/no question about the agent's persona that names a value, which is so or is not."""
    fact = _agent_fact(scene)
    if fact is None or (fact.slot == "habit" and re.match(r"(never)", fact.values["habit"])):
        return None
    if fact.slot == "age" and not true and scene.rng.random() < 0.5:
        return None
    asked = fact if true else scene.world.other(scene.rng, fact)
    lines = scene.world.lines(fact, "check")
    if not lines:
        return None
    line, yes, no = scene.fresh(lines).split(" => ")
    if not true and fact.slot == "past" and "it is" in no:
        return None
    direct = _quoted(fact.slot, fill(line, asked.values))
    clause = scene.rng.choice(scene.world.clauses(fact))
    short = fill(yes, fact.values) if true else fill(no, asked.values)
    said = scene.wrapped("ask", AskedTrait(direct, "", []), swap=False)
    reply = scene.statement("yes" if true else "no", clause, short)
    scene.said_about.add(fact.slot)
    return said, scene.then_ask(reply, fact.slot)


def lack(scene: DialogueDraft) -> Exchange | None:
    """A question for something that the agent does not have."""
    slots = [s for s in (*PERSONA_SLOTS, "name") if scene.agent.may_lack(s)]
    if not slots:
        return None
    having = [s for s in slots if "exists" in scene.world.forms[s]]
    slot = scene.rng.choice(having if having and scene.rng.random() < 0.7 else slots)
    part = scene.world.forms[slot]
    scene.agent.lacks.add(slot)
    if "exists" in part:
        lines = [line for line in part["exists"] if "=>" not in line]
        if slot in ("pet", "instrument", "collection", "language", "allergy") and scene.rng.random() < 0.6:
            lines = [line.split(" => ")[0] for line in part["check"] if "name" not in line]
    else:
        lines = [line.split(" => ")[0] for line in part["ask"]]
    direct = fill(scene.rng.choice(lines), scene.world.fact(scene.rng, slot).values)
    said = scene.wrapped("ask", AskedTrait(direct, "", []), swap=False)
    lack = scene.rng.choice(part["lack"])
    polar = re.match(r"(Do|Did|Are|Is|Have|Can|Any|Got)\b", direct) is not None
    if not polar:
        lack = lack.removeprefix("no, ")
    reply = sentences(f"{lack}." if lack.startswith("no") else scene.form("lack", {"lack": lack}))
    if polar and slot in ("hobby", "dream", "fear", "dislike"):
        reply = sentences(f"{lack}.")
    return said, scene.then_ask(reply, slot, and_you=True)


def ask_free(scene: DialogueDraft) -> Exchange | None:
    """A question about a fact of the agent's that is in its own words."""
    pairs = [(q, a) for free in scene.agent.free for q, a in free.questions if q not in scene.used]
    if not pairs:
        return None
    direct, answers = scene.rng.choice(pairs)
    scene.used.add(direct)
    said = scene.wrapped("ask", AskedTrait(direct, "", []), swap=False)
    return said, scene.then_ask(_free_answer(scene, answers), "")


def wrong(scene: DialogueDraft) -> Exchange | None:
    """The partner takes for granted what is not so; the agent puts it right."""
    facts = [f for f in scene.agent.facts.values() if scene.world.lines(f, "wrong")]
    if not facts or scene.rng.random() < 0.15:
        if not scene.agent.may_lack("pet"):
            return None
        pet = scene.world.fact(scene.rng, "pet")
        scene.agent.lacks.add("pet")
        said, _, short = scene.fresh(scene.world.forms["pet"]["wrong"]).partition(" => ")
        lack = scene.rng.choice(
            [line for line in scene.world.forms["pet"]["lack"] if not line.startswith("no")]
        )
        reply = scene.rng.choice((fill(short, pet.values), lack, f"{fill(short, pet.values)}, {lack}"))
        return fill(said, pet.values), sentences(reply + ".")
    fact = scene.rng.choice(facts)
    other = scene.world.other(scene.rng, fact)
    said, _, short = scene.fresh(scene.world.lines(fact, "wrong")).partition(" => ")
    scene.said_about.add(fact.slot)
    short = fill(short, other.values)
    clause = scene.rng.choice(scene.world.clauses(fact))
    values = {"short": short, "Short": short[:1].upper() + short[1:], "say": clause}
    values["Say"] = clause[:1].upper() + clause[1:]
    return fill(said, other.values), scene.then_ask(sentences(scene.form("wrong", values)), fact.slot)


def right(scene: DialogueDraft) -> Exchange | None:
    """The partner asks on about something that is so."""
    facts = [
        f for f in scene.agent.facts.values() if f.slot in scene.said_about and scene.world.lines(f, "right")
    ]
    facts = [f for f in facts if f"right {f.slot}" not in scene.used]
    if not facts:
        return None
    fact = scene.rng.choice(facts)
    scene.used.add(f"right {fact.slot}")
    said, _, answers = scene.fresh(scene.world.lines(fact, "right")).partition(" => ")
    return sentences(fill(said, fact.values)), sentences(
        fill(scene.rng.choice(answers.split(" / ")), fact.values) + "."
    )


def opposite(scene: DialogueDraft) -> Exchange | None:
    """A yes/no question about the persona that must be answered with no, though it names the true value."""
    facts = [f for f in scene.agent.facts.values() if scene.world.lines(f, "opposite")]
    if not facts:
        return None
    fact = scene.rng.choice(facts)
    line, _, short = scene.fresh(scene.world.lines(fact, "opposite")).partition(" => ")
    said = scene.wrapped("ask", AskedTrait(fill(line, fact.values), "", []), swap=False)
    forms = [
        f for f in scene.forms["no"][""] if re.match("No,|Nope|Oh no|I'm afraid", f) and "actually" not in f
    ]
    clause = scene.rng.choice(scene.world.clauses(fact))
    forms = [f for f in forms if "someone else" not in f]
    values = {"short": short, "say": clause, "Say": clause[:1].upper() + clause[1:]}
    return said, sentences(fill(scene.rng.choice(forms), values))


def two_of_agent(scene: DialogueDraft) -> Exchange | None:
    """Two questions about the agent's persona at once."""
    facts = [f for f in scene.agent.facts.values() if f.slot not in ("habit", "past")]
    if len(facts) < 2:
        return None
    chosen = scene.rng.sample(facts, 2)
    scene.said_about |= {f.slot for f in chosen}
    questions = [recall_question(scene, ToldTrait(f, "", 0), wh=True) for f in chosen]
    if None in questions:
        return None
    return pair(scene, "two questions to the agent", [q for q in questions if q], swap=False)


def about_you(scene: DialogueDraft) -> Exchange | None:
    """What the agent says of itself when nothing in particular is asked."""
    facts = list(scene.agent.facts.values())
    chosen = scene.rng.sample(facts, min(len(facts), scene.rng.choice((2, 2, 3))))
    chosen.sort(key=lambda f: f.slot != "name")
    clauses = [scene.rng.choice(scene.world.clauses(f)) for f in chosen]
    if scene.agent.free and scene.rng.random() < 0.6:
        clauses.append(scene.rng.choice(scene.agent.free).clause)
    scene.said_about |= {f.slot for f in chosen}
    return sentences(scene.form("about you")), scene.then_ask(sentences(listed(clauses) + "."), "")


def _free_answer(scene: DialogueDraft, answers: tuple[str, ...]) -> str:
    answer = scene.rng.choice(answers)
    if re.match(r"(I|my)\b", answer) and scene.rng.random() < 0.4:
        return scene.statement("answer", answer)
    return sentences(answer + scene.rng.choice(".....!"))


def _agent_fact(scene: DialogueDraft) -> Trait | None:
    facts = list(scene.agent.facts.values())
    new = [f for f in facts if f.slot not in scene.said_about]
    return scene.rng.choice(new if new and scene.rng.random() < 0.75 else facts) if facts else None


def _exists_answer(scene: DialogueDraft, fact: Trait, question: AskedTrait) -> str:
    clause = scene.rng.choice(question.answers)
    if re.match(r"(yes|no)\b", clause):
        return sentences(clause + ".")
    part = [f for f in scene.forms["exists"][""] if "I do" not in f or question.direct.startswith("Do you")]
    return sentences(fill(scene.fresh(part), {"say": clause, "Say": clause[:1].upper() + clause[1:]}))


def _quoted(slot: str, text: str) -> str:
    """A question that quotes a clause of the first person ("you broke my leg") with its pronouns turned."""
    if slot not in ("habit", "past"):
        return text
    text = re.sub(r"\bmy\b", "your", re.sub(r"\bI\b", "you", text))
    return re.sub(r"\byou was\b", "you were", re.sub(r"\band was\b", "and were", text))
