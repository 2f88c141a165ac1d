"""What grammar keeps apart: subjects of clauses, whole and shared; what is said of a pronoun; clusters."""

from __future__ import annotations

import numpy as np
import pytest

from convai.coref.binding import NOBODY, Clauses, apart
from convai.coref.checkpoint import load_resolver
from convai.coref.document import Sentence
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import document_of_turns
from convai.coref.reading import FeatureReader
from convai.coref.words import WordIds

Tree = list[tuple[str, int, str]]
"""Word, head, relation."""

THANKED: Tree = [
    ("cook", 1, "nsubj"), ("called", 1, "root"), ("baker", 1, "obj"), ("and", 4, "cc"),
    ("thanked", 1, "conj"), ("him", 4, "obj"),
]  # fmt: skip
WANTS: Tree = [
    ("cook", 1, "nsubj"), ("wants", 1, "root"), ("to", 3, "mark"), ("see", 1, "xcomp"), ("him", 3, "obj"),
]  # fmt: skip
HIRED: Tree = [
    ("cook", 1, "nsubj"), ("hired", 1, "root"), ("baker", 1, "obj"), ("to", 4, "mark"),
    ("help", 1, "xcomp"), ("him", 4, "obj"),
]  # fmt: skip
SAW: Tree = [
    ("cook", 1, "nsubj"), ("saw", 1, "root"), ("baker", 3, "nsubj"), ("fall", 1, "ccomp"), ("and", 5, "cc"),
    ("helped", 3, "conj"), ("him", 5, "obj"),
]  # fmt: skip
SAYS: Tree = [
    ("he", 1, "nsubj"), ("says", 1, "root"), ("that", 4, "mark"), ("paul", 4, "nsubj"), ("sings", 1, "ccomp"),
    (",", 7, "punct"), ("and", 7, "cc"), ("leaves", 1, "conj"), ("paul", 7, "obj"),
]  # fmt: skip


def obl(preposition: str, *more: tuple[str, int, str]) -> Tree:
    return [
        ("cook", 1, "nsubj"), ("talked", 1, "root"), (preposition, 3, "case"), ("him", 1, "obl"), *more,
    ]  # fmt: skip


def clauses(tree: Tree) -> Clauses:
    words, heads, deps = zip(*tree, strict=True)
    return Clauses(words, heads, deps)


@pytest.mark.parametrize(
    ("tree", "word", "subject"),
    [
        (THANKED, 5, 0),
        (WANTS, 4, 0),
        (HIRED, 5, NOBODY),  # whoever is hired may help who hires
        (SAW, 6, NOBODY),  # who helped: the tree does not tell
        (THANKED, 0, NOBODY),
        (obl("to"), 3, 0),
        (obl("about"), 3, 0),
        (obl("about", ("friend", 1, "obj")), 3, NOBODY),
        (obl("behind"), 3, NOBODY),
        ([("him", 0, "root")], 0, NOBODY),
        ([("seen", 0, "root"), ("him", 0, "obj")], 1, NOBODY),
    ],
)
def test_a_pronoun_is_not_the_subject_of_its_verb(tree: Tree, word: int, subject: int) -> None:
    start = word
    assert clauses(tree).other(word, start) == subject


def test_all_in_its_clause_is_said_of_a_subject() -> None:
    of = clauses(SAYS)
    assert of.reach(0) == 5  # what is beside the clause is not
    assert of.reach(3) == 5
    assert of.reach(8) == NOBODY
    assert clauses([("he", 0, "root"), ("he", 0, "nsubj")]).reach(1) == 2


def test_trees_with_a_ring_are_read_to_an_end() -> None:
    ring = clauses([("a", 1, "conj"), ("b", 0, "conj"), ("him", 0, "obj")])
    assert ring.other(2, 2) == NOBODY
    assert ring.reach(0) == NOBODY


@pytest.mark.parametrize(
    ("text", "linked", "other"),
    [
        ("The cook called the baker and thanked him.", ("the baker", "him"), ("The cook", "him")),
        (
            "The judge wanted to help the clerk and lent her a book.",
            ("the clerk", "her"),
            ("The judge", "her"),
        ),
        ("Nora met Eve. She likes her.", ("Eve", "her"), ("She", "her")),
        ("Leo has a dog. He says that Leo is a good name.", ("Leo", "He"), ("a dog", "He")),
    ],
)
def test_what_is_apart_is_in_no_chain_together(
    text: str, linked: tuple[str, str], other: tuple[str, str]
) -> None:
    pytest.importorskip("spacy")
    document, _ = document_of_turns(load_parser(), [(None, text)])
    words = document.words()
    found = [[" ".join(words[a:b]) for a, b in chain] for chain in load_resolver().resolve(document)]
    assert any(set(linked) <= set(chain) for chain in found), found
    assert not any(set(other) <= set(chain) for chain in found), found


def test_a_name_is_not_the_pronoun_of_which_its_clause_is_said() -> None:
    words, heads, deps = zip(*SAYS, strict=True)
    tags = ["PRP", "VBZ", "IN", "NNP", "VBZ", ",", "CC", "VBZ", "NNP"]
    sentence = Sentence([word.title() for word in words], None, tags, list(heads), list(deps))
    table, _ = FeatureReader(WordIds(list(words)), {}).read([sentence])
    pronoun, name, last = range(3)
    assert table.start.tolist() == [0, 3, 8]
    found = apart(table, np.array([name, last, last]), np.array([pronoun, pronoun, name]))
    assert found.tolist() == [True, False, False]
