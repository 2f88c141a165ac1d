"""Which statements last: who somebody is, has, likes, does and plans, and not how they are this minute.

Rules on the words of a plain statement (`statements.Statement.plain`). What is not known to last is left out:
a memory of moods and lunches helps nobody. How often the rules are right is measured on labelled turns.
"""

from __future__ import annotations

import re
from functools import cache

from convai.conversation.memory.lasting_words import (
    ABSTRACT,
    ADVERBS,
    DATED,
    DOES,
    EMPTY_OBJECT,
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
    STATES,
    STATES_OF_USA,
    TODAY,
    WANTS,
)
from convai.core import resources
from convai.text.claims.words import content, job_words, lemma


@cache
def places() -> frozenset[str]:
    """Words of which each names a place: cities and countries, and the states of the USA."""
    path = resources.data_dir() / "compose" / "lists" / "places.txt"
    named = path.read_text(encoding="utf-8").lower().replace("|", "\n").splitlines()
    return frozenset(STATES_OF_USA) | {
        name.strip() for name in named if " " not in name.strip() and name.strip()
    }


def lasts(plain: str) -> bool:
    """Whether a plain statement is worth keeping for another conversation."""
    plain = re.sub(r"\b(?:do|does|did) not\b", "not", plain)
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
        return _being(words[1:])
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


def _being(words: list[str]) -> bool:
    """Of "i am ...": what follows."""
    while words and words[0] in ADVERBS | {"a_bit"}:
        words = words[1:]
    if not words:
        return False
    first, rest = words[0], " ".join(words)
    if re.match(
        r"(?:big |huge )?(?:an? )?(?:\w+ )?(?:fan|lover|member|student|graduate|native|citizen|owner|"
        r"parent) of\b",
        rest,
    ):
        return not EMPTY_OBJECT.match("x " + rest.rsplit(" of ", 1)[-1])
    if first in ("a", "an", "the", "one", "two"):
        return (
            not re.match(
                r"(?:an?|the) (?:bit|little|lot|mess|wreck|good (?:time|question)|same|only one here|joke|"
                r"minute|few|ok|happy|while)\b",
                rest,
            )
            and len(words) > 1
        )
    if re.match(r"(?:\d+|[a-z]+(?:ty|teen)(?:[- ]\w+)?)(?: years| and|$| now| but| so)", rest):
        return True
    if first in ("from", "into", "allergic", "afraid", "scared", "terrified"):
        return (
            len(words) > 1
            and not EMPTY_OBJECT.match(rest)
            and words[1] not in ("that", "i", "not", "so", "we")
        )
    if first == "in" and places() & set(words[1:4]):
        return True
    if first in ("in", "on", "at", "with"):
        return bool(
            re.match(
                r"in (?:college|high school|middle school|school|my |the (?:army|navy|air force|military|"
                r"marines|"
                r"school|band|\w+ (?:grade|industry|business|band|team|club))|an? |grad|graduate|love with "
                r"my|med|law|nursing|\w+th grade|charge|\d)"
                r"|on (?:a diet|the \w+ team|disability|my \w+ (?:year|marriage))|at (?:university|college|"
                r"\w+ university)|with child",
                rest,
            )
        ) and not re.match(
            r"in my (?:room|bed|car|house|kitchen|office|apartment|garden|head)|in a (?:hurry|meeting|good|"
            r"bad|rush|great)",
            rest,
        )
    if first in (
        "good",
        "bad",
        "great",
        "terrible",
        "interested",
        "obsessed",
        "passionate",
        "fluent",
        "proficient",
    ):
        return len(words) > 2 and words[1] in ("at", "in", "with", "about")
    if first == "getting":
        return bool(
            re.match(
                r"getting (?:married|divorced|a (?:\w+ ){0,2}(?:dog|cat|puppy|kitten|degree|divorce|phd|"
                r"masters|surgery|operation|baby|promotion)|surgery)",
                rest,
            )
        )
    if first == "going":
        return bool(DATED.search(rest)) or bool(
            re.match(
                r"going to (?:be a|become|school|college|university|have a (?:baby|girl|boy)|marry|study)\b",
                rest,
            )
        )
    if first == "expecting":
        return (
            bool(re.search(r"\b(?:baby|child|boy|girl|twins|triplets|kid|son|daughter|in \w+|due)\b", rest))
            and len(words) > 1
        )
    if first in LASTING_ING:
        timely = first not in (
            "flying",
            "traveling",
            "travelling",
            "visiting",
            "starting",
            "taking",
            "preparing",
            "working",
        ) or bool(
            DATED.search(rest) or re.search(r"\b(?:to|for|as|in|on) \w+|class|classes|lessons|course", rest)
        )
        return len(words) > 1 and timely and not re.search(r"\b(?:it|that|this|late|from home today)$", rest)
    if first in PASSING:
        return False
    head = words[-1]
    known = first in STATES or head in STATES or lemma(head) in job_words() or lemma(first) in job_words()
    return known or bool(
        re.search(r"\b(?:married|divorced|engaged|retired|years old|feet|foot|pounds|\d+)\b", rest)
    )


def _having(words: list[str], rest: str) -> bool:
    """Of "i have ...": what follows."""
    while words and words[0] in ADVERBS:
        words = words[1:]
    if not words:
        return False
    after = " ".join(words)
    if rest.startswith("got"):
        return bool(LIFE.match(rest))
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
    if verb in ("was", "were"):
        return first_is_noun(words) or words[0] in (
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


def first_is_noun(words: list[str]) -> bool:
    """Whether a noun phrase follows."""
    return words[0] in ("a", "an", "the", "my", "in", "from") and len(words) > 1
