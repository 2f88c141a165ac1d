"""A teacher tuned and saved, what teachers say of texts, and a student that learns from it."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertModel

from convai.__main__ import main
from convai.core.errors import CheckpointError, SettingsError
from convai.emotion.batches import HeadTexts, collate
from convai.emotion.checkpoint import EMBEDDED, load_emotion_model
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.fitting import batch_loss
from convai.emotion.labelled import Texts
from convai.emotion.lessons import chances, load_network, taught
from convai.emotion.ngrams import Grams, NgramTeacher
from convai.emotion.probe import probe
from convai.emotion.settings import NgramSettings, ProbeSettings, TeachSettings, TrainSettings
from convai.emotion.tables import read_to_train
from convai.emotion.teach import resume_teaching, teach, teach_ngrams
from convai.emotion.teacher import EmotionTeacher, Pieces, with_names
from convai.emotion.train import new_run, resume_run
from tests.emotion.models import HEADS, VOCABULARY, saved_model, tiny_model

WORDS = "[PAD] [UNK] [CLS] [SEP] i am so happy sad love hate today # face with ##s".split()
FACES, FEELINGS = HEADS
GLAD, SORRY = "i am so happy today", "i am so sad today"


def encoder(folder: Path) -> Path:
    """A tiny BERT with word pieces, as transformers saves it."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=24,
    )
    BertModel(shape).save_pretrained(folder)
    numbers = {word: i for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    return encoder(folder)


def label_set(folder: Path, name: str = "Mine") -> Path:
    """torchMoji's JSON lines: glad texts are 1, sorry ones 0."""
    path = folder / f"{name}.jsonl"
    rows = [
        {"text": f"{text}{' so' * (i % 4)}", "label": label, "split": "train"}
        for i in range(20)
        for label, text in enumerate((SORRY, GLAD))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def plain(folder: Path) -> Path:
    path = folder / "plain.txt"
    path.write_text("".join(f"{text}{' so' * i}\n" for i in range(6) for text in (GLAD, SORRY)))
    return path


QUICK = TeachSettings(freeze=1, epochs=2, epoch_size=160, batch_size=8, lr=0.02, head_lr=0.1, held_out=0.2)


def taught_teacher(base: Path, folder: Path) -> Path:
    teach(base, [label_set(folder)], [1.0], QUICK, folder / "teacher")
    return folder / "teacher"


# -- the teacher -----------------------------------------------------------------------------------


def test_emoji_are_read_by_their_names_and_hashtags_as_words(base: Path) -> None:
    assert with_names("ok😂") == "ok face with tears of joy "
    assert with_names("a + b ± c “d” 中") == "a + b ± c “d” 中"
    pieces = Pieces.load(base)
    said = {text: [WORDS[i] for i in pieces.encode(text, 30)] for text in ("#sohappy!", "#zzz", "#")}
    assert said["#sohappy!"] == ["[CLS]", "so", "happy", "[UNK]", "[SEP]"]
    assert said["#zzz"] == ["[CLS]", "#", "[UNK]", "[SEP]"]
    assert said["#"] == ["[CLS]", "#", "[SEP]"]


def test_long_texts_are_cut_and_keep_their_end_mark(base: Path) -> None:
    ids = Pieces.load(base).encode("so " * 40, 10)
    assert len(ids) == 10
    assert (ids[0], ids[-1]) == (2, 3)


def test_a_teacher_learns_what_is_not_frozen_and_comes_back_from_its_folder(
    base: Path, tmp_path: Path
) -> None:
    records: list[dict[str, object]] = []
    teacher = teach(base, [label_set(tmp_path)], [1.0], QUICK, tmp_path / "teacher", report=records.append)
    assert [record["epoch"] for record in records] == [1, 2]
    assert records[-1]["macro_f1"] == {"Mine": 1.0}
    before = BertModel.from_pretrained(base).state_dict()
    moved = {name for name, p in teacher.encoder.state_dict().items() if not torch.equal(p, before[name])}
    assert moved
    assert all(name.startswith(("encoder.layer.1.", "pooler")) for name in moved)
    again, words = load_network(tmp_path / "teacher")
    expected = chances(teacher, teacher.pieces, [GLAD, SORRY])["Mine"]
    assert torch.equal(chances(again, words, [GLAD, SORRY])["Mine"], expected)
    assert expected.argmax(1).tolist() == [1, 0]


def test_a_resumed_teacher_is_as_one_that_was_never_stopped(base: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(record: dict[str, object]) -> None:
        raise Stopped

    data = [label_set(tmp_path)]
    whole = teach(base, data, [1.0], QUICK, tmp_path / "whole")
    with pytest.raises(Stopped):
        teach(base, data, [1.0], QUICK, tmp_path / "parts", report=stop)
    records: list[dict[str, object]] = []
    parts = resume_teaching(tmp_path / "parts", report=records.append)
    assert [record["epoch"] for record in records] == [2]
    assert all(torch.equal(p, parts.state_dict()[name]) for name, p in whole.state_dict().items())
    assert whole.config == parts.config
    with pytest.raises(CheckpointError, match="no training run here"):
        resume_teaching(tmp_path / "none")


def test_a_batch_is_as_its_texts_alone(base: Path) -> None:
    torch.manual_seed(0)
    teacher = EmotionTeacher.begun(base, EmotionConfig(heads=HEADS)).eval()
    texts = [GLAD, "so", SORRY + " so so so"]
    together = chances(teacher, teacher.pieces, texts)
    for i, text in enumerate(texts):
        alone = chances(teacher, teacher.pieces, [text])
        for head in HEADS:
            torch.testing.assert_close(together[head.name][i], alone[head.name][0])


def test_heads_begin_at_the_shares_of_their_labels(base: Path) -> None:
    teacher = EmotionTeacher.begun(base, EmotionConfig(heads=HEADS)).eval()
    teacher.begin("faces", [98, 0, 0], 98)
    teacher.begin("feelings", [97, 0], 98)
    found = chances(teacher, teacher.pieces, [GLAD])
    assert found["faces"][0, 0] > 0.9
    assert found["feelings"][0, 0] > 0.9
    assert found["feelings"][0, 1] < 0.05


def test_wrong_folders_and_settings_are_told(base: Path, tmp_path: Path) -> None:
    teacher = taught_teacher(base, tmp_path)
    data = [tmp_path / "Mine.jsonl"]
    with pytest.raises(SettingsError, match="holds a teacher already"):
        teach(base, data, [1.0], QUICK, teacher)
    with pytest.raises(SettingsError, match="2 layers"):
        EmotionTeacher.begun(base, EmotionConfig(heads=HEADS)).freeze(3)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        teach(tmp_path, data, [1.0], QUICK, tmp_path / "other")
    (teacher / "heads.pt").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="damaged"):
        EmotionTeacher.load(teacher)


def test_a_linear_teacher_learns_and_comes_back_from_its_folder(tmp_path: Path) -> None:
    data = read_to_train([label_set(tmp_path)], 0, 0.2, 0)
    settings = NgramSettings(buckets=500, epochs=2, epoch_size=80, batch_size=8)
    teacher = teach_ngrams(data, [1.0], settings, tmp_path / "linear")
    again, words = load_network(tmp_path / "linear")
    expected = chances(teacher, teacher.pieces, [GLAD, SORRY])["Mine"]
    torch.testing.assert_close(chances(again, words, [GLAD, SORRY])["Mine"], expected, atol=1e-2, rtol=0)
    assert expected.argmax(1).tolist() == [1, 0]
    with pytest.raises(SettingsError, match="holds a teacher already"):
        teach_ngrams(data, [1.0], settings, tmp_path / "linear")
    (tmp_path / "linear" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match="damaged"):
        load_network(tmp_path / "linear")


PROBING = ProbeSettings(layers=2, hidden=6, epochs=12, batch_size=4, lr=0.05, held_out=0.2)


def test_a_probe_learns_on_an_encoder_that_stays_as_it_is(base: Path, tmp_path: Path) -> None:
    """Features are learnt with a mean of 0 and a spread of 1; saved heads take them as they come."""
    data = read_to_train([label_set(tmp_path), label_set(tmp_path, "Other")], 0, 0.2, 0)
    records: list[dict[str, object]] = []
    teacher = probe(base, data, PROBING, tmp_path / "probe", report=records.append)
    assert [record["macro_f1"] for record in records] == [{"Mine": 1.0}, {"Other": 1.0}]
    before = BertModel.from_pretrained(base).state_dict()
    assert all(torch.equal(p, before[name]) for name, p in teacher.encoder.state_dict().items())
    again, words = load_network(tmp_path / "probe")
    expected = chances(teacher, teacher.pieces, [GLAD, SORRY])
    found = chances(again, words, [GLAD, SORRY])
    assert torch.equal(found["Mine"], expected["Mine"])
    assert found["Mine"].argmax(1).tolist() == [1, 0]
    assert found["Other"].argmax(1).tolist() == [1, 0]
    with pytest.raises(SettingsError, match="holds a teacher already"):
        probe(base, data, PROBING, tmp_path / "probe")
    with pytest.raises(SettingsError, match=r"layers=3: the encoder has 2 layers"):
        probe(base, data, dataclasses.replace(PROBING, layers=3), tmp_path / "other")


def test_features_are_the_means_of_several_layers_side_by_side(base: Path) -> None:
    teacher = EmotionTeacher.begun(base, EmotionConfig(heads=HEADS), layers=2).eval()
    alone = EmotionTeacher.begun(base, EmotionConfig(heads=HEADS)).eval()
    task = HeadTexts.encode(FACES, Texts([GLAD, "so"], [(0,), (1,)]), teacher.pieces, 9)
    batch = collate([(task, 0), (task, 1)])
    with torch.no_grad():
        both, last = (one(batch.ids, batch.lengths).features for one in (teacher, alone))
    assert both.shape == (2, 16)
    torch.testing.assert_close(both[:, 8:], last)
    assert not torch.allclose(both[:, :8], last)


def test_grams_count_once_and_a_batch_is_as_its_texts_alone() -> None:
    grams = Grams(10_000)
    assert grams.encode("so so so", 9) == grams.encode("so so", 9)
    assert set(grams.encode("so happy", 9)) > set(grams.encode("happy", 9))
    assert grams.encode("", 9) == [1]
    teacher = NgramTeacher(EmotionConfig(vocab_size=10_000, heads=HEADS))
    torch.manual_seed(0)
    torch.nn.init.normal_(teacher.weights.weight)
    texts = [GLAD, "so", SORRY]
    together = chances(teacher, grams, texts)
    for head in HEADS:
        alone = torch.cat([chances(teacher, grams, [text])[head.name] for text in texts])
        torch.testing.assert_close(together[head.name], alone)
    assert together["faces"].shape == (3, 3)
    assert together["feelings"].shape == (3, 2)


# -- lessons ---------------------------------------------------------------------------------------


def test_labels_and_lessons_are_mixed_and_other_heads_learn_too() -> None:
    texts = Texts(["i am happy", "so sad"], [(0,), (2,)])
    said = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.2, 0.2]])
    other = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    task = HeadTexts.encode(
        FACES, texts, VOCABULARY, 10, lessons=((FACES, said), (FEELINGS, other)), share=0.25
    )
    batch = collate([(task, 1), (task, 0)])
    own, further = batch.parts
    assert (own[0], further[0]) == (FACES, FEELINGS)
    torch.testing.assert_close(own[2], torch.tensor([[0.15, 0.05, 0.8], [0.8, 0.075, 0.125]]))
    torch.testing.assert_close(further[2], other[[1, 0]])


@pytest.mark.parametrize("head", HEADS)
def test_lessons_that_say_the_labels_cost_what_labels_cost(head: Head) -> None:
    texts = Texts(["i am happy", "so sad", "hate"], [(0,), (1,), (1,)])
    marks = torch.zeros(3, len(head.labels))
    marks[range(3), [0, 1, 1]] = 1.0
    model = tiny_model()
    rows = list(range(3))
    losses = [
        batch_loss(model, collate([(task, i) for i in rows]))
        for task in (
            HeadTexts.encode(head, texts, VOCABULARY, 10),
            HeadTexts.encode(head, texts, VOCABULARY, 10, lessons=((head, marks),), share=0.5),
            HeadTexts.encode(head, texts, VOCABULARY, 10, lessons=((head, marks),), share=1.0),
        )
    ]
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


def test_several_teachers_say_their_mean() -> None:
    teachers = {str(seed): (tiny_model(seed=seed), VOCABULARY) for seed in (1, 2)}
    teachers["3"] = (tiny_model(heads=(FACES,), seed=3), VOCABULARY)
    texts = ["i am happy", "so sad today"]
    found = taught(teachers, HEADS, {"a": texts})["a"]
    alone = [chances(*teacher, texts) for teacher in teachers.values()]
    expected = torch.stack([one["faces"] for one in alone]).mean(0)
    torch.testing.assert_close(found["faces"].float(), expected, atol=1e-3, rtol=0)
    expected = torch.stack([one["feelings"] for one in alone[:2]]).mean(0)
    torch.testing.assert_close(found["feelings"].float(), expected, atol=1e-3, rtol=0)


def test_teachers_that_cannot_teach_are_told() -> None:
    other = Head(name="faces", labels=("a", "b"))
    with pytest.raises(SettingsError, match="--teacher t: its faces has other labels"):
        taught({"t": (tiny_model(heads=(other,)), VOCABULARY)}, HEADS, {})
    with pytest.raises(SettingsError, match=r"none of the heads to learn \(it has: faces\)"):
        taught({"t": (tiny_model(heads=(FACES,)), VOCABULARY)}, (FEELINGS,), {})


# -- the student -----------------------------------------------------------------------------------

STUDENT = TrainSettings(
    embedding_size=6,
    hidden_size=5,
    min_count=1,
    epochs=3,
    epoch_size=80,
    batch_size=8,
    lr=0.03,
    final_dropout=0.0,
    embed_dropout=0.0,
    held_out=0.2,
    patience=0,
)


def weights_of(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "training.pt", weights_only=True)["model"]
    return state


def test_a_student_comes_to_think_what_its_teachers_think_of_texts_without_labels(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convai.emotion.teach.quick_products", nullcontext)  # the same teacher everywhere
    teacher = taught_teacher(base, tmp_path)
    network, pieces = load_network(teacher)
    texts = plain(tmp_path).read_text().splitlines()
    wise = chances(network, pieces, texts)["Mine"]
    out = tmp_path / "run"
    new_run(
        [tmp_path / "Mine.jsonl"],
        [1.0],
        STUDENT,
        out,
        teachers=[str(teacher)],
        texts=[str(tmp_path / "plain.txt")],
    )
    model, words = load_emotion_model(out)
    own = chances(model, words, texts)["Mine"]
    assert own.argmax(1).tolist() == wise.argmax(1).tolist()


def test_a_resumed_student_is_as_one_that_was_never_stopped(base: Path, tmp_path: Path) -> None:
    teacher, texts = taught_teacher(base, tmp_path), plain(tmp_path)
    start = saved_model(tmp_path / "start")

    def run(out: Path, epochs: int) -> None:
        settings = TrainSettings(**{**vars_of(STUDENT), "epochs": epochs})
        new_run(
            [tmp_path / "Mine.jsonl"],
            [1.0],
            settings,
            out,
            start=str(start),
            teachers=[str(teacher), str(teacher)],
            texts=[f"{texts}@2"],
        )

    run(tmp_path / "whole", 2)
    run(tmp_path / "parts", 1)
    # the schedule is that of the whole run, so the first epoch is run again from its beginning
    (tmp_path / "parts" / "training.pt").unlink()
    (teacher / "heads.pt").unlink()  # what it said is in the run
    resume_run(tmp_path / "parts", epochs=2)
    whole, parts = (weights_of(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def vars_of(settings: TrainSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def test_a_run_that_starts_from_a_model_has_its_words_and_its_heads(tmp_path: Path) -> None:
    head = Head(name="Mine", labels=("0", "1"))
    start = saved_model(tmp_path / "start", heads=(head, FACES))
    settings = TrainSettings(**{**vars_of(STUDENT), "epochs": 1, "lr": 1e-9})
    new_run([label_set(tmp_path)], [1.0], settings, tmp_path / "run", start=str(start))
    before, words = load_emotion_model(start)
    after, same = load_emotion_model(tmp_path / "run")
    assert same.words == words.words
    assert [one.name for one in after.config.heads] == ["Mine"]
    for name, p in after.state_dict().items():
        torch.testing.assert_close(p, before.state_dict()[name], atol=1e-6, rtol=0)


def test_texts_without_a_teacher_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name a --teacher"):
        new_run([label_set(tmp_path)], [1.0], STUDENT, tmp_path / "run", texts=[str(plain(tmp_path))])
    assert not (tmp_path / "run").exists()


def test_the_commands(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, teacher, run = str(label_set(tmp_path)), str(tmp_path / "teacher"), str(tmp_path / "run")
    quick = ["--epochs", "1", "--epoch-size", "16", "--batch-size", "8"]
    assert (
        main(["emotion", "teach", data, "--base", str(base), "--freeze", "2", "--out", teacher, *quick]) == 0
    )
    assert main(["emotion", "teach", "--resume", teacher]) == 0
    assert main(["emotion", "teach", data, "--resume", teacher]) == 2
    assert "--resume takes all but --threads" in capsys.readouterr().err
    assert main(["emotion", "teach", data, "--out", teacher]) == 2
    assert "--base DIR" in capsys.readouterr().err
    assert main(["emotion", "evaluate", data, "--model", teacher, "--split", "train"]) == 0
    assert "Mine" in capsys.readouterr().out
    probed = str(tmp_path / "probe")
    small = ["--layers", "1", "--hidden", "4", "--epochs", "1"]
    assert main(["emotion", "probe", data, "--base", str(base), "--out", probed, *small]) == 0
    assert f"--model {probed}" in capsys.readouterr().out
    assert main(["emotion", "evaluate", data, "--model", probed, "--split", "train"]) == 0
    student = ["--embedding-size", "4", "--hidden-size", "4", "--min-count", "1", "--out", run, *quick]
    talks = tmp_path / "talks.jsonl"
    turns = [{"speaker": 0, "text": "good tea"}, {"speaker": 1, "text": "bad tea"}]
    talks.write_text(json.dumps({"turns": turns}) + "\n{broken\n", encoding="utf-8")
    taught = ["emotion", "train", data, "--teacher", teacher, "--texts", str(plain(tmp_path)), str(talks)]
    assert main([*taught, *student]) == 2
    assert f"{talks}:2: malformed JSON" in capsys.readouterr().err
    assert main([*taught, *student, "--skip-bad"]) == 0
    assert f"{talks}: jsonl, 1 dialogue; 1 bad dialogue left out" in capsys.readouterr().err
    assert main(["emotion", "train", "--resume", run]) == 0
    assert main(["emotion", "train", "--resume", run, "--teacher", teacher]) != 0
    assert "--resume takes all but --epochs" in capsys.readouterr().err


def test_the_embedded_model_has_a_name() -> None:
    if not (Path(__file__).parents[2] / "data" / "models" / EMBEDDED).is_dir():
        pytest.skip("no embedded emotion model")
    named, default = (load_emotion_model(name)[0] for name in (EMBEDDED, None))
    assert named.config == default.config
