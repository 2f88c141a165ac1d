"""Which replies take back what their speaker's persona or an earlier reply says: rules on claims.

The rules compare claims (`convai.evaluation.claims`) two by two, so they find what is said in plain words and
miss what has to be worked out ("i went to paris" for somebody who has never seen Europe). How much they find
and how often they are right is measured on labelled pairs: `convai evaluate --contradictions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, Dialog, check_text
from convai.core.errors import DataError
from convai.evaluation.claim_words import KINDS, Words
from convai.evaluation.claims import Claim, claims
from convai.text.corpora.building import as_object, sentences
from convai.text.corpora.files import lines
from convai.text.corpora.json_text import decode_line

_ONE_VALUE: Final = (
    "age job works married partner name birthday live study teach drive hair born raised from lives".split()
)
_OPPOSITES: Final = (
    ({"tall"}, {"short"}),
    ({"shy", "introvert", "introverted"}, {"outgoing", "extrovert", "extroverted"}),
    ({"woman", "female"}, {"man", "male"}),
    ({"rich"}, {"poor"}),
    ({"young"}, {"old"}),
    ({"deaf"}, {"hearing"}),
)
_SAME: Final = (
    {"doctor", "surgeon", "physician"},
    {"teacher", "professor"},
    {"police", "officer", "cop", "detective"},
    {"lawyer", "attorney"},
    {"chef", "cook"},
    {"writer", "author", "novelist"},
)
_MEAT: Final = frozenset(
    "meat steak chicken bacon sausage ham beef pork burger lamb turkey rib hamburger fish".split()
)
_ALCOHOL: Final = frozenset("alcohol beer wine whisky whiskey vodka cocktail rum gin booze".split())
_TAKES: Final = ("do eat", "do like", "do want", "do drink", "do have", "do cook", "do grab", "do try")
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


def opposed(one: Claim, other: Claim) -> bool:
    """Whether two claims of one person can not both be so."""
    return _opposed(one, other) or _opposed(other, one)


def _opposed(one: Claim, other: Claim) -> bool:
    if one.slot == other.slot:
        if one.slot.startswith("do ") or one.slot == "be":
            if one.holds != other.holds:
                no, yes = (one, other) if not one.holds else (other, one)
                if not no.value:
                    return one.slot != "be"
                return no.value <= yes.value or any(yes.value & _kinds(word) for word in no.value)
            return one.slot == "be" and one.holds and _antonyms(one.value, other.value)
        if one.slot.startswith("has "):
            return _counts_differ(one, other)
        if one.slot == "lives with":
            return ("nobody" in one.value) != ("nobody" in other.value)
        single = one.slot.split()[0] in _ONE_VALUE or one.slot.startswith(
            ("favorite ", "name of ", "job of ")
        )
        if not single:
            return False
        if one.holds != other.holds:
            return one.value == other.value
        if one.slot == "live" and "usa" in one.value | other.value:
            return False  # and in which of its places is not known here
        same = any(one.value & group and other.value & group for group in _SAME)
        return one.holds and bool(one.value and other.value) and not one.value & other.value and not same
    return _across(one, other)


def _kinds(word: str) -> Words:
    """What a general word stands for."""
    return frozenset(KINDS.get(word, "").split())


def _counts_differ(one: Claim, other: Claim) -> bool:
    """Two numbers of the same thing; a claim that is denied is a claim of none."""
    numbers = []
    for claim in (one, other):
        (value,) = claim.value
        if not claim.holds:
            if value in ("0", "some", "1"):
                numbers.append("some" if value == "0" else "0")
                continue
            return claim.holds != other.holds and claim.value == other.value
        numbers.append(value)
    if "some" in numbers:
        return "0" in numbers
    return numbers[0] != numbers[1]


def _antonyms(one: Words, other: Words) -> bool:
    return any(one & left and other & right for left, right in _OPPOSITES)


def _none_of(claim: Claim) -> bool:
    return (claim.value == {"0"}) == claim.holds and claim.slot.startswith("has ")


def _across(one: Claim, other: Claim) -> bool:
    """Claims of different slots; called for both orders."""
    if one.slot.startswith("has ") and _none_of(one):
        kind = KINDS.get(one.slot.removeprefix("has "), "").split()
        if other.slot.startswith("has ") and not _none_of(other):
            return other.slot.removeprefix("has ") in kind
        if other.slot.startswith("name of "):
            return other.slot.removeprefix("name of ") in (*kind, one.slot.removeprefix("has "))
    if one.slot == "do like" and not one.holds and other.slot.startswith("favorite "):
        return bool(one.value) and one.value <= other.value
    if one.slot == "allergic" and other.slot in _TAKES:
        return other.holds and bool(one.value & other.value)
    if one == Claim("do eat", frozenset({"meat"}), holds=False):
        return other.slot in _TAKES and other.holds and bool(other.value & _MEAT)
    if one.slot == "do drink" and not one.holds and one.value <= {"alcohol"}:
        return other.slot in _TAKES and other.holds and bool(other.value & _ALCOHOL)
    if one.slot == "do like" and not one.holds and one.value:
        return other.slot.startswith("has ") and not _none_of(other) and other.slot[4:] in one.value
    return False


def contradictions(dialog: Dialog, speaker: int = AGENT) -> Iterator[Contradiction]:
    """The replies of `speaker` that take back a sentence of the persona, an earlier reply, or themselves."""
    known = [(text, claims(text)) for text in dialog.personas[speaker].sentences]
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
class Pair:
    """What somebody said of themselves, a question, and a reply that contradicts it or does not."""

    said: tuple[str, ...]
    ask: str
    reply: str
    contradicts: bool
    part: str

    def found(self) -> bool:
        """Whether the rules find a contradiction."""
        known = [(text, claims(text)) for text in self.said]
        return any(True for _ in _first(0, self.reply, claims(self.reply, self.ask), known))


def read_pairs(path: Path) -> list[Pair]:
    """The labelled pairs in a file, one a line as JSON. Raises DataError, naming file and line."""
    found = []
    for number, text in lines(path):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        entry: dict[str, Any] = as_object(decode_line(text, where), where, _EXAMPLE)
        if not isinstance(entry.get("contradicts"), bool):
            raise DataError(f"{where}: 'contradicts' must be true or false; a line is like {_EXAMPLE}")
        found.append(
            Pair(
                sentences(entry.get("persona"), where),
                check_text(entry.get("ask"), f"{where}, ask"),
                check_text(entry.get("reply"), f"{where}, reply"),
                entry["contradicts"],
                str(entry.get("part", "all")),
            )
        )
    if not found:
        raise DataError(f"{path}: no pairs; a line is like {_EXAMPLE}")
    return found


def precision_and_recall(pairs: Sequence[Pair]) -> dict[str, float]:
    """How the rules do on labelled pairs: `precision`, `recall`, and the numbers they come from.

    Precision is 1 where nothing is found, recall where there is nothing to find.
    """
    hits = sum(pair.found() and pair.contradicts for pair in pairs)
    found = sum(pair.found() for pair in pairs)
    wanted = sum(pair.contradicts for pair in pairs)
    return {
        "precision": hits / found if found else 1.0,
        "recall": hits / wanted if wanted else 1.0,
        "pairs": len(pairs),
        "contradictions": wanted,
        "found": found,
        "rightly_found": hits,
    }
