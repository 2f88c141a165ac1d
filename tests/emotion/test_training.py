"""Draws, batches, losses, scores, and training: what learns, what is frozen, and resuming exactly."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from convai.core.errors import CheckpointError, DataError, SettingsError, TrainingError
from convai.emotion import scores
from convai.emotion.batches import HeadTexts, collate, draw, epoch, with_unknown
from convai.emotion.checkpoint import load_emotion_model
from convai.emotion.config import Head
from convai.emotion.evaluate import choose_thresholds, evaluate
from convai.emotion.finetune import class_average, finetune, prepared, stages
from convai.emotion.fitting import RunningMean, batch_loss, falling, judged
from convai.emotion.labelled import TEST, TRAIN, VALID, LabelSet, Texts
from convai.emotion.logit_adjustment import adjust, best_strength
from convai.emotion.model import with_heads
from convai.emotion.settings import LAYERS, METHODS, FinetuneSettings, TrainSettings
from convai.emotion.tables import with_validation
from convai.emotion.train import new_run, resume_run
from convai.model.run_folder import LOG, STATE
from convai.text.word_vectors import write_vectors
from tests.emotion.models import HEADS, VOCABULARY, tiny_model


def made_up(n: int, seed: int = 0, multi: bool = False) -> Texts:
    """`happy` or `love` means 0, `sad` or `hate` means 1; with `multi` a text may have both or none."""
    rng = random.Random(seed)
    texts = Texts()
    for _ in range(n):
        kinds = [k for k in (0, 1) if rng.random() < 0.5] if multi else [rng.randrange(2)]
        words = [rng.choice(("happy", "love") if k == 0 else ("sad", "hate")) for k in kinds]
        words += rng.choices("i am so today . !".split(), k=rng.randint(1, 5))
        rng.shuffle(words)
        texts.add(" ".join(words), tuple(kinds))
    return texts


def labelled(n: int = 60, multi: bool = False) -> LabelSet:
    splits = {TRAIN: made_up(n, 0, multi), VALID: made_up(30, 1, multi), TEST: made_up(40, 2, multi)}
    return LabelSet("mine", ("up", "down"), multi, splits=splits, source="made up")


QUICK = FinetuneSettings(
    epoch_size=64,
    epochs=6,
    batch_size=8,
    lr=0.01,
    head_lr=0.03,
    patience=2,
    final_dropout=0.0,
    average=0.0,
    word_dropout=0.0,
)


def quick(**changes: object) -> FinetuneSettings:
    return dataclasses.replace(QUICK, **changes)  # type: ignore[arg-type]


# -- draws and batches -----------------------------------------------------------------------------


def test_draws_take_every_text_or_every_label_equally_often() -> None:
    targets: list[tuple[int, ...]] = [(0,)] * 8 + [(1,)] + [(0, 2)] + [()] * 2
    rng = random.Random(0)
    assert sorted(Counter(draw(targets, 30, rng)).values()) == [2] * 6 + [3] * 6
    drawn = Counter(draw(targets, 400, rng, balanced=True))
    assert drawn[8] == 100
    assert drawn[10] + drawn[11] == 100
    assert drawn[9] > 100
    assert len(draw(targets, 5, rng)) == len(draw(targets, 5, rng, balanced=True)) == 5


def test_epochs_have_their_size_and_mix_tasks_by_weight() -> None:
    one = HeadTexts.encode(HEADS[0], made_up(50), VOCABULARY, 40, weight=3)
    two = HeadTexts.encode(HEADS[1], made_up(5, multi=True), VOCABULARY, 40)
    shape = {"epoch_size": 80, "batch_size": 16, "balanced": False, "seed": 7}

    def texts(number: int) -> list[tuple[int, ...]]:
        batches = list(epoch([one, two], number=number, **shape))  # type: ignore[arg-type]
        assert sum(len(batch.ids) for batch in batches) == 80
        found = Counter(
            head.name for b in batches for head, rows, _ in b.parts for _ in range(*rows.indices(99))
        )
        assert found == {"faces": 60, "feelings": 20}
        return [tuple(row) for b in batches for row in b.ids.tolist()]

    assert texts(3) == texts(3)
    assert texts(3) != texts(4)


def test_a_mixed_batch_has_the_losses_of_its_parts() -> None:
    model = tiny_model()
    one = HeadTexts.encode(HEADS[0], made_up(3), VOCABULARY, 40)
    two = HeadTexts.encode(HEADS[1], made_up(4, 5, multi=True), VOCABULARY, 40)
    rows = [(one, 0), (two, 1), (one, 2), (two, 3), (one, 1)]
    total = 0.0
    with torch.no_grad():
        mixed = float(batch_loss(model, collate(rows)))
        for task, i in rows:
            features = model(torch.tensor([task.ids[i]]), torch.tensor([len(task.ids[i])])).features
            logits = model.logits(features, task.head)[0]
            if task.head.multi:
                marks = torch.tensor([float(label in task.targets[i]) for label in range(2)])
                total += float(functional.binary_cross_entropy_with_logits(logits, marks, reduction="sum"))
            else:
                total += float(-logits.log_softmax(0)[task.targets[i][0]])
    assert mixed == pytest.approx(total / 5, rel=1e-5)
    assert judged(model, one)[0] == pytest.approx(
        float(batch_loss(model, collate([(one, i) for i in range(3)])).detach())
    )


def test_scores() -> None:
    chances = [[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [0.6, 0.4]]
    truth = [(0,), (0,), (1,), (1,)]
    guesses = scores.most_probable(chances)
    assert guesses == [(0,), (1,), (1,), (0,)]
    assert scores.accuracy(guesses, truth) == 0.5
    assert scores.f1_per_class(guesses, truth, 2) == [0.5, 0.5]
    assert scores.f1_per_class([(0,), ()], [(0, 1), (0,)], 3) == [pytest.approx(2 / 3), 0.0, 0.0]
    assert scores.macro([]) == scores.accuracy([], []) == 0.0
    thresholds = scores.best_thresholds([[0.3], [0.2], [0.1]], [(0,), (0,), ()], 1)
    assert thresholds == [0.2]
    assert scores.above([[0.3], [0.2], [0.1]], thresholds) == [(0,), (0,), ()]
    assert scores.best_thresholds([[0.3]], [()], 1) == [0.5]
    rng = random.Random(0)
    chances = [[rng.randrange(101) / 100] for _ in range(50)]
    truth = [(0,) if rng.random() < row[0] else () for row in chances]
    [found] = scores.best_thresholds(chances, truth, 1)
    reached = {
        step: scores.f1_per_class(scores.above(chances, [step / 100]), truth, 1)[0] for step in range(1, 100)
    }
    assert reached[round(100 * found)] == max(reached.values())


def test_a_smoothed_threshold_lies_amid_those_that_do_as_well() -> None:
    """Any threshold above 0.1 and up to 0.4 finds the same texts: the edge is one text from doing worse."""
    chances = [[0.1]] * 70 + [[0.4]] * 20
    truth: list[tuple[int, ...]] = [()] * 70 + [(), (0,)] * 10
    assert scores.best_thresholds(chances, truth, 1) == [0.4]
    [smooth] = scores.best_thresholds(chances, truth, 1, 0.3)
    assert 0.15 < smooth < 0.35
    assert scores.best_thresholds(chances, [()] * len(truth), 1, 0.3) == [0.5]


def test_unknown_words_are_drawn_and_padding_stays() -> None:
    task = HeadTexts.encode(HEADS[0], made_up(200), VOCABULARY, 40)
    batch = collate([(task, i) for i in range(200)])
    torch.manual_seed(0)
    seen = with_unknown(batch, 0.25)
    words = batch.ids != 0
    assert torch.equal(seen.ids != 0, words)
    changed = seen.ids != batch.ids
    assert bool((seen.ids[changed] == 1).all())
    assert float(changed[words & (batch.ids != 1)].float().mean()) == pytest.approx(0.25, abs=0.05)
    assert torch.equal(with_unknown(batch, 0.0).ids, batch.ids)


def test_the_running_mean_of_weights() -> None:
    model = tiny_model()
    mean, last = RunningMean(model, 0.75), RunningMean(model, 0.0)
    expected = model.embed.weight.detach().clone()
    for step in range(1, 8):
        torch.nn.init.constant_(model.embed.weight, float(step))
        mean.update()
        last.update()
        keep = min(0.75, step / (9 + step))
        expected = keep * expected + (1 - keep) * step
    assert torch.allclose(mean.weights["embed.weight"], expected)
    assert torch.equal(last.weights["embed.weight"], model.embed.weight)


def test_levelling_names_rare_labels_as_often_as_is_best() -> None:
    """Two labels that look alike, one nine times as frequent: its bias hides the rare one until levelled."""
    counts = [899, 99]
    rows = [[0.85, 0.15]] * 9 + [[0.95, 0.05]] * 9
    truth: list[tuple[int, ...]] = [(1,)] * 9 + [(0,)] * 9
    strength = best_strength(rows, truth, counts)
    assert strength == 0.8  # 0.15 / 0.85 * 9^0.8 > 1; 0.05 / 0.95 * 9^0.8 < 1
    assert best_strength(rows, [(0,)] * 18, counts) == 0.0
    model = tiny_model((Head(name="one", labels=("a", "b")),))
    before = model.heads["one"].bias.detach().clone()  # type: ignore[union-attr, operator]
    adjust(model, "one", counts, strength)
    shift = model.heads["one"].bias.detach() - before  # type: ignore[union-attr, operator]
    assert float(shift[1] - shift[0]) == pytest.approx(0.8 * math.log(9))


def test_the_rate_rises_and_falls() -> None:
    rates = [falling(step, 100, 10) for step in range(101)]
    assert rates.index(max(rates)) == 9
    assert rates[0] == 0.1
    assert rates[-1] == 0


# -- transfer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "multi"), [*((method, False) for method in METHODS), ("full", True)])
def test_every_method_learns_and_leaves_the_original_alone(method: str, multi: bool) -> None:
    model = tiny_model()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    tuned = finetune(model, VOCABULARY, labelled(120, multi), quick(method=method, epochs=12))
    assert set(tuned.scores) == {VALID, TEST}
    # a head alone on random features learns something, not everything
    assert tuned.scores[TEST]["macro_f1"] > (0.6 if method == "last" else 0.8)
    assert tuned.scores[TEST]["texts"] == 40
    for name, p in model.state_dict().items():
        assert torch.equal(p, before[name])
    assert [head.name for head in tuned.model.config.heads] == ["mine"]
    assert len(tuned.model.config.heads[0].thresholds) == (2 if multi else 0)
    frozen = torch.equal(tuned.model.lstm_0.weight_hh_l0, before["lstm_0.weight_hh_l0"])  # type: ignore[arg-type]
    assert frozen == (method == "last")
    assert all(p.requires_grad for p in tuned.model.parameters())


def test_chain_thaw_learns_one_layer_at_a_time() -> None:
    seen = []
    model = tiny_model()
    tuned = finetune(model, VOCABULARY, labelled(), quick(epochs=1), report=lambda r: seen.append(r["stage"]))
    assert seen == ["heads", "embed", "lstm_0", "lstm_1", "attention_layer", "all"]
    assert tuned.scores[VALID]["texts"] == 30
    rates = [list(r) for _, r in stages(FinetuneSettings())]
    assert rates == [["heads"], ["embed"], ["lstm_0"], ["lstm_1"], ["attention_layer"], list(LAYERS)]
    assert stages(FinetuneSettings())[-1][1] == dict.fromkeys(LAYERS, 3e-4)
    assert stages(FinetuneSettings(method="new"))[0][1] == dict.fromkeys(LAYERS, 3e-3)
    full = stages(FinetuneSettings(method="full", layer_lrs="embed=1e-5, lstm_0=2e-5"))[0][1]
    assert full == {"embed": 1e-5, "lstm_0": 2e-5, "lstm_1": 3e-4, "attention_layer": 3e-4, "heads": 3e-3}


def test_the_best_epoch_is_kept() -> None:
    """With a rate that destroys the model, what comes out is what went in."""
    model = tiny_model()
    losses = []
    tuned = finetune(
        model, VOCABULARY, labelled(), quick(method="full", lr=50.0, head_lr=50.0, max_norm=1e9, epochs=4),
        report=lambda r: losses.append(r["valid_loss"]),
    )  # fmt: skip
    task = HeadTexts.encode(tuned.model.config.heads[0], labelled().splits[VALID], VOCABULARY, 40)
    assert judged(tuned.model, task)[0] <= min(losses) + 1e-6
    assert len(losses) <= 4


def test_new_words_start_fresh_and_old_ones_stay() -> None:
    data = labelled()
    data.splits[TRAIN].add("wonderful wonderful day", (0,))
    model = tiny_model()
    tuned, words = prepared(model, VOCABULARY, data, quick(extend=2))
    assert words.words[len(VOCABULARY) :] == ("wonderful", "day")
    assert torch.equal(tuned.embed.weight[: len(VOCABULARY)], model.embed.weight)
    assert tuned.embed.weight[len(VOCABULARY) :].abs().max() <= 0.5
    done = finetune(model, VOCABULARY, data, quick(extend=2, method="last", epochs=1))
    assert len(done.vocabulary) == done.model.config.vocab_size == len(VOCABULARY) + 2


def test_a_spared_validation_split_is_measured_and_nothing_else() -> None:
    """Its labels, turned round, change what is measured there, not a single weight."""
    data, turned = labelled(120), labelled(120)
    turned.splits[VALID].targets = [(1 - label,) for (label,) in turned.splits[VALID].targets]
    settings = quick(method="last", spare_valid=True, level=True, average=0.9, word_dropout=0.1)
    one, other = (finetune(tiny_model(), VOCABULARY, d, settings) for d in (data, turned))
    for name, p in one.model.state_dict().items():
        assert torch.equal(p, other.model.state_dict()[name])
    assert one.scores[VALID]["texts"] == 30
    assert one.scores[VALID]["accuracy"] == pytest.approx(1 - other.scores[VALID]["accuracy"])
    del data.splits[VALID], data.splits[TEST]
    assert finetune(tiny_model(), VOCABULARY, data, settings).scores[VALID]["texts"] >= 12
    found = class_average(tiny_model(), VOCABULARY, turned, quick(method="last", spare_valid=True))
    assert found["split"] == TEST


def test_texts_that_differ_in_hashtags_alone_are_held_out_together() -> None:
    data = labelled()
    train = Texts()
    for i in range(40):
        word = chr(97 + i // 8) + chr(97 + i % 8) + "q"
        train.add(f"text {word} here", (i % 2,))
        train.add(f"#tag text {word} here #other", (i % 2,))
    data.splits = {TRAIN: train}
    split = with_validation(data, 0.1, 0).splits
    bare = [{t.replace("#tag ", "").replace(" #other", "") for t in split[s].texts} for s in (TRAIN, VALID)]
    assert not bare[0] & bare[1]
    assert len(split[TRAIN]) + len(split[VALID]) == 80
    for texts in (["#a same"] * 2 + ["#b same"] * 2, ["always"] * 30 + ["never"] * 30):
        half = len(texts) // 2
        data.splits = {TRAIN: Texts(texts, [(0,)] * half + [(1,)] * half)}
        split = with_validation(data, 0.1, 0).splits
        assert all(split[TRAIN].counts(2))  # some of each stay
        assert len(split[VALID]) == (2 if half == 2 else 6)


def test_class_average_f1_trains_a_model_a_class() -> None:
    seen = []
    found = class_average(
        tiny_model(), VOCABULARY, labelled(120, True), quick(method="full", epochs=8),
        report=lambda r: seen.append(r["label"]),
    )  # fmt: skip
    assert list(dict.fromkeys(seen)) == ["up", "down"]
    assert found["split"] == TEST
    assert found["class_average_f1"] == pytest.approx(sum(found["f1"].values()) / 2)
    assert found["class_average_f1"] > 0.65
    assert list(class_average(tiny_model(), VOCABULARY, labelled(), quick(method="last"))["f1"]) == ["down"]


def test_what_tuning_refuses() -> None:
    data = labelled()
    data.splits[TRAIN] = Texts(["a", "b"], [(1,), (1,)])
    for run in (finetune, class_average):
        with pytest.raises(DataError, match="every training text is labelled 'down'"):
            run(tiny_model(), VOCABULARY, data, QUICK)
    model = tiny_model()
    torch.nn.init.constant_(model.embed.weight, torch.nan)
    with pytest.raises(TrainingError, match="the loss became nan; use a lower learning rate"):
        finetune(model, VOCABULARY, labelled(), quick(method="full"))
    for wrong in (
        {"method": "all"},
        {"layer_lrs": "embed"},
        {"layer_lrs": "x=1"},
        {"lr": 0},
        {"held_out": 1},
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            quick(**wrong)


def test_thresholds_are_chosen_on_all_training_texts() -> None:
    data, model = labelled(multi=True), tiny_model()
    data.labels = HEADS[1].labels
    task = HeadTexts.encode(HEADS[1], data.splits[TRAIN], VOCABULARY, 40)
    expected = scores.best_thresholds(judged(model, task)[1], task.targets, 2, 0.3)
    choose_thresholds(model, VOCABULARY, data)
    assert list(model.config.heads[1].thresholds) == expected
    assert model.config.heads[0] == HEADS[0]
    single = LabelSet("faces", HEADS[0].labels, splits=data.splits, source="x")
    with pytest.raises(DataError, match="thresholds are for several"):
        choose_thresholds(model, VOCABULARY, single)


def test_evaluating_by_name_or_by_labels() -> None:
    model = tiny_model((Head(name="other", labels=("down", "up", "more")), Head(name="x", labels=("a", "b"))))
    found = evaluate(model, VOCABULARY, labelled(), TEST)
    assert found["head"] == "other"
    assert list(found["f1"]) == ["down", "up", "more"]
    with pytest.raises(DataError, match=r"no head of the model has its labels \(heads: x\)"):
        evaluate(with_heads(model, ["x"]), VOCABULARY, labelled(), TEST)
    with pytest.raises(SettingsError, match="'y' is none of the model's"):
        with_heads(model, ["y"])


# -- from nothing ----------------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path: Path) -> list[Path]:
    """A single-label and a multi-label set in files."""
    tweets, tsv = tmp_path / "tweeteval_irony", tmp_path / "go"
    tweets.mkdir()
    tsv.mkdir()
    single, several = made_up(80), made_up(80, 3, multi=True)
    (tweets / "train_text.txt").write_text("".join(t + "\n" for t in single.texts))
    (tweets / "train_labels.txt").write_text("".join(f"{k}\n" for [k] in single.targets))
    lines = [
        f"{t}\t{','.join(map(str, k)) or 27}\n" for t, k in zip(several.texts, several.targets, strict=True)
    ]
    (tsv / "train.tsv").write_text("".join(lines))
    return [tweets, tsv]


SMALL = {
    "embedding_size": 8, "hidden_size": 6, "epochs": 4, "epoch_size": 96, "batch_size": 16, "lr": 0.02,
    "held_out": 0.2, "min_count": 1, "final_dropout": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"average": 0.9, "level": True, "word_dropout": 0.1}])
def test_a_run_learns_several_sets_and_resumes_exactly(
    tmp_path: Path, sets: list[Path], options: dict[str, object]
) -> None:
    settings = TrainSettings(**(SMALL | options))  # type: ignore[arg-type]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    new_run(sets, [2.0, 1.0], settings, whole)
    model, words = load_emotion_model(whole)
    assert [head.name for head in model.config.heads] == ["tweet_irony", "goemotions"]
    assert len(model.config.heads[1].thresholds) == 28
    assert words.ids(["happy"]) != [1]

    class Stop(Exception):
        pass

    def stop(record: dict[str, object]) -> None:
        if record["epoch"] == 2:
            raise Stop

    with pytest.raises(Stop):
        new_run(sets, [2.0, 1.0], settings, cut, report=stop)
    (cut / LOG).write_text((cut / LOG).read_text() + '{"epoch": 3, "of": "a killed run"}\n')
    resume_run(cut)
    a, b = (torch.load(run / STATE, weights_only=True) for run in (whole, cut))
    assert a["epoch"] == b["epoch"] == 4
    for name, p in a["model"].items():
        assert torch.equal(p, b["model"][name]), name
        assert torch.equal(a["mean"]["weights"][name], b["mean"]["weights"][name]), name
        assert torch.equal(p, a["mean"]["weights"][name]) == ("average" not in options), name
    assert (whole / "model.safetensors").read_bytes() == (cut / "model.safetensors").read_bytes()
    logs = [[json.loads(line) for line in (run / LOG).read_text().splitlines()] for run in (whole, cut)]
    assert [r["loss"] for r in logs[0]] == [r["loss"] for r in logs[1]]
    assert logs[0][-1]["loss"] < logs[0][0]["loss"]
    resume_run(cut)
    assert len((cut / LOG).read_text().splitlines()) == 4
    resume_run(cut, epochs=5)
    resume_run(cut)
    assert len((cut / LOG).read_text().splitlines()) == 5


def test_a_run_begins_with_word_vectors(
    tmp_path: Path, sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vectors(tmp_path / "v.npz", ["happy"], np.array([[3.0, -3.0]], np.float32))
    monkeypatch.chdir(tmp_path)
    options = {"vectors": "v.npz", "vector_scale": 0.5, "lr": 1e-9, "epochs": 1}
    new_run(sets, [1.0, 1.0], TrainSettings(**(SMALL | options)), tmp_path / "out")  # type: ignore[arg-type]
    model, words = load_emotion_model(tmp_path / "out")
    assert model.embed.weight[words.ids(["happy"])[0], :2].tolist() == pytest.approx([0.5, -0.5], abs=1e-5)
    assert json.loads((tmp_path / "out/run.json").read_text())["settings"]["vectors"] == str(
        tmp_path / "v.npz"
    )
    with pytest.raises(DataError, match="no such file"):
        new_run(sets, [1.0, 1.0], TrainSettings(vectors="none.npz"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_runs_that_cannot_be(tmp_path: Path, sets: list[Path]) -> None:
    settings = TrainSettings(**(SMALL | {"epochs": 1}))  # type: ignore[arg-type]
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="no training run here"):
        resume_run(out)
    with pytest.raises(SettingsError, match="1 numbers for 2 data sets"):
        new_run(sets, [1.0], settings, out)
    with pytest.raises(SettingsError, match="numbers above 0"):
        new_run(sets, [1.0, 0.0], settings, out)
    with pytest.raises(SettingsError, match="DATA is missing"):
        new_run([], [], settings, out)
    with pytest.raises(SettingsError, match="two of the data sets are called goemotions"):
        new_run([sets[1], sets[1]], [1.0, 1.0], settings, out)
    assert not out.exists()
    new_run(sets, [1.0, 1.0], settings, out, rows=40)
    with pytest.raises(TrainingError, match="holds a run already"):
        new_run(sets, [1.0, 1.0], settings, out)
    (out / STATE).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="damaged, or of other data"):
        resume_run(out)
