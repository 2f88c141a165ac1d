"""Documents with random words and trees, sentences written by hand, and a tiny model."""

from __future__ import annotations

import random

import numpy as np
import torch

from convai.coref.contexts import ContextReader
from convai.coref.document import Document, Sentence
from convai.coref.learner import new_model
from convai.coref.model import CorefModel
from convai.coref.resolver import CorefResolver, ResolveSettings
from convai.coref.settings import CorefTrainSettings
from convai.coref.words import WordIds

WORDS = (
    "i you he she it they his her we this the a dog dogs doctor nurse john mary smith paris house red old "
    "sees told likes and of in with said king queen woman company my your"
).split()
TAGS = {
    **dict.fromkeys(("i", "you", "he", "she", "it", "they", "we"), "PRP"),
    **dict.fromkeys(("his", "her", "my", "your"), "PRP$"),
    **dict.fromkeys(("the", "a", "this"), "DT"),
    **dict.fromkeys(("john", "mary", "smith", "paris"), "NNP"),
    **dict.fromkeys(("dog", "doctor", "nurse", "house", "king", "queen", "woman", "company"), "NN"),
    "dogs": "NNS", "red": "JJ", "old": "JJ", "sees": "VBZ", "told": "VBD", "likes": "VBZ", "said": "VBD",
    "and": "CC", "of": "IN", "in": "IN", "with": "IN",
}  # fmt: skip
DEPS = "nsubj obj obl nmod nmod:poss amod det case conj cc appos compound advmod acl:relcl punct".split()
SMALL = CorefTrainSettings(
    all_pairs=1, top_pairs=1, ranking=1, likelihood=2, mention_size=12, pair_size=10, second_size=6,
    learnt=20, learnt_size=4, window=8, matching=2, reach=30, batch_pairs=200, dropout=0.2, lr=0.01,
)  # fmt: skip


def sentence(text: str, tags: str, heads: str, deps: str, speaker: str | None = None) -> Sentence:
    """A sentence of words, tags, heads (from 1, 0 for the root) and relations, separated by blanks."""
    numbers = [int(head) for head in heads.split()]
    return Sentence(
        text.split(),
        speaker,
        tags=tags.split(),
        heads=[head - 1 if head else i for i, head in enumerate(numbers)],
        deps=deps.split(),
        entities=[""] * len(numbers),
    )


def random_sentence(rng: random.Random, speaker: str | None) -> Sentence:
    words = [rng.choice([*WORDS, '"', "Unknown", "3"]) for _ in range(rng.randint(1, 14))]
    n = len(words)
    root = rng.randrange(n)
    heads = [root if rng.random() < 0.3 else rng.randrange(n) for _ in range(n)]
    heads[root] = root
    for i in range(n):  # no circles
        seen = set()
        at = i
        while heads[at] != at and at not in seen:
            seen.add(at)
            at = heads[at]
        if heads[at] != at:
            heads[i] = root
    heads[root] = root
    entities = ["B-PER" if w == "john" else "B-LOC" if w == "paris" else "" for w in words]
    return Sentence(
        words,
        speaker,
        tags=[TAGS.get(w, "NN" if w.isalpha() else "CD" if w == "3" else "''") for w in words],
        heads=heads,
        deps=["root" if heads[i] == i else rng.choice(DEPS) for i in range(n)],
        entities=entities,
    )


def random_document(
    seed: int, sentences: int = 12, speakers: tuple[str | None, ...] = ("john", "b", None)
) -> Document:
    rng = random.Random(seed)
    made = [random_sentence(rng, rng.choice(speakers)) for _ in range(sentences)]
    return Document(f"tc/made_{seed}", 0, made)


def vectors(size: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(WORDS), size)).astype(np.float32)


def tiny_model(seed: int = 0, settings: CorefTrainSettings = SMALL) -> tuple[CorefModel, WordIds]:
    """A model whose scores are spread, so that it links some mentions and leaves others."""
    torch.manual_seed(seed)
    model, words = new_model(WORDS, vectors(), settings)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model.eval(), words


def tiny_resolver(seed: int = 0, settings: ResolveSettings | None = None, **options: object) -> CorefResolver:
    model, words = tiny_model(seed)
    return CorefResolver(model, words, settings, **options)  # type: ignore[arg-type]


def sees_its_sentence_and_what_was_before(reader: ContextReader) -> None:
    """Assert that a word's state has its whole sentence and what precedes that in it, nothing after."""

    def states(*sentences: str) -> np.ndarray:
        return reader.begin().add([Sentence(text.split()) for text in sentences])

    plain = states("the dog sees john", "he likes it")
    assert np.abs(plain[:4] - states("the dog sees john", "we told mary")[:4]).max() < 1e-4
    assert np.abs(plain[0] - states("the dog sees mary", "he likes it")[0]).max() > 1e-2
    assert np.abs(plain[5] - states("the cat sees john", "he likes it")[5]).max() > 1e-3
