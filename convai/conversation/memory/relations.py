"""Who is who among the people and animals of a person's facts: "Wenna" is a sister, where one fact says so.

So "how old is my sister?" finds "wenna's sixteen", which does not name a sister. Rules on words; a name that
is given to two is both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from convai.conversation.memory.lasting_words import PEOPLE
from convai.text.claims.words import lemma, normal

_WHO: Final = "|".join(sorted({*PEOPLE, "fiancé", "fiancée", "nan", "gran", "bird", "pet"}))
_NAME: Final = r"([A-Z][\w-]+)"
_CALLED: Final = r"(?:is |are |was )?(?:called|named) (\w+)"
_GIVES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?i:({_WHO})),? {_NAME}\b",  # my brother Jory; my boss, Len
        rf"\b(?i:({_WHO})(?:'s)? {_CALLED})",
        rf"\b(?i:({_WHO})(?:'s)?,? name(?:'s| is|\?) ){_NAME}",
        rf"\b(?i:({_WHO}))\b[^.!?]*\b(?i:his|her|its)(?i: name(?:'s| is)) {_NAME}",
    )
)
_IS_MY: Final = re.compile(
    rf"\b{_NAME}(?:'s| is| was|,(?i: (?:that's|that is|she's|he's|who's|who is|that'd be))?) "
    rf"(?i:(?:my|our|a|the) (?:\w+ ){{0,2}}?({_WHO}))\b"
)
_NOT_NAMES: Final = frozenset("i i'm i've he she it they we my our the a and but so then there".split())


def who_is_who(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Names in small letters → what they are to the one who says so: "jory" → {"brother"}."""
    found: dict[str, set[str]] = {}
    for text in texts:
        for pattern in _GIVES:
            for who, name in pattern.findall(text):
                found.setdefault(name.lower(), set()).add(_plain(who))
        for name, who in _IS_MY.findall(text):
            found.setdefault(name.lower(), set()).add(_plain(who))
    return {name: frozenset(whose) for name, whose in found.items() if name not in _NOT_NAMES}


def _plain(who: str) -> str:
    return lemma(normal(who))
