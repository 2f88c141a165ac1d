"""Whether something that was put as a correction tells an old matter anew, where no attribute says so.

"the wedding is at the church", then "it's the registry office now, no church": the words in common say
that it is the same matter, "now" and "no" that it is otherwise. Attributes (`attributes`) are surer, and
come first.
"""

from __future__ import annotations

import re
from typing import Final

from convai.conversation.memory.lasting_words import PEOPLE
from convai.conversation.memory.remarks import telling
from convai.conversation.memory.statements import OTHERWISE
from convai.conversation.memory.topics import topics_of
from convai.text.claims.words import NUMBERS, job_words, lemma, normal

_ANEW: Final = re.compile(
    r"\b(?:instead|no longer|no more|not .*\bany ?more|(?:is|are|was) (?:off|over)|in the end|after all|"
    rf"changed?|moved me to|sold the|sold my|{OTHERWISE})\b|\bnow\b|^(?:no|nope|nah|actually)\b"
)
"""What says that things are otherwise now."""
_DENIED: Final = re.compile(
    r"\b(?:no more|instead of|no longer|rather than|(?:sold|quit|lost|left) (?:the|my|our)|"
    r"not (?:\w+ )?(?:at|in|on|to|with) (?:the|my)) (\w+)"
)
_TAKEN_BACK: Final = re.compile(
    r"\b(?:not (?:the |my |a |an |in |at |on )*(\w+) any ?more|"
    r"(?:scratch|scrap|forget) (?:the |my |that )?(?!that\b|it\b)(\w+)|"
    r"no longer (?:the |my |a |an |in |at )*(\w+)|(?:bored|tired|sick) of (?:the |my )?(\w+)|"
    r"(?:the|my) (\w+)(?:'s| is) (?:all |completely )?(?:fine|better|healed|ok|okay) (?:again|now))"
)
"""Words that are said to hold no more, whatever else is said: "not the 4 any more", "scratch santiago"."""
_NUMBER: Final = re.compile(rf"\b(?:\d+|{'|'.join(NUMBERS)})\b")
_COUNTED_ANEW: Final = re.compile(
    rf"\b(?:down|up) to {_NUMBER.pattern} (\w+)|{_NUMBER.pattern} (?:\w+ )?(\w+) (?:left|now)\b"
)
_PUT_OFF: Final = re.compile(
    r"\b(?:moved|postponed|rescheduled|put off|pushed back|brought forward|delayed) (?:the |my |our )(\w+)"
)
_MIND: Final = re.compile(r"\bchanged (?:my|our|his|her|their) minds?\b")
_INTENDED: Final = frozenset("#dream #plan #moving #travel".split())
"""Topics of what somebody may change their mind about."""
_CONTRASTS: Final = (
    re.compile(r"\b(?P<now>\w+),? not (?:(?:in|at|on|to|the|a|an|my) )?(?P<gone>\w+)\b"),
    re.compile(
        r"\bnot (?:(?:in|at|on|to|the|a|an|my) )?(?P<gone>\w+),? (?:but|it is|it's|its|s?he is|they are) "
        r"(?:(?:in|at|on|to|the|a|an|my) )?(?P<now>\w+)\b"
    ),
)
"""One thing put in the place of another: "it's kos, not crete", "not greyhounds, it's whippets"."""
_BROAD: Final = frozenset(
    "#favorite #plan #past #dream #hobby #called #job #live #illness #age #partner #child #sibling #parent "
    "#home #moving #moved #name".split()
)
"""Topics that two facts have in common without being about one matter."""


_OF_NOTHING: Final = frozenset("its thats theyre hes shes".split())
"""Words that a contrast begins with, as people type them, that say nothing of what it is about."""


def contrasts(new: str, old: str, *, corrects: bool = False) -> bool:
    """Whether `new` puts another thing in the place of one that `old` tells.

    There may be others of it: what `new` says that of ("i drink tea, not coffee") is a word or a narrow topic
    of `old`, too. Or `new` says it of nothing ("it's kos, not crete"), or is put as a correction
    (`corrects`), and neither tells of somebody of whom the other does not.
    """
    told = telling(old)
    plain = normal(new)
    for found in (match for pattern in _CONTRASTS for match in pattern.finditer(plain)):
        before, after = lemma(found["gone"]), lemma(found["now"])
        if before not in told or after in told or not telling(after):
            continue
        about = telling(plain[: found.start()]) - _OF_NOTHING
        topics = (set(topics_of(plain)) & set(topics_of(old))) - set(topics_of(found["gone"])) - _BROAD
        if about & told or topics:
            return True
        if (corrects or not about) and _people(plain) == _people(normal(old)):
            return True
    return False


def _people(plain: str) -> set[str]:
    return {word for word in map(lemma, plain.split()) if word in PEOPLE} - job_words()


def retells(new: str, old: str) -> bool:
    """Whether `new`, put as a correction, tells the matter of `old` anew.

    They have two telling words in common, or one and a narrow topic; a wide one does where `new` denies the
    word. One word is enough where `new` says that it holds no more, or that a mind was changed.
    """
    one, other = normal(new), normal(old)
    if not _ANEW.search(one):
        return False
    words = telling(one) & telling(other)
    gone = {word for found in _TAKEN_BACK.findall(one) for word in found if word}
    if any(word in other.split() if word.isdigit() else lemma(word) in telling(other) for word in gone):
        return True  # a number as it was written: "the 4" is no "four winters"
    if (put := _PUT_OFF.search(one)) and lemma(put[1]) in telling(other):
        return True
    count = _COUNTED_ANEW.search(one)
    if count and lemma(count[1] or count[2]) in telling(other) and _NUMBER.search(other):
        return True
    if words and _MIND.search(one) and _INTENDED & set(topics_of(other)):
        return True
    if len(words) != 1:
        return len(words) > 1
    topics = (set(topics_of(one)) & set(topics_of(other))) - set(topics_of(next(iter(words))))
    denied = {lemma(word) for word in _DENIED.findall(one)}
    own = re.search(r"\b(?:i|we)\b", other)
    return bool(topics if own and words <= denied else topics - _BROAD)
