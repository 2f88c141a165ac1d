"""From a dialogue file in each format to a chat with the model trained on it; bad input on the way."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from convai.__main__ import main
from convai.core.resources import data_dir
from convai.text.corpora import read, write

SHAPE = {"model_type": "gpt2", "vocab_size": 400, "n_positions": 256, "n_embd": 16, "n_layer": 1, "n_head": 2}
QUICK = ["--steps", "2", "--eval-every", "0", "--eval-dialogs", "2", "--batch-tokens", "1024"]
WRITTEN = ("jsonl", "personachat", "parlai", "openai")
FORMATS = sorted(p.name for p in (data_dir() / "formats").iterdir() if p.stem != "documents")


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(SHAPE), encoding="utf-8")
    return path


def talk(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: int = 2
) -> list[str]:
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello there\n" * lines))
    assert main(["chat", "--model", str(model), "--persona", "i keep bees.", "--seed", "1"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("format", WRITTEN)
def test_twenty_dialogues_in_every_written_format_make_a_model_that_talks(
    format: str,
    shape: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    dialogs = read(data_dir() / "sample_dialogues.jsonl")
    assert len(dialogs) == 20
    corpus = tmp_path / "corpus"
    write(corpus, dialogs, format=format)
    out = tmp_path / "out"
    assert main(["train", str(corpus), "--config", str(shape), "--out", str(out), *QUICK]) == 0
    assert len(talk(out, monkeypatch, capsys)) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_every_sample_file_makes_a_model_that_talks(
    name: str,
    shape: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    corpus = shutil.copy(data_dir() / "formats" / name, tmp_path / name)
    assert main(["train", str(corpus), "--config", str(shape), "--out", str(out), *QUICK]) == 0
    assert len(talk(out, monkeypatch, capsys)) == 2


BAD = {
    "missing": (None, "no such file"),
    "malformed": (
        b'{"turns": [{"speaker": 0, "text": "a"}, {"speaker": 1, "text": "b"}]}\n{"turns": [\n',
        ":2",
    ),
    "one turn": (b'{"turns": [{"speaker": 0, "text": "anybody?"}]}\n', ":1"),
    "empty reply": (b'{"turns": [{"speaker": 0, "text": "a"}, {"speaker": 1, "text": " "}]}\n', ":1"),
    "persona no text": (
        b'{"personas": [[], [7]], "turns": [{"speaker": 0, "text": "a"}, {"speaker": 1, "text": "b"}]}\n',
        ":1",
    ),
    "ten megabytes": (b'{"turns": [{"speaker": 0, "text": "' + b"a" * 10_000_000 + b'"}]}\n', ":1"),
    "binary": (bytes(range(256)) * 20, ":1"),
    "empty": (b"", "bad.jsonl"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_clear_line_and_writes_nothing(
    case: str, shape: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, named = BAD[case]
    corpus = tmp_path / "bad.jsonl"
    if content is not None:
        corpus.write_bytes(content)
    out = tmp_path / "out"
    assert main(["train", str(corpus), "--config", str(shape), "--out", str(out), *QUICK]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1, err
    assert "bad.jsonl" in err
    assert named in err
    assert len(err) < 400
    assert not out.exists()
