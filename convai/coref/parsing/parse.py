"""Parsing documents: tags, dependencies and entities of every sentence; and documents from plain text.

Each sentence (or turn) is parsed by itself, so that a conversation parsed turn by turn gives what parsing it
as a whole gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from convai.core.errors import DataError
from convai.coref.document import Document, Sentence
from convai.coref.parsing.repair import repair
from convai.coref.parsing.universal import is_clear, to_universal
from convai.text.textnorm import without_surrogates

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, Token

_TOGETHER: Final = 256
"""Sentences that are parsed together."""
LONGEST_PIECE: Final = 1000
"""Words of a sentence that are parsed together; a longer one, which no person writes, is cut."""
_ANEW: Final = re.compile(
    r"\s*(?:[-*+•–—]\s|\d{1,3}[.)]\s|#{1,6}\s|[|>]"  # items, headings, rows, what is quoted
    r"|[\[(]\d|\d{1,2}:\d\d|<[^<>\s]{1,40}>\s|[^\W\d_][^\s:]*(?:[ ][^\s:]+){0,2}:\s)"  # times, names
)
"""How a line begins that does not go on with the one above."""
_LOOKED_AT: Final = 100


def parse_documents(nlp: Language, documents: Iterable[Document]) -> None:
    """Fill tags, heads, deps, entities and (where the pipeline has them) lemmas of all sentences, in place.

    A sentence may get several roots.
    """
    sentences = (sentence for document in documents for sentence in document.sentences)
    parse_sentences(nlp, sentences)


def parse_sentences(nlp: Language, sentences: Iterable[Sentence]) -> None:
    """As `parse_documents`, for sentences by themselves."""
    from spacy.tokens import Doc

    def pieces() -> Iterator[tuple[Doc, tuple[Sentence, int]]]:
        for sentence in sentences:
            for start in range(0, len(sentence.words), LONGEST_PIECE):
                words = sentence.words[start : start + LONGEST_PIECE]
                yield Doc(nlp.vocab, words=words), (sentence, start)

    for doc, (sentence, start) in nlp.pipe(pieces(), as_tuples=True, batch_size=_TOGETHER):
        if start == 0:
            sentence.tags, sentence.heads, sentence.deps = [], [], []
            sentence.entities, sentence.lemmas = [], []
        _fill(sentence, doc[:], start)


def _fill(sentence: Sentence, span: Span, start: int) -> None:
    """Add the annotation of `span`, whose first token is word `start` of the sentence."""
    first = span.start
    heads = [token.head.i - first for token in span]
    # a head beyond the span (a turn that ends within a sentence of the parser's) makes a root
    heads = [head if 0 <= head < len(heads) else i for i, head in enumerate(heads)]
    deps = [
        "root" if head == i else token.dep_ for i, (head, token) in enumerate(zip(heads, span, strict=True))
    ]
    tags = [token.tag_ for token in span]
    if is_clear(deps):
        heads, deps = to_universal([token.text for token in span], tags, heads, deps)
    repair([token.text for token in span], tags, heads, deps)
    sentence.tags += tags
    sentence.heads += [start + head for head in heads]
    sentence.deps += deps
    before = ""
    for token in span:
        mark = token.ent_iob_ if token.ent_type_ else ""
        if mark == "I" and token.ent_type_ != before:
            mark = "B"
        sentence.entities.append(f"{mark}-{token.ent_type_}" if mark else "")
        before = token.ent_type_
    if span.doc.has_annotation("LEMMA"):
        sentence.lemmas += [token.lemma_ for token in span]


def document_of_turns(
    nlp: Language, turns: Sequence[tuple[str | None, str]], name: str = "text"
) -> tuple[Document, list[tuple[int, int, int]]]:
    """A parsed document of `turns` (speaker, text), and the place of each word: (turn, start, end).

    Start and end are characters of the turn. Each turn is cut into sentences by the parser; what comes of
    it does not depend on other turns. White space is no word; a turn without words adds no sentence. Half a
    surrogate pair, which spaCy refuses, is read as U+FFFD. Raises DataError for a turn that is longer than
    the pipeline takes.
    """
    for _, text in turns:
        check_length(nlp, text)
    sentences: list[Sentence] = []
    places: list[tuple[int, int, int]] = []
    docs = nlp.pipe((without_surrogates(text) for _, text in turns), batch_size=_TOGETHER)
    for number, ((speaker, _), doc) in enumerate(zip(turns, docs, strict=True)):
        for span in stretches(doc):
            kept = sentence_of_span(span, speaker)
            if kept is None:
                continue
            sentence, tokens = kept
            sentences.append(sentence)
            places += [(number, t.idx, t.idx + len(t)) for t in (span.doc[i] for i in tokens)]
    return Document(name, 0, sentences), places


def check_length(nlp: Language, text: str) -> None:
    """Raises DataError where `text` is longer than the pipeline takes at once."""
    if len(text) > nlp.max_length:
        raise DataError(
            f"{' '.join(text[:40].split())!r}...: {len(text):,} characters in one turn, and the parser takes "
            f"{nlp.max_length:,} at once; break it into lines, each of which is a turn"
        )


def text_reader(nlp: Language) -> Callable[[str], tuple[Document, list[tuple[int, int]]]]:
    """What reads a text to its parsed document, and where each word begins and ends in it, in characters."""

    def read(text: str) -> tuple[Document, list[tuple[int, int]]]:
        document, places = document_of_turns(nlp, [(None, text)])
        return document, [(start, end) for _, start, end in places]

    return read


def stretches(doc: Doc) -> Iterator[Span]:
    """The sentences of a parsed doc, cut where the parser went on and nobody does.

    That is behind a blank line, before a line that begins anew (an item, a row of a table, who speaks), and
    after LONGEST_PIECE words.
    """
    text = doc.text
    for sentence in doc.sents:
        start = sentence.start
        for i in range(start + 1, sentence.end):
            if i - start >= LONGEST_PIECE or (doc[i - 1].is_space and _breaks(doc[i - 1], text)):
                yield doc[start:i]
                start = i
        yield doc[start : sentence.end]


def _breaks(blank: Token, text: str) -> bool:
    """Whether another sentence begins behind `blank`, white space of `text`."""
    behind = blank.idx + len(blank)
    lines = blank.text.count("\n")
    return lines > 1 or (lines == 1 and _ANEW.match(text, behind, behind + _LOOKED_AT) is not None)


def sentence_of_span(span: Span, speaker: str | None) -> tuple[Sentence, list[int]] | None:
    """A parsed span as a sentence, and the index in the doc of each of its words; None where it has no words.

    White space, which is a token of spaCy's, is left out; what depends on it becomes a root.
    """
    tokens = [token.i for token in span if not token.is_space]
    if not tokens:
        return None
    sentence = Sentence([token.text for token in span], speaker)
    _fill(sentence, span, 0)
    if len(tokens) == len(span):
        return sentence, tokens
    new = {token - span.start: i for i, token in enumerate(tokens)}
    kept = sorted(new)
    heads = [new.get(sentence.heads[old], new[old]) for old in kept]
    whole = Sentence([sentence.words[old] for old in kept], speaker)
    whole.heads = heads
    whole.tags = [sentence.tags[old] for old in kept]
    whole.deps = [sentence.deps[old] if heads[i] != i else "root" for i, old in enumerate(kept)]
    whole.entities = [sentence.entities[old] for old in kept]
    whole.lemmas = [sentence.lemmas[old] for old in kept] if sentence.lemmas else []
    return whole, tokens


def document_of_doc(doc: Doc, speakers: Sequence[str | None] | None = None) -> tuple[Document, list[int]]:
    """A parsed spaCy Doc as a document, and the index in `doc` of each word.

    `speakers`: one a token of `doc`; where it changes a sentence ends. Raises ValueError for another number.
    """
    if speakers is not None and len(speakers) != len(doc):
        raise ValueError(f"{len(speakers)} speakers for {len(doc)} tokens; give one a token")
    sentences: list[Sentence] = []
    tokens: list[int] = []
    for span in stretches(doc):
        start = span.start
        while start < span.end:
            speaker = speakers[start] if speakers else None
            end = start + 1
            while end < span.end and (speakers is None or speakers[end] == speaker):
                end += 1
            kept = sentence_of_span(doc[start:end], speaker)
            if kept is not None:
                sentences.append(kept[0])
                tokens += kept[1]
            start = end
    return Document("doc", 0, sentences), tokens
