"""`convai coref train | vectors | predict | resolve`, `convai bench coref`; clear errors."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from convai.__main__ import main
from convai.commands.coref_model import turns_of
from convai.coref.checkpoint import save_coref_model
from convai.coref.column_files import read_documents
from convai.coref.conll import read_conll, write_conll
from convai.coref.corefud import write_corefud
from convai.coref.document import Document, Sentence
from convai.coref.resolver import CorefResolver
from tests.coref.made_up import WORDS, tiny_model, vectors

spacy = pytest.importorskip("spacy")


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pipeline with random weights: whatever it says is a parse."""
    nlp = spacy.blank("en")
    tagger, parser = nlp.add_pipe("tagger"), nlp.add_pipe("parser")
    for tag in ("PRP", "NN", "NNP", "VBZ", "DT"):
        tagger.add_label(tag)
    for dep in ("nsubj", "obj", "det", "ROOT"):
        parser.add_label(dep)
    torch.manual_seed(0)
    spacy.util.fix_random_seed(0)
    nlp.initialize()
    folder = tmp_path_factory.mktemp("parser") / "nlp"
    nlp.to_disk(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    save_coref_model(*tiny_model(), folder)
    return str(folder)


@pytest.fixture
def column_file(tmp_path: Path) -> Path:
    rng = random.Random(0)
    made = []
    for number in range(4):
        sentences = [Sentence([rng.choice(WORDS) for _ in range(8)], rng.choice("ab")) for _ in range(5)]
        made.append(Document(f"tc/{number}", 0, sentences, [[(i, i + 1) for i in range(0, 40, 7)]]))
    path = tmp_path / "in.conll"
    write_conll(made, path)
    return path


def problem(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["coref", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_predict_writes_chains_into_the_last_column(
    parser: str, model: str, column_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.conll"
    assert main(["coref", "predict", str(column_file), str(out), "--model", model, "--parser", parser]) == 0
    assert "4 documents" in capsys.readouterr().out
    before, after = read_conll(column_file), read_conll(out)
    assert [d.words() for d in after] == [d.words() for d in before]
    assert any(d.clusters for d in after)
    cells = [[line.split("\t")[:-1] for line in p.read_text().splitlines()] for p in (column_file, out)]
    assert cells[0] == cells[1]


def test_predict_looks_at_no_old_chains(
    parser: str, model: str, column_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use = ["--model", model, "--parser", parser]
    assert main(["coref", "predict", str(column_file), str(tmp_path / "a"), *use]) == 0
    old = tmp_path / "old.conll"
    old.write_text(column_file.read_text().replace("(0)", "(0", 1).replace("(1)", "1)|(1)|what", 1))
    assert main(["coref", "predict", str(old), str(tmp_path / "b"), *use]) == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()


def test_conllu_goes_in_and_comes_out(
    parser: str, model: str, column_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use = ["--model", model, "--parser", parser]
    conllu, again, columns = tmp_path / "a.conllu", tmp_path / "b", tmp_path / "c.conll"
    assert main(["coref", "predict", str(column_file), str(conllu), *use]) == 0
    assert main(["coref", "predict", str(conllu), str(again), *use]) == 0
    assert main(["coref", "predict", str(conllu), str(columns), *use]) == 0
    assert again.read_text() == conllu.read_text()
    assert main(["coref", "check", str(conllu)]) == 0
    capsys.readouterr()
    for response in (again, columns):
        assert main(["coref", "score", str(conllu), str(response), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["conll_f1"] == 1.0


def test_chains_that_brackets_cannot_say_lose_no_document(
    parser: str, model: str, column_file: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def crossing(self: CorefResolver, document: Document) -> list[list[tuple[int, int]]]:
        return [[(0, 3), (1, 4)], [(0, 3), (6, 7)]] if document.name == "tc/1" else [[(0, 1), (4, 5)]]

    monkeypatch.setattr(CorefResolver, "resolve", crossing)
    for name in ("out.conll", "out.conllu"):
        out = tmp_path / name
        use = ["--model", model, "--parser", parser]
        assert main(["coref", "predict", str(column_file), str(out), *use]) == 0
        assert f"{out}: 2 mentions left out" in capsys.readouterr().err
        assert [len(d.clusters) for d in read_documents(out)] == [1, 2, 1, 1]


def test_a_model_is_trained_and_used(
    parser: str, column_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, made, out = tmp_path / "t.txt", tmp_path / "v.npz", tmp_path / "run"
    rng = random.Random(1)
    text.write_text("\n".join(" ".join(rng.choice(WORDS) for _ in range(9)) for _ in range(200)))
    assert main(["coref", "vectors", str(text), "--out", str(made), "--size", "6"]) == 0
    small = "--all-pairs 1 --top-pairs 0 --ranking 0 --likelihood 1 --mention-size 8 --pair-size 8"
    gap = tmp_path / "gap.tsv"
    header = "ID Text Pronoun Pronoun-offset A A-offset A-coref B B-offset B-coref URL".split()
    row = "x-1|mary sees john and he likes mary|he|19|mary|0|FALSE|john|10|TRUE|-".split("|")
    gap.write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
    conllu = tmp_path / "in.conllu"
    write_corefud(read_conll(column_file), conllu)
    files = [str(column_file), str(gap), "--dev", str(conllu), str(gap)]
    assert main(
        ["coref", "train", *files, "--vectors", str(made), "--out", str(out), "--parser", parser,
         *small.split()]
    ) == 0  # fmt: skip
    told = capsys.readouterr()
    assert told.err.count("F1 in 0.") == told.err.count(", gap ") == 2
    assert main(["coref", "train", "--resume", str(out)]) == 0
    assert main(["coref", "resolve", "the doctor", "--json", "--model", str(out), "--parser", parser]) == 0


def test_resolve_reads_texts_names_and_pipes(
    parser: str, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--model", model, "--parser", parser, "--greedyness", "0.999999"]
    assert (
        main(["coref", "resolve", "john sees a dog. he likes it.", "you told her?", "--json", *options]) == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert len(found["rewritten"]) == 2
    texts = ["john sees a dog. he likes it.", "you told her?"]
    for cluster in found["clusters"]:
        assert len(cluster["mentions"]) > 1
        for mention in cluster["mentions"]:
            assert texts[mention["turn"]][mention["start"] : mention["end"]] == mention["text"]
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("anna: he sees mary\n\nbob: she likes him\n"))
    assert main(["coref", "resolve", "--rewrite", *options]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith(("anna: ", "bob: "))]


def test_who_speaks() -> None:
    assert turns_of(["a: hi there", "b: hello: you"], []) == [("a", "hi there"), ("b", "hello: you")]
    assert turns_of(["a: hi", "no name here"], []) == [(None, "a: hi"), (None, "no name here")]
    assert turns_of(["a: hi", "b: yes", "and no"], []) == [("a", "hi"), ("b", "yes"), ("b", "and no")]
    log = ["[12:01] ann: hi", "* ben waves", "[12:02] ben: hello", "how are you", "[12:03] ann: fine"]
    assert turns_of(log, []) == [
        ("ann", "hi"), (None, "* ben waves"), ("ben", "hello"), ("ben", "how are you"), ("ann", "fine")
    ]  # fmt: skip
    assert turns_of(["<ann> hi", "<ben> hello"], []) == [("ann", "hi"), ("ben", "hello")]
    assert turns_of(["one", "two", "three"], ["x", "y"]) == [("x", "one"), ("y", "two"), ("x", "three")]


def test_the_benchmark_prints_a_table_and_one_json_line(
    parser: str,
    model: str,
    column_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("convai.bench.coref.GROWTH", (200, 400))
    argv = ["bench", "coref", str(column_file), "--model", model, "--parser", parser, "--seconds", "0"]
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert list(result["ratios"]) == ["vs_plain_python"]
    assert result["ratios"]["vs_plain_python"] > 1
    assert result["raw"]["same_clusters"] is True
    assert result["raw"]["words_per_s"] > 0
    assert len(lines) == 5


def test_bad_input_is_one_clear_line(
    parser: str, model: str, column_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    use = ["--model", model, "--parser", parser]
    bad = tmp_path / "bad.conll"
    bad.write_text(column_file.read_text().replace("\t(0)", "", 1))
    assert f"{bad}:" in problem(capsys, "predict", str(bad), str(tmp_path / "o"), *use)
    assert not (tmp_path / "o").exists()
    assert "no text" in problem(capsys, "resolve", " ", *use)
    assert "--greedyness=2.0" in problem(capsys, "resolve", "x", "--greedyness", "2", *use)
    assert "--max-dist=0" in problem(capsys, "resolve", "x", "--max-dist", "0", *use)
    assert "Deepika=woman" in problem(capsys, "resolve", "x", "--define", "Deepika", *use)
    assert "--out DIR is missing" in problem(capsys, "train", str(column_file))
    assert "leave the other options out" in problem(capsys, "train", str(column_file), "--resume", "x")
    assert "--threads=0" in problem(capsys, "train", "--out", "x", "--threads", "0")
    assert "--window=0" in problem(capsys, "train", "--out", "x", "--window", "0")
    assert "no coreference model here" in problem(capsys, "resolve", "x", "--model", str(tmp_path))
    assert "end the name in .npz" in problem(capsys, "vectors", "x.txt", "--out", "v.bin")
    blank = tmp_path / "blank"
    spacy.blank("en").to_disk(blank)
    assert "has no tagger" in problem(capsys, "resolve", "x", "--model", model, "--parser", str(blank))


def test_the_embedded_models_vectors_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from convai.coref import data

    model, words = tiny_model()
    monkeypatch.setattr(data, "load_coref_model", lambda: (model, words))
    found, table = data.read_vectors(None)
    assert found == WORDS
    np.testing.assert_allclose(table, vectors(), rtol=1e-6)
