"""A teacher's part in the losses: exact sums, no padding, a student that learns faster, exact resuming."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from convai.__main__ import main
from convai.conversation.agent import Agent
from convai.core.errors import DataError, SettingsError, TrainingError
from convai.core.settings import TrainConfig
from convai.core.settings_values import laid_over
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.run_folder import RunFolder
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer
from convai.train import new_run, resume_run
from convai.training.batches import Batch, collate
from convai.training.distillation import Distiller, layer_pairs
from convai.training.loop import Trainer
from convai.training.losses import choice_scores, compute_losses
from convai.training.prepare import Files
from convai.training.start import Start
from tests.tiny import CORPUS, FAMILIES, SPECIAL, as_trees, close, randomize, tiny_config
from tests.training.runs import Given, whole_and_resumed

CONFIG = TrainConfig(
    precision="float32", temperature=3.0, soft_lm_coef=0.5, soft_mc_coef=0.25, hidden_coef=2.0
)


def model(width: int, layers: int, seed: int = 0, family: Any = "gpt2") -> DoubleHeadsModel:
    shape = tiny_config(family).replace(n_embd=width, n_layer=layers)
    made = DoubleHeadsModel(shape)
    randomize(made, seed)
    return made


def batch(rows: slice = slice(None)) -> Batch:
    return collate(as_trees(CORPUS[rows]), SPECIAL.pad_id)


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (2, 6, [(0, 2), (1, 5)]),
        (4, 6, [(0, 1), (1, 2), (2, 3), (3, 5)]),
        (3, 3, [(0, 0), (1, 1), (2, 2)]),
        (4, 2, [(0, 0), (1, 0), (2, 1), (3, 1)]),
        (1, 12, [(0, 11)]),
    ],
)
def test_blocks_learn_from_blocks_that_stand_as_deep(
    student: int, teacher: int, expected: list[tuple[int, int]]
) -> None:
    assert layer_pairs(student, teacher) == expected


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("width", [16, 24])
def test_all_losses_equal_the_whole_computation(width: int, family: Any) -> None:
    """A row at a time, without padding, all logits, all states, plain torch."""
    teacher, student = model(width, 3, 1), model(16, 2, 2, family)
    distiller = Distiller(teacher, student, CONFIG, SPECIAL.pad_id)
    assert len(distiller.projections) == (0 if width == 16 else 2)
    losses = distiller(student, batch())
    t, tokens = CONFIG.temperature, 0
    lm = mc = states = torch.zeros(())
    for i in range(len(CORPUS)):
        row = batch(slice(i, i + 1))
        inputs = (row.input_ids, row.position_ids, row.segment_ids, row.mask)
        own, wise = student(*inputs), teacher(*inputs)
        pairs = [
            (m.lm_logits(h)[0, row.lm_places] / t, choice_scores(m, h, row) / t)
            for m, h in ((student, own), (teacher, wise))
        ]
        (words, scores), (wise_words, wise_scores) = pairs
        lm = lm + t**2 * F.kl_div(words.log_softmax(-1), wise_words.softmax(-1), reduction="sum")
        for a, b in zip(scores, wise_scores, strict=True):
            a, b = a[a.isfinite()], b[b.isfinite()]
            mc = mc + t**2 * F.kl_div(a.log_softmax(-1), b.softmax(-1), reduction="sum")
        for n, (a, b) in enumerate(layer_pairs(2, 3)):
            state, target = blocks(student, row, a), blocks(teacher, row, b)
            if width != 16:
                state = distiller.projections[n](state)
            states = (
                states + (1 - (F.normalize(state, dim=-1) * F.normalize(target, dim=-1)).sum(-1)).sum() / 2
            )
        tokens += row.input_ids.numel()
    assert distiller.n_tokens(batch()) == tokens
    usual = compute_losses(student, batch())
    assert close(losses.lm, usual.lm)
    assert close(losses.mc, usual.mc)
    parameters = [*student.parameters(), *distiller.parameters()]
    for ours, expected in ((losses.soft_lm, lm), (losses.soft_mc, mc), (losses.states, states)):
        assert isinstance(ours, torch.Tensor)
        assert float(ours.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
        got = torch.autograd.grad(ours, parameters, retain_graph=True, allow_unused=True)
        wanted = torch.autograd.grad(expected, parameters, retain_graph=True, allow_unused=True)
        for g, w in zip(got, wanted, strict=True):
            if g is not None or w is not None:
                torch.testing.assert_close(g, w, rtol=1e-3, atol=1e-3)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


def blocks(network: DoubleHeadsModel, row: Batch, number: int) -> torch.Tensor:
    t = network.transformer
    x = t.wte(row.input_ids) + t.wpe(row.position_ids) + t.wte(row.segment_ids)
    for block in list(t.h)[: number + 1]:
        x = block(x, row.mask)
    return x  # type: ignore[no-any-return]


def test_what_counts_nothing_is_not_computed() -> None:
    quiet = dataclasses.replace(CONFIG, soft_lm_coef=0, soft_mc_coef=0, hidden_coef=0)
    student = model(16, 2, 2)
    distiller = Distiller(model(24, 3, 1), student, quiet, SPECIAL.pad_id)
    losses = distiller(student, batch())
    assert (losses.soft_lm, losses.soft_mc, losses.states) == (0.0, 0.0, 0.0)
    assert list(distiller.parameters()) == []


def test_a_padded_vocabulary_is_compared_over_its_words() -> None:
    student = model(16, 2, 2)
    teacher = model(24, 3, 1)
    alone = Distiller(teacher, student, CONFIG, SPECIAL.pad_id)(student, batch())
    padded = DoubleHeadsModel(teacher.config.replace(vocab_size=SPECIAL.vocab_size + 9))
    state = teacher.state_dict()
    words = state["transformer.wte.weight"]
    state["transformer.wte.weight"] = torch.cat([words, torch.full((9, 24), 5.0)])
    padded.load_state_dict(state)
    losses = Distiller(padded, student, CONFIG, SPECIAL.pad_id)(student, batch())
    assert close(torch.as_tensor(losses.soft_lm), torch.as_tensor(alone.soft_lm))


# -- in the trainer ------------------------------------------------------------------------------------


def fit(
    student: DoubleHeadsModel,
    teacher: DoubleHeadsModel | None,
    steps: list[list[Batch]],
    folder: Path,
    **options: Any,
) -> list[dict[str, Any]]:
    config = dataclasses.replace(
        CONFIG, steps=len(steps), lr=3e-3, warmup=0.0, schedule="trapezoid", eval_every=0, **options
    )
    torch.manual_seed(0)
    distiller = Distiller(teacher, student, config, SPECIAL.pad_id) if teacher is not None else None
    records: list[dict[str, Any]] = []

    def save(network: DoubleHeadsModel, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    Trainer(
        student,
        Given(steps),
        config,
        RunFolder(folder),
        save,
        report=records.append,
        distiller=distiller,
    ).fit()
    return records


def test_accumulated_gradients_equal_the_big_batch(tmp_path: Path) -> None:
    teacher, big, small = model(24, 3, 1), model(16, 2, 2), model(16, 2, 2)
    whole = fit(big, teacher, [[batch()]] * 3, tmp_path / "big")
    parts = [batch(slice(0, 1)), batch(slice(1, 3)), batch(slice(3, 4))]
    pieces = fit(small, teacher, [parts] * 3, tmp_path / "small")
    for a, b in zip(whole, pieces, strict=True):
        for name in ("lm_loss", "soft_lm_loss", "soft_mc_loss", "hidden_loss"):
            assert a[name] == pytest.approx(b[name], rel=1e-4)
    for (name, one), other in zip(big.named_parameters(), small.parameters(), strict=True):
        # a constant added to all keys changes no attention
        x, y = (one[:16], other[:16]) if name.endswith("c_attn.bias") else (one, other)
        if name != "multiple_choice_head.summary.bias":  # nor one added to all scores any ranking
            torch.testing.assert_close(x, y, atol=2e-5, rtol=0)


def test_a_student_comes_nearer_to_its_teacher_than_without(tmp_path: Path) -> None:
    teacher = model(24, 3, 1)
    ends = {}
    for coefficient in (0.0, 1.0):
        student = model(16, 2, 2)
        options = {"soft_lm_coef": coefficient, "soft_mc_coef": coefficient, "hidden_coef": coefficient}
        fit(
            student,
            teacher if coefficient else None,
            [[batch()]] * 60,
            tmp_path / str(coefficient),
            **options,
        )
        judge = Distiller(teacher, student, dataclasses.replace(CONFIG, hidden_coef=0), SPECIAL.pad_id)
        with torch.no_grad():
            ends[coefficient] = judge(student.eval(), batch())
    assert float(ends[1.0].soft_lm) < 0.5 * float(ends[0.0].soft_lm)
    assert float(ends[1.0].soft_mc) < 0.5 * float(ends[0.0].soft_mc)


def test_every_loss_falls(tmp_path: Path) -> None:
    """Alone, that is: the true replies need not be what the teacher would say."""
    student, teacher = model(16, 2, 2), model(24, 3, 1)
    alone = {"lm_coef": 1e-9, "mc_coef": 0.0, "soft_lm_coef": 1.0, "soft_mc_coef": 1.0}
    records = fit(student, teacher, [[batch()]] * 80, tmp_path, **alone)
    for name in ("soft_lm_loss", "soft_mc_loss", "hidden_loss"):
        assert records[-1][name] < 0.7 * records[0][name], name


# -- whole runs from files -----------------------------------------------------------------------------

TOKENIZER = Tokenizer.byte_level()
RUN = TrainConfig(
    precision="float32", steps=8, save_every=3, eval_every=4, eval_dialogs=2, batch_tokens=256, distractors=2
)
SHAPE = {"model_type": "gpt2", "vocab_size": 300, "n_positions": 128, "n_embd": 12, "n_layer": 2, "n_head": 2}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = []
    for n in range(12):
        turns = [{"speaker": i % 2, "text": f"{'yes no maybe'.split()[n % 3]} {n} {i}"} for i in range(4)]
        lines.append(json.dumps({"personas": [[], [f"i own {n} boats."]], "turns": turns}))
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    shape = Shape(vocab_size=261, n_positions=96, n_embd=16, n_layer=3, n_head=2)
    Agent(DoubleHeadsModel(shape), TOKENIZER).save(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    path = tmp_path / "shape.json"
    path.write_text(json.dumps(SHAPE), encoding="utf-8")
    return path


def test_a_run_with_a_teacher_ships_the_student_alone(
    corpus: Path, teacher: Path, shape: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["train", str(corpus), "--config", str(shape), "--teacher", str(teacher), "--out", str(out)]
    options = ["--steps", "2", "--batch-tokens", "256", "--eval-dialogs", "2", "--precision", "float32"]
    assert main([*command, *options, "--temperature", "4"]) == 0
    student = load_model(out)
    assert (student.config.n_embd, student.config.vocab_size) == (12, 261)
    assert Tokenizer.load(out).fingerprint == TOKENIZER.fingerprint, "it took the teacher's vocabulary"
    described = json.loads((out / "run.json").read_text())
    assert described["config"]["row_tokens"] == 96, "no longer than the teacher's positions"
    assert described["teacher"]["path"] == str(teacher)
    assert "Its teacher was `teacher`." in (out / "README.md").read_text()
    [*_, last] = RunFolder(out).checkpoints()
    assert set(RunFolder(out).load_state(last)["distiller"]) == {
        "projections.0.weight",
        "projections.1.weight",
    }
    for folder in (out, last):
        with safe_open(folder / "model.safetensors", "pt") as file:
            assert set(file.keys()) == set(student.state_dict())
    records = RunFolder(out).records()
    assert {"soft_lm_loss", "soft_mc_loss", "hidden_loss"} <= set(records[0])


def test_a_run_that_stopped_and_went_on_equals_one_that_did_not(
    corpus: Path, teacher: Path, shape: Path, tmp_path: Path
) -> None:
    start = Start(shape=shape, teacher=str(teacher))
    config = dataclasses.replace(RUN, dropout=0.1)
    folders = whole_and_resumed(corpus, start, config, tmp_path, killed_at=5)
    whole, broken = map(load_model, folders)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), broken.parameters(), strict=True))
    states = [RunFolder(folder) for folder in folders]
    ends = [s.load_state(s.checkpoints()[-1])["distiller"]["projections.0.weight"] for s in states]
    assert torch.equal(*ends)


def test_a_teacher_that_changed_or_went_away_ends_the_resuming(
    corpus: Path, teacher: Path, shape: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    new_run(Files((corpus,)), Start(shape=shape, teacher=str(teacher)), RUN, out)
    torch.manual_seed(2)
    other = Shape(vocab_size=261, n_positions=96, n_embd=16, n_layer=3, n_head=2)
    Agent(DoubleHeadsModel(other), TOKENIZER).save(teacher)
    with pytest.raises(DataError, match="the teacher has changed since the run began"):
        resume_run(out)
    teacher.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="the run's teacher is gone"):
        resume_run(out)


def test_another_vocabulary_is_refused_before_anything_is_written(
    corpus: Path, teacher: Path, shape: Path, tmp_path: Path
) -> None:
    new_run(Files((corpus,)), Start(shape=shape), dataclasses.replace(RUN, steps=1), tmp_path / "student")
    start = Start(model=str(tmp_path / "student"), teacher=str(teacher))
    with pytest.raises(TrainingError, match=r"teacher's vocabulary \(261 tokens\) is not the student's"):
        new_run(Files((corpus,)), start, RUN, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["temperature", "soft_lm_coef", "soft_mc_coef", "hidden_coef"])
def test_settings_out_of_range(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}=-1\.0: use"):
        laid_over(CONFIG, {name: -1})


def test_resume_takes_no_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(tmp_path), "--teacher", "x"]) == 2
    assert "leave the other options out" in capsys.readouterr().err
