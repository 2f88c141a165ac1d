"""One sentence's candidates as rows of `features.MentionTable`: what the words around and within them say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from convai.coref.binding import NOBODY, Clauses
from convai.coref.discourse import KnownWords, said_by_name
from convai.coref.document import Sentence
from convai.coref.features import CONTENT, DEP_ID, RENAMED, TAG_ID
from convai.coref.lexicon import (
    DETERMINERS,
    POSSESSIVES,
    PRONOUNS,
    REFLEXIVES,
    Gender,
    Kind,
    Life,
    Number,
    Says,
    places,
)
from convai.coref.mentions import MentionShape, SpanCandidate
from convai.coref.words import NOTHING, Forms, WordIds, key

_ENTITIES: Final = {"PER": 1, "PERSON": 1, "person": 1, "LOC": 2, "GPE": 2, "location": 2, "FAC": 2, "ORG": 3,
                    "corporation": 3, "group": 3, "NORP": 3, "PRODUCT": 4, "product": 4}  # fmt: skip
_ADDRESS: Final = re.compile(r"[a-z]+://|www\.|[a-z]:\\")
"""How a word begins that is a page or a file, and nobody."""
_ENDINGS: Final = {"a": 1, "e": 2, "i": 3, "y": 3, "o": 4, "u": 4, "n": 5, "s": 6, "l": 7, "r": 7}
_LENGTHS: Final = (0, 1, 2, 3, 4, 5, 5, 6, 6, 6)


class RowVocabulary(NamedTuple):
    """Words as rows, and what they say."""

    words: WordIds
    nouns: Mapping[str, Says]
    names: Mapping[str, Says]


class SentencePlace(NamedTuple):
    """Where a sentence stands: among the tokens of its stretch, and in the document."""

    offset: int
    token: int
    sentence: int
    turn: int
    speaker: int
    partner: int
    speaker_keys: tuple[int, int, int]
    partner_keys: tuple[int, int, int]


class SentenceRows:
    """One sentence's words in the forms that its mentions share."""

    def __init__(
        self,
        vocabulary: RowVocabulary,
        forms: Sequence[Forms],
        sentence: Sentence,
        quotes: list[int],
        known: KnownWords,
        place: SentencePlace,
    ) -> None:
        self.vocabulary = vocabulary
        self.sentence = sentence
        self.quotes = quotes
        self.known = known
        self.place = place
        self.ids = [form.row for form in forms]
        self.lower = [form.normal for form in forms]
        self.forms = forms
        self.root = next((i for i, head in enumerate(sentence.heads) if head == i), 0)
        self.entity = [0] * len(forms)
        if any(sentence.entities):
            self.entity = [_ENTITIES.get(label[2:], 5) if label else 0 for label in sentence.entities]
        relations = [_relation(dep) for dep in sentence.deps]
        self.deps = [name for name, _, _ in relations]
        self.dep_ids = [number for _, number, _ in relations]
        self.clauses = Clauses(self.lower, sentence.heads, self.deps)
        self.tag_ids = [TAG_ID.get(tag, 0) for tag in sentence.tags]

    def rows(self, found: list[SpanCandidate]) -> list[tuple[object, ...]]:
        """A row for each candidate, its values in the order of MentionTable's arrays."""
        inside, holds = nesting(found)
        return [self.row(c, inside[i], holds[i]) for i, c in enumerate(found)]

    def row(self, c: SpanCandidate, inside: int, holds: int) -> tuple[object, ...]:
        """The values of one candidate; whether another holds it, and it another (see `nesting`)."""
        place, ids, n = self.place, self.ids, len(self.ids)
        start, end, head, shape = c
        tag_ids, dep_ids = self.tag_ids, self.dep_ids
        kind, gender, number, life = self._says(c)
        governor = self._governor(head)
        word = self.lower[head]
        reflexive = 1 if word in REFLEXIVES else 2 if self._is_possessive(head) else 0
        entity = self.entity[head]
        text = self.lower[start:end]
        if len(text) > 1:
            if text[0] in ("the", "a", "an"):
                text = text[1:]
            if len(text) > 1 and text[-1] in ("'s", "'"):
                text = text[:-1]
        form = self.forms[head]
        head_key, lemma_key = form.key, form.lemma_key
        text_key = form.key if len(text) == 1 and end - start == 1 else key(" ".join(text))
        if kind <= Kind.YOU:  # "I" of one speaker is the same again, that of another is not
            text_key = key(f"{int(kind)} {place.speaker}")
            head_key = lemma_key = text_key
        content = self._content(c, kind, lemma_key)
        categories = (
            kind, shape, tag_ids[head], dep_ids[head], tag_ids[governor], dep_ids[governor], gender, number,
            life, entity, _LENGTHS[min(end - start, 9)],
            0 if start == 0 else 1 if start < 3 else 2 if end < n - 1 else 3,
            1 if self.quotes[head] else 0, inside, holds, reflexive, 1 if place.speaker else 0,
            min(5, n // 8), _often(self._said_before(c, kind)), self._ending(c, kind),
        )  # fmt: skip
        words = (
            ids[head], ids[start], ids[end - 1],
            ids[start - 1] if start else NOTHING, ids[start - 2] if start > 1 else NOTHING,
            ids[end] if end < n else NOTHING, ids[end + 1] if end + 1 < n else NOTHING,
            ids[governor] if governor != head else NOTHING, ids[self.root],
        )  # fmt: skip
        base, offset = place.token, place.offset
        other = reach = NOBODY
        if c.shape == MentionShape.PRONOUN:
            other = self.clauses.other(head, start) if reflexive != 1 else NOBODY
            reach = self.clauses.reach(head)
        return (
            base + start, base + end, base + head, place.sentence, place.turn, place.speaker,
            place.partner, place.speaker_keys, place.partner_keys, self.quotes[head],
            kind, gender, number, life, entity, dep_ids[head], reflexive, base + governor,
            base + self._clause(governor),
            NOBODY if other == NOBODY else base + other, NOBODY if reach == NOBODY else base + reach,
            self.forms[governor].key, head_key, lemma_key, text_key, content,
            words,
            (offset + start, offset + end, offset, offset + n), categories,
        )  # fmt: skip

    def _is_possessive(self, i: int) -> bool:
        """Whether a word is a possessive pronoun; "her" is one where its tag says so."""
        word = self.lower[i]
        return word in POSSESSIVES and (word != "her" or self.sentence.tags[i] != "PRP")

    def _governor(self, head: int) -> int:
        """The word that `head` depends on; where that is a preposition (spaCy's scheme), its own."""
        heads = self.sentence.heads
        governor = heads[head]
        if self.sentence.deps[head] == "pobj":
            governor = heads[governor]
        return governor

    def _clause(self, governor: int) -> int:
        """The first of a row of coordinated verbs that share a subject; any other word itself."""
        heads, deps = self.sentence.heads, self.deps
        for _ in heads:  # as many steps at most, whatever the heads
            if deps[governor] != "conj" or governor in self.clauses.subjects:
                break
            governor = heads[governor]
        return governor

    def _said_before(self, c: SpanCandidate, kind: Kind) -> int:
        """How often earlier sentences have the head, or another part of the name; 0 for pronouns."""
        if kind <= Kind.OTHER_PRONOUN:
            return 0
        start, end = self.known.names.get(c.head, (c.head, c.head + 1))
        return max(self.known.before[start:end])

    def _ending(self, c: SpanCandidate, kind: Kind) -> int:
        """The last letter of a name's first word, which in many languages tells the gender; 0 for no name."""
        if kind != Kind.NAME:
            return 0
        start, _ = self.known.names.get(c.head, (c.head, c.head + 1))
        return _ENDINGS.get(self.lower[max(start, c.start)][-1:], 8)

    def _content(self, c: SpanCandidate, kind: Kind, lemma_key: int) -> tuple[int, ...]:
        """Numbers of the words that tell this mention from others, its head first; pronouns have none."""
        if kind <= Kind.OTHER_PRONOUN:
            return (0,) * CONTENT
        found = [lemma_key & 0x7FFFFFFF]
        tags = self.sentence.tags
        for i in range(c.start, c.end):
            if tags[i][0] in "NJC" and i != c.head and len(found) < CONTENT and tags[i] != "CC":
                found.append(self.forms[i].lemma_key & 0x7FFFFFFF)
        return (*found, *(0,) * (CONTENT - len(found)))

    def _says(self, c: SpanCandidate) -> tuple[Kind, Gender, Number, Life]:
        """Kind, gender, number and life of the one that is named."""
        word, tag = self.lower[c.head], self.sentence.tags[c.head]
        if c.shape == MentionShape.PRONOUN:
            return PRONOUNS.get(word, (Kind.OTHER_PRONOUN, Gender.UNKNOWN, Number.UNKNOWN, Life.UNKNOWN))
        if c.shape == MentionShape.JOINED:
            says = self.vocabulary.nouns.get(word) or self.vocabulary.names.get(word) or Says()
            return Kind.JOINED, Gender.UNKNOWN, Number.MANY, says.life
        if _ADDRESS.match(word):
            return Kind.NAME, Gender.NEUTER, Number.ONE, Life.THING
        if tag in ("NNP", "NNPS"):
            return self._says_name(c, tag)
        says = self.vocabulary.nouns.get(word) or Says()
        number = Number.MANY if tag == "NNS" else Number.ONE if tag == "NN" else Number.UNKNOWN
        if says.life == Life.GROUP:
            number = Number.UNKNOWN
        return self._kind(c, tag), says.gender, number, says.life

    def _says_name(self, c: SpanCandidate, tag: str) -> tuple[Kind, Gender, Number, Life]:
        """The entity recogniser errs so often that a first name, where it is no place's, says more."""
        lower, known, nouns = self.lower, self.known, self.vocabulary.nouns
        number = Number.MANY if tag == "NNPS" else Number.ONE
        entity = self.entity[c.head]
        start, end = known.names.get(c.head, (c.head, c.head + 1))
        start = max(start, c.start)
        elsewhere = entity in (2, 3)
        says = said_by_name(lower[start:end], nouns, self.vocabulary.names)
        if elsewhere and lower[start] in places():
            says = Says()
        if not says.life:
            says = nouns.get(lower[c.head]) or Says()
        if not says.life and c.start < start:  # "the actress Zoe Telford"
            before = nouns.get(lower[start - 1]) or Says()
            says = before if before.life == Life.PERSON else says
        gender, life = says
        if end - start == 1 and known.genders[start]:  # the last name of somebody known by more
            gender, life = Gender(known.genders[start]), Life.PERSON
        if not life and entity:
            life = (Life.UNKNOWN, Life.PERSON, Life.THING, Life.GROUP, Life.THING, Life.UNKNOWN)[entity]
            if life in (Life.GROUP, Life.THING) and (end - start > 2 or lower[c.start] == "the"):
                gender = Gender.NEUTER
        if life == Life.GROUP:
            number = Number.UNKNOWN
        first = lower[c.start + (lower[c.start] == "the" and c.end - c.start > 1)]
        kind = Kind.NAME if first not in POSSESSIVES else Kind.POSSESSED
        return kind, gender, number, life

    def _kind(self, c: SpanCandidate, tag: str) -> Kind:
        first = self.lower[c.start]
        if first in POSSESSIVES and c.end - c.start > 1:
            return Kind.POSSESSED
        kind = DETERMINERS.get(first)
        if kind is not None:
            return kind
        tags = self.sentence.tags
        if "POS" in tags[c.start : c.head]:
            return Kind.POSSESSED
        if tags[c.start] == "CD":
            return Kind.QUANTIFIED
        if tag == "NN":
            return Kind.BARE_ONE
        return Kind.BARE_MANY if tag == "NNS" else Kind.OTHER_PRONOUN


@cache
def _relation(dep: str) -> tuple[str, int, bool]:
    """A dependency's name and number in our scheme, and whether it is a subject's."""
    name = RENAMED.get(dep, dep)
    number = DEP_ID.get(name, 0) or DEP_ID.get(name.partition(":")[0], 0)
    return name, number, name.startswith("nsubj")


def _often(times: int) -> int:
    """Never, once, two or three times, more often."""
    return min(times, 2) if times < 4 else 3


def nesting(found: list[SpanCandidate]) -> tuple[list[int], list[int]]:
    """Of each candidate whether one holds it (2: with the same head), and whether it holds one."""
    inside, holds = [0] * len(found), [0] * len(found)
    open_: list[int] = []
    for i, c in enumerate(found):
        open_ = [j for j in open_ if found[j].end > c.start]
        for j in open_:
            if found[j].end >= c.end:
                same = 2 if found[j].head == c.head else 1
                inside[i] = max(inside[i], same)
                holds[j] = max(holds[j], same)
        open_.append(i)
    return inside, holds
