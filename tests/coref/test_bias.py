"""GAP and WinoBias: files, what counts as an answer, errors; with a resolver that always says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.coref.conll import read_conll, write_conll
from convai.coref.document import Cluster, Document, Sentence
from convai.coref.scorer.gap import ParsedExample, ask, is_of_name, read_gap, score_gap
from convai.coref.scorer.winobias import find_winobias, read_winobias, score_winobias
from tests.coref.made_up import sentence

HEADER = "ID\tText\tPronoun\tPronoun-offset\tA\tA-offset\tA-coref\tB\tB-offset\tB-coref\tURL"
TEXT = "Ann Lee met Bo Ray when he sang ."


class Always:
    def __init__(self, clusters: list[Cluster]) -> None:
        self.clusters = clusters

    def resolve(self, document: Document) -> list[Cluster]:
        return self.clusters


def gap_file(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "gap.tsv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def row(pronoun: str = "he\t24", a: str = "FALSE", b: str = "TRUE") -> str:
    return f"x-1\t{TEXT}\t{pronoun}\tAnn Lee\t0\t{a}\tBo Ray\t12\t{b}\thttp://a"


def by_blanks(text: str) -> tuple[Document, list[tuple[int, int]]]:
    words, places, at = text.split(" "), [], 0
    for word in words:
        places.append((at, at + len(word)))
        at += len(word) + 1
    return Document("a", 0, [Sentence(words)]), places


def asked(path: Path) -> list[ParsedExample]:
    return [ask(one, by_blanks) for one in read_gap(path)]


@pytest.mark.parametrize(
    ("cluster", "answers"),
    [
        ([(3, 5), (6, 7)], (False, True)),  # the name itself
        ([(4, 5), (6, 7)], (False, True)),  # a part of it
        ([(2, 5), (6, 7)], (False, True)),  # ends as it does
        ([(3, 6), (6, 7)], (False, False)),  # goes on behind it
        ([(3, 5), (5, 7)], (False, False)),  # not the pronoun
        ([(0, 2), (3, 5), (6, 7)], (True, True)),
    ],
)
def test_what_counts_as_the_name(cluster: Cluster, answers: tuple[bool, bool], tmp_path: Path) -> None:
    tally = score_gap(asked(gap_file(tmp_path, row())), Always([cluster]))["overall"]
    assert (tally.false_positive == 1, tally.true_positive == 1) == answers
    assert tally.true_positive + tally.false_negative == 1
    assert tally.false_positive + tally.true_negative == 1


def test_a_longer_phrase_is_the_name_where_its_head_is() -> None:
    text = "the actress Rose , a friend of Ann , and Bo sang"
    tags = "DT NN NNP , DT NN IN NNP , CC NNP VBD"
    heads = "3 3 12 6 6 3 8 6 11 11 3 0"
    deps = "det compound nsubj punct det appos case nmod punct cc conj root"
    document = Document(
        "a", 0, [sentence("he left", "PRP VBD", "2 0", "nsubj root"), sentence(text, tags, heads, deps)]
    )
    words = document.words()
    rose, ann = (words.index("Rose"), words.index("Rose") + 1), (words.index("Ann"), words.index("Ann") + 1)
    found = {
        (start, end): (is_of_name(document, (start, end), rose), is_of_name(document, (start, end), ann))
        for start, end in ((2, 5), (4, 5), (2, 10), (6, 10), (2, 13), (0, 1))
    }
    assert found == {
        (2, 5): (True, False),  # the actress Rose
        (4, 5): (True, False),
        (2, 10): (True, False),  # the actress Rose, a friend of Ann
        (6, 10): (False, False),  # a friend of Ann
        (2, 13): (False, False),  # with Bo
        (0, 1): (False, False),
    }


def test_pronouns_of_both_genders_are_counted_apart(tmp_path: Path) -> None:
    examples = asked(gap_file(tmp_path, row(), row().replace("he\t24", "he\t24").replace("sang", "sing")))
    assert [one.feminine for one in examples] == [False, False]
    other = row().replace(" he sang", " Her song").replace("he\t24", "Her\t24")
    examples = asked(gap_file(tmp_path, row(), other))
    tallies = score_gap(examples, Always([[(3, 5), (6, 7)]]))
    assert [tallies[name].f1 for name in ("overall", "masculine", "feminine")] == [1, 1, 1]
    assert (tallies["masculine"].true_positive, tallies["feminine"].true_positive) == (1, 1)
    assert score_gap(examples, Always([]))["overall"].f1 == 0


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([row("he\t25")], ":2: Pronoun 'he' is not at offset 25"),
        ([row(), row("he\tx")], ":3: Pronoun 'he' is not at offset x"),
        (["x\ty"], ":2: 2 columns"),
        ([], ": no examples"),
    ],
)
def test_rows_that_do_not_fit_are_named(lines: list[str], says: str, tmp_path: Path) -> None:
    path = gap_file(tmp_path, *lines)
    with pytest.raises(DataError) as error:
        read_gap(path)
    assert str(error.value).startswith(f"{path}{says}")
    path.write_text("a\tb\n")
    with pytest.raises(DataError, match="header is not GAP's"):
        read_gap(path)


def winobias(tmp_path: Path) -> Path:
    for kind in "12":
        for side in ("pro", "anti"):
            person = (0, 2) if side == "pro" else (3, 5)
            document = Document(
                "d", 0, [Sentence("The cook met the maid as she sang".split())], [[person, (6, 7)]]
            )
            write_conll([document], tmp_path / f"dev_type{kind}_{side}_stereotype.v4_auto_conll")
    return tmp_path


def test_winobias_asks_who_the_pronoun_is(tmp_path: Path) -> None:
    files = find_winobias(winobias(tmp_path))
    cook = Always([[(0, 2), (6, 7)]])
    scores = {key: score_winobias(read_winobias(path), cook) for key, path in files.items()}
    assert {key: bias.accuracy for key, bias in scores.items()} == {
        ("1", "pro"): 1, ("2", "pro"): 1, ("1", "anti"): 0, ("2", "anti"): 0,
    }  # fmt: skip
    assert scores["1", "pro"].f1 == 1
    assert scores["1", "anti"].f1 < 0.5


def test_a_possessive_s_makes_nobody_else(tmp_path: Path) -> None:
    document = Document("d", 0, [Sentence("The maid 's boss saw her".split())], [[(0, 2), (5, 6)]])
    path = tmp_path / "dev_type1_pro_stereotype.v4_auto_conll"
    write_conll([document], path)
    for found, right in (((0, 3), 1), ((0, 4), 0)):
        assert score_winobias(read_winobias(path), Always([[found, (5, 6)]])).accuracy == right


def test_winobias_files_that_are_missing_or_others_are_named(tmp_path: Path) -> None:
    files = find_winobias(winobias(tmp_path))
    path = files["2", "anti"]
    [document] = read_conll(path)
    document.clusters = []
    write_conll([document], path)
    with pytest.raises(DataError, match="has not one chain of two mentions"):
        read_winobias(path)
    path.unlink()
    with pytest.raises(DataError, match=r"no column file \*type2_anti_stereotype"):
        find_winobias(tmp_path)


def test_the_real_files_are_read(convai_data: Path) -> None:
    assert len(read_gap(convai_data / "coref" / "gap" / "gap-validation.tsv")) == 454
    files = find_winobias(convai_data / "coref" / "winobias")
    assert sum(len(read_winobias(path)) for path in files.values()) == 1584
