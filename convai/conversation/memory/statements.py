"""What somebody states of themselves in a turn: clauses with "I", "we" or "my" as subject, cut out of the
text.

Questions, commands, quotations, and what is only imagined or addressed to the listener are left out. Rules
on words; case and spelling stay as they were typed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from convai.coref.lexicon import first_names
from convai.text.claims.words import NUMBERS, normal

MOST_READ: Final = 4_000
"""Characters of a turn that are read: nobody tells more of themselves in one breath."""
LONGEST: Final = 200
"""Characters of a statement; what is longer is no plain one."""

_QUOTED: Final = re.compile(r"[\"“”«»]|(?<!\w)['‘][^'‘’]+['’](?!\w)")
_SHORT_QUOTE: Final = re.compile(r"(?<!\w)(?:[\"“](?:[\w-]+ ?){1,3}[\"”]|['‘](?:[\w-]+ ?){1,3}['’])(?!\w)")
_SENTENCE: Final = re.compile(
    r"(?<!\bst)(?<!\bdr)(?<!\bmr)(?<!\bms)(?<!\bmrs)(?<!\b[a-z])(?<=[.!?])[)\"']*\s+", re.IGNORECASE
)
_OWN: Final = r"(?:i(?:'m|'ve|'d|'ll|m|ve)?|my|we(?:'re|'ve)?|our)"
_CLAUSE: Final = re.compile(
    r"\s+[-–—]+\s+|\s*[;:()]\s*|\.\.+\s*|…\s*|,?\s+(?:but|because|although|though|whereas|plus)\s+"
    rf"|,?\s+(?:and|so|then)\s+(?={_OWN}\b)|,\s+(?:since |while )?(?={_OWN}\b)"
    r"|,\s*(?=(?:so|this|that|it|nice|thanks|thank|which|who|lol|haha|though|too|please|you|what|how|do|"
    r"are|right|as|glad|pleased|sorry|"
    r"no|yes|maybe|hope|if|when|since|where|there|let|well|good|great|not sure)\b)"
    r"|,\s+(?=(?:he|she|it|they)(?:'s|'re)?\s)|\s+and\s+(?=(?:he|she|they|you|yourself)\b)",
    re.IGNORECASE,
)
_LEAD: Final = re.compile(
    r"""(?:(?:yes|yeah|yep|yup|ya|no|nope|nah|oh|ah|aw|ooh|well|so|and|but|or|hi|hello|hey|hiya|haha+|
    hehe|lol|wow|nice|cool|ok|okay|sure|also|anyway|anyways|btw|by\ the\ way|honestly|to\ be\ honest|
    you\ know|i\ mean|as\ for\ me|right|hmm+|um+|uh|sorry|thanks|thank\ you|great|awesome|true|exactly|
    same(?:\ here)?|guess\ what|for\ me|personally|actually|wait|oops|correction|however|plus|then|
    that(?:'s|\ is)\ (?:great|cool|nice|awesome|right|true|wrong|not\ right)|me\ too|not\ any\ ?more|
    not\ really|of\ course|definitely|absolutely|unfortunately|sadly|luckily|fortunately|in\ fact|
    well\ then|good|fine|since|by\ (?:trade|profession|day|night)|these\ days|nowadays|originally|
    in\ my\ (?:spare|free)\ time|(?:at|on)\ (?:the\ )?weekends?|
    like\ i\ said|as\ i\ said|turns\ out|i\ think(?:\ that)?|i\ guess|
    i\ must\ say|i\ forgot\ to\ (?:say|mention|tell\ you)(?:\ that)?|did\ i\ (?:tell|
    mention)(?:\ to)?(?:\ you)?(?:\ that)?|you\ see|just\ so\ you\ know|let\ me\ tell\ you|
    remember(?:\ that)?|don't\ forget(?:\ that)?|please\ remember(?:\ that)?)(?=\W|$)[\s,.!:]*)""",
    re.IGNORECASE | re.VERBOSE,
)
OTHERWISE: Final = (
    r"scratch|scrap|change of plans?|changed (?:my|our|his|her|their) minds?|told you (?:something )?wrong|"
    r"got (?:that|it) wrong|(?:bored|tired|sick) of|back to|moved the|postponed|rescheduled|put off|"
    r"pushed back|brought forward|(?:fine|better|healed|ok|okay) again|(?:down|up) to \d+|"
    rf"(?:\d+|{'|'.join(NUMBERS)}) (?:\w+ )?\w+ (?:left|now)"
)
"""Part of a pattern: words of one who says that something is not so any more."""
CORRECTS: Final = re.compile(
    r"(?:^|[.!?]\s+)(?:(?:oh|well|but|hmm|sorry|um|oops|ah),?\s+)*(?:no|nope|nah|actuall?y|wait|correction|"
    r"sc(?:rap|ratch) that|that's (?:wrong|not right)|not any ?more|you're wrong|i lied|i was wrong|"
    r"i meant)\b"
    rf"|\b(?:not .* any ?more|no longer|instead|in the end|after all|i meant|correction|"
    rf"{OTHERWISE})\b|\bnow\W*$",
    re.IGNORECASE,
)
_SUBJECT: Final = re.compile(rf"(?:(?:both|all|one|some|two|three) (?:of )?)?{_OWN}\b|me and my\b", re.I)
_KIN: Final = re.compile(
    r"(?:mum|mom|mummy|mommy|dad|daddy|gran|granny|nan|nana|grandma|grandpa|granddad)(?:'s)? (?!and\b|i\b)\w",
    re.IGNORECASE,
)
"""Whom people speak of without a "my"."""
_CALLED: Final = re.compile(
    r"(?i:people|everyone|everybody|friends|most people|folks|they) (?:all |just |usually )*calls? me "
    r"([A-Z]\w+)"
)
_I_AM: Final = re.compile(r"(?:i(?:'m| am|m)|this is) ([a-zà-ÿ]+)(?: (?:here|again))?", re.IGNORECASE)
"""`i'm ann`; whether it is a name the table of first names says."""
_THE_NAME: Final = re.compile(
    r"(?:the name(?:'s| is) )?([A-Za-z][a-zà-ÿ]+)(?:'s| is) the name\b", re.IGNORECASE
)
_THE_CALLED: Final = re.compile(
    r"the (\w+) (?:(?:that|which) )?(?:i|we)(?:'m|'re)? (?:[\w']+ ){1,5}?(?:is|are) (called|named) (.+)",
    re.IGNORECASE,
)
"""`the band I'm in is called ...`"""
_IS: Final = re.compile(
    r"^((?:my|our) (?:[\w-]+ ){0,3}[\w-]+)'s "
    r"(?=(?:an?|the|called|named|from|expecting|allergic|not|in|at|on|also|always|now|still)\b)"
    r"|^((?:my|our) fav(?:ou?rite)? \w+)'s ",
    re.IGNORECASE,
)
"""`my partner's a cook`, where no `'s` of a possession can stand."""
_HALF_SUBJECT: Final = re.compile(r"(?:me|(?:[Mm]y|[Oo]ur) (?!name)(?:\w+ )?\w+|[A-Z][a-z]{2,})")
_ELIDED: Final = re.compile(
    r"(?:just |also |always |never |really |still |recently |currently |absolutely |only )*"
    r"(?:love|like|hate|enjoy|adore|prefer|live|work(?! (?!as|at|for|in|on|nights|days|with)\w+)|moved|"
    r"play|teach|study|collect|grew up|born|"
    r"turned \d|used to|got (?:a|an|two|three|married|engaged|divorced)|have (?:a|an|two|three|four|no)|"
    r"own|am|"
    r"working as|"
    r"living in|studying|allergic to|married|retired|do not|don't|can't stand|cannot stand|from)\b(?! "
    r"(?:me|us|you)\b)",
    re.IGNORECASE,
)
_NEVER: Final = re.compile(
    r"never (?:ever )?(?:been|had|seen|eaten|learned|learnt|owned|driven|flown|met|tried|smoked|drunk|played|"
    r"married|broken|worked|lived)\b",
    re.IGNORECASE,
)
_TRAIL: Final = re.compile(
    r",? (?:by the way|btw|actually|though|tho|lol|haha+|you know|of course|as well|too|myself)$",
    re.IGNORECASE,
)
_BEST: Final = re.compile(
    r"([\w' -]{2,60}?) (?:is|are) (?:still |also )?my fav(?:ou?rite)? (\w[\w ]*)$", re.IGNORECASE
)
_NOT_NAMES: Final = frozenset(
    "same right over out down back new live cold hot raining nothing good fine great not all just still "
    "everyone everything "
    "welcome stay come nobody snowing sunny warm late early morning that it this they what which".split()
)
_TAG: Final = re.compile(r",? (?:right|you know|eh|huh|innit|isn't it|you see|am i right)\?+$", re.IGNORECASE)
"""What makes a statement sound like a question: "never give up, right?"."""
_GLUED: Final = re.compile(r"(?<=[a-z])([?!.])(?=[a-zA-Z][a-zA-Z' ])")
"""A sentence's end without a blank behind it; within small letters, so not in "u.s." or "3.5"."""
_NAMED: Final = re.compile(
    r"\b[Mm]y ((?:[a-z-]+ ){0,2}?[a-z-]+),? (?:is |was )?(?:(?:named|called) |name is |'s name is )?"
    r"([A-Z][a-z]{2,})\b"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A clause as it was put. `plain`: small letters, no contractions; `corrects`: it says "no",
    "actually".
    """

    text: str
    plain: str
    corrects: bool = False


def statements(text: str, names: Mapping[str, str] | None = None) -> list[Statement]:
    """The statements that the speaker of `text` makes of themselves and of what is theirs, in order.

    `names`: who is meant by a name ("Tom": "my boyfriend Tom"), see `named`.
    """
    found = []
    text = spaced(text[:MOST_READ])
    corrects = bool(CORRECTS.search(text))
    for sentence in unquoted_sentences(text):
        for clause in _clauses(sentence):
            stated = _stated(clause, names or {})
            if stated and len(stated) <= LONGEST:
                found.append(Statement(stated, normal(stated), corrects))
    return found


def _is_name(word: str) -> bool:
    """Whether "i'm ..." with this word alone says a name: a first name, however it is written."""
    return word.lower() in first_names() and word.lower() not in _NOT_NAMES


def spaced(text: str) -> str:
    """A text with plain apostrophes and a blank between its words and sentences."""
    return " ".join(_GLUED.sub(r"\1 ", text.replace("’", "'")).split())


def unquoted_sentences(text: str, *, short: bool = False) -> Iterator[str]:
    """The sentences of a text that was `spaced`, without those that quote somebody; with `short`, a few words
    in quotation marks ("it says 'hello'") are none.
    """
    for sentence in _SENTENCE.split(text):
        if not _QUOTED.search(_SHORT_QUOTE.sub("", sentence) if short else sentence):
            yield _TAG.sub(".", sentence)


def named(text: str) -> dict[str, str]:
    """Names that a text gives to people and animals of the speaker's: "Tom" → "my boyfriend Tom"."""
    return {name: f"my {what} {name}" for what, name in _NAMED.findall(text) if name.lower() != "i"}


def _clauses(sentence: str) -> Iterator[str]:
    """The parts of a sentence that may state something, without what is asked."""
    asked = sentence.rstrip(")\"' ").endswith("?")
    parts = _joined([part.strip(" ,.!?…") for part in _CLAUSE.split(sentence.rstrip(".!?… ")) if part])
    if asked:
        # "i have a dog, do you?": what is before the question
        before, comma, _ = parts[-1].rpartition(",")
        parts[-1] = before if comma else ""
    for part in parts:
        clause = without_lead(part)
        while trail := _TRAIL.search(clause):
            clause = clause[: trail.start()].rstrip(" ,")
        if clause:
            yield clause.strip(" ,.!?")


def without_lead(clause: str) -> str:
    """A clause without what people begin to talk with: "well", "by the way"."""
    while (lead := _LEAD.match(clause)) and lead[0]:
        clause = clause[lead.end() :]
    return clause


def _joined(parts: list[str]) -> list[str]:
    """The parts, with "my brother" and "i run a bakery" put together again: one subject, no clause."""
    found: list[str] = []
    for part in parts:
        if found and _HALF_SUBJECT.fullmatch(found[-1]) and re.match(rf"{_OWN}\b", part, re.IGNORECASE):
            found[-1] += f" and {part}"
        else:
            found.append(part)
    return found or [""]


def _stated(clause: str, names: Mapping[str, str]) -> str:
    """The clause with a subject of the speaker's; nothing where it has another, or asks."""
    if _KIN.match(clause):
        clause = f"my {clause[:1].lower()}{clause[1:]}"
    if (here := _I_AM.fullmatch(clause)) and _is_name(here[1]):
        return f"my name is {here[1]}"
    if _SUBJECT.match(clause):
        clause = _IS.sub(lambda match: f"{match[1] or match[2]} is ", clause)
        return re.sub(r"^(?:i|I)m\b", "i'm", re.sub(r"^(?:i|I)ve\b", "i've", clause))
    first = clause.split(" ", 1)[0].removesuffix("'s")
    if first in names and " " in clause and first != clause:
        return names[first] + clause[len(first) :]
    if called := _CALLED.match(clause):
        return f"my nickname is {called[1]}"
    if (called := _THE_NAME.match(clause)) and _is_name(called[1]):
        return f"my name is {called[1]}"
    if called := _THE_CALLED.fullmatch(clause):
        return f"my {called[1]} is {called[2]} {called[3]}"
    if call := re.match(r"(?:please )?(?:just )?call me ([A-Za-z]+)$", clause):
        return f"my name is {call[1]}"
    if re.match(r"(?:the )?name(?:'s| is) [A-Za-z]+", clause):
        return "my " + clause.removeprefix("the ")
    if _NEVER.match(clause):  # "never been on a plane"
        return f"i have {clause[:1].lower()}{clause[1:]}"
    if _ELIDED.match(clause):  # "love dogs!"
        copula = r"(?:working as|living in|studying|allergic to|married|retired|from|born)\b"
        return ("i am " if re.match(copula, clause, re.I) else "i ") + clause[:1].lower() + clause[1:]
    if (best := _BEST.match(clause)) and best[1].lower() not in _NOT_NAMES:
        return f"my favorite {best[2]} is {best[1]}"
    if here := re.fullmatch(r"([A-Za-z][a-z]{2,}) here", clause):  # "ann here!"
        return f"my name is {here[1]}" if here[1].lower() not in _NOT_NAMES else ""
    return ""
