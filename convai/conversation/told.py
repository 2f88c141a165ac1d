"""What a user has told of themselves, and answers that go against it: made up, or denied.

Rules on words: what an answer says of the user is held against the words that the user has used. A question
about the user is one with "my", "i" or "me" in it; all other questions are nobody's business here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from convai.conversation.memory.topics import topics_of
from convai.core.dialog import USER, Turn
from convai.text.claims.words import content, normal

_STEM: Final = 4
"""Letters of a word that tell it from others here: "weaves" and "weaving" are one."""
EARLIER: Final = 0.8
"""What a word of an earlier thing that was told counts beside one of the last."""
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*")
_QUESTION: Final = re.compile(
    r"(?:and |so |but |or )?(?:what|who|whose|where|when|why|how|which|is|are|am|was|were|do|does|did|can|"
    r"could|would|will|have|has|should|any|ever)\b"
)
_ASKS: Final = re.compile(r"(?:please )?(?:tell|name|remind)\b")
_OF_USER: Final = re.compile(r"\b(?:my|mine|i|me|our|ours)\b")
FIRST_PERSON: Final = re.compile(r"\b(?:my|mine|i|me)\b")
_OF_ELSE: Final = re.compile(
    r"\b(?:should|shall|could|may) (?:i|we)\b|"
    r"\b(?:do|did|are|were|would|will|could|have|can) you "
    r"(?!(?:still |even )?(?:remember|recall|know|tell|say|remind)\b)"
)
"""Questions with "i" or "my" in them that ask for advice, or for the listener ("do you like my hat?")."""
WIDE: Final = frozenset(("#favorite", "#plan", "#past", "#dream", "#called"))
"""Topics that a question and what was told have in common without being about one matter."""
_YOU: Final = re.compile(r"\b(?:you|your|yours)\b")
_NAMED: Final = re.compile(r"\b(?:users?|you|your)\b")
_DENIES: Final = re.compile(
    r"\b(?:not|never|no idea)\b[^.!?]*\b(?:know|told|tell|said|say|mention\w*|remember|sure|idea)\b"
    r"|\bno idea\b|\b(?:tell|remind) me\b"
)
_ABOUT_TELLING: Final = frozenset(
    """tell say said told mention remember believe think know call name sure right listen curious glad ask
    guess yes oh well course honest let way thing okay""".split()
)
"""Words of an answer that are not what it says."""


class Told:
    """The user's words before their last turn, and what that turn asks."""

    def __init__(self, turns: Sequence[Turn], persona: Sequence[str] = (), given: Sequence[str] = ()) -> None:
        """`turns`: all that was said; where the last one is the user's, it is what is to be answered.

        `given`: other texts that may tell of the user, as `persona` does where it speaks of them.
        """
        last = normal(turns[-1].text) if turns and turns[-1].speaker == USER else ""
        question = sentences_of(last)[-1:]
        self._asked = question[0] if question and (last.endswith("?") or _ASKS.match(question[0])) else ""
        self.asked = bool(
            question and (last.endswith("?") or _ASKS.match(question[0]) or _QUESTION.match(question[0]))
        )
        """Whether the last turn asks anything."""
        self.of_user = bool(_OF_USER.search(self._asked))
        """Whether something about the user is asked."""
        self.of_life = (
            self.of_user
            and bool(_QUESTION.match(self._asked) or _ASKS.match(self._asked))
            and not _OF_ELSE.search(self._asked)
        )
        """Whether that is something that they may have told."""
        self._known: set[str] = set()
        self._topic: set[str] = set()
        self._fitting: dict[str, float] = {}
        if self.of_user:
            said = [s for turn in turns[:-1] if turn.speaker == USER for s in sentences_of(normal(turn.text))]
            lines = [text for text in map(normal, persona) if _NAMED.search(text)]
            for text in given:  # a line of the memory has the best fact first
                lines += reversed(sentences_of(normal(text)))
            said[:0] = lines
            told = [s for s in said if not (s.endswith("?") and _QUESTION.match(s))]
            self._known = set().union(*map(stems_of, told))
            self._free = stems_of(last) | {word[:_STEM] for word in _ABOUT_TELLING}
            self._topic = stems_of(self._asked) - {word[:_STEM] for word in _ABOUT_TELLING}
            topics = set(topics_of(self._asked)) - WIDE
            for sentence in told:  # the last one counts: what was said before it may have been taken back
                if stems_of(sentence) & self._topic or topics.intersection(topics_of(sentence)):
                    self._fitting = dict.fromkeys(self._fitting, EARLIER) | dict.fromkeys(
                        stems_of(sentence), 1.0
                    )

    def made_up(self, text: str) -> bool:
        """Whether an answer says something of the user, and nothing in words that the user has used."""
        if not self.of_user:
            return False
        said: set[str] = set()
        for sentence in sentences_of(normal(text)):
            stated = not sentence.endswith("?") or sentence.endswith("right?")
            if stated and self._is_of_user(sentence) and not _DENIES.search(sentence):
                said |= stems_of(sentence) - self._free
        return bool(said) and not said & self._known

    def fitting(self, text: str) -> float:
        """How well an answer tells the user what they told: 1 for words of the last thing told that has to do
        with the question, EARLIER for those of the things before it, half for other words of theirs; half of
        that where it says besides that it does not know.
        """
        if not self.of_life:
            return 0.0
        best = 0.0
        for sentence in sentences_of(normal(text)):
            if not self._is_of_user(sentence):
                continue
            words = stems_of(sentence) - self._free
            worth = max((self._fitting.get(word, 0.5) for word in words & self._known), default=0.0)
            best = max(best, worth / 2 if _DENIES.search(sentence) else worth)
        return best

    def of_itself(self, text: str) -> bool:
        """Whether an answer to a question about the user tells of its speaker alone."""
        if not self.of_life:
            return False
        sentences = [s for s in sentences_of(normal(text)) if not s.endswith("?")]
        return (
            bool(sentences)
            and not any(map(_YOU.search, sentences))
            and any(FIRST_PERSON.search(s) and not _DENIES.search(s) for s in sentences)
        )

    def denied(self, text: str) -> bool:
        """Whether an answer says that it was never told what the user has spoken of.

        The reason of a thing may be untold where the thing is not.
        """
        if not self._topic & self._known or self._asked.startswith("why"):
            return False
        plain = normal(text)
        return bool(_DENIES.search(plain)) and not (stems_of(plain) - self._free) & self._known

    def _is_of_user(self, sentence: str) -> bool:
        """Whether it has "your" in it, or no speaker ("at six"), or takes over the question's "my cat"."""
        if re.search(r"\byour?\b", sentence) or not FIRST_PERSON.search(sentence):
            return True
        return any(f"my {noun}" in sentence for noun in re.findall(r"\bmy ([a-z]+)", self._asked))


def sentences_of(text: str) -> list[str]:
    """Its sentences, with their ends."""
    return [found.strip() for found in _SENTENCE.findall(text) if found.strip()]


def stems_of(text: str) -> set[str]:
    """Beginnings of its content words, by which they are compared here."""
    return {word[:_STEM] for word in content(text)}
