"""What somebody says of themselves, as claims on attributes that can be compared: rules on words, no model.

A claim is read where the wording is plain ("i have two dogs", "no" after "do you have a dog?") and nowhere
else: what is not read can not be found to contradict anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from convai.text.claims.answers import answered, resolved
from convai.text.claims.claim import Claim
from convai.text.claims.jobs import job, trade
from convai.text.claims.relations import of_others, of_relations
from convai.text.claims.states import of_states
from convai.text.claims.words import (
    COUNTED,
    EMPTY,
    HOUSING,
    NUMBERS,
    SUBJECTS,
    content,
    lemma,
    normal,
)


def claims(text: str, ask: str = "", *, others: bool = True) -> list[Claim]:
    """What the speaker of `text` says of themselves; `ask` is the question it answers, if any.

    `others`: and of their people: a sister's age is a claim of one's own, as if there were one sister.
    """
    return list(_claims(text, ask, others))


@lru_cache(8192)  # the turns of a chat are read again for every reply
def _claims(text: str, ask: str, others: bool) -> tuple[Claim, ...]:
    whole = [answered(text, ask), resolved(text, ask)] if ask else []
    text, ask = normal(text), normal(ask)
    found = list(_answered(text, ask))
    for one in (text, *map(normal, whole)):
        for clause in _clauses(_plain(one)):
            found += _of_clause(clause)
            found += of_others(clause) if others else ()
    return tuple(dict.fromkeys(found))


def of_persona(sentences: Sequence[str]) -> list[tuple[str, list[Claim]]]:
    """The claims of each sentence of a persona; where none names a job, also what is done for a living.

    What is done is told by all of its words: who drives a milk float may be called its driver.
    """
    found = [(text, claims(text)) for text in sentences]
    if not any(claim.slot in ("job", "works") for _, said in found for claim in said):
        for text, said in found:
            if (done := trade(_plain(normal(text)))) is not None:
                words = [content(normal(one)) for one in sentences]
                said.append(Claim(done.slot, done.value.union(*words)))
                break
    return found


def _plain(text: str) -> str:
    """Set phrases in the words that the rules know."""
    text = re.sub(r"\b(?:never learned|do not know) (?:how )?to (?=[a-z])", "can not ", text)
    text = re.sub(r"\bwrite with my (left|right) hand\b", r"am \1handed", text)
    text = re.sub(r"\b(left|right)[- ](?=handed\b)", r"\1", text)
    text = re.sub(
        r"\bmy ([a-z]+) and i (?=(?:have |just )*(?:broke up|split|separated))",
        r"i broke up with my \1, we ",
        text,
    )
    return re.sub(r"\bride (?:a|my|the) (?:bike|bicycle)\b", "cycle", text)


def _clauses(text: str) -> list[str]:
    """The statements in a text: questions are left out; a subject that is left away is put back."""
    parts = []
    for sentence in re.findall(r"[^.!?]+[.!?]*", text):
        if sentence.endswith("?"):
            sentence = sentence.rpartition(",")[0]
        pieces = re.split(r"[.!,;:]| - | but | because | so (?=i )| and (?=i |my )| who | which ", sentence)
        parts += [piece.strip() for piece in pieces]
    said = []
    for part in parts:
        if not part:
            continue
        second = re.match(r"(i [a-z]+ .*?) and ([a-z]+) (?!of\b)", part)
        said.append(part)
        if second and lemma(second[2]) in ("go", "like", "hate", "have", "live", "work", "play"):
            said.append("i " + part[second.start(2) :])
    return said


_POLAR: Final = re.compile(
    r"(?:^|[.!?,] |\bso |\band )(do|did|are|were|can|could|have|would|want) ?(you|to)? (?:ever )?([^?]*)\?"
)
_YES: Final = re.compile(
    r"(yes|yeah|yep|yup|sure|of course|definitely|absolutely|i (do|am|have|can)\b(?! not))"
)
_NO: Final = re.compile(r"(no\b|nope|nah|not really|never\b|not any more|i do not\b|i am not\b|i have not\b)")


def _answered(text: str, ask: str) -> Iterator[Claim]:
    """What a yes or a no to a question says, and an answer that is a number or a name alone."""
    polar = list(_POLAR.finditer(ask))
    if polar:
        verb, _, rest = polar[-1].groups()
        agrees = True if _YES.match(text) else False if _NO.match(text) else None
        if agrees is not None and not re.search(r"\b(or|mind)\b", rest + ask[polar[-1].end() :]):
            begun = {"are": "i am", "were": "i was", "have": "i have", "want": "i want to"}.get(verb, "i")
            if verb == "would":
                rest = re.sub(r"^like (some |a |to )?", "like ", rest)
            for claim in _of_clause(f"{begun} {rest}".strip()):
                if verb in ("did", "were") and not claim.slot.startswith(("do ", "be", "raised")):
                    continue
                if agrees or claim.slot.startswith(("do ", "be", "has ")) or claim.slot in ("live",):
                    yield Claim(claim.slot, claim.value, claim.holds == agrees)
    many = re.search(r"how many ([a-z]+)", ask)
    number = re.match(
        r"(?:just |only )?(?:i (?:only |just )?(?:have|own) (?:only |just )?)?"
        rf"(\d+|{'|'.join(NUMBERS)}|none)\b",
        text,
    )
    if many and number:
        yield from _counts(f"{number[1].replace('none', 'no')} {many[1]}")
    if re.search(r"\blive (?:with|alone)\b", ask) and re.search(
        r"\b(?:just me|by myself|on my own|nobody|no one)\b", text
    ):
        yield Claim("lives with", frozenset({"nobody"}))
    if re.search(r"\bwhat are you (?:afraid|scared) of\b", ask) and re.match(r"nothing\b", text):
        yield Claim("do fear", frozenset(), holds=False)
    name = re.search(r"(?:his|her|its) name is ([a-z]+)", text)
    of = re.search(r"your ([a-z]+)(?:'s)? (?:name|called)|name of your ([a-z]+)", ask)
    if name and of:
        yield Claim(f"name of {of[1] or of[2]}", frozenset({name[1]}))


_LEAD_TO_I: Final = frozenset(
    """and but so that because since as though although when while well yes no yeah oh actually now then hi
    hello hey sorry think guess know course sure also maybe sometimes today usually""".split()
)


def _of_clause(clause: str) -> Iterator[Claim]:
    yield from of_relations(clause)
    yield from of_states(clause)
    if re.search(r"\b(used to|if|when i was|would have|wish|hope)\b", clause):
        return
    said = re.search(
        r"\bi (?P<aux>(?:(?:do|did|am|was|have|can|could|will|would|just|really|also|still|always|usually|"
        r"often|sometimes|actually|only|currently|love to|like to|enjoy|have been|used to be) )*)"
        r"(?P<neg>(?:not|never) )?(?P<more>(?:really |ever |even |been |very |like to |love to )*)"
        r"(?P<rest>.*)",
        clause,
    )
    before = re.findall(r"[a-z]+", clause[: said.start()]) if said else []
    if said is None or (before and before[-1] not in _LEAD_TO_I):
        return  # nothing, or a relative clause ("all the things i do not like")
    if "would" in said["aux"].split():
        return
    aux, rest = said["aux"], (said["more"] or "") + said["rest"]
    negative = bool(said["neg"])
    yield from _of_self(aux, rest, negative, clause)


def _of_self(aux: str, rest: str, negative: bool, clause: str) -> Iterator[Claim]:
    """Claims of a clause about the speaker: "i", `aux`, perhaps a negation, `rest`."""
    words = aux.split()
    copula = bool({"am", "was"} & set(words))
    past = bool({"was", "did"} & set(words))
    if copula and not re.match(r"[a-z]+ing\b", rest):
        yield from _of_being(rest, negative, past)
        return
    if "have" in words and not negative and (long := re.match(r"been an? (?!retired|former)(.*)", rest)):
        yield from job(long[1])
        yield Claim("be", content(re.split(r" (?:for|since)\b", long[1])[0]))
    if "have" in words and (been := re.match(r"been (?!an? |to\b|in\b|at\b|[a-z]+ing\b)(.*)", rest)):
        yield from _of_being(been[1], negative, past=False)
    if "have" in words and not re.match(r"(been|never|not|ever|lived|worked|played|seen|had|gone)\b", rest):
        yield from _counts(rest if not negative else re.sub(r"^(any |a |an )?", "no ", rest))
        if hair := re.search(r"((?:[a-z]+ )*)hair\b", rest):
            yield Claim("hair", content(hair[1]))
        yield from _named(rest)
        return
    match = re.match(r"([a-z]+)(?: (.*))?$", rest)
    if match is None:
        return
    verb, object_ = lemma(match[1]), match[2] or ""
    liked = bool(re.search(r"(?:love|like) to|enjoy", aux + rest))
    if verb in ("have", "own", "get") and not (liked or "have" in words):
        yield from _counts(object_ if not negative else re.sub(r"^(any |a |an )?", "no ", object_))
        if hair := re.search(r"((?:[a-z]+ )*)hair\b", object_):
            yield Claim("hair", content(hair[1]))
        yield from _named(object_)
    if verb == "stand" and negative:
        verb, negative = "hate", False
    if verb == "hate":
        verb, negative = "like", not negative
    if verb == "like" and (to := re.match(r"to ([a-z]+)(?: (.*))?$", object_)):
        yield Claim(f"do {lemma(to[1])}", content(to[2] or ""), not negative)
    if verb == "like" and re.match(r"[a-z]+ing\b", object_):
        first, _, more = object_.partition(" ")
        yield Claim(f"do {lemma(first)}", content(more), not negative)
    if (
        verb in ("live", "work", "study", "teach", "drive")
        and not negative
        and not past
        and "have" not in words
    ):
        yield from _of_single(verb, object_)
    object_ = re.split(r"\b(?:except|apart from|but)\b", object_)[0].strip()
    if particle := re.match(r"(out|up|off)\b", object_):
        verb = f"{verb} {particle[1]}"
    if object_ and not content(object_):
        return  # a pronoun: what it stands for is not known here
    if not past or negative or verb in ("go", "be"):
        yield Claim(f"do {verb}", content(object_), not negative)


def _of_single(verb: str, object_: str) -> Iterator[Claim]:
    """Things people do one of at a time."""
    if verb == "live":
        if re.match(r"alone\b|by myself", object_):
            yield Claim("lives with", frozenset({"nobody"}))
        elif with_ := re.search(r"\bwith ([a-z ]+)", object_):
            yield Claim("lives with", content(with_[1]))
        if place := re.match(r"in (.*?)(?: with | near |$)", object_):
            if words := content(place[1]) - HOUSING:
                yield Claim("live", words)
    elif verb == "work":
        yield Claim("works", frozenset({"yes"}))
        if as_ := re.match(r"as an? (.*)", object_):
            yield from job(as_[1])
            yield Claim("be", content(re.split(r" (?:for|in|at|and)\b", as_[1])[0]))
    else:
        words = content(re.sub(r"\b(at|in) .*", "", object_))
        if words := words if verb == "drive" else words & SUBJECTS:
            yield Claim(verb, words)


def _of_being(rest: str, negative: bool, past: bool) -> Iterator[Claim]:
    if not past and not negative:
        number = re.match(
            rf"(?:now |about )?(\d+|{'|'.join(NUMBERS)})(?: years? old)?(?:$| and | years)", rest
        )
        if number:
            yield Claim("age", frozenset({NUMBERS.get(number[1], number[1])}))
        if re.match(r"an? (?!retired|former)", rest):
            yield from job(re.sub(r"^(a|an) ", "", rest))
    for slot, pattern in (
        ("born", r"born in (.*)"),
        ("raised", r"raised (?:in|on) (.*)"),
        ("from", r"from (.*)"),
    ):
        if not negative and (place := re.match(pattern, rest)):
            yield Claim(slot, content(place[1]) - HOUSING - {"1"})
    if with_ := re.search(r"\bwith (.*)", rest):
        yield from _counts(with_[1])
    if re.match(r"(happily )?married", rest):
        yield Claim("married", frozenset({"no" if negative else "yes"}))
    if re.match(r"(single|divorced|widowed|an? (?:widow|widower|bachelor)\b)", rest) and not negative:
        yield Claim("married", frozenset({"no"}))
    if re.match(r"(?:a )?(retired|unemployed|between jobs|out of work)", rest) and not negative:
        yield Claim("works", frozenset({"no"}))
    if re.match(r"an only child", rest) and not negative:
        yield Claim("has sibling", frozenset({"0"}))
    if re.match(r"a twin", rest) and not negative:
        yield Claim("has sibling", frozenset({"some"}))
    if afraid := re.match(r"(?:afraid|scared|terrified|frightened) of (.*)", rest):
        feared = content(afraid[1]) - {"anything"}
        yield Claim("do fear", feared, not negative)
        if feared:
            yield Claim("do like", feared, negative)
    if fan := re.match(r"a (?:big |huge )?fan of (.*)", rest):
        yield Claim("do like", content(fan[1]), not negative)
    if allergic := re.match(r"allergic to (.*)", rest):
        yield Claim("allergic", content(allergic[1]))
    if re.match(r"(?:a )?(vegan|vegetarian)", rest) and not negative:
        yield Claim("do eat", frozenset({"meat"}), holds=False)
    if re.match(r"(?:a )?vegan", rest) and not negative:
        yield Claim("do eat", frozenset({"dairy"}), holds=False)
    if re.match(r"sober", rest) and not negative:
        yield Claim("do drink", frozenset({"alcohol"}), holds=False)
    was_so = past and re.match(r"an? ", rest)  # "i was a baker" does not say that one is
    rest = re.split(r" to (?:be|become)\b", rest)[0]
    if (words := content(rest)) and not was_so and not re.match(r"(happily )?married", rest):
        yield Claim("be", words, not negative)


_LOOKS: Final = re.compile(
    r"\b(?:green|red|blue|black|white|brown|grey|gray|yellow|pink|ginger|old|new|big|small|little|young|tiny|"
    r"huge|blind|deaf|pet|baby|older|younger|elder|used|rusty|lovely|beautiful) (?=[a-z])"
)
"""What stands before a thing and does not say which it is."""


def _counts(object_: str) -> Iterator[Claim]:
    """How many of what somebody has."""
    for number, _, noun in COUNTED.findall(_LOOKS.sub("", object_)):
        name = lemma(noun)
        value = NUMBERS.get(number, number)
        if value.isdecimal() and int(value) > 20:
            continue  # an estimate, most often
        value = "0" if number == "no" else "some" if number in ("a", "an", "any") else value
        if name in ("job", "work"):
            yield Claim("works", frozenset({"no" if value == "0" else "yes"}))
        elif name in ("wife", "husband", "girlfriend", "boyfriend") and value != "0":
            yield Claim("partner", frozenset({name}))
        elif name not in EMPTY and value != "any":
            yield Claim(f"has {name}", frozenset({value}))


def _named(object_: str) -> Iterator[Claim]:
    if name := re.search(r"\b(?:an?|one) (?:[a-z]+ )?([a-z]+) (?:named|called) ([a-z]+)", object_):
        yield Claim(f"name of {lemma(name[1])}", frozenset({name[2]}))
