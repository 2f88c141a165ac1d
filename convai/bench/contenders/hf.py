"""transformers' `generate` with its key-value cache: one chat after another, or one padded batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from convai.bench.contenders.base import Setup, Timing, Together, one_after_another
from convai.bench.workload import BenchChat
from convai.text.tokenizer import Tokenizer


def load_stock(folder: Path) -> Any:
    """The weights in `folder` as transformers' own language model, float32."""
    transformers.logging.set_verbosity_error()  # that our second head is not used is known
    transformers.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


class _Clock(BaseStreamer):
    """Notes when tokens come; `generate` hands over the prompt first."""

    def __init__(self, times: Together) -> None:
        self._times = times
        self._begun = False

    def put(self, value: Tensor) -> None:
        now = time.perf_counter()
        if self._begun:
            for token in value.tolist():
                self._times.token(0, token, now)
        self._begun = True

    def end(self) -> None:
        """Nothing is held back."""


class Transformers:
    """`generate` in float32."""

    batched = False

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        self._model = load_stock(setup.folder)
        self._tokenizer = Tokenizer.load(setup.folder)
        work = setup.work
        drawn = {"do_sample": True, "top_p": work.top_p, "top_k": 0, "temperature": work.temperature}
        self._config = transformers.GenerationConfig(
            max_new_tokens=work.reply,
            min_new_tokens=work.reply,
            suppress_tokens=sorted(self._tokenizer.hidden_ids),
            pad_token_id=self._tokenizer.pad_id,
            **(drawn if work.temperature else {"do_sample": False}),
        )

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        torch.manual_seed(seed)
        if self.batched:
            return self._batch(chats)
        return one_after_another([self._one(chat) for chat in chats])

    def _inputs(self, chats: Sequence[BenchChat]) -> dict[str, Tensor]:
        prompts = [chat.prompt(self._tokenizer.frame) for chat in chats]
        words = torch.tensor([prompt.ids for prompt in prompts])  # of one length, so nothing is padded
        inputs = {"inputs": words, "attention_mask": torch.ones_like(words)}
        if self._model.config.model_type == "gpt2":  # the only one here that adds segments' embeddings
            inputs["token_type_ids"] = torch.tensor([prompt.segments for prompt in prompts])
        return inputs

    def _one(self, chat: BenchChat) -> Timing:
        times = Together(time.perf_counter(), 1)
        self._model.generate(**self._inputs([chat]), generation_config=self._config, streamer=_Clock(times))
        return times.timing(time.perf_counter())

    def _batch(self, chats: Sequence[BenchChat]) -> Timing:
        """All rows in one call, which tells of no token before the last."""
        times = Together(time.perf_counter(), len(chats))
        inputs = self._inputs(chats)
        rows = self._model.generate(**inputs, generation_config=self._config)
        now = time.perf_counter()
        for chat, row in enumerate(rows[:, inputs["inputs"].shape[1] :].tolist()):
            for token in row:
                times.token(chat, token, now)
        return times.timing(now)

    def close(self) -> None:
        """Nothing outside Python is held."""


class TransformersBatched(Transformers):
    """All chats as the rows of one batch."""

    batched = True
