from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, GPT2LMHeadModel

import convai
from convai.conversation.agent import Agent, load_agent
from convai.core import resources
from convai.core.errors import BaseUnavailable, CheckpointError
from convai.core.settings import DecodingConfig, EngineConfig
from convai.engine import Engine, Finished, Request
from convai.model import folder
from convai.model.checkpoint import save_model
from convai.model.folder import model_folder
from convai.model.shipped import DEFAULT_HISTORY
from convai.text.segments import EncodedTurn, build_prompt
from convai.text.tokenizer import Tokenizer
from tests.tiny import tiny_model
from tests.tokenizer_kinds import KINDS, kind, publish


def agent(name: str = "bytes") -> Agent:
    tokenizer = kind(name)
    return Agent(
        tiny_model(vocab_size=tokenizer.vocab_size),
        tokenizer,
        DecodingConfig(temperature=0.5, top_k=7, seed=None, no_repeat_ngram=0),
        max_history=3,
        name="somebody",
    )


def reply(of: Agent) -> Finished:
    prompt = build_prompt(of.tokenizer.frame, [], [EncodedTurn(0, of.tokenizer.encode("hello there"))])
    return of.engine().best(Request(prompt, DecodingConfig(seed=3, max_length=10)))


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    one = agent(name)
    one.save(tmp_path / "mine")
    again = load_agent(tmp_path / "mine")
    assert again.name == "mine"
    assert (again.decoding, again.max_history) == (one.decoding, 3)
    assert again.tokenizer.fingerprint == one.tokenizer.fingerprint
    assert again.model.config == one.model.config
    assert not again.model.training
    assert reply(again) == reply(one)
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == [
        "config.json",
        "convai.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_saved_smaller(tmp_path: Path) -> None:
    one = agent()
    one.save(tmp_path, torch.bfloat16)
    assert {p.dtype for p in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    again = load_agent(str(tmp_path))
    assert {p.dtype for p in again.model.parameters()} == {torch.float32}


def test_no_limit_of_history_survives(tmp_path: Path) -> None:
    one = agent()
    one.max_history = None
    one.save(tmp_path)
    assert load_agent(tmp_path).max_history is None


def test_a_folder_is_a_hugging_face_model(tmp_path: Path) -> None:
    """Both halves load in stock transformers, and `generate` ends where a reply ends."""
    one = agent()
    one.save(tmp_path)
    model = GPT2LMHeadModel.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "hello <eos>"
    assert tokenizer(text)["input_ids"] == one.tokenizer.encode(text)
    for name in ("bos", "eos", "pad"):
        id = getattr(one.tokenizer, f"{name}_id")
        assert getattr(tokenizer, f"{name}_token_id") == id
        assert getattr(model.config, f"{name}_token_id") == id
        assert getattr(model.generation_config, f"{name}_token_id") == id


def test_an_engine_of_the_agent() -> None:
    one = agent()
    run = one.engine(EngineConfig(slots=3))
    assert isinstance(run, Engine)
    assert run.config.slots == 3
    assert run.model is one.model
    assert run.tokenizer is one.tokenizer


def test_an_engine_for_scores_computes_in_what_was_asked_for() -> None:
    one = agent()
    assert one.exact_engine().config.precision == "float32"
    assert one.exact_engine("bf16").config.precision == "bf16"


def test_a_folder_without_settings_has_the_defaults(tmp_path: Path) -> None:
    """A fine-tuned model from elsewhere has no convai.json."""
    agent().save(tmp_path)
    (tmp_path / "convai.json").unlink()
    loaded = load_agent(tmp_path)
    assert (loaded.decoding, loaded.max_history) == (DecodingConfig(), DEFAULT_HISTORY)
    (tmp_path / "convai.json").write_text("{}")
    loaded = load_agent(tmp_path)
    assert (loaded.decoding, loaded.max_history) == (DecodingConfig(), DEFAULT_HISTORY)
    (tmp_path / "convai.json").write_text(
        '{"decoding": {"top_k": 3, "temperature": 1, "seed": null}, "more": 1}'
    )
    assert load_agent(tmp_path).decoding == DecodingConfig(top_k=3, temperature=1)


def test_rows_beyond_the_tokenizer_are_legal(tmp_path: Path) -> None:
    """Embeddings are often padded to a round number."""
    one = agent()
    one.model = tiny_model(vocab_size=one.tokenizer.vocab_size + 11)
    one.save(tmp_path)
    assert all(id < 256 for id in reply(load_agent(tmp_path)).ids)


# -- damage


def set_settings(**values: object) -> Callable[[Path], object]:
    return lambda d: (d / "convai.json").write_text(json.dumps(values))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda d: (d / "config.json").unlink(), "config.json: missing"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no tokenizer": (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json: missing"),
    "tokenizer cut": (
        lambda d: (d / "tokenizer.json").write_text((d / "tokenizer.json").read_text()[:500]),
        "tokenizer.json:",
    ),
    "settings cut": (lambda d: (d / "convai.json").write_text('{"decoding": {'), "convai.json:1: not JSON"),
    "settings a list": (
        lambda d: (d / "convai.json").write_text("[]"),
        "convai.json: expected a JSON object",
    ),
    "history a word": (
        set_settings(max_history="all"),
        "max_history='all'; use a number of exchanges, or null",
    ),
    "history true": (set_settings(max_history=True), "max_history=True; use a number"),
    "history below 0": (set_settings(max_history=-1), "max_history=-1; use a number"),
    "decoding a list": (set_settings(decoding=[1]), "decoding=[1]; use an object of settings"),
    "decoding null": (set_settings(decoding=None), "decoding=None; use an object of settings"),
    "unknown setting": (
        set_settings(decoding={"topk": 1}),
        "decoding: there is no setting 'topk'; did you mean top_k",
    ),
    "out of range": (set_settings(decoding={"top_p": 2}), "decoding: top_p=2.0: use a number above 0"),
    "a word for a number": (set_settings(decoding={"top_p": "0.9"}), "top_p='0.9': use a number"),
    "half a token": (set_settings(decoding={"max_length": 3.5}), "max_length=3.5: use a whole number"),
    "true for a number": (set_settings(decoding={"top_k": True}), "top_k=True: use a whole number"),
    "null for a number": (set_settings(decoding={"top_k": None}), "top_k=None: use a whole number"),
    "no number": (lambda d: (d / "convai.json").write_text('{"decoding": {"top_p": NaN}}'), "top_p=nan: use"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    agent().save(tmp_path)
    do, message = DAMAGE[damage]
    do(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_agent(tmp_path)
    text = str(caught.value)
    assert text.startswith(str(tmp_path))
    assert message in text
    assert "\n" not in text


def test_an_untuned_checkpoint_is_named_as_such(tmp_path: Path) -> None:
    """gpt2 as it was published: every word would be a special token."""
    publish("gpt2", tmp_path)
    untuned, added = Tokenizer.load_pretrained(tmp_path)
    assert added == 5
    save_model(tiny_model(vocab_size=untuned.vocab_size - added), tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_agent(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}: the tokenizer has no <bos> <eos> <speaker1> <speaker2> <pad>")
    assert f"convai train DATA --model {tmp_path} --out DIR" in text
    assert "\n" not in text


def test_a_tokenizer_of_another_model_is_named_as_such(tmp_path: Path) -> None:
    """The special tokens were added to the tokenizer and never to the model."""
    agent().save(tmp_path)
    save_model(tiny_model(vocab_size=256), tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_agent(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path}: the model knows 256 tokens, its tokenizer gives 261")
    assert "tune it first: convai train DATA" in text
    assert "\n" not in text


# -- names


def test_where_the_default_s_base_cannot_be_had_the_small_model_is_loaded_and_that_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def offline(name: str, *, report: Callable[[str], None]) -> Path:
        raise BaseUnavailable(f"{name} cannot be fetched")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(folder, "ensure_base", offline)
    monkeypatch.setattr(resources, "models_dir", lambda: tmp_path)
    monkeypatch.setattr(resources, "DEFAULT_MODEL", "smol")
    agent().save(tmp_path / resources.SMALL_MODEL)
    (tmp_path / "smol").mkdir()
    (tmp_path / "smol" / "adapter_config.json").write_text("{}")
    base = {"name": "smollm2-135m", "path": str(tmp_path / "gone"), "fingerprint": "0"}
    (tmp_path / "smol" / "convai.json").write_text(json.dumps({"base": base}))
    assert resources.model_names() == [resources.SMALL_MODEL, "smol"]
    assert load_agent().name == resources.SMALL_MODEL
    assert [record.getMessage() for record in caplog.records] == [
        f"smollm2-135m cannot be fetched. Going on with the smaller {resources.SMALL_MODEL}"
    ]
    with pytest.raises(BaseUnavailable, match="cannot be fetched"):
        load_agent("smol")


def test_models_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "models_dir", lambda: tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"nobody: no such model folder.*of that name \(smollm2-135m\)"):
        model_folder("nobody")
    for name in ("tiny", resources.DEFAULT_MODEL):
        agent().save(tmp_path / "models" / name)
    assert load_agent("tiny").name == "tiny"
    assert load_agent().name == resources.DEFAULT_MODEL
    assert convai.load_agent("tiny").name == "tiny"
    agent().save(tmp_path / "tiny")
    assert model_folder("tiny") == Path("tiny"), "what is here goes before what is embedded"
    with pytest.raises(
        CheckpointError, match=r"elsewhere/tiny: no such model folder.*\(persona-smol, tiny, smollm2-135m\)"
    ):
        load_agent("elsewhere/tiny")
