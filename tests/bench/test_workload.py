from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convai.bench.random_model import made_up_tokenizer, random_model, save_size
from convai.bench.sizes import BASES, SIZES
from convai.bench.workload import CONTROL_IDS, Workload, chats
from convai.core.dialog import AGENT, USER
from convai.model.bases import ABOUT
from convai.model.checkpoint import load_model, save_model
from convai.model.shape import Family, Shape
from convai.text.tokenizer import SPECIAL_TOKENS, Tokenizer

VOCAB = 1100
TOKENIZER = made_up_tokenizer(VOCAB)


@pytest.mark.parametrize(
    "work", [Workload(), Workload().quick(), Workload(persona=13, history=7, turns=3), Workload(persona=0)]
)
def test_prompts_have_the_lengths_asked_for(work: Workload) -> None:
    for chat in chats(work, VOCAB, 3, seed=1):
        prompt = chat.prompt(TOKENIZER.frame)
        assert len(prompt) == work.prompt
        assert sum(map(len, chat.persona)) == work.persona
        assert sum(len(turn.ids) for turn in chat.turns) == work.history
        assert [turn.speaker for turn in chat.turns][::-1] == [USER, AGENT, USER, AGENT, USER][: work.turns]
        assert all(0 <= word < VOCAB - CONTROL_IDS for turn in chat.turns for word in turn.ids)


def test_the_prompt_is_the_one_that_published_figures_are_about() -> None:
    assert Workload().prompt == 147


def test_chats_have_nothing_in_common_and_come_again_with_their_seed() -> None:
    first, other = chats(Workload(), VOCAB, 4, seed=1), chats(Workload(), VOCAB, 4, seed=2)
    assert first == chats(Workload(), VOCAB, 4, seed=1)
    beginnings = {tuple(chat.prompt(TOKENIZER.frame).ids[:8]) for chat in first + other}
    assert len(beginnings) == 8


def test_a_chat_goes_on() -> None:
    [chat] = chats(Workload(), VOCAB, 1, seed=1)
    later = chat.said([1, 2], [3])
    prompt, before = later.prompt(TOKENIZER.frame), chat.prompt(TOKENIZER.frame)
    assert prompt.ids[: len(before)] == before.ids
    assert prompt.ids[len(before) :] == [1, 2, TOKENIZER.speaker1_id, 3, TOKENIZER.speaker2_id]


@pytest.mark.parametrize("size", [261, 300, 16384, 50262])
def test_every_id_of_the_made_up_vocabulary_has_a_text(size: int) -> None:
    tokenizer = made_up_tokenizer(size)
    assert tokenizer.vocab_size == size
    assert sorted(tokenizer.special_ids) == list(range(size - CONTROL_IDS, size))
    assert len(SPECIAL_TOKENS) == CONTROL_IDS
    stream = tokenizer.stream()
    stream.push(ord("."))  # leading spaces are dropped
    texts = [stream.push(i) for i in range(256, size - CONTROL_IDS)]
    assert all(texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_random_model_is_as_unsure_as_a_trained_one(family: Family) -> None:
    """A nucleus of some dozens of tokens: neither one nor most of the vocabulary."""
    config = Shape(family=family, vocab_size=4096, n_positions=160, n_embd=64, n_layer=3, n_head=2)
    model = random_model(config)
    prompts = [chat.prompt(made_up_tokenizer(4096).frame) for chat in chats(Workload(), 4096, 4, seed=1)]
    with torch.no_grad():
        hidden = model(
            *(torch.tensor([getattr(p, part) for p in prompts]) for part in ("ids", "positions", "segments"))
        )
        probabilities = (model.lm_logits(hidden[:, -20:]) / 0.7).softmax(-1).sort(-1, descending=True)[0]
    nucleus = (probabilities.cumsum(-1) < 0.9).sum(-1) + 1
    assert 4 < float(nucleus.float().median()) < 200


def test_the_folder_holds_that_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Shape(vocab_size=300, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    monkeypatch.setitem(SIZES, "S", config)
    told = save_size("S", tmp_path, seed=3)
    saved, made = load_model(tmp_path).state_dict(), random_model(config, seed=3).state_dict()
    assert all(torch.equal(saved[name], made[name]) for name in made)
    assert told["parameters"] == sum(p.numel() for p in random_model(config).parameters())
    assert Tokenizer.load(tmp_path).vocab_size == 300
    assert told["weights"] == "random"


def test_a_bases_weights_are_taken_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = Shape(family="llama", vocab_size=300, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    monkeypatch.setitem(SIZES, "smol", config)
    assert save_size("smol", tmp_path / "without")["weights"] == "random"
    base = tmp_path / "cache" / "convai" / "models" / BASES["smol"]
    source = random_model(config, seed=9)
    save_model(source, base)
    (base / ABOUT).write_text("{}", encoding="utf-8")
    assert save_size("smol", tmp_path / "with")["weights"] == BASES["smol"]
    saved = load_model(tmp_path / "with").state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in source.state_dict().items())
