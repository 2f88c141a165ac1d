"""Whether of two facts the later one tells anew what the earlier told: "jonas is ten already", "he's nine".

People seldom say that they correct something. What tells it together: a telling word in common, words of
change, how near the two are, and that news are short. The numbers are a logistic regression's on the changes
of the files `data/evaluation/memory_facts*` (docs/log.md). It is wrong too often to take a fact away; of two
that a question calls for it leaves out the earlier one, where the question has more to do with the later.
"""

from __future__ import annotations

import re
from typing import Final

from convai.conversation.memory.remarks import CHANGED, telling
from convai.text.claims.words import normal

NEAR: Final = 0.43
"""The cosine of two facts from which the later of them tells the earlier anew."""
_A_WORD: Final = 0.0104
"""What each word of the later one adds to it."""
_ENDS: Final = 0.165
"""How much less near they need to be where the later one says that something ended (`remarks.CHANGED`)."""
_NEWS: Final = re.compile(
    r"\b(?:now|already|finally|at last|again|new|since|just|back|turned|became|become|started|another|"
    r"got|passed|won|sorry|bought|last night|this morning|these days|nowadays|after all|actually|by now|"
    r"up to|down to|only .* left|joined|taken)\b"
)
"""Words by which something begins."""
_BEGINS: Final = 0.14
"""The same for these."""

_OF_NOW: Final = re.compile(
    r"\b(?:now|still|these days|currently|any ?more|nowadays|at the moment|yet)\b", re.IGNORECASE
)


def tells_anew(new: str, old: str, near: float) -> bool:
    """Whether `new`, told later, tells anew what `old` told; `near`: the cosine of their vectors."""
    plain = normal(new)
    less = _ENDS * bool(CHANGED.search(plain)) + _BEGINS * bool(_NEWS.search(plain))
    least = NEAR + _A_WORD * len(plain.split()) - less
    return less > 0 and near >= least and bool(telling(new) & telling(old))


def of_now(question: str) -> float:
    """How much more than with a later fact a question may have to do with an earlier one that this tells
    anew: as much where it does not ask how things are now.
    """
    return 2.0 if _OF_NOW.search(question) else 1.0
