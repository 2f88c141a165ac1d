"""The metrics: the reference scorer's test cases, a figure by hand, and what always holds."""

from __future__ import annotations

import itertools
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.__main__ import main
from convai.coref.conll import read_chains, write_conll
from convai.coref.document import Document, Sentence
from convai.coref.scorer.assignment import best_assignment
from convai.coref.scorer.metrics import METRICS, b_cubed, ceaf_e, conll_f1, lea, mentions, muc, score

NAMES = {"BCUB": b_cubed, "MUC": muc, "CEAFe": ceaf_e}
_EXPECTED = re.compile(r"Expected:\s+(BCUB|MUC|CEAFe)(?:=(?P<f>[^\[]+))?\s*(?:\[(?P<sides>[^\]]*)\])?")
_SIDE = re.compile(r"\b(?P<side>r|p|recall|prec|Prec)=(?P<value>[\d./]+)")


def number(text: str) -> tuple[float, float]:
    """A number of the README ("7/18", ".5599", "1/3=.33333") and how exactly it is meant."""
    first = text.strip().split("=")[0].split()[0].rstrip(",.")
    if "/" in first and "." not in first:
        return float(Fraction(first)), 1e-9
    above, _, below = first.partition("/")
    digits = len(above.partition(".")[2])
    return float(above) / float(below or 1), max(0.6 * 10**-digits / float(below or 1), 1e-9)


def expectations(readme: str) -> dict[str, list[tuple[str, str, str]]]:
    """Case → (metric, side, value); of the two sets of some cases the one with repeated mentions dropped."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    case, counts = "", True
    for line in readme.splitlines():
        if match := re.match(r"\s*(TC-[A-N]-\d+) --?", line):
            case, counts = match[1], True
        if re.match(r"if no de-dup", line, re.IGNORECASE):
            counts = False
        match = _EXPECTED.search(line)
        if match is None or not counts:
            continue
        rows = found.setdefault(case, [])
        for side in _SIDE.finditer(match["sides"] or ""):
            rows.append((match[1], "recall" if side["side"][0] == "r" else "precision", side["value"]))
        if match["f"] and not match["sides"]:
            rows.append((match[1], "f1", match["f"]))
    return found


@pytest.mark.parametrize(
    "case",
    [f"TC-{letter}-{i}" for letter, count in zip("ABCDEFGHIJKLMN", [13, *[1] * 11, 6, 6], strict=True)
     for i in range(1, count + 1)],
)  # fmt: skip
def test_the_reference_scorer_s_cases(case: str, convai_data: Path) -> None:
    folder = convai_data / "coref" / "scorer-tests"
    [key] = read_chains(folder / "DataFiles" / f"{case[:4]}.key").values()
    [response] = read_chains(folder / "DataFiles" / f"{case}.response").values()
    assert key.tokens == response.tokens
    rows = expectations((folder / "TestCases.README").read_text()).get(case, [])
    only_blanc = {"B-1", "C-1", "M-3", "M-4", "M-6", "N-2", "N-3", "N-5", "N-6"}
    assert bool(rows) == (case[3:] not in only_blanc)
    for metric, side, text in rows:
        value, tolerance = number(text)
        counts = NAMES[metric](key.clusters, response.clusters)
        assert getattr(counts, side) == pytest.approx(value, abs=tolerance), (metric, side, text)


# {a b c} {d e f g} and {a b} {c d} {f g h i}: the example of Pradhan et al. 2014, figure 1
KEY = [[(0, 1), (1, 2), (2, 3)], [(3, 4), (4, 5), (5, 6), (6, 7)]]
RESPONSE = [[(0, 1), (1, 2)], [(2, 3), (3, 4)], [(5, 6), (6, 7), (7, 8), (8, 9)]]


@pytest.mark.parametrize(
    ("metric", "recall", "precision"),
    [
        (muc, 2 / 5, 2 / 5),
        (b_cubed, (4 / 3 + 1 / 3 + 1 / 4 + 4 / 4) / 7, (4 / 2 + 1 / 2 + 1 / 2 + 4 / 4) / 8),
        (ceaf_e, (4 / 5 + 4 / 8) / 2, (4 / 5 + 4 / 8) / 3),
        (lea, (3 * 1 / 3 + 4 * 1 / 6) / 7, (2 * 1 + 0 + 4 * 1 / 6) / 8),
        (mentions, 6 / 7, 6 / 8),
    ],
)
def test_the_figure_of_the_reference_implementation_s_paper(metric, recall: float, precision: float) -> None:
    counts = metric(KEY, RESPONSE)
    assert (counts.recall, counts.precision) == pytest.approx((recall, precision))
    other = metric(RESPONSE, KEY)
    assert (other.recall, other.precision) == pytest.approx((precision, recall))


def test_a_single_mention_links_to_itself_in_lea() -> None:
    assert lea([["a"], ["b", "c"]], [["a"], ["b"], ["c"]]).recall == pytest.approx(1 / 3)
    assert lea([["a"]], [["a", "b"]]).recall == 0


@st.composite
def partitions(draw: st.DrawFn) -> list[list[int]]:
    labels = draw(st.dictionaries(st.integers(0, 9), st.integers(0, 4)))
    groups: dict[int, list[int]] = {}
    for mention, label in labels.items():
        groups.setdefault(label, []).append(mention)
    return list(groups.values())


@given(key=partitions(), response=partitions())
def test_what_always_holds(key: list[list[int]], response: list[list[int]]) -> None:
    for metric in METRICS.values():
        counts = metric(key, response)
        assert 0 <= counts.recall <= 1 + 1e-9
        assert 0 <= counts.precision <= 1 + 1e-9
        perfect = metric(key, key)
        if perfect.recall_whole:
            assert perfect.f1 == pytest.approx(1)


@given(key=partitions(), response=partitions())
def test_ceaf_s_alignment_is_the_best_of_all(key: list[list[int]], response: list[list[int]]) -> None:
    def phi(one: list[int], other: list[int]) -> float:
        return 2 * len({*one} & {*other}) / (len(one) + len(other))

    short, long = sorted((key, response), key=len)
    best = max(
        (sum(map(phi, short, chosen)) for chosen in itertools.permutations(long, len(short))), default=0.0
    )
    assert ceaf_e(key, response).recall_part == pytest.approx(best)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (3, 6), (6, 3)])
def test_assignments_are_the_best_of_all(shape: tuple[int, int]) -> None:
    for seed in range(30):
        gains = np.random.default_rng(seed).integers(0, 6, shape).astype(float)
        pairs = best_assignment(gains)
        assert len(pairs) == min(shape)
        assert len({c for _, c in pairs}) == len({r for r, _ in pairs}) == len(pairs)
        square = gains if shape[0] <= shape[1] else gains.T
        rows = range(square.shape[0])
        best = max(
            sum(square[r, c] for r, c in zip(rows, chosen, strict=True))
            for chosen in itertools.permutations(range(square.shape[1]), len(rows))
        )
        assert sum(gains[pair] for pair in pairs) == best


def test_documents_add_up_before_they_are_divided_and_singletons_can_be_dropped() -> None:
    totals = score([(KEY, RESPONSE), (KEY, KEY)])
    assert totals["muc"].recall == pytest.approx((2 + 5) / 10)
    assert conll_f1(totals) == pytest.approx(sum(totals[m].f1 for m in ("muc", "b_cubed", "ceaf_e")) / 3)
    single = [*KEY, [(20, 21)]]
    assert score([(single, KEY)], singletons=False)["b_cubed"].f1 == 1
    assert score([(single, KEY)])["b_cubed"].f1 < 1


# -- the command -----------------------------------------------------------------------------------


def files(tmp_path: Path) -> tuple[str, str]:
    sentence = Sentence([f"w{i}" for i in range(9)])
    for name, clusters in (("key", KEY), ("response", RESPONSE)):
        write_conll([Document("d", 0, [sentence], clusters)], tmp_path / f"{name}.conll")
    return str(tmp_path / "key.conll"), str(tmp_path / "response.conll")


def test_the_command_scores_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coref", "score", *files(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["muc"] == {"recall": 0.4, "precision": 0.4, "f1": 0.4}
    assert found["conll_f1"] == pytest.approx(conll_f1(score([(KEY, RESPONSE)])), abs=1e-6)
    assert main(["coref", "score", *files(tmp_path), "--no-singletons"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^MUC +40\.00 +40\.00 +40\.00$", shown, re.MULTILINE)


def test_check_counts_or_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, response = files(tmp_path)
    assert main(["coref", "check", key]) == 0
    assert capsys.readouterr().out == f"{key}: 1 documents, 9 words, 2 clusters, 7 mentions\n"
    crossing = [[(0, 3)], [(1, 5)]]
    write_conll([Document("d", 0, [Sentence(list("abcdefghi"))], crossing)], response)
    assert main(["coref", "check", key, response]) == 2
    assert f"{response}:3: mentions of chains 0 and 1 cross" in capsys.readouterr().err
    assert main(["coref", "score", key, response]) == 0


def test_files_of_other_documents_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, response = files(tmp_path)
    write_conll([Document("other", 0, [Sentence(["a"])])], response)
    assert main(["coref", "score", key, response]) == 2
    assert "lacks document d, part 0" in capsys.readouterr().err
    write_conll([Document("d", 0, [Sentence(["a"])])], response)
    assert main(["coref", "score", key, response]) == 2
    assert "has 1 words, and 9" in capsys.readouterr().err
    assert main(["coref", "score", key]) == 2
    assert "name a key and a response" in capsys.readouterr().err
