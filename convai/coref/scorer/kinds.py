"""Kinds of things to get right, each a few sentences with the right answer: the share of them that is.

A text marks mentions and who they are, as `[My sister|1] has [a dog|2]. [She|1] loves [him|2].`; marks may
lie in each other. It is right where every two marked mentions are linked just if they have the same mark; of
what else is found nothing is asked. A mention counts as found by one with the same head word, so that "the
dentist" and "the dentist of my aunt" are one, unless the text asks for its exact words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from convai.core.errors import DataError
from convai.core.intervals import wilson
from convai.core.text_files import lines
from convai.coref.document import Cluster, Document, Resolver, Span
from convai.coref.mentions import head_of
from convai.text.corpora.building import as_object
from convai.text.corpora.json_text import decode_line

_EXAMPLE: Final = '{"kind": "pets", "turns": [[null, "[Anna|1] has [a dog|2]. [She|1] loves [him|2]."]]}'
Turns = list[tuple[str | None, str]]
"""Speaker (None where nobody is named) and text."""
ReadTurns = Callable[[Turns], tuple[Document, list[tuple[int, int, int]]]]
"""Turns → their parsed document and the place of each word: (turn, start, end), in characters."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A mention: where it is, and the mark that says who is meant."""

    turn: int
    start: int
    end: int
    """Characters of the turn, `[start, end)`."""
    mark: str


@dataclass(frozen=True, slots=True)
class Item:
    """A text with marked mentions."""

    kind: str
    part: str
    """A part of the file, as "seen" by whoever wrote rules; "all" where none is named."""
    turns: Turns
    marked: tuple[Marked, ...]
    exact: bool
    """Whether a mention must have exactly the marked words."""
    where: str
    """File and line."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Two marked mentions that are linked and should not be, or the other way round."""

    one: str
    other: str
    linked: bool

    def __str__(self) -> str:
        return f"{self.one!r} and {self.other!r} are {'linked' if self.linked else 'not linked'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An item and what is wrong with what was found in it: nothing where it is right."""

    item: Item
    wrong: list[Wrong]


def read_kinds(path: Path) -> list[Item]:
    """The items of a file, one a line as JSON. Raises DataError, naming file and line."""
    found = []
    for number, line in lines(path):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        entry = as_object(decode_line(line, where), where, _EXAMPLE)
        kind, part = entry.get("kind"), entry.get("part", "all")
        if not isinstance(kind, str) or not isinstance(part, str):
            raise DataError(f"{where}: 'kind' and 'part' are names; a line is like {_EXAMPLE}")
        turns, marked = _turns(entry.get("turns"), where)
        found.append(Item(kind, part, turns, marked, entry.get("exact") is True, where))
    if not found:
        raise DataError(f"{path}: no texts; a line is like {_EXAMPLE}")
    return found


def _turns(value: Any, where: str) -> tuple[Turns, tuple[Marked, ...]]:
    turns: Turns = []
    marked: list[Marked] = []
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: 'turns' is a list of [speaker, text]; a line is like {_EXAMPLE}")
    for turn in value:
        match turn:
            case [str() | None as speaker, str(text)]:
                plain, of_turn = unmarked(text, len(turns), where)
                turns.append((speaker, plain))
                marked += of_turn
            case _:
                raise DataError(f"{where}: a turn is [speaker, text]; a line is like {_EXAMPLE}")
    if len(marked) < 2:
        raise DataError(f"{where}: fewer than two marked mentions; a line is like {_EXAMPLE}")
    return turns, tuple(marked)


def unmarked(text: str, turn: int, where: str) -> tuple[str, list[Marked]]:
    """A text without its marks, and what they mark. Raises DataError for brackets that do not close.

    >>> unmarked("[[My|1] cat|2] purrs.", 0, "here")[0]
    'My cat purrs.'
    """
    plain: list[str] = []
    open_: list[int] = []
    marked: list[Marked] = []
    at = 0
    while at < len(text):
        if text[at] == "[":
            open_.append(len(plain))
        elif text[at] == "|" and open_:
            close = text.find("]", at)
            if close <= at + 1:
                raise DataError(f"{where}: {text[at : at + 20]!r} has no mark and ']'; write [a dog|2]")
            marked.append(Marked(turn, open_.pop(), len(plain), text[at + 1 : close]))
            at = close
        else:
            plain.append(text[at])
        at += 1
    if open_:
        raise DataError(f"{where}: a '[' without its mark and ']' in {text[:40]!r}; write [a dog|2]")
    return "".join(plain), sorted(marked, key=lambda m: (m.start, -m.end))


def answers(items: Iterable[Item], read: ReadTurns, resolver: Resolver) -> Iterator[Verdict]:
    """What the resolver makes of each item. Raises DataError where a mark begins or ends within a word."""
    for item in items:
        document, places = read(item.turns)
        found = resolver.resolve(document)
        spans = [_words(places, mention, item) for mention in item.marked]
        words = document.words()
        of = [_cluster(document, span, found, exact=item.exact) for span in spans]
        wrong = []
        for i, j in combinations(range(len(spans)), 2):
            linked = of[i] is not None and of[i] == of[j]
            if linked != (item.marked[i].mark == item.marked[j].mark):
                one, other = (" ".join(words[start:end]) for start, end in (spans[i], spans[j]))
                wrong.append(Wrong(one, other, linked))
        yield Verdict(item, wrong)


def _words(places: Sequence[tuple[int, int, int]], mention: Marked, item: Item) -> Span:
    first = [i for i, (turn, start, _) in enumerate(places) if (turn, start) == (mention.turn, mention.start)]
    last = [i for i, (turn, _, end) in enumerate(places) if (turn, end) == (mention.turn, mention.end)]
    if not first or not last:
        text = item.turns[mention.turn][1][mention.start : mention.end]
        raise DataError(
            f"{item.where}: {text!r} begins or ends within a word of the parser's; mark whole words"
        )
    return first[0], last[0] + 1


def _cluster(document: Document, span: Span, found: Sequence[Cluster], *, exact: bool) -> int | None:
    """The number of the cluster with this mention, exactly so rather than with the same head."""
    for number, cluster in enumerate(found):
        if span in cluster:
            return number
    if not exact:
        for number, cluster in enumerate(found):
            if any(_same_head(document, span, other) for other in cluster):
                return number
    return None


def _same_head(document: Document, one: Span, other: Span) -> bool:
    """Whether two spans have one head and both, or neither, coordinate it with others ("Tom and Ann")."""
    if other[0] >= one[1] or one[0] >= other[1]:
        return False
    number = document.sentence_of(one[0])
    sentence, first = document.sentences[number], document.starts()[number]
    heads = [head_of(start - first, end - first, sentence.heads) for start, end in (one, other)]
    if heads[0] != heads[1]:
        return False
    joined = [
        any(
            sentence.deps[i] == "conj" and sentence.heads[i] == heads[0]
            for i in range(start - first, end - first)
        )
        for start, end in (one, other)
    ]
    return joined[0] == joined[1]


def shares(answered: Sequence[Verdict]) -> dict[str, dict[str, float]]:
    """For every kind, and for all: `share` right, its interval `low` to `high`, number of `texts`."""
    kinds: dict[str, list[bool]] = {}
    for answer in answered:
        kinds.setdefault(answer.item.kind, []).append(not answer.wrong)
    kinds["all"] = [right for of_kind in kinds.values() for right in of_kind]
    found = {}
    for kind, right in kinds.items():
        share = sum(right) / len(right)
        low, high = wilson(share, len(right))
        found[kind] = {"share": share, "low": low, "high": high, "texts": len(right)}
    return found
