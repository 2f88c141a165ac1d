"""Exchanges about the partner: what is told, what is asked back, put right, or was never told."""

from __future__ import annotations

import re
from typing import Final

from convai.text.compose.forms import fields, fill, listed, sentences, uncapitalised
from convai.text.compose.people import KINDS, Trait, stems
from convai.text.compose.person import to_me, to_you
from convai.text.compose.questions import answers_of_the_told, pair, recall_question
from convai.text.compose.scene import ASKED_BACK, AskedTrait, DialogueDraft, ToldTrait
from convai.text.compose.story_files import Exchange
from convai.text.compose.unknown import not_told

_ASKING: Final = frozenset("what which where who when how you your are did doe".split())
"""Words, as stems, by which no two questions are alike."""
_TO_YOU: Final = re.compile(r"\byour?\b|\byou'")
"""A question that names whom it is about; "any pets?" would be about the agent, whoever asks."""
_EITHER: Final = re.compile(r"only child|alone at home")
"""Questions with two answers, neither of which is yes."""


def tell(scene: DialogueDraft, slot: str | None = None) -> Exchange | None:
    """The partner tells something, and the agent takes notice."""
    if slot is None:
        slots = [*ASKED_BACK, "plan", "lost", "dislike", "allergy", "past", "habit", "subject"]
        slots = [s for s in slots if scene.open_to(s)]
        if not slots:
            return None
        slot = scene.rng.choice(slots[:8] if scene.rng.random() < 0.5 else slots)
    told = scene.learn(slot)
    if told is None:
        return None
    said = scene.statement("tell", told.clause)
    own = scene.agent.facts.get(slot)
    if own is not None and scene.rng.random() < 0.4:
        said += " " + scene.form("and you")
        clause = scene.rng.choice(scene.world.clauses(own))
        scene.said_about.add(slot)
        react = scene.form("react") + " " if scene.rng.random() < 0.6 else ""
        return sentences(said), sentences(f"{react}{clause}.")
    return sentences(said), scene.ack(told)


def tell_free(scene: DialogueDraft) -> Exchange | None:
    """The partner tells a fact in its own words."""
    if len(scene.partner.free) >= scene.most_free:
        return None
    if scene.rng.random() < 0.5 and not scene.pending:
        free = scene.world.add_own_words(scene.rng, scene.partner)
    else:
        free = scene.world.add_free(scene.rng, scene.partner)
    if free is None:
        return None
    scene.free_told[free.clause] = scene.number
    # what it speaks of is told: nothing else is to be said of it, and "you never told me" would be wrong
    about = " ".join((free.clause, *(question for question, _ in free.questions)))
    scene.partner.settled |= {slot for slot, words in KINDS.items() if re.search(words, about, re.IGNORECASE)}
    reply = scene.rng.choice((scene.form("react"), scene.form("free react"), scene.form("free react")))
    return scene.statement("tell", free.clause), scene.then_ask(reply, "")


def recall(scene: DialogueDraft, slot: str = "") -> Exchange | None:
    """The partner asks back what was told (in the slot, if given), the longer ago the likelier."""
    told = scene.told.get(slot) or _some_told(scene)
    if told is None:
        return None
    question = recall_question(scene, told)
    if question is None:
        return None
    said = scene.wrapped("remember", question, swap=True)
    clause = to_you(scene.rng.choice(question.answers))
    part = "recalled.do" if re.match(r"Do you\b", said) and scene.rng.random() < 0.5 else "recalled"
    return said, scene.recalled(part, clause)


def recall_whether(scene: DialogueDraft) -> Exchange | None:
    """The partner asks whether it has what it told at all ("do I have any pets?")."""
    pairs = [
        (told, line)
        for told in scene.told.values()
        if told.at < scene.number and told.last < scene.number - 3
        for line in scene.world.lines(told.fact, "exists")
        if f"whether {line}" not in scene.used and _TO_YOU.search(line.partition(" => ")[0])
    ]
    if not pairs:
        return None
    told, line = scene.rng.choice(pairs)
    scene.used.add(f"whether {line}")
    told.last = scene.number
    direct, _, answers = line.partition(" => ")
    said = scene.wrapped("plain check", AskedTrait(direct, "", []), swap=True)
    if answers:
        return said, sentences(to_you(fill(scene.rng.choice(answers.split(" / ")), told.fact.values)) + ".")
    clause = to_you(scene.rng.choice(scene.world.clauses(told.fact)))
    part = "recalled" if _EITHER.search(direct) else "recalled.yes"
    return said, scene.recalled(part, clause)


def recall_free(scene: DialogueDraft) -> Exchange | None:
    """The partner asks back what was told in its own words."""
    able = [f for f in scene.partner.free if scene.free_told.get(f.clause, 99) < scene.number]
    pairs = [(q, a) for f in able for q, a in f.questions if f"back {q}" not in scene.used]
    pairs = [
        (q, a)
        for q, a in pairs
        if not re.match(r"(Shall|Would|Why|Can you|Could)", q) and not re.search(r"\b(I|with you|new)\b", q)
    ]
    if not pairs:
        return None
    direct, answers = scene.rng.choice(pairs)
    scene.used.add(f"back {direct}")
    said = scene.wrapped("remember", AskedTrait(direct, "", []), swap=True)
    answer = to_you(scene.rng.choice(answers_of_the_told(list(answers))))
    if re.match(r"(yes|no|not|none|never)\b", answer):
        return said, sentences(answer + ".")
    return said, scene.recalled("recalled", answer)


def recall_check(scene: DialogueDraft, true: bool) -> Exchange | None:
    """A yes/no question about what was told, right or wrong."""
    told = _some_told(scene)
    if told is None or told.fact.slot in ("plan", "lost", "past", "habit"):
        return None
    asked = told.fact if true else scene.world.other(scene.rng, told.fact)
    lines = [
        line
        for line in scene.world.lines(told.fact, "check")
        if not re.search("Did you say|right[?]|n't you[?]", line)
    ]
    if not lines:
        return None
    direct = fill(scene.fresh(lines).split(" => ")[0], asked.values)
    said = scene.wrapped("remember", AskedTrait(direct, "", []), swap=True)
    clause = to_you(scene.rng.choice(scene.world.clauses(told.fact)))
    return said, scene.recalled("recalled.yes" if true else "recalled.no", clause)


def untold(scene: DialogueDraft) -> Exchange | None:
    """The partner asks for something that was never told; the agent says so."""
    slots = [s for s in ASKED_BACK if scene.open_to(s) and s != "language"]
    own = [s for s in slots if s in scene.agent.facts]
    if not slots:
        return None
    slot = scene.rng.choice(own if own and scene.rng.random() < 0.6 else slots)
    drawn = scene.world.fact(scene.rng, slot)
    fact = Trait(slot, {k: v for k, v in drawn.values.items() if k in ("sib", "spouse", "child")})
    question = recall_question(scene, ToldTrait(fact, "", 0), answered=False)
    if question is None or (slot == "name" and scene.number < 1):
        return None
    scene.hinted[slot] = scene.partner.facts["name"] if slot == "name" else drawn
    whats = [w.split(" => ")[0] for w in scene.world.forms[slot]["what"]]
    whats = [w for w in whats if fields(w) <= fact.values.keys()]
    for word in (" do ", " do?", "How old", "name", "called", "kind"):
        same = [
            w for w in whats if {" do ": "does", " do?": "does", "How old": "how old"}.get(word, word) in w
        ]
        if word in question.direct and same and slot not in ("job", "hobby"):
            whats = same
    what = scene.rng.choice(whats or [""])
    if not what:
        return None
    said = scene.wrapped("remember", question, swap=True)
    clause = ""
    if slot in scene.agent.facts and slot != "name" and scene.rng.random() < 0.4:
        clause = scene.rng.choice(scene.world.clauses(scene.agent.facts[slot]))
        scene.said_about.add(slot)
    fits = stems(what) & stems(question.direct) - _ASKING or slot in ("job", "name", "age")
    reply = not_told(scene, fill(what, fact.values) if fits else "", clause)
    if scene.pending is not None:
        scene.pending = slot
    return said, reply


def two(scene: DialogueDraft) -> Exchange | None:
    """Two things that were told are asked back at once."""
    if len(scene.told) < 2:
        return None
    one, two = scene.rng.sample(sorted(scene.told), 2)
    questions = [recall_question(scene, scene.told[s], wh=True) for s in (one, two)]
    if None in questions:
        return None
    return pair(scene, "two questions", [q for q in questions if q], swap=True)


def ours(scene: DialogueDraft) -> Exchange | None:
    """What the agent is or has and what the partner told of the same slot, asked at once."""
    slots = [s for s in scene.told if s in scene.agent.facts and s not in ("plan", "lost", "past", "habit")]
    slots = [s for s in slots if f"ours {s}" not in scene.used]
    if not slots:
        return None
    slot = scene.rng.choice(slots)
    scene.used.add(f"ours {slot}")
    mine, theirs = scene.agent.facts[slot], scene.told[slot].fact
    question = recall_question(scene, ToldTrait(mine, "", 0), wh=True)
    if question is None or re.search(r"\bpay\b", question.direct):
        return None
    clauses = [
        scene.rng.choice(scene.world.clauses(mine)),
        to_you(scene.rng.choice(scene.world.clauses(theirs))),
    ]
    direct = question.direct
    asks = [direct, uncapitalised(to_me(direct))]
    if scene.rng.random() < 0.4:
        asks = [to_me(direct), uncapitalised(direct)]
        clauses.reverse()
    said = scene.rng.choice(
        (
            f"{asks[0][:-1]}, and {asks[1]}",
            f"{asks[0]} And {asks[1]}",
            f"Two questions: {asks[0]} And {asks[1]}",
        )
    )
    scene.said_about.add(slot)
    reply = scene.rng.choice(("{0}, and {1}.", "{0} and {1}.", "{0}. And {1}.", "{0}, but {1}."))
    return sentences(said), sentences(reply.format(*clauses))


def event(scene: DialogueDraft) -> Exchange | None:
    """Good or bad news, and what a friend says to them."""
    part = scene.rng.choice([p for p in scene.events if p not in scene.used and not p.startswith("any")])
    scene.used.add(part)
    clause = scene.rng.choice(scene.events[part]["say"])
    scene.events_told.append((part.split()[0], clause, scene.number))
    said = scene.rng.choice(
        ("{0}.", "{0}.", "{0}.", "Guess what, {0}.", "You know, {0}.", "{0}!", "Well, {0}.")
    )
    if part.startswith("bad"):
        said = scene.rng.choice(("{0}.", "{0}.", "{0}.", "I have bad news, {0}.", "{0}...", "Honestly, {0}."))
        scene.pending = [
            "It's hard.",
            "Thanks for asking.",
            "I don't know yet.",
            "I'll be okay.",
            "Thank you, that helps.",
        ]
    else:
        scene.pending = [
            "Thank you!",
            "I can hardly believe it.",
            "I'm so happy!",
            "Thanks, I'm still shaking.",
        ]
    kind = scene.events["any bad" if part.startswith("bad") else "any good"]
    if scene.rng.random() < 0.5:
        reply = scene.fresh(scene.events[part]["answer"])
    else:
        reply = f"{scene.fresh(kind['begin'])} {scene.fresh(kind['end'])}"
    return sentences(said.format(clause)), sentences(reply)


def event_recall(scene: DialogueDraft) -> Exchange | None:
    """The partner asks what news there were."""
    if not scene.events_told or scene.events_told[0][2] > scene.number - 2:
        return None
    kind, clause, _ = scene.events_told.pop(0)
    if scene.rng.random() < 0.65:
        said = scene.wrapped("plain check", AskedTrait(scene.form(f"recall {kind}"), "", []), swap=False)
        you = to_you(clause)
        return said, sentences(scene.form(f"recalled {kind}", {"you": you, "You": you[:1].upper() + you[1:]}))
    said = scene.rng.choice(
        (
            "Do you remember what happened to me?",
            "What did I tell you about my day?",
            "What was my news again?",
            "Do you remember my news?",
            "What did I say happened?",
            "Do you still know what happened to me?",
            "What happened to me, do you remember?",
            "Do you even remember what I told you before?",
            "Why do you think I'm in this mood?",
            "So what was it that happened to me?",
        )
    )
    return said, scene.recalled("recalled", to_you(clause))


def about_me(scene: DialogueDraft) -> Exchange | None:
    """What the agent knows of the partner."""
    facts = [told.fact for told in scene.told.values()]
    if not facts and not scene.free_told:
        return sentences(scene.form("about me")), sentences(
            scene.rng.choice(
                (
                    "not much yet. Tell me something about you!",
                    "you haven't told me anything about yourself so far.",
                    "so far nothing. What should I know?",
                    "we've only just met, so nothing yet. Who are you?",
                )
            )
        )
    chosen = scene.rng.sample(facts, min(len(facts), scene.rng.choice((2, 3, 3, 4))))
    clauses = [
        to_you(scene.told[f.slot].clause if f.slot == "lost" else scene.rng.choice(scene.world.clauses(f)))
        for f in chosen
    ]
    if scene.partner.free and (not clauses or scene.rng.random() < 0.7):
        clauses.append(to_you(scene.partner.free[0].clause))
    return sentences(scene.form("about me")), sentences(listed(clauses) + ".")


def answer_pending(scene: DialogueDraft) -> tuple[str, str | None]:
    """What the partner says to the agent's question, and the agent's reply to that alone (if any)."""
    pending, scene.pending = scene.pending, None
    if isinstance(pending, list):
        return scene.rng.choice(pending), None
    assert pending is not None
    part = scene.world.forms[pending]
    if "exists" in part and scene.rng.random() < 0.15 and pending not in scene.told:
        scene.partner.lacks.add(pending)
        return sentences(scene.rng.choice(part["lack"]) + "."), scene.form("react to none")
    told = scene.learn(pending)
    if told is None:
        return "I'd rather not say.", "That's fine, you don't have to."
    return scene.statement("told", told.clause), scene.ack(told)


def _some_told(scene: DialogueDraft) -> ToldTrait | None:
    old = [
        t
        for t in scene.told.values()
        if t.at < scene.number and t.asked_back < 2 and t.last < scene.number - 3
    ]
    far = sorted(old, key=lambda t: t.at)[: max(1, len(old) // 2)]
    if not old:
        return None
    found = scene.rng.choice(far if scene.rng.random() < 0.5 else old)
    found.asked_back += 1
    found.last = scene.number
    return found
