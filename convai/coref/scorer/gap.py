"""GAP: is an ambiguous pronoun A, B, or neither? In the text of an encyclopedia, as many women as men.

Webster et al. 2018, "Mind the GAP". The names and the pronoun are given to the scorer, not to the resolver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.coref.document import Document, Resolver, Span
from convai.coref.mentions import head_of

_COLUMNS: Final = "ID Text Pronoun Pronoun-offset A A-offset A-coref B B-offset B-coref URL".split()
_FEMININE: Final = frozenset(("she", "her", "hers", "herself"))
_LINKING: Final = frozenset(("IN", "TO", "CC"))
ReadText = Callable[[str], tuple[Document, list[tuple[int, int]]]]
"""A text → its parsed document and where each word begins and ends, in characters."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A pronoun in a text and two names; spans in characters."""

    name: str
    text: str
    pronoun: Span
    candidates: tuple[Span, Span]
    same: tuple[bool, bool]
    """Whether the pronoun is A, and whether it is B."""

    @property
    def feminine(self) -> bool:
        """Whether the pronoun is."""
        return self.text[slice(*self.pronoun)].lower() in _FEMININE


@dataclass(frozen=True, slots=True)
class ParsedExample:
    """An example in a parsed document; spans in words. (-1, -1) where the text has no such word."""

    document: Document
    pronoun: Span
    names: tuple[Span, Span]
    same: tuple[bool, bool]
    feminine: bool


@dataclass(slots=True)
class Tally:
    """Right and wrong answers to "is the pronoun this name?"."""

    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0

    def add(self, same: bool, found: bool) -> None:
        """Count one answer."""
        self.true_positive += same and found
        self.false_positive += found and not same
        self.false_negative += same and not found
        self.true_negative += not same and not found

    @property
    def f1(self) -> float:
        """Of the answer yes; 0 where it is never right."""
        wrong = self.false_positive + self.false_negative
        return 2 * self.true_positive / (2 * self.true_positive + wrong) if self.true_positive else 0.0

    @property
    def precision(self) -> float:
        """0 where no name was found."""
        found = self.true_positive + self.false_positive
        return self.true_positive / found if found else 0.0

    @property
    def recall(self) -> float:
        """0 where there is nothing to find."""
        there = self.true_positive + self.false_negative
        return self.true_positive / there if there else 0.0


def read_gap(path: Path) -> list[Ambiguous]:
    """The examples of a GAP file. Raises DataError, with file and line, for rows that do not fit."""
    found: list[Ambiguous] = []
    rows = ((number, line.split("\t")) for number, line in lines(path))
    header = next(rows, (1, []))[1]
    if header != list(_COLUMNS):
        raise DataError(f"{path}:1: the header is not GAP's; it has the columns {', '.join(_COLUMNS)}")
    for number, cells in rows:
        place = f"{path}:{number}"
        if len(cells) != len(_COLUMNS):
            raise DataError(
                f"{place}: {len(cells)} columns, and {len(_COLUMNS)} in the header; copy it again"
            )
        row = dict(zip(_COLUMNS, cells, strict=True))
        spans = [_span(row, name, place) for name in ("Pronoun", "A", "B")]
        same = tuple(row[f"{name}-coref"].upper() == "TRUE" for name in "AB")
        found.append(Ambiguous(row["ID"], row["Text"], spans[0], (spans[1], spans[2]), (same[0], same[1])))
    if not found:
        raise DataError(f"{path}: no examples; give a GAP file")
    return found


def _span(row: dict[str, str], name: str, place: str) -> Span:
    text, offset = row[name], row[f"{name}-offset"]
    if not offset.isdecimal() or row["Text"][int(offset) : int(offset) + len(text)] != text or not text:
        raise DataError(f"{place}: {name} {text[:40]!r} is not at offset {offset[:10]} of the text")
    return int(offset), int(offset) + len(text)


def ask(one: Ambiguous, read: ReadText) -> ParsedExample:
    """The example with its text read."""
    document, places = read(one.text)
    names = (_words(places, one.candidates[0]), _words(places, one.candidates[1]))
    return ParsedExample(document, _words(places, one.pronoun), names, one.same, one.feminine)


def score_gap(examples: Iterable[ParsedExample], resolver: Resolver) -> dict[str, Tally]:
    """Tallies of all, masculine and feminine pronouns, two answers each.

    The pronoun is a name where a mention of the name (`is_of_name`) is in one cluster with a mention of
    exactly the pronoun.
    """
    tallies = {"overall": Tally(), "masculine": Tally(), "feminine": Tally()}
    for one in examples:
        clusters = resolver.resolve(one.document)
        cluster = next((c for c in clusters if one.pronoun in c), [])
        for name, same in zip(one.names, one.same, strict=True):
            found = any(is_of_name(one.document, span, name) for span in cluster)
            tallies["overall"].add(same, found)
            tallies["feminine" if one.feminine else "masculine"].add(same, found)
    return tallies


def is_of_name(document: Document, span: Span, name: Span) -> bool:
    """Whether a mention is of the one who is named at `name`, more or fewer words than these.

    It lies within the name. Or its head is one of the name's words and nobody is coordinated with it ("Rose,
    the actress", not "Rose and Ann"). Or it ends as the name does, and neither preposition nor conjunction
    comes before ("the actress Rose", not "a friend of Rose").
    """
    start, end = span
    if not (start < name[1] and name[0] < end):
        return False
    if name[0] <= start and end <= name[1]:
        return True
    number = document.sentence_of(start)
    sentence, first = document.sentences[number], document.starts()[number]
    if end == name[1] and start <= name[0]:
        return _LINKING.isdisjoint(sentence.tags[start - first : name[0] - first])
    if not sentence.parsed:
        return False
    head = first + head_of(start - first, end - first, sentence.heads)
    if not name[0] <= head < name[1]:
        return False
    after = range(name[1] - first, end - first)
    return not any(sentence.heads[i] + first == head and sentence.deps[i] == "conj" for i in after)


def _words(places: list[tuple[int, int]], characters: Span) -> Span:
    """The words that hold these characters."""
    inside = [i for i, (start, end) in enumerate(places) if start < characters[1] and characters[0] < end]
    return (inside[0], inside[-1] + 1) if inside else (-1, -1)
