"""`convai coref score --kinds`: reading marked texts, what counts as right, errors; convai's own texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convai.__main__ import main
from convai.core.errors import DataError
from convai.core.resources import coref_kinds_path
from convai.coref.document import Cluster, Document, Sentence
from convai.coref.scorer.kinds import Turns, answers, read_kinds, shares


class Always:
    def __init__(self, clusters: list[Cluster]) -> None:
        self.clusters = clusters

    def resolve(self, document: Document) -> list[Cluster]:
        return self.clusters


def kinds_file(tmp_path: Path, *entries: object) -> Path:
    path = tmp_path / "kinds.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def chained(turns: Turns) -> tuple[Document, list[tuple[int, int, int]]]:
    """Words between blanks; each depends on the next one, words behind "and" are conjuncts of the first."""
    sentences, places = [], []
    for number, (speaker, text) in enumerate(turns):
        words, at = text.split(" "), 0
        for word in words:
            places.append((number, at, at + len(word)))
            at += len(word) + 1
        heads = [min(i + 1, len(words) - 1) for i in range(len(words))]
        deps = ["dep"] * len(words)
        if "and" in words:
            heads[words.index("and") + 1], deps[words.index("and") + 1] = words.index("and") - 1, "conj"
        sentences.append(Sentence(words, speaker, ["NN"] * len(words), heads, deps))
    return Document("a", 0, sentences), places


ITEM = {
    "kind": "pets",
    "part": "seen",
    "turns": [["ann", "[a dog|1] has [[his|1] tail|2]"], [None, "[it|1]"]],
}


def test_marks_are_read_and_taken_out(tmp_path: Path) -> None:
    [item] = read_kinds(kinds_file(tmp_path, ITEM))
    assert item.turns == [("ann", "a dog has his tail"), (None, "it")]
    assert [(m.turn, m.start, m.end, m.mark) for m in item.marked] == [
        (0, 0, 5, "1"),
        (0, 10, 18, "2"),
        (0, 10, 13, "1"),
        (1, 0, 2, "1"),
    ]
    assert (item.kind, item.part, item.exact) == ("pets", "seen", False)


@pytest.mark.parametrize(
    ("clusters", "wrong"),
    [
        ([[(0, 2), (3, 4), (5, 6)]], 0),
        ([[(1, 2), (3, 4), (5, 6)]], 0),  # the same head, fewer words
        ([[(0, 2), (3, 4)]], 2),  # "it" belongs to both
        ([[(0, 2), (3, 4), (5, 6), (3, 5)]], 3),  # the tail is none of them
        ([[(0, 2), (3, 4), (5, 6)], [(2, 3), (0, 1)]], 0),  # what is not marked is not asked for
        ([], 3),
    ],
)
def test_right_is_what_is_linked_just_as_marked(tmp_path: Path, clusters: list[Cluster], wrong: int) -> None:
    items = read_kinds(kinds_file(tmp_path, ITEM))
    [answer] = answers(items, chained, Always(clusters))
    assert len(answer.wrong) == wrong
    table = shares([answer])
    assert table["pets"] == table["all"]
    assert (table["all"]["share"], table["all"]["texts"]) == (float(not wrong), 1)


def test_exact_words_can_be_asked_for_and_two_joined_are_not_one_of_them(tmp_path: Path) -> None:
    exact = {"kind": "a", "exact": True, "turns": [[None, "[a dog|1] saw [it|1]"]]}
    joined = {"kind": "a", "turns": [[None, "[ann and ben|1] saw [it|1]"]]}
    one, other = read_kinds(kinds_file(tmp_path, exact, joined))
    assert next(answers([one], chained, Always([[(1, 2), (3, 4)]]))).wrong
    assert not next(answers([one], chained, Always([[(0, 2), (3, 4)]]))).wrong
    assert next(answers([other], chained, Always([[(0, 1), (4, 5)]]))).wrong
    assert not next(answers([other], chained, Always([[(0, 3), (4, 5)]]))).wrong


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"turns": []}, r":1: 'kind' and 'part' are names"),
        ({"kind": "a", "turns": []}, r":1: 'turns' is a list"),
        ({"kind": "a", "turns": ["[a|1] [b|1]"]}, r":1: a turn is \[speaker, text\]"),
        ({"kind": "a", "turns": [[None, "[a|1] b"]]}, ":1: fewer than two marked"),
        ({"kind": "a", "turns": [[None, "[a|1 [b|1]"]]}, "fewer than two"),
        ({"kind": "a", "turns": [[None, "[a|1] [b"]]}, r"a '\[' without its mark"),
        ({"kind": "a", "turns": [[None, "[a|] [b|1]"]]}, "has no mark"),
        ([1], ":1:"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(tmp_path: Path, entry: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_kinds(kinds_file(tmp_path, entry))


def test_marks_within_words_and_empty_files_are_told(tmp_path: Path) -> None:
    items = read_kinds(kinds_file(tmp_path, {"kind": "a", "turns": [[None, "[a|1] dog[gy|1]"]]}))
    with pytest.raises(DataError, match=r":1: 'gy' begins or ends within a word"):
        list(answers(items, chained, Always([])))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no texts"):
        read_kinds(tmp_path / "empty.jsonl")


def test_convais_own_texts_have_fifteen_or_more_of_each_kind() -> None:
    items = read_kinds(coref_kinds_path())
    counts = {kind: [item.part for item in items if item.kind == kind] for kind in {i.kind for i in items}}
    assert len(counts) >= 9
    assert all(len(parts) >= 15 for parts in counts.values())
    assert all(parts.count("seen") == parts.count("unseen") for parts in counts.values())
    assert len({json.dumps(item.turns) for item in items}) == len(items)


@pytest.mark.slow
def test_the_embedded_model_is_right_in_nine_of_ten(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("spacy")
    assert main(["coref", "score", "--kinds", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kinds"]["all"]["share"] >= 0.9
    assert {"seen", "unseen"} == set(found["parts"])
    assert main(["coref", "score", "--kinds", "--part", "seen", "--wrong"]) == 0
    assert "all" in capsys.readouterr().out


def test_options_that_do_not_go_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for argv, message in (
        (["--kinds", "--gap", "a.tsv"], "--gap and --kinds: ask for one thing"),
        (["a.conll", "b.conll", "--kinds"], "--kinds scores a model"),
        (["--wrong", "a.conll", "b.conll"], "--part and --wrong are options of --kinds"),
        (["--kinds", str(kinds_file(tmp_path, ITEM)), "--part", "other"], "has the parts seen"),
    ):
        assert main(["coref", "score", *argv]) != 0
        assert message in capsys.readouterr().err
