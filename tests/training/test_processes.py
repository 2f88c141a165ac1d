"""Several processes: what two learn equals what one learns, and all end when one dies."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import textwrap
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import pytest
import torch

from convai.__main__ import main
from convai.core.errors import ReportedElsewhere, SettingsError
from convai.core.settings import TrainConfig
from convai.model.checkpoint import load_model
from convai.model.run_folder import RunFolder
from convai.text.tokenizer import Tokenizer
from convai.train import new_run, resume_run
from convai.training import processes
from convai.training.prepare import Files, prepare
from convai.training.processes import process_group
from convai.training.start import Start
from tests import torchrun
from tests.forked import Forked
from tests.training.runs import SHAPE, write_corpus

CONFIG = TrainConfig(
    precision="float32",
    steps=6,
    lr=1e-3,
    distractors=2,
    eval_every=3,
    eval_dialogs=3,
    save_every=3,
    warmup=0.0,
    batch_tokens=256,
    row_tokens=64,
)
TOLERANCE = 2e-5
"""Of weights in float32: sums in another order, made larger by AdamW's division by small second moments."""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Short dialogues, and one with a monologue that fills rows without any reply to choose."""
    return write_corpus(tmp_path / "mine.jsonl", 14, longer={7: 40})


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(SHAPE), encoding="utf-8")
    return path


def options(config: TrainConfig) -> list[str]:
    """The command line options that differ from the defaults."""
    words = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != field.default:
            option = "--" + field.name.replace("_", "-")
            words += [option] if value is True else [option, str(value)]
    return words


def weights(folder: Path) -> torch.Tensor:
    model = load_model(folder)
    # gradients that are nothing but rounding: a constant added to all scores changes no softmax
    model.multiple_choice_head.summary.bias.data.zero_()
    for block in model.transformer.h:
        block.get_parameter("attn.c_attn.bias").data.view(3, -1)[1].zero_()  # the keys'
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def assert_same_run(one: Path, other: Path, atol: float = TOLERANCE) -> None:
    torch.testing.assert_close(weights(one), weights(other), atol=atol, rtol=0)
    records = [RunFolder(path).records() for path in (one, other)]
    assert [r["step"] for r in records[0]] == [r["step"] for r in records[1]]
    for mine, theirs in zip(*records, strict=True):
        for name in mine:
            if "loss" in name or "hits" in name or name in ("valid_ppl", "targets", "of"):
                assert mine[name] == pytest.approx(theirs[name], rel=1e-4), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "accumulation", "more"),
    [
        ("dialogue", 2, {"gradient_checkpointing": True, "targets": "all"}),
        ("stream", 1, {"unfreeze_every": 0.1}),
    ],
)
def test_two_processes_equal_one_with_the_joint_batch(
    corpus: Path, shape: Path, tmp_path: Path, layout: Any, accumulation: int, more: dict[str, Any]
) -> None:
    """Dropout included, with passes that leave the next-sentence head unused, and with a wider teacher."""
    config = dataclasses.replace(CONFIG, layout=layout, accumulation=accumulation, **more)
    joint = dataclasses.replace(config, accumulation=2 * accumulation)
    one, two = tmp_path / "one", tmp_path / "two"
    files = Files((corpus,), valid=corpus)
    teacher = tmp_path / "teacher" if layout == "dialogue" else None
    if teacher is not None:
        wide = tmp_path / "wide.json"
        wide.write_text(json.dumps(SHAPE | {"n_embd": 24}))
        new_run(files, Start(shape=wide), dataclasses.replace(CONFIG, steps=1), teacher)
    new_run(files, Start(shape=shape, teacher=str(teacher) if teacher else None), joint, one)
    steps = list(itertools.islice(prepare(files, Tokenizer.load(one), joint).source.steps(), config.steps))
    assert any(not batch.n_choices for step in steps for batch in step)
    data = [str(corpus), "--valid", str(corpus), "--config", str(shape), "--threads", "1"]
    data += ["--teacher", str(teacher)] if teacher else []
    ends = torchrun.run(2, ["train", *data, "--out", str(two), *options(config)])
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert [out.count("done; talk with it") for _, out, _ in ends] == [1, 0], "one process speaks"
    assert not any("Warning" in err for _, _, err in ends)
    assert_same_run(one, two)
    assert json.loads((two / "run.json").read_text())["processes"] == 2


# -- a process that dies -------------------------------------------------------------------------------


def wait_for_steps(out: Path, process: Forked) -> None:
    """Until a checkpoint behind the first is there: which one, depends on the machine, and two are kept."""
    deadline = time.monotonic() + 240
    while not any(one.name > "step-00000000" for one in (out / "checkpoints").glob("step-*[0-9]")):
        assert time.monotonic() < deadline
        assert process.poll() is None, "the run ended too early"
        os.sched_yield()


DYING = """
import os, pathlib, signal, sys
from convai.__main__ import main
from convai.model.run_folder import RunFolder
pid = pathlib.Path(os.environ["PIDS"], "pid")
if os.environ["RANK"] == "1":
    pid.write_text(str(os.getpid()))
save = RunFolder.save
def save_and_kill(self, step, *rest, **more):
    if step == 6:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    return save(self, step, *rest, **more)
RunFolder.save = save_and_kill
sys.exit(main(sys.argv[1:]))
"""
"""`convai` whose process 0 kills process 1 when it saves the sixth step."""


@pytest.mark.slow
def test_a_killed_process_ends_the_run_which_one_process_resumes(
    corpus: Path, shape: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, steps=40, eval_every=0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    new_run(Files((corpus,)), Start(shape=shape), dataclasses.replace(config, accumulation=2), whole)
    arguments = ["train", str(corpus), "--config", str(shape), "--threads", "1", "--out", str(killed)]
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    launcher = torchrun.command(2, [*arguments, *options(config)])
    at = launcher.index("-m", 3)
    launcher[at : at + 2] = [str(script)]
    done = subprocess.run(
        launcher, env=torchrun.environment() | {"PIDS": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode
    [line] = re.findall(r"convai: error: .*", done.stderr)
    assert re.search("process 0 of 2: (another process of this run has died|ended by its launcher)", line)
    assert "--resume" in line
    assert not (killed / "model.safetensors").exists()
    resume_run(killed)  # in one process, which takes the shares of both
    torch.testing.assert_close(weights(whole), weights(killed), atol=TOLERANCE, rtol=0)


def both(code: str, *arguments: str, grace: float = 5.0) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of two processes that run `code`, where `rank` is set."""
    head = """
        import os, signal, sys, threading
        from convai.__main__ import _report
        from convai.core.errors import DataError
        from convai.training import processes
        from convai.training.processes import *
        rank = int(os.environ["RANK"])
        def main():
    """
    tail = """
        try:
            main()
        except Exception as error:
            sys.exit(_report(error))
    """
    body = textwrap.indent(textwrap.dedent(code), "    ")
    script = (
        textwrap.dedent(head).strip()
        + f"\n    processes.GRACE = {grace}\n"
        + body
        + "\n"
        + textwrap.dedent(tail)
    )
    return torchrun.run(2, arguments, script)


@pytest.mark.slow
def test_what_the_first_process_knows_is_told_to_all_and_sums_are_alike(tmp_path: Path) -> None:
    turns = tmp_path / "turns"
    ends = both(
        """
        with process_group():
            text = from_first("grüße " * 1000 if rank == 0 else "") + from_first("")
            print(len(text), reduced(torch.tensor([rank + 1.0, 0.1])).tolist())
            print(is_first())
            with first_here():
                print(rank, file=open(sys.argv[1], "a"))
    """,
        str(turns),
    )
    assert [code for code, _, _ in ends] == [0, 0], ends
    sums = torch.tensor([3.0, 0.2]).tolist()
    assert [out for _, out, _ in ends] == [f"6000 {sums}\nTrue\n", f"6000 {sums}\nFalse\n"]
    assert turns.read_text() == "0\n1\n"


@pytest.mark.slow
def test_an_error_that_all_processes_meet_is_told_once() -> None:
    ends = both("""
        with process_group():
            raise DataError("mine.jsonl:3: no turns; remove the line")
    """)
    assert [code for code, _, _ in ends] == [2, 2]
    said = sorted(err for _, _, err in ends)
    assert said == ["", "convai: error: mine.jsonl:3: no turns; remove the line\n"]


@pytest.mark.slow
def test_a_process_that_no_signal_reaches_ends_when_another_dies() -> None:
    """As where a GPU's queue waits for gradients that never come."""
    [(code, _, err), (killed, _, _)] = both(
        """
        with process_group():
            barrier()
            if rank:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Lock().acquire() and threading.Event().wait()
    """,
        grace=0.5,
    )
    assert killed == -signal.SIGKILL
    assert code == 2
    assert re.fullmatch(r"convai: error: process 0 of 2: another process .* has died .*--resume\n", err)


@pytest.mark.slow
def test_a_process_that_does_not_answer_ends_the_others(corpus: Path, shape: Path, tmp_path: Path) -> None:
    out, port = tmp_path / "out", torchrun.free_port()
    train = ["train", str(corpus), "--config", str(shape), "--out", str(out)]
    # less than it takes a busy machine to save and evaluate is no sign that somebody does not answer
    train += ["--timeout", "10", *options(dataclasses.replace(CONFIG, steps=100_000, eval_every=0))]
    with (
        torchrun.one_of(2, 0, port, train) as first,
        torchrun.one_of(2, 1, port, train) as second,
    ):
        wait_for_steps(out, first)
        second.send_signal(signal.SIGSTOP)
        _, said = first.communicate(timeout=240)
        assert first.returncode == 2
    [line] = re.findall(r"convai: error: .*", said)
    assert "process 0 of 2: no answer from another process for 10 s" in line
    assert "--timeout" in line


# -- what cannot be shared -----------------------------------------------------------------------------


def test_processes_that_cannot_share_a_step_are_told_which_can(
    corpus: Path,
    shape: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    config = dataclasses.replace(CONFIG, steps=2, accumulation=4)
    new_run(Files((corpus,)), Start(shape=shape), config, out)
    monkeypatch.setattr(idist, "get_world_size", lambda: 3)
    capsys.readouterr()
    assert main(["train", "--resume", str(out)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{out}: a step of this run is 4 forward passes (--accumulation 4, processes: 1)" in line
    assert "which 3 processes cannot share evenly: start a number out of 1, 2, 4" in line
    assert "torchrun --nproc-per-node" in line


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(processes, "GRACE", 0.0)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    for rank, kind in (("0", SettingsError), ("1", ReportedElsewhere)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(kind, match=r"2 processes on a machine with 1 GPU: .*--nproc-per-node 1"):
            with process_group():
                pass
