"""CoNLL-U with entities: read, written into the file it came from, and turned into CoNLL-2012 and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.coref.column_files import read_chains, read_documents, write_documents
from convai.coref.conll import sayable, write_conll
from convai.coref.corefud import is_conllu, read_corefud, write_corefud
from convai.coref.document import Document, Sentence
from convai.coref.scorer.files import score_files
from tests.coref.test_conll import spans


def row(number: str, word: str, misc: str = "_") -> str:
    return f"{number}\t{word}\t{word}\tX\tXX\t_\t0\troot\t_\t{misc}"


def file(tmp_path: Path, *rows: str, name: str = "a.conllu") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


SMALL = (
    "# newdoc id = d1",
    "# global.Entity = eid-etype-head-other",
    "# sent_id = 1",
    "# speaker = anna lee",
    row("1", "My", "Entity=(e1-person-1)(e2-person-2-|SpaceAfter=Yes"),
    row("2", "sister", "Entity=e2)"),
    row("3-4", "doesn't", "SpaceAfter=No"),
    row("3", "does"),
    row("4", "n't", "Bridge=e1<e2"),
    row("4.1", "it", "Entity=(e3-abstract-1)"),
    row("5", "sing"),
    "",
    "# sent_id = 2",
    row("1", "She", "Entity=(e2-person-1)"),
    row("2", "10 000", "Entity=(e4[1/2]-x-1)"),
    row("3", "or"),
    row("4", "so", "Entity=(e4[2/2]-x-1)"),
    "",
    "# newdoc id = d2",
    row("1", "He", "Entity=(e5-person-1)"),
    "",
)


def test_words_speakers_and_entities_are_read(tmp_path: Path) -> None:
    first, second = read_corefud(file(tmp_path, *SMALL))
    assert first.words() == ["My", "sister", "does", "n't", "sing", "She", "10_000", "or", "so"]
    assert [sentence.speaker for sentence in first.sentences] == ["anna_lee", None]
    assert first.clusters == [[(0, 1)], [(0, 2), (5, 6)], [(6, 7), (8, 9)]]
    assert (first.name, second.name, second.clusters) == ("d1", "d2", [[(0, 1)]])
    assert read_corefud(file(tmp_path, *SMALL), chains=False)[0].clusters == []


def test_older_names_of_the_entity_s_id(tmp_path: Path) -> None:
    header = "# global.Entity = etype-GRP-infstat"
    cells = [
        row("1", "the", "Entity=(object-7-new"),
        row("2", "dog", "Entity=7)"),
        row("3", "it", "Entity=(object-7-giv)"),
    ]
    [document] = read_corefud(file(tmp_path, header, *cells))
    assert (document.name, document.clusters) == ("a", [[(0, 2), (2, 3)]])


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ([row("1", "a", "Entity=(e1-x-1")], 1, "(e1 is not closed in its document"),
        ([row("1", "a"), row("2", "b", "Entity=e1)")], 2, "e1) closes what was not opened"),
        ([row("1", "a", "Entity=e1")], 1, "'e1' marks no entity"),
        ([row("1", "a"), "2\tb"], 2, "2 columns; CoNLL-U has 10"),
        ([row("1", "a"), row("x", "b")], 2, "word number 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, rows: list[str], line: int, says: str) -> None:
    path = file(tmp_path, *rows)
    with pytest.raises(DataError) as error:
        read_corefud(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert says in str(error.value)
    with pytest.raises(DataError, match="no sentences"):
        read_corefud(file(tmp_path, "# newdoc"))


def test_what_is_written_keeps_every_line_but_what_is_said_of_entities(tmp_path: Path) -> None:
    source, out = file(tmp_path, *SMALL), tmp_path / "out.conllu"
    documents = read_documents(source, chains=False)
    documents[0].clusters = [[(1, 2), (5, 6)], [(0, 2), (7, 9)]]
    assert write_documents(documents, out, source) == 0
    after = read_documents(out)
    assert [d.clusters for d in after] == [[[(0, 2), (7, 9)], [(1, 2), (5, 6)]], []]
    written = out.read_text().splitlines()
    assert [w.split("\t")[:9] for w in written if "global" not in w] == [
        w.split("\t")[:9] for w in SMALL if "global" not in w
    ]
    assert [w.split("\t")[9] for w in written if w[:1].isdecimal()] == [
        "Entity=(e2--1|SpaceAfter=Yes", "Entity=e2)(e1--1)", "SpaceAfter=No", "_", "_", "_", "_",
        "Entity=(e1--1)", "_", "Entity=(e2--1", "Entity=e2)", "_",
    ]  # fmt: skip
    assert [w for w in written if "global" in w] == ["# global.Entity = eid-etype-head-other"] * 2


@given(chosen=st.lists(st.lists(spans.filter(lambda s: s[1] <= 12), max_size=5), max_size=5), data=st.data())
def test_both_forms_say_the_same(
    chosen: list[list[tuple[int, int]]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    words = [f"w{i}" for i in range(12)]
    document = Document("x", 0, [Sentence(words, "anna")], chosen)
    columns, conllu, back = folder / "a.conll", folder / "b.conllu", folder / "c.conll"
    left_out = write_conll([document], columns)
    [read] = read_documents(columns)
    assert write_documents([read], conllu, columns) == 0, "what could be written once can be written again"
    assert write_documents(read_documents(conllu), back, conllu) == 0
    assert write_corefud([document], folder / "d.conllu") == left_out
    assert is_conllu(conllu)
    assert not is_conllu(back)
    for path in (columns, conllu, back, folder / "d.conllu"):
        [found] = read_documents(path)
        assert (found.words(), found.sentences[0].speaker) == (words, "anna")
        assert found.clusters == sorted(sayable(document)[0])
    if read.clusters:
        assert score_files(columns, conllu)["mentions"].f1 == 1.0


def test_a_scorer_s_chains(tmp_path: Path) -> None:
    chains = read_chains(file(tmp_path, *SMALL))
    assert [(name, found.tokens) for name, found in chains.items()] == [(("d1", 0), 9), (("d2", 0), 1)]
    with pytest.raises(DataError, match="document d2 is there twice"):
        read_chains(file(tmp_path, *SMALL, *SMALL[-3:]))
