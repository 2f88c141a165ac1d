"""Model folders; torchMoji's checkpoints with their exact names and shapes, round and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from convai.core.errors import CheckpointError
from convai.emotion import labels
from convai.emotion.checkpoint import (
    CONFIG,
    VOCABULARY,
    WEIGHTS,
    convert_torchmoji,
    load_emotion_model,
    save_emotion_model,
)
from convai.emotion.classifier import EmotionClassifier
from convai.emotion.vocabulary import RESERVED, Vocabulary
from tests.emotion.models import VOCABULARY as WORDS
from tests.emotion.models import saved_model, tiny_model, torchmoji_state


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    model = tiny_model()
    save_emotion_model(model, WORDS, tmp_path)
    again, vocabulary = load_emotion_model(tmp_path)
    assert vocabulary.words == WORDS.words
    assert again.config == model.config
    assert not again.training
    for name, p in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], p), name


def test_half_the_bytes(tmp_path: Path) -> None:
    save_emotion_model(tiny_model(), WORDS, tmp_path, torch.float16)
    again, _ = load_emotion_model(tmp_path)
    assert again.embed.weight.dtype == torch.float32
    torch.testing.assert_close(again.embed.weight, tiny_model().embed.weight, rtol=1e-3, atol=1e-3)


def test_damaged_folders_name_what_is_wrong(tmp_path: Path) -> None:
    def broken(name: str, content: str | bytes | None) -> str:
        folder = saved_model(tmp_path / f"case{len(list(tmp_path.iterdir()))}")
        path = folder / name
        path.unlink()
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(CheckpointError) as caught:
            load_emotion_model(folder)
        return str(caught.value)

    config = json.loads((saved_model(tmp_path / "good") / CONFIG).read_text())
    assert "no emotion model here" in broken(CONFIG, None)
    assert "not JSON" in broken(CONFIG, "{")
    assert "asks for 99" in broken(CONFIG, json.dumps(config | {"vocab_size": 99}))
    assert "has shape" in broken(CONFIG, json.dumps(config | {"hidden_size": 10**6}))
    assert "unknown weight heads." in broken(CONFIG, json.dumps(config | {"heads": config["heads"][:1]}))
    more = [*config["heads"], {"name": "more", "labels": ["a", "b"]}]
    assert "lacks heads.more" in broken(CONFIG, json.dumps(config | {"heads": more}))
    assert "missing" in broken(WEIGHTS, None)
    assert "damaged" in broken(WEIGHTS, b"123456789")
    assert "missing" in broken(VOCABULARY, None)


def test_no_embedded_model_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.core.resources.models_dir", lambda: tmp_path)
    with pytest.raises(CheckpointError, match="no embedded emotion model; name one with --model"):
        load_emotion_model()
    saved_model(tmp_path / "emotion-mini")
    assert load_emotion_model()[0].config.heads


# -- torchMoji -------------------------------------------------------------------------------------


def original(folder: Path, vocabulary: Vocabulary = WORDS, **shape: Any) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    shape = {"embedding": 6, "hidden": 5} | shape
    torch.save(torchmoji_state(len(vocabulary), **shape), folder / "pytorch_model.bin")
    vocabulary.save(folder / "vocabulary.json")
    return folder / "pytorch_model.bin", folder / "vocabulary.json"


@pytest.mark.slow
def test_a_checkpoint_of_the_original_size(tmp_path: Path) -> None:
    """50,000 words, 64 emoji: every tensor arrives bit for bit, and features are 2,304 wide."""
    words = Vocabulary([*RESERVED, *(f"w{i}" for i in range(50000 - len(RESERVED)))])
    weights, vocabulary = original(tmp_path / "torchmoji", words, embedding=256, hidden=512)
    config = convert_torchmoji(weights, vocabulary, tmp_path / "ours")
    assert (config.vocab_size, config.embedding_size, config.hidden_size) == (50000, 256, 512)
    assert config.heads[0].labels == tuple(labels.DEEPMOJI)
    model, read = load_emotion_model(tmp_path / "ours")
    state = model.state_dict()
    for name, p in torchmoji_state(50000).items():
        ours = name.replace("output_layer.0", "heads.deepmoji")
        assert torch.equal(state.pop(ours), p), name
    assert not state
    classifier = EmotionClassifier(model, read)
    assert classifier.encode(["w1 w2", ""]).shape == (2, 2304)
    assert len(classifier.predict(["w1"], None)[0].emoji) == 64


def test_other_outputs(tmp_path: Path) -> None:
    weights, vocabulary = original(tmp_path / "a", outputs=3)
    assert convert_torchmoji(weights, vocabulary, tmp_path / "b").heads[0].labels == ("0", "1", "2")
    config = convert_torchmoji(weights, vocabulary, tmp_path / "c", ["x", "y", "z"])
    assert config.heads[0].labels == ("x", "y", "z")
    weights, vocabulary = original(tmp_path / "d", outputs=1)
    binary = convert_torchmoji(weights, vocabulary, tmp_path / "e").heads[0]
    assert (binary.labels, binary.multi) == (("1",), True)
    weights, vocabulary = original(tmp_path / "f", outputs=None)
    assert convert_torchmoji(weights, vocabulary, tmp_path / "g").heads == ()
    assert EmotionClassifier.load(tmp_path / "g").encode(["hi"]).shape == (1, 26)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    _, vocabulary = original(tmp_path / "a")
    bad = tmp_path / "evil.bin"
    torch.save({"embed.weight": Evil()}, bad)
    with pytest.raises(CheckpointError, match="not plain weights"):
        convert_torchmoji(bad, vocabulary, tmp_path / "out")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    weights, vocabulary = original(tmp_path / "a")

    def told(path: Path, words: Path = vocabulary, names: list[str] | None = None) -> str:
        with pytest.raises(CheckpointError) as caught:
            convert_torchmoji(path, words, tmp_path / "out", names)
        return str(caught.value)

    assert "no such file" in told(tmp_path / "nowhere.bin")
    (tmp_path / "text.bin").write_text("hello")
    assert "text.bin" in told(tmp_path / "text.bin")
    torch.save([1, 2], tmp_path / "list.bin")
    assert "named tensors" in told(tmp_path / "list.bin")
    (tmp_path / "cut.bin").write_bytes(weights.read_bytes()[:500])
    assert "damaged" in told(tmp_path / "cut.bin")
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.bin")
    assert "lacks embed.weight" in told(tmp_path / "other.bin")
    state = torchmoji_state(len(WORDS), 6, 5)
    torch.save(state | {"more": torch.zeros(1)}, tmp_path / "more.bin")
    assert "unknown weight more" in told(tmp_path / "more.bin")
    del state["lstm_1.bias_hh_l0"]
    torch.save(state, tmp_path / "less.bin")
    assert "lacks lstm_1.bias_hh_l0" in told(tmp_path / "less.bin")
    Vocabulary.build([], size=10).save(tmp_path / "short.json")
    assert "has 10 words, the weights have" in told(weights, tmp_path / "short.json")
    assert "64 outputs, but 2 labels" in told(weights, vocabulary, ["a", "b"])


def test_an_unconverted_folder_says_how(tmp_path: Path) -> None:
    original(tmp_path / "torchmoji")
    with pytest.raises(CheckpointError, match=r"convert torchMoji's weights once: convai emotion convert"):
        load_emotion_model(tmp_path / "torchmoji")
