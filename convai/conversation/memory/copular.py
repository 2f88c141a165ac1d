"""What of "i am ..." lasts: who somebody is, and not how they are this minute."""

from __future__ import annotations

import re
from functools import cache

from convai.conversation.memory.lasting_words import (
    ADVERBS,
    DATED,
    EMPTY_OBJECT,
    LASTING_ING,
    PASSING,
    STATES,
    STATES_OF_USA,
)
from convai.core import resources
from convai.text.claims.words import job_words, lemma


@cache
def places() -> frozenset[str]:
    """Words of which each names a place: cities and countries, and the states of the USA."""
    path = resources.data_dir() / "compose" / "lists" / "places.txt"
    named = path.read_text(encoding="utf-8").lower().replace("|", "\n").splitlines()
    return frozenset(STATES_OF_USA) | {
        name.strip() for name in named if " " not in name.strip() and name.strip()
    }


def being_lasts(words: list[str]) -> bool:
    """Whether what follows "i am" lasts in a plain statement."""
    while words and words[0] in ADVERBS | {"a_bit"}:
        words = words[1:]
    if not words:
        return False
    first, rest = words[0], " ".join(words)
    if re.match(
        r"(?:big |huge )?(?:an? )?(?:\w+ )?(?:fan|lover|member|student|graduate|native|citizen|owner|"
        r"parent|god(?:father|mother|parent)|guardian|captain|treasurer|coach) (?:of|to)\b"
        r"|halfway through (?:my|a)\b|growing (?!up|tired|old|bored|fond)[a-z]{2,}s\b",
        rest,
    ):
        return not EMPTY_OBJECT.match("x " + re.split(r" (?:of|to) ", rest)[-1])
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
