"""`convai emotion`: a line out for a line in, clear errors, no torch before the options are right."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from convai.__main__ import main
from tests.emotion.models import VOCABULARY, saved_model, torchmoji_state


class Piped(io.StringIO):
    def isatty(self) -> bool:
        return False


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(saved_model(tmp_path / "model"))


def answers(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["emotion", *argv]) == 0
    return capsys.readouterr().out.splitlines()


def problem(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["emotion", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_one_json_object_a_line(
    model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["i love it", "", "  ", "\u4f60\u597d", "x" * 100_000, '"quoted" \\n <br>'] * 60
    monkeypatch.setattr("sys.stdin", Piped("".join(line + "\n" for line in lines)))
    found = [json.loads(line) for line in answers(capsys, "predict", "--json", "--model", model)]
    assert len(found) == len(lines)
    for one in found:
        assert list(one) == ["emoji", "emotions", "words", "attention"]
        assert set(one["emotions"]) == {"joy", "anger"}
        assert {"emoji", "p"} == set(one["emoji"][0])
        assert len(one["words"]) == len(one["attention"])
    assert found[0]["words"] == ["i", "love", "it"]
    assert found[:6] == found[6:12]


def test_texts_on_the_command_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = answers(capsys, "predict", "--model", model, "--top", "1", "i love it", "")
    assert len(lines) == 2
    assert all("%" in line and "joy" in line for line in lines)
    [line] = answers(capsys, "predict", "--json", "--top", "0", "--model", model, "hi")
    assert len(json.loads(line)["emoji"]) == 3
    [int8] = answers(capsys, "predict", "--json", "--precision", "int8", "--model", model, "i love it")
    assert json.loads(int8)["words"] == ["i", "love", "it"]


def test_feature_vectors(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = answers(capsys, "encode", "--model", model, "i love it", "")
    out = tmp_path / "vectors.npy"
    answers(capsys, "encode", "--model", model, "--out", str(out), "i love it", "")
    stored = np.load(out)
    assert stored.shape == (2, 26)
    np.testing.assert_allclose([json.loads(line) for line in lines], stored, atol=1e-6)
    assert "end the name in .npy" in problem(capsys, "encode", "--model", model, "--out", "x", "hi")


def test_labels(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = answers(capsys, "labels", "--model", model)
    assert lines[0] == "faces: one of 3 (emoji)"
    assert lines[1] == "   0  \U0001f602  face with tears of joy"
    assert "   1  anger" in lines
    [line] = answers(capsys, "labels", "--json", "--model", model)
    assert json.loads(line)["feelings"] == ["joy", "anger"]


def test_converting_torchmoji(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch.save(torchmoji_state(len(VOCABULARY), 6, 5), tmp_path / "pytorch_model.bin")
    VOCABULARY.save(tmp_path / "vocabulary.json")
    source = [str(tmp_path / "pytorch_model.bin"), "--vocabulary", str(tmp_path / "vocabulary.json")]
    [line] = answers(capsys, "convert", *source, "--out", str(tmp_path / "ours"))
    assert "features of 26, 64 outputs" in line
    [line] = answers(capsys, "predict", "--json", "--model", str(tmp_path / "ours"), "love")
    assert len(json.loads(line)["emoji"]) == 5


def test_problems_are_one_line(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no emotion model here" in problem(capsys, "predict", "--model", str(tmp_path), "hi")
    assert "invalid choice" in problem(capsys, "predict", "--precision", "int4", "hi")
    assert "not a number of emoji" in problem(capsys, "predict", "--top", "-1", "hi")
    assert "unrecognized" in problem(capsys, "predict", "--modle", model, "hi")


# -- models of one's own ---------------------------------------------------------------------------


def table(path: Path, rows: int = 40) -> Path:
    lines = ["text,label"] + [
        f"i am so {('happy', 'sad')[i % 2]} {i},{('up', 'down')[i % 2]}" for i in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


QUICK = ["--epochs", "2", "--epoch-size", "32", "--batch-size", "8"]


def test_finetuning_on_a_table(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, out = str(table(tmp_path / "my.csv")), str(tmp_path / "mine")
    lines = answers(capsys, "finetune", data, "--model", model, "--method", "full", "--out", out, *QUICK)
    assert lines[0].startswith("valid accuracy: ")
    assert lines[-1].endswith(f"convai emotion predict --model {out}")
    [line] = answers(capsys, "predict", "--json", "--model", out, "i am so happy")
    assert set(json.loads(line)["labels"]["labels"]) == {"up", "down"}
    assert json.loads(line)["emoji"] == []
    [line] = answers(
        capsys, "finetune", data, "--model", model, "--method", "last", "--runs", "2", "--json", *QUICK
    )
    assert [list(run) for run in json.loads(line)["runs"]] == [["valid"], ["valid"]]
    lines = answers(
        capsys,
        "finetune",
        data,
        "--model",
        model,
        "--method",
        "last",
        "--runs",
        "2",
        "--class-average",
        *QUICK,
    )
    assert lines[0].startswith("class-average F1: ")
    assert lines[0].endswith("(2 seeds)")


def test_what_finetuning_refuses(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = str(table(tmp_path / "my.csv"))
    one = tmp_path / "one.csv"
    one.write_text("text,label\na,up\nb,up\n", encoding="utf-8")
    assert "every training text is labelled 'up'" in problem(capsys, "finetune", str(one), "--model", model)
    assert "my.csv:2: the label 'up' is none of x, y" in problem(
        capsys, "finetune", data, "--model", model, "--labels", "x", "y"
    )
    assert "there is no column 'mood'" in problem(capsys, "finetune", data, "--label-column", "mood")
    assert "'thaw' is not one of new, last, full, chain-thaw" in problem(
        capsys, "finetune", data, "--method", "thaw"
    )
    assert "--layer-lrs=" in problem(capsys, "finetune", data, "--layer-lrs", "x=1")
    assert "no such file" in problem(capsys, "finetune", str(tmp_path / "no.csv"))
    assert "saves none" in problem(capsys, "finetune", data, "--class-average", "--out", "x")
    assert "--out DIR is missing" in problem(capsys, "train", data)
    assert "takes all but --epochs from the run" in problem(capsys, "train", data, "--resume", "x")
    assert "takes all but --epochs" in problem(capsys, "train", "--resume", "x", "--lr", "0.1")


def test_a_table_of_transfers(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sets = []
    for name in ("one", "two"):
        rows = [("i am happy today", 0), ("i am so sad", 1), ("love it", 0), ("hate you", 1)]
        lines = [
            json.dumps({"text": f"{text} {word}", "label": label, "split": split})
            for text, label in rows
            for word, split in (("!", "train"), (".", "train"), ("don't", "test"))
        ]
        sets.append(tmp_path / f"{name}.jsonl")
        sets[-1].write_text("\n".join(lines), encoding="utf-8")
    argv = ["transfer", *map(str, sets), "--model", model, "--runs", "2", *QUICK]
    table = answers(capsys, *argv, "--methods", "new", "chain-thaw")
    assert [line.split()[0] for line in table] == ["set", "one", "two"]
    assert table[1].count("±") == 2
    [line] = answers(capsys, *argv, "--methods", "last", "--json")
    found = json.loads(line)["two"]["last"]
    assert (found["split"], found["texts"], len(found["macro_f1"])) == ("test", 4, 2)
    assert "--runs=0" in problem(capsys, "transfer", str(sets[0]), "--runs", "0")


def test_training_evaluating_and_exporting(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder, out, small = tmp_path / "tweeteval_irony", str(tmp_path / "run"), str(tmp_path / "small")
    folder.mkdir()
    for split in ("train", "val"):
        (folder / f"{split}_text.txt").write_text("i am happy\ni am sad\n" * 20)
        (folder / f"{split}_labels.txt").write_text("0\n1\n" * 20)
    shape = ["--embedding-size", "4", "--hidden-size", "4", "--min-count", "1", "--held-out", "0.2"]
    [line] = answers(capsys, "train", str(folder), "--out", out, *shape, *QUICK)
    assert "done" in line
    [line] = answers(capsys, "evaluate", str(folder), "--model", out, "--json")
    assert json.loads(line)["tweet_irony"]["texts"] == 40
    assert "tweet_irony" in answers(capsys, "evaluate", str(folder), "--model", out)[1]
    [line] = answers(capsys, "export", out, small, "--heads", "tweet_irony")
    assert line.endswith("MB of float16 weights")
    assert answers(capsys, "labels", "--model", small)[0] == "tweet_irony: one of 2 (labels)"
    assert "is the model itself" in problem(capsys, "export", out, out)
    assert "one label there" in problem(capsys, "export", out, small, "--thresholds", str(folder))
    assert "has no test split" in problem(capsys, "evaluate", str(folder), "--model", out, "--split", "test")
