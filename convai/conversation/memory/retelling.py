"""Whether something that was put as a correction tells an old matter anew, where no attribute says so.

"the wedding is at the church", then "it's the registry office now, no church": the words in common say
that it is the same matter, "now" and "no" that it is otherwise. Attributes (`attributes`) are surer, and
come first.
"""

from __future__ import annotations

import re
from typing import Final

from convai.conversation.memory.remarks import telling
from convai.conversation.memory.topics import topics_of
from convai.text.claims.words import lemma, normal

_ANEW: Final = re.compile(
    r"\b(?:instead|no longer|no more|not .*\bany ?more|(?:is|are|was) (?:off|over)|in the end|after all|"
    r"changed|"
    r"moved me to|sold the|sold my)\b|\bnow\b|^(?:no|nope|nah|actually)\b"
)
"""What says that things are otherwise now."""
_DENIED: Final = re.compile(
    r"\b(?:no more|instead of|no longer|rather than|(?:sold|quit|lost|left) (?:the|my|our)|"
    r"not (?:\w+ )?(?:at|in|on|to|with) (?:the|my)) (\w+)"
)
_CONTRAST: Final = re.compile(
    r"\b(\w+),? not (?:(?:in|at|on|to|the|a|an|my) )?(\w+)\b|\bnot (?:(?:in|at|on|to|the|a|an|my) )?(\w+),? "
    r"(?:but|it is|it's|its) (?:(?:in|at|on|to|the|a|an|my) )?(\w+)\b"
)
"""One thing put in the place of another: "it's kos, not crete", "not greyhounds, it's whippets"."""
_BROAD: Final = frozenset(
    "#favorite #plan #past #dream #hobby #called #job #live #illness #age #partner #child #sibling #parent "
    "#home #moving #moved #name".split()
)
"""Topics that two facts have in common without being about one matter."""


def contrasts(new: str, old: str) -> bool:
    """Whether `new` puts another thing in the place of one that `old` tells."""
    told = telling(old)
    for now, gone, gone_too, now_too in _CONTRAST.findall(normal(new)):
        before, after = lemma(gone or gone_too), lemma(now or now_too)
        if before in told and after not in told and telling(after):
            return True
    return False


def retells(new: str, old: str) -> bool:
    """Whether `new`, put as a correction, tells the matter of `old` anew.

    They have two telling words in common, or one and a narrow topic; a wide one does where `new` denies the
    word.
    """
    one, other = normal(new), normal(old)
    if not _ANEW.search(one):
        return False
    words = telling(one) & telling(other)
    if len(words) != 1:
        return len(words) > 1
    topics = (set(topics_of(one)) & set(topics_of(other))) - set(topics_of(next(iter(words))))
    denied = {lemma(word) for word in _DENIED.findall(one)}
    own = re.search(r"\b(?:i|we)\b", other)
    return bool(topics if own and words <= denied else topics - _BROAD)
