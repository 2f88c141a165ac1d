"""Which of several candidates is the reply: what counts beside the next-sentence head's score.

The head learnt to tell a fitting reply from one of another dialogue, mostly by the words they share. So it
likes what was said a moment ago, by either side, and does not see that a reply takes back its own persona.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from convai.conversation.known import Known
from convai.conversation.told import Told
from convai.core.dialog import AGENT, Turn
from convai.engine import Finished
from convai.text.claims.claim import Claim
from convai.text.claims.opposed import opposed
from convai.text.claims.reading import claims, of_persona
from convai.text.claims.words import content, normal

REPEATED: Final = 30.0
"""What a reply loses that was said before word for word, in logits of the head; a part of it for a part. What
it says twice itself counts alike ("they're real people. they're real people.")."""
OPPOSED: Final = 15.0
"""What a reply loses that takes back the persona, an earlier reply, or itself."""
MADE_UP: Final = 15.0
"""What an answer loses that says of the user what they never said."""
DENIED: Final = 4.0
"""What an answer loses that says it was not told what was told."""
RECALLED: Final = 10.0
"""What an answer gains that tells the user what they told."""
KNOWN: Final = 6.0
"""What an answer about its speaker gains that tells what their persona, or an earlier reply, says of that."""
OF_ITSELF: Final = 5.0
"""What an answer loses that tells of its speaker where the user asked about themselves."""
LEAVING: Final = 10.0
"""What a reply loses that says goodbye to somebody who stays."""
TAKEN_OVER: Final = 6.0
"""What a reply loses that says of its speaker what the partner said of themselves, without "too"."""
ASKED_AGAIN: Final = 8.0
"""What a reply loses that asks for the job, home or name that the partner has told."""
IDLE: Final = 5.0
"""What a reply loses that brings nothing new where nothing was asked ("i'm glad too")."""
ASKING: Final = 3.0
"""What a reply gains that asks back where nothing was asked, if its speaker did not ask the last time."""
SURPRISING: Final = 6.0
"""What a reply loses for each nat by which its tokens are less likely on average."""
_OWN: Final = frozenset(("name", "job"))
"""What two people do not share: claims of the partner's that a reply does not make for its speaker."""
_ASKED_ONCE: Final = frozenset(("name", "job", "live", "from"))
"""Slots of claims; who said what they are ("i'm a piano mover") is not asked for their job."""
_ANY_VALUES: Final = ("paris", "a baker")
"""Answers that show what a question asks for."""
_FAREWELL: Final = re.compile(
    r"\b(?:(?:good)?bye|see you (?:soon|later|around|tomorrow)|talk (?:soon|to you (?:soon|later))|"
    r"(?<!a )good night|sleep well|take care|(?<!you )(?<!i )have an? (?:lovely|nice|good|great|wonderful) "
    r"(?:day|night|evening|weekend|one))\b",
    re.IGNORECASE,
)
_GOES: Final = re.compile(
    rf"{_FAREWELL.pattern}|\b(?:go(?:ing)?|head(?:ing)?|off|leave|leaving|run|bed|later|tomorrow)\b",
    re.IGNORECASE,
)
_ALSO: Final = re.compile(
    r"\b(?:too|also|either|neither|so (?:do|am|have|did) i|as well|same)\b", re.IGNORECASE
)
_GRAM: Final = 3
_LATELY: Final = 6
"""Turns, of either side, whose words are not new."""
_WORD: Final = re.compile(r"[\w']+")


class Ranking:
    """What candidates lose at one place of a conversation."""

    def __init__(self, persona: Sequence[str], turns: Sequence[Turn], given: Sequence[str] = ()) -> None:
        """`turns`: all that was said before, the last one being the one to be answered.

        `given`: what else the speaker was told, of the partner too.
        """
        heard = [turn.text for turn in turns if turn.speaker == AGENT] + [turn.text for turn in turns[-1:]]
        self._said = set[tuple[str, ...]]().union(*map(_grams, heard))
        self._asked = turns[-1].text if turns and turns[-1].speaker != AGENT else ""
        self._known: list[Claim] = [claim for _, said in of_persona(persona) for claim in said]
        shared: set[Claim] = set()
        asked = ""
        for turn in turns:
            said = claims(turn.text, asked)
            if turn.speaker == AGENT:
                self._known += said
            else:
                shared |= {claim for claim in said if claim.holds}
            asked = turn.text
        self._told_slots = {"job" if claim.slot == "be" else claim.slot for claim in shared} & _ASKED_ONCE
        shared -= set(self._known)
        self._partners = {claim for claim in shared if claim.slot in _OWN}
        self._others = shared - self._partners
        self._stays = not turns or turns[-1].speaker == AGENT or not _GOES.search(turns[-1].text)
        self._told = Told(turns, persona, given)
        self._knows = Known(persona, turns)
        statement = bool(turns) and turns[-1].speaker != AGENT and not self._told.asked
        self._idle_talk = statement and len(turns) > 1
        self._may_ask = self._idle_talk and not any(
            turn.text.rstrip().endswith("?") for turn in turns[-2:] if turn.speaker == AGENT
        )
        self._lately: frozenset[str] = frozenset().union(
            *(content(normal(turn.text)) for turn in turns[-_LATELY:])
        )

    def lost(self, end: Finished) -> float:
        """What a candidate loses of its score.

        For how unlikely its tokens were on average; for the share of its three words in a row that were said
        by its speaker before, or by the partner just now; where it takes back what is known, or takes over
        who the partner is; where it answers a question about the partner against what they told, takes over
        what they said of themselves, or asks for it; where it takes leave of somebody who stays; and where
        it is to keep a conversation going and does not. What it gains for asking back, for telling the user
        what they told, and for answering out of what is known of its speaker, is taken off.
        """
        lost = SURPRISING * _surprise(end) + REPEATED * self._repeated(end.text)
        if self._takes_back(end.text):
            lost += OPPOSED
        else:
            lost += TAKEN_OVER * self._takes_over(end.text) - KNOWN * self._knows.told_in(end.text)
        lost += LEAVING * (self._stays and bool(_FAREWELL.search(end.text)))
        lost += IDLE * (self._idle_talk and self._brings_nothing(end.text))
        if end.text.rstrip().endswith("?"):
            comforts = "sorry" in end.text.lower()  # which another question takes back
            lost += ASKED_AGAIN if self._was_told(end.text) else -ASKING * (self._may_ask and not comforts)
        lost += OF_ITSELF * self._told.of_itself(end.text) - RECALLED * self._told.fitting(end.text)
        return lost + MADE_UP * self._told.made_up(end.text) + DENIED * self._told.denied(end.text)

    def _repeated(self, text: str) -> float:
        grams, said, again = _grams(text), set(self._said), 0
        for gram in grams:
            again += gram in said
            said.add(gram)
        return again / len(grams) if grams else 0.0

    def _takes_over(self, text: str) -> bool:
        return not _ALSO.search(text) and not self._others.isdisjoint(claims(text, self._asked))

    def _was_told(self, question: str) -> bool:
        return any(
            claim.slot in self._told_slots for value in _ANY_VALUES for claim in claims(value, question)
        )

    def _brings_nothing(self, text: str) -> bool:
        return "?" not in text and content(normal(text)) <= self._lately

    def _takes_back(self, text: str) -> bool:
        said = claims(text, self._asked)
        return not self._partners.isdisjoint(said) or any(
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
