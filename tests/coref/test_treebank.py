"""Treebanks and entities: blanks, joined words, layers laid over each other, errors with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.coref.parsing.treebank import gather, read_conllu, read_entities
from tests.coref.treebanks import SENTENCES, write_treebank


def line(number: str, word: str, head: str = "0", misc: str = "_") -> str:
    return f"{number}\t{word}\t_\t_\tNN\t_\t{head}\troot\t_\t{misc}"


def test_joined_words_have_no_blank_between_and_empty_nodes_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    rows = [
        "# newdoc id = GUM_news_a",
        "1-2\tdon't\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No",
        line("1", "do"),
        line("2", "n't", "1"),
        line("2.1", "x", "_"),
        line("3", "2 000", "1", "SpaceAfter=No"),
        line("4", ".", "1"),
    ]
    path.write_text("\n".join(rows) + "\n\n")
    [sentence] = read_conllu(path)
    assert sentence.words == ["do", "n't", "2\N{NO-BREAK SPACE}000", "."]
    assert sentence.spaces == [False, False, False, True]
    assert sentence.heads == [0, 0, 0, 0]
    assert (sentence.document, sentence.line) == ("GUM_news_a", 3)
    with pytest.raises(DataError, match="no sentences"):
        read_conllu(path, leave_out=("news",))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1\ta\tb", ":1: 3 columns"),
        (line("2", "a"), ":1: word number '2', where 1 is next"),
        (line("1", "a", "5"), ":1: head '5' of a sentence of 1 words"),
    ],
)
def test_what_is_no_treebank_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.conllu"
    path.write_text(text + "\n")
    with pytest.raises(DataError) as error:
        read_conllu(path)
    assert str(error.value).startswith(f"{path}{says}")


def test_types_are_mapped_and_others_become_no_entity(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(
        "A\tB-group\nB\tI-corporation\nC\tI-corporation\nD\tI-product\nE\tI-person\n\nF\tB-PER\nG\tB-PER\n"
    )
    first, second = read_entities(path)
    assert first.entities == ["B-ORG", "I-ORG", "I-ORG", "O", "B-PER"]
    assert second.entities == ["B-PER", "B-PER"]
    path.write_text("A\tPER\n")
    with pytest.raises(DataError, match=r"a.conll:1: tag 'PER'"):
        read_entities(path)
    path.write_text("A\n")
    with pytest.raises(DataError, match=r"a.conll:1: no token, tab and tag"):
        read_entities(path)


def test_entities_are_laid_over_the_sentences_with_the_same_words(tmp_path: Path) -> None:
    treebank, entities = write_treebank(tmp_path, copies=2)
    other = tmp_path / "other.conll"
    other.write_text("Bob\tB-person\n\n")
    found = gather([treebank], [entities, other])
    assert [s.entities for s in found[:3]] == [[word[4] for word in sentence] for sentence in SENTENCES]
    assert [s.entities for s in found[6:]] == [["B-PER"]]
    assert found[6].tags is None
    assert len(gather([treebank], [other], add=False)) == 6
    blocks = entities.read_text().strip().split("\n\n")
    entities.write_text("\n\n".join(reversed(blocks)) + "\n")
    again = gather([treebank], [entities])
    assert [s.entities for s in again] == [s.entities for s in found[:6]]
