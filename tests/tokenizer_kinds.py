"""Small tokenizers of every kind that convai reads, made on the spot, and texts that try to fool them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import tokenizers
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from convai.text.tokenizer import Tokenizer

TEXTS = (
    "hello ! my name is ada and i ' m a lighthouse keeper .",
    "What a lovely place to live. Do you get many visitors?",
    "not really , the ferry only comes twice a week . i don ' t mind though .",
    "I’ve always wanted to see one… does it still have the old lamp?",
    "yes ! we polish it every sunday ; it ' s 120 years old and it was never broken .",
    "my brother says he can't sleep near the sea , it ' s too loud ( he lives in a city )",
    "that's funny, i couldn't sleep without it. what do you do for a living?",
    "i bake bread and i sell it at the market . people love my rye loaf the most .",
    "the bread is the best there is, they tell me: crusty, dark, with seeds.",
    "do n't you get tired of getting up at 4 in the morning , though ?",
) * 4

KINDS = ("own", "bytes", "gpt2", "openai-gpt")


def _write_gpt2(folder: Path) -> None:
    """vocab.json and merges.txt as `gpt2` was published: byte-level, `<|endoftext|>` the last id."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    vocab = backend.get_vocab() | {"<|endoftext|>": backend.get_vocab_size()}
    merges = _merges(backend)
    models.BPE(vocab=vocab, merges=merges).save(str(folder))


def _write_openai_gpt(folder: Path) -> None:
    """vocab.json and merges.txt as `openai-gpt` was published: `</w>` at word ends, `<unk>` the first id."""
    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.model.save(str(folder))


def _merges(backend: tokenizers.Tokenizer) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        backend.model.save(folder)
        lines = (Path(folder) / "merges.txt").read_text(encoding="utf-8").split("\n")
    return [(left, right) for left, right in (line.split(" ") for line in lines[1:] if line)]


@cache
def published(name: str) -> dict[str, bytes]:
    """vocab.json and merges.txt of `gpt2` or `openai-gpt`, made once (training differs)."""
    with tempfile.TemporaryDirectory() as folder:
        (_write_gpt2 if name == "gpt2" else _write_openai_gpt)(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def publish(name: str, folder: Path) -> Path:
    """Write those files into `folder`."""
    for file, content in published(name).items():
        (folder / file).write_bytes(content)
    return folder


@cache
def kind(name: str) -> Tokenizer:
    """One of KINDS, with the five special tokens."""
    if name == "own":
        return Tokenizer.train(TEXTS, 420)
    if name == "bytes":
        return Tokenizer.byte_level()
    with tempfile.TemporaryDirectory() as folder:
        return Tokenizer.load_pretrained(publish(name, Path(folder)))[0]


_FRAGMENTS = (
    *("<bos>", "<eos>", "<speaker1>", "<speaker2>", "<pad>", "<|endoftext|>", "<unk>", "</w>"),
    *("<", ">", "e", "os>", "<e", "speaker", "1>", "<EOS>", "＜eos＞", "＜", "ｅ", "ｏｓ＞", "﹤eos﹥"),
    *(" ", "  ", "\n", "\u00a0", "hello", "Hello", "i", "'", " ' ", "m", "don", "t", "n't", "’", "''", "``"),
    *(".", ",", "!", "?", ":", ";", "(", ")", " .", " ,", "...", "…", "—", "-", '"', "“", "4", "1999", "½"),
    *(
        "s",
        "é",
        "e\u0301",
        "J\u030c",
        "İ",
        "ß",
        "Σ",
        "ﬁ",
        "中文",
        "🙂",
        "\x00",
        "\ufffd",
        "\u2028",
        "\u200d",
        "Ġ",
    ),
)

texts = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(_FRAGMENTS), max_size=14).map("".join))
"""Any text, and text made of the pieces that rules and control tokens are made of."""
