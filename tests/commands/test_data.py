"""`convai data`: what each command prints, writes and exits with."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import http.server
import json
import threading
from pathlib import Path

import pytest

from convai.commands import data
from convai.core.dialog import AGENT, Dialog, Turn
from convai.core.errors import DataError, SettingsError
from convai.model.folder import model_folder, shape_of
from convai.model.shipped import training_config
from convai.text.corpora import FORMATS as KNOWN
from convai.text.corpora import read, write
from convai.text.tokenizer import Tokenizer
from convai.training.prepare import Files, prepare

SAMPLES = Path(__file__).parents[2] / "data" / "formats"


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args([str(a) for a in arguments]))


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", SAMPLES) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("3 dialogues, ok" in line for line in lines) == len(KNOWN)
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"turns": []}\nnonsense\n', encoding="utf-8")
    assert run("check", SAMPLES / "convai.jsonl", bad) == 1
    out = capsys.readouterr().out
    assert f"{bad}:1: a dialogue with no turns; " in out
    assert f"{bad}:2: malformed JSON at column 1" in out
    assert run("check", "--format", "text", bad) == 0
    with pytest.raises(DataError, match="no such file"):
        run("check", tmp_path / "nowhere.txt")


def test_check_counts_what_training_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["hello.", "no. " * 400, "yes. " * 400]
    chats = [
        Dialog((Turn(0, f"hi {part} {n}"), Turn(AGENT, texts[n % 3])), labels={"split": part})
        for part, number in (("train", 30), ("valid", 9))
        for n in range(number)
    ]
    divided, whole = tmp_path / "divided.jsonl", tmp_path / "whole.jsonl"
    write(divided, chats)
    write(whole, chats[:30])
    folder = model_folder("persona-mini")
    how = dataclasses.replace(training_config(folder), row_tokens=shape_of(folder).n_positions)
    for file, has, left in (
        (divided, "26 replies (train 20, valid 6)", 20),
        (whole, "20 replies (train 20)", 20),
    ):
        assert run("check", file, "--model", "persona-mini") == 0
        *_, counted, last = capsys.readouterr().out.splitlines()
        assert counted.startswith(f"{file}: {has} left out by training, which do not fit into 320 tokens")
        assert last.endswith("ok, 26 warnings" if file == divided else "ok, 20 warnings")
        notes = "\n".join(prepare(Files((file,)), Tokenizer.load(folder), how).notes)
        assert f"{left} replies left out, which do not fit into 320 tokens" in notes
    assert run("check", divided, "--model", "persona-mini", "--split", "valid") == 0
    assert f"{divided}: 6 replies (valid 6) left out" in capsys.readouterr().out
    assert run("check", divided, "--row-tokens", 4000) == 0
    assert "left out" not in capsys.readouterr().out
    with pytest.raises(SettingsError, match="--row-tokens=3: use 16 or more"):
        run("check", divided, "--row-tokens", 3)


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl.xz"
    assert run("convert", SAMPLES / "persona_chat.csv", out) == 0
    assert capsys.readouterr().out == f"{out}: 3 dialogues\n"
    assert read(out) == read(SAMPLES / "persona_chat.csv")
    assert run("convert", out, tmp_path / "m.jsonl", "--to", "openai") == 0
    assert '"messages"' in (tmp_path / "m.jsonl").read_text()
    assert run("convert", "--from", "text", SAMPLES / "plain.txt", tmp_path / "d.txt") == 0
    with pytest.raises(DataError, match="format 'sharegpt' cannot be written"):
        run("convert", out, tmp_path / "x.json", "--to", "sharegpt")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["d.txt", "m.jsonl", "out.jsonl.xz"]


def test_convert_with_drawn_distractors(tmp_path: Path) -> None:
    source = SAMPLES / "plain.txt"
    for name, seed in (("a.jsonl", 0), ("b.jsonl", 0), ("c.jsonl", 3)):
        run("convert", source, tmp_path / name, "--distractors", 2, "--seed", seed)
    first, same, other = (read(tmp_path / name) for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    assert first == same != other
    assert {len(t.distractors) for d in first for _, t in d.replies()} == {2}


def test_stats(capsys: pytest.CaptureFixture[str]) -> None:
    run("stats", SAMPLES / "convai.jsonl", SAMPLES / "plain.txt", "--json")
    counts = json.loads(capsys.readouterr().out)
    assert (counts["dialogues"], counts["turns"], counts["candidates"]) == (6, 20, 6)
    run("stats", SAMPLES / "convai.jsonl")
    assert capsys.readouterr().out.splitlines()[0].split() == ["dialogues", "3"]


def test_overlap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dialogs = read(SAMPLES / "convai.jsonl")
    write(tmp_path / "train.jsonl", dialogs[:1])
    write(tmp_path / "valid.txt", dialogs)
    write(tmp_path / "other.txt", dialogs[1:])
    assert run("overlap", tmp_path / "train.jsonl", "--held-out", tmp_path / "other.txt") == 0
    assert capsys.readouterr().out == "0 training dialogues overlap with the held-out files\n"
    both = ["--held-out", tmp_path / "other.txt", tmp_path / "valid.txt"]
    assert run("overlap", tmp_path / "train.jsonl", *both) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/train.jsonl:1: shares the whole dialogue with {tmp_path}/valid.txt:1; "
        "remove it from the training data",
        "1 training dialogues overlap with the held-out files",
    ]


def test_overlap_of_parts_and_without_bad_dialogues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = read(SAMPLES / "convai.jsonl")
    divided = tmp_path / "divided.jsonl"
    parts = ((first, "train"), (second, "valid"), (third, "test"), (first, "valid"))
    write(divided, [dataclasses.replace(dialog, labels={"split": part}) for dialog, part in parts])
    assert run("overlap", divided, "--held-out", divided) == 1
    out, err = capsys.readouterr()
    assert f"{divided}:1: shares the whole dialogue with {divided}:4" in out
    assert "1 training dialogues" in out
    assert "part train (the file has train 1, valid 2, test 1)" in err
    assert "part valid and test (the" in err
    assert run("overlap", divided, "--held-out", divided, "--split", "all") == 1
    assert "4 training dialogues" in capsys.readouterr().out
    with divided.open("a") as more:
        more.write("nonsense\n")
    with pytest.raises(DataError, match=r"divided.jsonl:5: malformed JSON"):
        run("overlap", divided, "--held-out", divided)
    assert run("overlap", divided, "--held-out", divided, "--skip-bad") == 1
    assert "1 bad dialogue left out" in capsys.readouterr().err


def test_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    handler = functools.partial(Quiet, directory=str(SAMPLES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/personachat.json"
        assert run("download", url) == 0
        assert run("download", url, "--out", "b.json") == 0
        server.shutdown()
        thread.join()
    out, err = capsys.readouterr()
    assert out == "personachat.json\nb.json\n"
    assert "0.0 of 0.0 MB (100%)" in err
    assert read("personachat.json") == read("b.json") == read(SAMPLES / "personachat.json")


def test_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("formats") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(KNOWN)]] == list(KNOWN)


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("destroy",), ("check",), ("overlap", "a"), ("check", "a", "--colour")):
        with pytest.raises(SystemExit) as left:
            run(*arguments)
        assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_convert_cleans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("User 1: hi\nhello (user 1)\n\nhi\ni'm [user 2's name]\n", encoding="utf-8")
    assert run("convert", source, out, "--clean", "--from", "text") == 0
    assert "out.jsonl: 1 dialogue\n" in capsys.readouterr().out
    assert [turn.text for turn in read(out)[0].turns] == ["hi", "hello"]


def test_compose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "made.jsonl"
    assert run("compose", out, "--dialogs", 3, "--seed", 5) == 0
    assert f"{out}: 3 dialogues" in capsys.readouterr().out
    assert len(read(out)) == 3
    assert run("check", out) == 0
    with pytest.raises(SettingsError, match="use 1 or more"):
        run("compose", out, "--dialogs", 0)
    assert run("compose", out, "--dialogs", 2, "--sessions") == 0
    assert f"{out}: 4 dialogues" in capsys.readouterr().out
    assert [dialog.session for dialog in read(out)][2:] == [("composed-0-1", 1), ("composed-0-1", 2)]
    with pytest.raises(SettingsError, match="leave out --weight"):
        run("compose", out, "--sessions", "--weight", "tell=3")
