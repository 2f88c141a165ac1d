"""Questions about a fact, asked by one who wants to know it or by one who told it, and what answers them."""

from __future__ import annotations

import re
from typing import Final

from convai.text.compose.forms import fields, fill, sentences, uncapitalised
from convai.text.compose.people import Trait
from convai.text.compose.person import to_me, to_you
from convai.text.compose.scene import AskedTrait, DialogueDraft, ToldTrait
from convai.text.compose.story_files import Exchange

_OWN_WORDS: Final = re.compile(
    r"(call me|sure,|you can call|yes,|I do,|this is|you'd find"
    r"|.*(please|be warned|as always|actually|of course|to meet|and I like it|for years now|so I'm busy"
    r"|that's me|no doubt|always has been))"
)
"""Answers that only the person asked can give."""


def question_about(scene: DialogueDraft, fact: Trait, kind: str = "ask") -> AskedTrait:
    """A question to the person with the fact; `kind` is "ask" or "exists"."""
    direct, _, answers = scene.fresh(scene.world.lines(fact, kind)).partition(" => ")
    if answers:
        return AskedTrait(fill(direct, fact.values), "", [fill(a, fact.values) for a in answers.split(" / ")])
    return AskedTrait(fill(direct, fact.values), "", scene.world.clauses(fact))


def embedded_question(scene: DialogueDraft, fact: Trait) -> AskedTrait:
    """A question in its embedded form alone, and the clauses that answer it."""
    lines = scene.world.lines(fact, "what")
    if not lines:
        return question_about(scene, fact)
    embedded, _, answers = scene.rng.choice(lines).partition(" => ")
    say = answers.split(" / ") if answers else scene.world.lines(fact, "say")
    if not answers:
        say = _answers_of_what(scene.world.lines(fact, "ask"), embedded, say)
    return AskedTrait("", fill(embedded, fact.values), [fill(a, fact.values) for a in say])


def recall_question(
    scene: DialogueDraft, told: ToldTrait, *, wh: bool = False, answered: bool = True
) -> AskedTrait | None:
    """A question of the partner about what was told; None where there is none that fits.

    `wh`: one that asks for a word, as it is asked (not embedded). Without `answered` the fact holds no values
    and only the question is wanted.
    """
    fact = told.fact
    special = scene.world.forms[fact.slot].get("recall")
    if special:
        return (
            None
            if wh or not answered
            else AskedTrait(scene.rng.choice(special), "", scene.world.clauses(fact))
        )
    asks = scene.world.lines(fact, "ask") if answered else scene.world.forms[fact.slot]["ask"]
    lines = [
        line for line in asks if _fit_for_recall(line) and fields(line.split(" => ")[0]) <= fact.values.keys()
    ]
    if not answered:
        lines = [line.split(" => ")[0] for line in lines]
        return AskedTrait(fill(scene.rng.choice(lines), fact.values), "", []) if lines else None
    if not wh and scene.rng.random() < 0.4 and scene.world.lines(fact, "what"):
        return embedded_question(scene, fact)
    if not lines:
        return None
    direct, _, answers = scene.rng.choice(lines).partition(" => ")
    say = answers.split(" / ") if answers else scene.world.lines(fact, "say")
    return AskedTrait(fill(direct, fact.values), "", [fill(a, fact.values) for a in answers_of_the_told(say)])


def pair(scene: DialogueDraft, part: str, questions: list[AskedTrait], *, swap: bool) -> Exchange:
    """Two questions asked at once, and both answers; with `swap` they are about the one who asks."""
    turn = to_me if swap else (lambda text: text)
    one, two = (turn(q.direct) for q in questions)
    a, b = (
        scene.rng.choice([c for c in q.answers if re.match(r"I\b|my [^,]+ (is|are)\b", c)] or q.answers)
        for q in questions
    )
    form = scene.rng.choice([f for f in scene.forms[part][""] if "what" not in f])
    first = one[:-1] if "{ask1}, and" in form else one
    said = form.replace("{ask1}", first).replace("{ask2}", uncapitalised(two))
    a, b = (to_you(a), to_you(b)) if swap else (a, b)
    values = {"one": a, "two": b, "One": a[:1].upper() + a[1:], "Two": b[:1].upper() + b[1:]}
    return sentences(said), sentences(scene.form("two answers", values))


def _fit_for_recall(line: str) -> bool:
    direct = line.partition(" => ")[0]
    if re.search(r"\b(I|me)\b", direct) or not direct.endswith("?"):
        return False
    return re.match(r"(What|Where|Which|Who|When|How)\b", direct) is not None and not re.match(
        r"(Who are you|What brings|Where's home|Where in the world)", direct
    )


def answers_of_the_told(answers: list[str]) -> list[str]:
    """The answers that can also be given by the one who was told."""
    return [answer for answer in answers if not _OWN_WORDS.match(answer)] or answers


def _answers_of_what(asks: list[str], embedded: str, say: list[str]) -> list[str]:
    """The clauses that answer an embedded question: those of the direct question that asks for the same."""
    keys = [k for k in ("name", "called", "kind of") if k in embedded]
    for line in asks:
        direct, _, answers = line.partition(" => ")
        if answers and any(k in direct for k in keys):
            found = [
                a for a in answers.split(" / ") if " " in a and not a.startswith(("yes", "I do", "call"))
            ]
            if found:
                return found
    return say
