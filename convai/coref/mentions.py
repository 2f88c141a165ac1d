"""Which spans of a sentence may name something: the one mention detector, for training and for use.

Candidates are read off the dependency tree: pronouns, noun phrases (a noun with what belongs to it, and the
same without its trailing clauses and appositions), coordinations ("John and Mary") and named entities. A
candidate never leaves its sentence. The scheme is that of OntoNotes where corpora differ: a phrase keeps its
determiner and its trailing 's, and loses its preposition.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from convai.coref.document import Sentence


class MentionShape(IntEnum):
    """What of a tree a candidate is."""

    PRONOUN = 0
    FULL = 1
    """A noun with all that depends on it."""
    CORE = 2
    """The same without trailing clauses and appositions, where it has any."""
    JOINED = 3
    """A noun and those that are coordinated with it."""
    ENTITY = 4
    """A named entity within a longer phrase."""
    BASE = 5
    """A noun and what stands before it, where something follows."""
    PLACE = 6
    """here, there"""


class SpanCandidate(NamedTuple):
    """A span `[start, end)` with the index of its head word, all counted from the sentence's first word."""

    start: int
    end: int
    head: int
    shape: MentionShape


PERSONAL_TAGS: Final = frozenset({"PRP", "PRP$"})
NOUN_TAGS: Final = frozenset({"NN", "NNS", "NNP", "NNPS"})
DEMONSTRATIVES: Final = frozenset({"this", "that", "these", "those"})
PLACES: Final = frozenset({"here", "there"})
_ARGUMENTS: Final = frozenset(
    {"nsubj", "nsubj:pass", "obj", "iobj", "obl", "nmod", "nmod:poss", "conj", "appos", "root", "vocative"}
)
"""Relations in which a word that is no noun stands for one ("the poor", "two of them", "this")."""
_BEFORE: Final = frozenset(
    {
        "det", "det:predet", "amod", "nummod", "compound", "nmod:poss", "nmod", "nmod:desc", "nmod:unmarked",
        "nmod:npmod", "flat", "goeswith", "advmod", "punct", "obl:npmod", "obl:unmarked", "acl", "appos",
        "case:poss", "name", "dep",
    }
)  # fmt: skip
"""Relations of dependents before a noun that belong to its phrase."""
_AFTER: Final = frozenset(
    {
        "nmod", "nmod:npmod", "nmod:desc", "nmod:unmarked", "nmod:tmod", "nmod:poss", "flat", "compound",
        "goeswith", "amod", "nummod", "det", "fixed", "case", "acl", "acl:relcl", "appos", "advmod", "obl",
        "obl:npmod", "dep", "obl:unmarked", "name", "orphan",
    }
)  # fmt: skip
"""Relations of dependents after a noun that belong to its phrase."""
_TRAILING: Final = frozenset({"acl:relcl", "appos", "acl"})
"""Of those, what a core phrase does without."""
_NAME_PARTS: Final = frozenset({"flat", "name"})
"""Relations of the words of a name to its first one."""
_TITLE: Final = "nmod:desc"
"""The relation of "Mr." to the name behind it."""
_WEATHER: Final = frozenset(
    "rain rains rained raining snow snows snowed snowing hail hailed hailing drizzled drizzling thundered "
    "thundering".split()
)
"""What nobody does: "it rained"."""
_POSSESSIVE: Final = frozenset({"'s", "'", "’s", "’", "s"})
_EDGES: Final = frozenset(".,;:!?()[]{}<>|/\\#*+=~^_•·\"'`“”‘’…") | {
    "``",
    "''",
    "--",
    "-",
    "–",
    "—",
    "-LRB-",
    "-RRB-",
}
"""No phrase begins or ends with one of these (a possessive 's apart)."""


def candidates(sentence: Sentence) -> list[SpanCandidate]:
    """Candidates of a parsed sentence, ordered by start and, of those that start together, longest first.

    Raises ValueError where the sentence has no parse.
    """
    if not sentence.parsed:
        raise ValueError("a sentence without tags and dependencies has no candidates; parse it first")
    words, tags, deps, heads = sentence.words, sentence.tags, sentence.deps, sentence.heads
    children: list[list[int]] = [[] for _ in words]
    for i, head in enumerate(heads):
        if head != i:
            children[head].append(i)
    low, high = _extents(heads, children)
    found: dict[tuple[int, int], SpanCandidate] = {}

    def add(start: int, end: int, head: int, shape: MentionShape) -> None:
        while start < head and words[start] in _EDGES:
            start += 1
        while end - 1 > head and words[end - 1] in _EDGES and not _is_possessive(words, tags, end - 1):
            end -= 1
        if any(c.isalnum() for word in words[start:end] for c in word):  # no emoji, no row of stars
            found.setdefault((start, end), SpanCandidate(start, end, head, shape))

    for i, tag in enumerate(tags):
        word = words[i].lower()
        if tag in PERSONAL_TAGS:
            if word != "it" or not (deps[i] == "expl" or words[heads[i]].lower() in _WEATHER):
                add(i, i + 1, i, MentionShape.PRONOUN)
            continue
        if word in PLACES and deps[i] != "expl" and tag == "RB":
            add(i, i + 1, i, MentionShape.PLACE)
            continue
        if word in DEMONSTRATIVES and _stands_alone(i, tags, deps):
            add(i, i + 1, i, MentionShape.PRONOUN)
            if tag == "DT":
                start, full, _ = _phrase(i, words, tags, deps, children, low, high)
                if full > i + 1:
                    add(i, full, i, MentionShape.FULL)
            continue
        if not _stands_for_noun(i, tag, deps[i]):
            continue
        start, full, core = _phrase(i, words, tags, deps, children, low, high)
        add(start, full, i, MentionShape.FULL)
        if core < full:
            add(start, core, i, MentionShape.CORE)
        if i + 1 < core:
            base = i + 2 if i + 1 < len(words) and tags[i + 1] == "POS" else i + 1
            add(start, base, i, MentionShape.BASE)
        conjuncts = [c for c in children[i] if deps[c] == "conj" and c > i and tags[c][:2] in ("NN", "PR")]
        if conjuncts:
            last = conjuncts[-1]
            end = (
                last + 1
                if tags[last] in PERSONAL_TAGS
                else _phrase(last, words, tags, deps, children, low, high)[1]
            )
            add(start, end, i, MentionShape.JOINED)
    for start, end in entity_spans(sentence.entities):
        while start and deps[start - 1] == _TITLE and start <= heads[start - 1] < end:
            start -= 1
        capital = words[start][:1].isupper()
        while capital and end - 1 > start and deps[end - 1] in _NAME_PARTS and words[end - 1][:1].islower():
            end -= 1
        add(start, end, head_of(start, end, heads), MentionShape.ENTITY)
    return sorted(found.values(), key=lambda c: (c.start, -c.end))


def _stands_alone(i: int, tags: list[str], deps: list[str]) -> bool:
    """Whether a "this" or "that" is a mention by itself, rather than an article or a conjunction."""
    if deps[i] in ("mark", "advmod") or tags[i] in ("IN", "RB", "WDT"):
        return False
    return deps[i] != "det" or i + 1 == len(tags) or tags[i + 1][:2] not in ("NN", "JJ", "CD", "VB", "RB")


def _stands_for_noun(i: int, tag: str, dep: str) -> bool:
    if tag in NOUN_TAGS:
        return dep not in (_TITLE, "compound", "flat", "goeswith", "fixed") or (
            tag in ("NNP", "NNPS") and dep == "compound"
        )
    if tag in ("CD", "DT", "JJ", "JJS", "JJR", "PDT", "RBS"):
        return (dep in _ARGUMENTS and tag != "JJ") or (dep in ("nsubj", "obj") and tag == "JJ")
    return tag in ("FW", "ADD", "VBG") and dep in ("nsubj", "obj", "nmod", "obl")


def _extents(heads: list[int], children: list[list[int]]) -> tuple[list[int], list[int]]:
    """First and last word of the subtree of each word."""
    low, high = list(range(len(heads))), list(range(len(heads)))
    order = [i for i, head in enumerate(heads) if head == i]
    for i in order:
        order.extend(children[i])
    for i in reversed(order):
        head = heads[i]
        low[head] = min(low[head], low[i])
        high[head] = max(high[head], high[i])
    return low, high


def _name_end(i: int, words: list[str], tags: list[str], deps: list[str], children: list[list[int]]) -> int:
    """The end of the name that word `i` begins, if it does: its last part with a capital, as `i` has one.

    In "Donald wish to stay" a parser may take "wish" for a last name; "Ludwig van Beethoven" goes on.
    """
    if tags[i] not in ("NNP", "NNPS") or not words[i][:1].isupper():
        return len(words)
    parts = [c for c in children[i] if c > i and deps[c] in _NAME_PARTS]
    capital = [c for c in parts if not words[c][:1].islower()]
    return capital[-1] + 1 if capital else i + 1


def _is_possessive(words: list[str], tags: list[str], i: int) -> bool:
    return tags[i] == "POS" or (words[i].lower() in _POSSESSIVE and len(words[i]) > 1)


def _phrase(
    i: int,
    words: list[str],
    tags: list[str],
    deps: list[str],
    children: list[list[int]],
    low: list[int],
    high: list[int],
) -> tuple[int, int, int]:
    """Start of the noun phrase of word `i`, its end, and the end of its core."""
    start = i
    for c in reversed([c for c in children[i] if c < i]):
        if deps[c] not in _BEFORE or high[c] >= start:
            break
        if deps[c] == "punct":
            continue
        if deps[c] == "advmod" and c + 1 != start:
            break
        start = low[c]
    end = core = i + 1
    trailing = False
    named = _name_end(i, words, tags, deps, children)
    for c in children[i]:
        if c < i or deps[c] == "punct":
            continue
        if deps[c] in _NAME_PARTS and c >= named:
            break
        if deps[c] not in _AFTER or (deps[c] == "case" and not _is_possessive(words, tags, c)):
            break
        trailing = trailing or deps[c] in _TRAILING
        end = high[c] + 1
        if not trailing:
            core = end
    return start, max(end, core), core


def entity_spans(entities: list[str]) -> list[tuple[int, int]]:
    """The spans of IOB2 labels; a label without its B- begins a span as well."""
    spans: list[tuple[int, int]] = []
    start, kind = 0, ""
    for i, label in enumerate([*entities, ""]):
        mark, _, name = label.partition("-")
        if kind and (mark != "I" or name != kind):
            spans.append((start, i))
            kind = ""
        if name and not kind:
            start, kind = i, name
    return spans


def head_of(start: int, end: int, heads: list[int]) -> int:
    """The first word of the span that depends on a word outside it."""
    for i in range(start, end):
        if not start <= heads[i] < end or heads[i] == i:
            return i
    return end - 1
