"""Which of several candidates is the reply: what counts beside the next-sentence head's score.

The head learnt to tell a fitting reply from one of another dialogue, mostly by the words they share. So it
likes what was said a moment ago, by either side, and does not see that a reply takes back its own persona.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from convai.core.dialog import AGENT, Turn
from convai.engine import Finished
from convai.text.claims.opposed import opposed
from convai.text.claims.reading import Claim, claims

REPEATED: Final = 30.0
"""What a reply loses that was said before word for word, in logits of the head; a part of it for a part."""
OPPOSED: Final = 15.0
"""What a reply loses that takes back the persona, an earlier reply, or itself."""
SURPRISING: Final = 6.0
"""What a reply loses for each nat by which its tokens are less likely on average."""
_GRAM: Final = 3
_WORD: Final = re.compile(r"[\w']+")


class Ranking:
    """What candidates lose at one place of a conversation."""

    def __init__(self, persona: Sequence[str], turns: Sequence[Turn]) -> None:
        """`turns`: all that was said before, the last one being the one to be answered."""
        heard = [turn.text for turn in turns if turn.speaker == AGENT] + [turn.text for turn in turns[-1:]]
        self._said = set[tuple[str, ...]]().union(*map(_grams, heard))
        self._asked = turns[-1].text if turns and turns[-1].speaker != AGENT else ""
        self._known: list[Claim] = [claim for text in persona for claim in claims(text)]
        asked = ""
        for turn in turns:
            if turn.speaker == AGENT:
                self._known += claims(turn.text, asked)
            asked = turn.text

    def lost(self, end: Finished) -> float:
        """What a candidate loses of its score.

        For how unlikely its tokens were on average; for the share of its three words in a row that were said
        by its speaker before, or by the partner just now; and where it takes back what is known.
        """
        lost = SURPRISING * _surprise(end) + REPEATED * self._repeated(end.text)
        return lost + OPPOSED * self._takes_back(end.text)

    def _repeated(self, text: str) -> float:
        grams = _grams(text)
        return sum(gram in self._said for gram in grams) / len(grams) if grams else 0.0

    def _takes_back(self, text: str) -> bool:
        said = claims(text, self._asked)
        return any(
            opposed(claim, other) for i, claim in enumerate(said) for other in (*self._known, *said[:i])
        )


def _surprise(end: Finished) -> float:
    """The mean negative log-probability of a candidate's tokens, its end among them."""
    return -end.logprob / (len(end.ids) + 1)


def _grams(text: str) -> list[tuple[str, ...]]:
    """Every three words in a row; of a shorter text, itself."""
    words = _WORD.findall(text.lower().replace("\u2019", "'"))
    width = min(_GRAM, len(words))
    return [tuple(words[i : i + width]) for i in range(len(words) - width + 1)] if words else []
