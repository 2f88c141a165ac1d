"""Column files: what is read is written again, and what is wrong is named with its line."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.coref.conll import Chains, read_chains, read_conll, sayable, write_conll
from convai.coref.document import Document, Sentence, Span, crossing_spans


def row(number: int, word: str, chains: str = "-", speaker: str = "-") -> str:
    return f"tc/a\t0\t{number}\t{word}\t-\t-\t-\t-\t-\t{speaker}\t*\t{chains}"


def file(tmp_path: Path, *rows: str, end: bool = True) -> Path:
    path = tmp_path / "a.conll"
    lines = ["#begin document (tc/a); part 000", *rows, *(["#end document"] if end else [])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_words_speakers_and_chains_are_read(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        row(0, "My", "(0)|(1", "anna"),
        row(1, "sister", "1)", "anna"),
        row(2, "sings", speaker="anna"),
        "",
        row(0, "She", "(1)", "ben"),
        "",
    )
    [document] = read_conll(path)
    assert document.words() == ["My", "sister", "sings", "She"]
    assert document.clusters == [[(0, 1)], [(0, 2), (3, 4)]]
    assert [document.sentence_of(i) for i in range(4)] == [0, 0, 0, 1]
    assert [sentence.speaker for sentence in document.sentences] == ["anna", "ben"]
    assert (document.name, document.part, len(document)) == ("tc/a", 0, 4)


def test_columns_may_be_separated_by_blanks(tmp_path: Path) -> None:
    path = file(tmp_path, row(0, "He", "(0)").replace("\t", "   "), row(1, "sings", "(0)").replace("\t", " "))
    assert read_conll(path)[0].clusters == [[(0, 1), (1, 2)]]


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ([row(0, "a", "(0"), row(1, "b")], 2, "not closed in its sentence"),
        ([row(0, "a", "(0"), "", row(0, "b", "0)")], 2, "not closed in its sentence"),
        ([row(0, "a"), row(1, "b", "0)")], 3, "closes what was not opened"),
        ([row(0, "a", "(0)|(1)")], 2, "marked twice (chains 0 and 1)"),
        ([row(0, "a", "(0)"), row(1, "b", "(0|(0"), row(2, "c", "0)|0)")], 4, "marked twice"),
        ([row(0, "a", "0")], 2, "marks no chain"),
        ([row(0, "a", "(0)x")], 2, "marks no chain"),
        (["tc/a\t0\t0\ta\t-"], 2, "5 columns"),
        ([row(0, "a"), row(1, "b") + "\t-"], 3, "13 columns, but 12"),
        ([row(0, "")], 2, "no word"),
        ([row(0, "a", speaker="x"), row(1, "a", speaker="y")], 2, "two speakers in one sentence (x and y)"),
        ([], 1, "has no words"),
        (["#begin document (tc/b); part 000"], 2, "begins in another"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, rows: list[str], line: int, says: str) -> None:
    path = file(tmp_path, *rows)
    with pytest.raises(DataError) as error:
        read_conll(path)
    assert str(error.value).startswith(f"{path}:{line}: ")
    assert says in str(error.value)


def test_a_file_without_an_end_or_a_beginning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not end"):
        read_conll(file(tmp_path, row(0, "a"), end=False))
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(DataError, match="no document"):
        read_conll(empty)
    empty.write_text(row(0, "a"))
    with pytest.raises(DataError, match=r"empty:1: words before a document"):
        read_conll(empty)


def test_crossing_mentions_are_kept_unless_refused(tmp_path: Path) -> None:
    path = file(tmp_path, row(0, "a", "(0"), row(1, "b", "(1"), row(2, "c", "0)"), row(3, "d", "1)"))
    [document] = read_conll(path)
    assert crossing_spans(document.clusters) == [((0, 3), (1, 4))]
    with pytest.raises(
        DataError, match=r":3: mentions of chains 0 and 1 cross \(the first begins in line 2\)"
    ):
        read_conll(path, crossing="refuse")


def test_the_scorer_s_reading_takes_few_columns_and_drops_repeated_spans(tmp_path: Path) -> None:
    path = tmp_path / "a.response"
    path.write_text(
        "#begin document (x);\nd\t(0\nd\t0)|(2)|(3)\n\nd\t(2)|(0\nd\t-\n\nd\t0)\t\n#end document\n"
    )
    assert read_chains(path) == {("x", 0): Chains([[(0, 2), (2, 5)], [(1, 2), (2, 3)]], 5)}


spans = st.tuples(st.integers(0, 11), st.integers(1, 4)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(found=st.lists(spans, unique=True, max_size=10), data=st.data())
def test_what_is_written_is_read_again(
    found: list[Span], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = [span for span in found if span[1] <= 12]
    kept: list[Span] = []
    for span in found:  # one sentence of 12 words, no crossing
        if not crossing_spans([[*kept, span]]):
            kept.append(span)
    groups: dict[int, list[Span]] = {}
    for span in kept:
        groups.setdefault(data.draw(st.integers(0, 3)), []).append(span)
    clusters = sorted(sorted(group) for group in groups.values())
    document = Document("tc/x", 3, [Sentence([f"w{i}" for i in range(12)], "anna")], clusters)
    path = tmp_path_factory.mktemp("conll") / "x.conll"
    write_conll([document], path)
    [again] = read_conll(path, crossing="refuse")
    assert (again.name, again.part, again.clusters) == ("tc/x", 3, clusters)
    assert (again.words(), again.sentences[0].speaker) == (document.words(), "anna")


@given(
    documents=st.lists(
        st.lists(st.lists(spans.filter(lambda span: span[1] <= 12), max_size=5), max_size=5), max_size=3
    )
)
def test_no_document_is_lost_whatever_its_chains_are(
    documents: list[list[list[Span]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("conll") / "x.conll"
    words = [f"w{i}" for i in range(12)]
    made = [Document(f"d{i}", i, [Sentence(words)], clusters) for i, clusters in enumerate(documents)]
    made.append(Document("last", 0, [Sentence(words)], [[(0, 2), (3, 4)]]))
    left_out = write_conll(made, path)
    again = read_conll(path)
    assert [(d.name, d.part) for d in again] == [(d.name, d.part) for d in made]
    assert again[-1].clusters == made[-1].clusters
    asked = sum(len(cluster) for d in made for cluster in d.clusters)
    assert sum(len(cluster) for d in again for cluster in d.clusters) == asked - left_out
    for before, after in zip(made, again, strict=True):
        assert after.clusters == sorted(sayable(before)[0])
        assert all(any(set(kept) <= set(cluster) for cluster in before.clusters) for kept in after.clusters)
        whole = {span for cluster in before.clusters for span in cluster}
        if not any(crossing_spans([cluster]) for cluster in before.clusters):
            assert {span for cluster in after.clusters for span in cluster} == whole


def test_of_two_mentions_that_cross_or_are_the_same_one_is_kept() -> None:
    words = [Sentence(["a", "b", "c", "d"])]
    assert sayable(Document("x", 0, words, [[(0, 3), (1, 4)], [(1, 4), (0, 3), (2, 3)]])) == (
        [[(0, 3)], [(1, 4), (2, 3)]],
        2,
    )


def test_writing_keeps_the_other_columns_and_refuses_what_has_no_form(tmp_path: Path) -> None:
    path = file(tmp_path, row(0, "He", "(0)", "x\ty"), row(1, "and", "-", "x\ty"), "")
    [document] = read_conll(path)
    document.clusters = [[(0, 1), (0, 2)]]
    out = tmp_path / "out.conll.xz"
    write_conll([document], out)
    assert lzma.decompress(out.read_bytes()).decode() == path.read_text().replace("(0)", "(0|(0)").replace(
        "*\t-", "*\t0)"
    )
    document.clusters = [[(0, 3)]]
    with pytest.raises(DataError, match="of 2 words"):
        write_conll([document], out)
    with pytest.raises(DataError, match="cannot be written into a column"):
        write_conll([Document("a", 0, [Sentence(["a b"])])], out)
    assert read_conll(out)[0].clusters == [[(0, 1), (0, 2)]]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["ontogum_dev", "light_dev", "persuasion_dev", "friends_dev"])
def test_real_files_go_through_unchanged(name: str, tmp_path: Path, convai_data: Path) -> None:
    documents = read_conll(convai_data / "coref" / f"{name}.conll")
    write_conll(documents, tmp_path / "out.conll")
    assert read_conll(tmp_path / "out.conll") == documents
