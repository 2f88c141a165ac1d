"""The base model itself, where it is on this machine: its numbers and its ids are the published ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers

from convai.model.bases import KNOWN_BASES, weights_sha256
from convai.model.checkpoint import load_model
from convai.model.gguf.container import open_gguf
from convai.model.gguf.tokenizer import read_tokenizer
from tests.model.gguf.test_tokenizer import nasty_lines

CHAT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
ANSWER = "The capital of France is Paris."


def test_it_is_the_registered_file(smollm: Path) -> None:
    assert weights_sha256(smollm) == KNOWN_BASES["smollm2-135m"].gguf_sha256


@pytest.mark.slow
def test_it_answers(smollm: Path) -> None:
    """A row of a matrix in the wrong place, or a wrong id, and the answer is unlikely."""
    backend = read_tokenizer(open_gguf(smollm / "model.gguf"))
    prompt, answer = (backend.encode(text, add_special_tokens=False).ids for text in (CHAT, ANSWER))
    ids = torch.tensor([prompt + answer])
    model = load_model(smollm)
    with torch.inference_mode():
        logits = model.lm_logits(model(ids, torch.arange(ids.shape[1])[None]))[0]
    losses = F.cross_entropy(logits[len(prompt) - 1 : -1], torch.tensor(answer), reduction="none")
    assert losses.mean() < 0.3


@pytest.mark.slow
def test_its_ids_are_transformers_but_for_blanks_before_numbers(smollm: Path) -> None:
    """transformers' reading of a GGUF file leaves SmolLM's rule out that digits stand alone."""
    ours = read_tokenizer(open_gguf(smollm / "model.gguf"))
    theirs = transformers.AutoTokenizer.from_pretrained(smollm, gguf_file="model.gguf")
    for line in nasty_lines(500):
        expected = theirs(line, add_special_tokens=False)["input_ids"]
        if ours.encode(line, add_special_tokens=False).ids != expected:
            assert any(re.search(r"\s$", line[:at]) for at, char in enumerate(line) if char.isnumeric()), line
