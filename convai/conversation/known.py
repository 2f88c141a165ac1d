"""What a speaker's persona and own words say of what they are asked, and answers that tell it.

Rules on words, as in `told`: the question names what is asked about, and the sentences that share a word or a
topic with it are what an answer would tell. A question about the speaker is one with "you" in it and no "my".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from convai.conversation.memory.topics import topics_of
from convai.conversation.told import FIRST_PERSON, WIDE, sentences_of, stems_of
from convai.core.dialog import AGENT, USER, Turn
from convai.text.claims.words import normal

ELSEWHERE: Final = 0.5
"""What a word of other sentences counts beside one of those that have to do with the question."""
_OF_SPEAKER: Final = re.compile(r"\byour?s?\b")
_ALWAYS: Final = frozenset(("like", "have"))
"""Verbs that a question and a sentence share without being about one matter."""


class Known:
    """What a speaker can tell where the last turn asks about them."""

    def __init__(self, persona: Sequence[str], turns: Sequence[Turn]) -> None:
        """`persona`: their sentences; `turns`: all that was said, their own as AGENT's."""
        self._stated: set[str] = set()
        self._fitting: set[str] = set()
        last = normal(turns[-1].text) if turns and turns[-1].speaker == USER else ""
        question = "".join(sentences_of(last)[-1:]) if last.endswith("?") else ""  # "?" alone asks nothing
        self._asked = stems_of(question)
        if not _OF_SPEAKER.search(question) or FIRST_PERSON.search(question):
            return
        topics = set(topics_of(question)) - WIDE
        texts = [*persona, *(turn.text for turn in turns if turn.speaker == AGENT)]
        for sentence in (one for text in texts for one in sentences_of(normal(text))):
            if sentence.endswith("?"):
                continue
            words = stems_of(sentence)
            self._stated |= words
            if words & (self._asked - _ALWAYS) or topics.intersection(topics_of(sentence)):
                self._fitting |= words

    def told_in(self, answer: str) -> float:
        """How well an answer tells what is known: 1 for words of what has to do with the question, ELSEWHERE
        for other known words, 0 where it has neither, or nothing about the speaker was asked.
        """
        if not self._stated:
            return 0.0
        words = stems_of(normal(answer)) - self._asked
        return 1.0 if words & self._fitting else ELSEWHERE if words & self._stated else 0.0
