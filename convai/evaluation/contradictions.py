"""Which replies take back what their speaker's persona or an earlier reply says: rules on claims.

The rules compare claims (`convai.text.claims`) two by two, so they find what is said in plain words and
miss what has to be worked out ("i went to paris" for somebody who has never seen Europe). How much they find
and how often they are right is measured on labelled pairs: `convai evaluate --contradictions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, Dialog, check_text
from convai.core.errors import DataError
from convai.evaluation.metrics import precision_and_recall
from convai.text.claims.claim import Claim
from convai.text.claims.opposed import opposed
from convai.text.claims.reading import claims, of_persona
from convai.text.corpora.building import sentences
from convai.text.corpora.json_text import objects

_EXAMPLE: Final = (
    '{"persona": ["i am a smith."], "ask": "what are you?", "reply": "a cook.", "contradicts": true}'
)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The reply at `turn` of a dialogue takes back `said`: the claims that do not go together."""

    turn: int
    reply: str
    said: str
    claim: Claim
    earlier: Claim


def contradictions(dialog: Dialog, speaker: int = AGENT) -> Iterator[Contradiction]:
    """The replies of `speaker` that take back a sentence of the persona, an earlier reply, or themselves."""
    known = of_persona(dialog.personas[speaker].sentences)
    asked = ""
    for number, turn in enumerate(dialog.turns):
        if turn.speaker != speaker:
            asked = turn.text
            continue
        said = claims(turn.text, asked)
        within = [(turn.text, said[:i]) for i in range(1, len(said))]
        yield from _first(number, turn.text, said, [*known, *within[-1:]])
        known.append((turn.text, said))
        asked = ""


def _first(
    number: int, reply: str, said: Sequence[Claim], known: Sequence[tuple[str, Sequence[Claim]]]
) -> Iterator[Contradiction]:
    for claim in said:
        for text, earlier in known:
            for other in earlier:
                if opposed(claim, other):
                    yield Contradiction(number, reply, text, claim, other)
                    return


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """What somebody said of themselves, a question, and a reply that contradicts it or does not."""

    said: tuple[str, ...]
    ask: str
    reply: str
    contradicts: bool
    part: str

    def found(self) -> bool:
        """Whether the rules find a contradiction."""
        known = of_persona(self.said)
        return any(True for _ in _first(0, self.reply, claims(self.reply, self.ask), known))


def read_pairs(path: Path) -> list[LabelledPair]:
    """The labelled pairs in a file, one a line as JSON. Raises DataError, naming file and line."""
    found = []
    for where, entry in objects(path, _EXAMPLE):
        if not isinstance(entry.get("contradicts"), bool):
            raise DataError(f"{where}: 'contradicts' must be true or false; a line is like {_EXAMPLE}")
        found.append(
            LabelledPair(
                sentences(entry.get("persona"), where),
                check_text(entry.get("ask"), f"{where}, ask"),
                check_text(entry.get("reply"), f"{where}, reply"),
                entry["contradicts"],
                str(entry.get("part", "all")),
            )
        )
    return found


def score_rules(pairs: Sequence[LabelledPair]) -> dict[str, float]:
    """How the rules do on labelled pairs: precision, recall, and the numbers that they come from."""
    hits = sum(pair.found() and pair.contradicts for pair in pairs)
    found = sum(pair.found() for pair in pairs)
    wanted = sum(pair.contradicts for pair in pairs)
    return {
        **precision_and_recall(hits, found, wanted),
        "pairs": len(pairs),
        "contradictions": wanted,
        "found": found,
        "rightly_found": hits,
    }
