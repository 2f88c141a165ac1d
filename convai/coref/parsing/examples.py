"""Annotated sentences as training examples: several a text, some lower-cased as people write in chats."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from convai.coref.document import grouped
from convai.coref.parsing.treebank import Annotated

if TYPE_CHECKING:
    from spacy.training import Example
    from spacy.vocab import Vocab


def texts(
    sentences: list[Annotated], longest: int, rng: random.Random | None = None
) -> list[list[Annotated]]:
    """Neighbouring sentences of one document, at most `longest` together (with `rng`: one to so many)."""
    found: list[list[Annotated]] = []
    size = 0
    for sentence in sentences:
        same = found and found[-1][-1].document == sentence.document and sentence.document
        layers = found and (found[-1][-1].entities is None) == (sentence.entities is None)
        if not same or not layers or len(found[-1]) >= size:
            found.append([])
            size = rng.randint(1, longest) if rng else longest
        found[-1].append(sentence)
    return found


def as_typed(sentence: Annotated, rng: random.Random) -> Annotated:
    """The sentence in lower case; every second one without the full stop at its end."""
    typed = replace(sentence, words=[word.lower() for word in sentence.words])
    last = len(typed.words) - 1
    if last and typed.words[last] == "." and rng.random() < 0.5 and last not in (typed.heads or [])[:last]:
        cut = {
            name: None if (layer := getattr(typed, name)) is None else layer[:last]
            for name in ("words", "spaces", "tags", "heads", "deps", "entities")
        }
        typed = replace(typed, **cut)  # type: ignore[arg-type]
    return typed


def example(vocab: Vocab, sentences: list[Annotated]) -> Example:
    """One text with the gold words; all sentences have to have the same layers."""
    from spacy.tokens import Doc
    from spacy.training import Example

    words = [word for sentence in sentences for word in sentence.words]
    spaces = [space for sentence in sentences for space in sentence.spaces]
    first = sentences[0]
    heads, offset = [], 0
    for sentence in sentences:
        heads += [offset + head for head in sentence.heads or ()]
        offset += len(sentence.words)
    deps = ["ROOT" if dep == "root" else dep for sentence in sentences for dep in sentence.deps or ()]
    reference = Doc(
        vocab,
        words=words,
        spaces=spaces,
        tags=[tag for sentence in sentences for tag in sentence.tags or ()] if first.tags else None,
        heads=heads if first.heads else None,
        deps=deps if first.deps else None,
        ents=[tag for sentence in sentences for tag in sentence.entities or ()] if first.entities else None,
    )
    return Example(Doc(vocab, words=words, spaces=spaces), reference)


def epoch(
    vocab: Vocab, sentences: list[Annotated], rng: random.Random, *, longest: int, lower: float
) -> list[Example]:
    """All sentences in new texts of one to `longest`, in a new order; a share `lower` as typed."""
    found = []
    for text in texts(sentences, longest, rng):
        typed = [as_typed(sentence, rng) for sentence in text] if rng.random() < lower else text
        found.append(example(vocab, typed))
    rng.shuffle(found)
    return found


def batches(examples: list[Example], words: int) -> Iterator[list[Example]]:
    """Examples in order, about `words` words together."""
    return grouped(examples, lambda one: len(one.reference), words)
