"""Which statements last: who somebody is, has, likes, does and plans, and not how they are this minute.

Rules on the words of a plain statement (`statements.Statement.plain`). What is not known to last is left out:
a memory of moods and lunches helps nobody. How often the rules are right is measured on labelled turns.
"""

from __future__ import annotations

import re
from typing import Final

from convai.conversation.memory.copular import being_lasts
from convai.conversation.memory.lasting_words import (
    ABSTRACT,
    ADVERBS,
    DATED,
    DOES,
    EMPTY_OBJECT,
    HABIT,
    HAVE_BEEN,
    IMAGINED,
    LASTING_ING,
    LIFE,
    LISTENER,
    NOT_HABITS,
    PASSING,
    PASSING_HAD,
    PAST,
    PLACES,
    RELATED,
    TODAY,
    WANTS,
)
from convai.text.claims.jobs import makes
from convai.text.claims.words import content

_NEVER: Final = re.compile(
    r"have never (?:ever |really )?(?:been (?:to|on|in|married|abroad|able)|seen|had|eaten|learned|"
    r"learnt|owned|driven|flown|smoked|drunk|touched|played|broken|worked|lived|"
    r"ridden)\b(?! (?:it|that|this|him|her|them|anything|so|such|better))"
)
"""What somebody has never done; it holds until they do."""


def lasts(plain: str) -> bool:
    """Whether a plain statement is worth keeping for another conversation."""
    plain = re.sub(r"\b(?:do|does|did) not\b", "not", plain)
    plain = re.sub(r"^(i|we) have got (?!to\b)", r"\1 have ", plain)
    if re.match(r"i get ", plain):  # what happens whenever something else does
        plain = re.sub(r" (?:if|when|whenever) i\b.*$", "", plain)
    if LISTENER.search(plain) or not content(plain):
        return False
    if WANTS.match(plain):
        return not re.search(
            r"\b(?:see|go to|get) (?:it|that|there|him|her|them)\b|\bgo to (?:bed|sleep)\b", plain
        )
    if IMAGINED.search(plain):
        return False
    if owned := re.match(r"(?:(?:both|all|one|some|two|three) (?:of )?)?(?:my|our) (.*)", plain):
        return _of_mine(owned[1])
    if said := re.match(r"(?:i|we|me and my [\w ]+?) (.*)", plain):
        return _of_me(said[1])
    return False


def _of_me(rest: str) -> bool:
    """Of a clause with "i" or "we": what follows."""
    if re.match(
        r"(?:would have|have to|had to|got to|am about to|am so|am too|was just|was going to)\b", rest
    ):
        return False
    words = rest.split()
    negative = "not" in words[:4] or "never" in words[:4]
    while words and words[0] in ADVERBS:
        words = words[1:]
    if not words or len(words) > 30:
        return False
    rest, verb = " ".join(words), words[0]
    if words[-1] in ("there", "here", "that", "did", "do", "it", "though", "tho") or words[0] == "sure":
        return False
    if EMPTY_OBJECT.match(rest) or EMPTY_OBJECT.match(" ".join(words[1:] or ["x"])):
        return False
    if TODAY.search(rest) and not DATED.search(rest):
        return False
    if verb in ("am", "are"):
        return being_lasts(words[1:])
    if verb in ("have", "own", "got"):
        return _having(words[1:], rest)
    if verb == "can":
        return (
            "we " not in rest
            and bool(content(" ".join(words[1:])))
            and not re.match(
                r"can (?:not )?(?:\w+ )?(?:wait|believe|imagine|see|understand|relate|tell|say|help|only|"
                r"hear|think|remember|be|do|get|go|blame|sleep|find|keep|make|stop|come|decide|afford|"
                r"take)\b",
                rest,
            )
        )
    if verb == "will":
        return bool(DATED.search(rest)) and len(words) > 2
    if LIFE.match(rest):
        return len(words) > 1 or verb in ("retired", "divorced")
    if HABIT.match(rest) or makes(rest):
        return True
    if verb in PAST or verb in NOT_HABITS or (verb.endswith("ed") and verb not in ("need", "feed", "breed")):
        return False
    if verb.endswith("ing") and verb not in ("bring", "sing", "swing"):
        return False
    if verb in ("like", "love", "hate", "enjoy", "prefer", "adore") and re.match(
        r"\w+ (?:to (?:hear|know|see|say|talk|chat|think|meet|agree|help)|hearing|talking|how|when|what|"
        r"where|the sound)\b",
        rest,
    ):
        return False
    if verb == "live" and words[1:2] == ["for"]:
        return False
    if verb in ("go", "get", "take", "do", "make", "put", "use", "give"):
        regular = re.search(
            r"\b(every|each|weekly|daily|a lot|week|weekends?|day|month|year|mornings?|nights?|often|"
            r"always|mondays?|fridays?|sundays?|"
            r"fishing|hiking|camping|swimming|surfing|skiing|dancing|running|climbing|hunting|biking|"
            r"sailing|to school|to college|to church|"
            r"to the gym|to university|yoga|karate|art|music|pottery|ballet|lessons|classes|jewelry|"
            r"pottery|quilts|by)\b",
            rest,
        )
        return bool(regular) or negative
    if verb in ("ve", "tend") and words[1:2] == ["got"]:
        return False
    return len(words) > 1 or verb in (
        "smoke",
        "drink",
        "swim",
        "ski",
        "surf",
        "paint",
        "garden",
        "knit",
        "drive",
        "sew",
        "skate",
    )


def _having(words: list[str], rest: str) -> bool:
    """Of "i have ...": what follows."""
    if _NEVER.match(rest):
        return True
    while words and words[0] in ADVERBS:
        words = words[1:]
    if not words:
        return False
    after = " ".join(words)
    if rest.startswith("got"):
        return bool(LIFE.match(rest))
    if words[0] == "had" and re.search(r"\b(?:since|for (?:\w+ )?years)\b", after):
        return True
    if words[0] == "been":
        return bool(HAVE_BEEN.match(after))
    if re.match(
        r"(?:lived|worked|played|studied|taught|written|visited|traveled|travelled|owned|run|won|been|"
        r"served)\b",
        after,
    ):
        return len(words) > 1 and not EMPTY_OBJECT.match(after)
    if words[0] in (
        "to",
        "had",
        "heard",
        "seen",
        "done",
        "tried",
        "read",
        "watched",
        "thought",
        "said",
        "met",
        "got",
        "gone",
        "made",
    ):
        return False
    if "in mind" in after:
        return False
    if re.match(
        r"no (?:idea|clue|problem|plans|time|choice|doubt)|(?:an? )?(?:great|good|nice|lovely|bad|blast|"
        r"long|busy|rough|fun|few|lot|bit)\b",
        after,
    ):
        return bool(
            re.search(
                r"\b(?:kids|children|dogs?|cats?|job|brothers?|sisters?|siblings|friends?|pets?|sons?|"
                r"daughters?|memory|voice)\b",
                after,
            )
        )
    return not (PASSING_HAD & set(words[:3]) and not DATED.search(after))


def _of_mine(rest: str) -> bool:
    """Of a clause with "my" or "our": what follows, beginning with what is mine."""
    cut = re.match(rf"((?:[\w'&-]+ )+?)({RELATED})\b ?(.*)$", rest)
    if cut is None or not cut[1].strip() or len(cut[1].split()) > 7:
        return bool(DOES.match(rest)) and not TODAY.search(rest)
    noun, verb, more = cut[1].split(), cut[2], cut[3]
    if noun[0] in ("god", "goodness"):
        return False
    if noun[-1] in ABSTRACT and "favorite" not in noun:
        return False
    words = [word for word in more.split() if word not in ADVERBS]
    while verb in ADVERBS | {"all"} and words:
        verb, words = words[0], words[1:]
    if verb in ("died", "retired", "left"):
        return True
    if not words or EMPTY_OBJECT.match("x " + " ".join(words)):
        return False
    if TODAY.search(more) and not DATED.search(more):
        return False
    if verb in ("is", "are"):
        first = words[0]
        if noun[-1] in ("birthday", "anniversary", "wedding"):
            return len(words) > 1
        if first in ("on", "near", "by", "at") and noun[-1] in PLACES:
            return len(words) > 1
        if first.endswith("ing") and first not in (
            "king",
            "fishing",
            "hiking",
            "painting",
            "swimming",
            "reading",
            "cooking",
            "dancing",
            "running",
            "singing",
            "gardening",
            "knitting",
            "surfing",
            "skiing",
            "baking",
            "writing",
        ):
            return first in LASTING_ING or (first == "getting" and words[1:2] in (["married"], ["divorced"]))
        return (
            first
            not in PASSING - {"kind", "new", "about", "with", "all", "different", "little", "good", "great"}
            or "favorite" in noun
        )
    if verb in ("was", "were") and {"old", "last", "previous", "former", "first"} & set(noun):
        return True
    if verb in ("was", "were"):
        return _begins_noun_phrase(words) or words[0] in (
            "born",
            "raised",
            "diagnosed",
            "named",
            "killed",
            "married",
        )
    if verb in ("has", "have"):
        return words[0] not in ("to", "been") or bool(HAVE_BEEN.match(" ".join(words)))
    if verb in ("had", "got", "just", "did", "will", "can"):
        return bool(LIFE.match(f"{verb} {' '.join(words)}")) or verb == "can"
    return True


def _begins_noun_phrase(words: list[str]) -> bool:
    """Whether a noun phrase follows."""
    return words[0] in ("a", "an", "the", "my", "in", "from") and len(words) > 1
