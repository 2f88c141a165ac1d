"""llama.cpp through llama-cpp-python's C interface: all chats are sequences of one context.

A batch holds every prompt at once, then one token a chat and step; drawing is llama.cpp's own chain of
temperature, nucleus and distribution. Each sequence has a cache of its own (`kv_unified` off), as llama.cpp
advises for chats without a common prefix.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp as ll

from convai.bench.contenders.base import Setup, Timing, Together
from convai.bench.contenders.gguf_file import write_gguf
from convai.bench.workload import BenchChat
from convai.core.errors import ConvaiError
from convai.text.tokenizer import Tokenizer


@ll.llama_log_callback  # type: ignore[untyped-decorator]
def _quiet(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """llama.cpp's log, which would stand between the lines of the table."""


class LlamaCpp:
    """q8_0 weights."""

    kind = "q8_0"

    def __init__(self, setup: Setup) -> None:
        ll.llama_log_set(_quiet, ctypes.c_void_p(0))
        ll.llama_backend_init()
        self._work = setup.work
        self._tokenizer = Tokenizer.load(setup.folder)
        path = setup.folder / f"{self.kind}.gguf"
        write_gguf(setup.folder, path, self.kind)
        self._model = ll.llama_model_load_from_file(str(path).encode(), ll.llama_model_default_params())
        if not self._model:
            raise ConvaiError(f"{path}: llama.cpp cannot load it")
        tokens = setup.chats * setup.work.prompt
        params = ll.llama_context_default_params()
        params.n_ctx = setup.chats * _rounded(setup.work.prompt + setup.work.reply)
        params.n_batch = tokens
        params.n_seq_max = setup.chats
        params.n_threads = params.n_threads_batch = setup.threads
        params.kv_unified = False
        self._context = ll.llama_init_from_model(self._model, params)
        if not self._context:
            raise ConvaiError(f"{path}: llama.cpp cannot make a context for {setup.chats} chats")
        self._memory = ll.llama_get_memory(self._context)
        self._batch = ll.llama_batch_init(tokens, 0, 1)

    def _sampler(self, seed: int) -> Any:
        chain = ll.llama_sampler_chain_init(ll.llama_sampler_chain_default_params())
        if self._work.temperature:
            ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_temp(self._work.temperature))
            ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_top_p(self._work.top_p, 1))
            ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_dist(seed))
        else:
            ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_greedy())
        return chain

    def _put(self, place: int, token: int, position: int, chat: int, wanted: bool) -> None:
        batch = self._batch
        batch.token[place] = token
        batch.pos[place] = position
        batch.n_seq_id[place] = 1
        batch.seq_id[place][0] = chat
        batch.logits[place] = wanted

    def _decode(self, tokens: int) -> None:
        self._batch.n_tokens = tokens
        if code := ll.llama_decode(self._context, self._batch):
            raise ConvaiError(f"llama.cpp's llama_decode failed with code {code}")

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        ll.llama_memory_clear(self._memory, False)
        sampler = self._sampler(seed)
        times = Together(time.perf_counter(), len(chats))
        prompts = [chat.prompt(self._tokenizer.frame).ids for chat in chats]
        places, ends = 0, []
        for chat, words in enumerate(prompts):
            for position, word in enumerate(words):
                self._put(places, word, position, chat, position == len(words) - 1)
                places += 1
            ends.append(places - 1)
        self._decode(places)
        for step in range(self._work.reply):
            drawn = []
            for chat, end in enumerate(ends):
                drawn.append(ll.llama_sampler_sample(sampler, self._context, end))
                times.token(chat, drawn[-1], time.perf_counter())
            if step < self._work.reply - 1:
                for chat, token in enumerate(drawn):
                    self._put(chat, token, len(prompts[chat]) + step, chat, True)
                ends = list(range(len(chats)))
                self._decode(len(chats))
        timing = times.timing(time.perf_counter())
        ll.llama_sampler_free(sampler)
        return timing

    def close(self) -> None:
        """Free the batch, the context and the model."""
        ll.llama_batch_free(self._batch)
        ll.llama_free(self._context)
        ll.llama_model_free(self._model)


class LlamaCppHalf(LlamaCpp):
    """f16 weights."""

    kind = "f16"


def _rounded(tokens: int, unit: int = 32) -> int:
    return -(-tokens // unit) * unit
