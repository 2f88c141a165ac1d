"""The blog post's algorithm (convai/bench/baselines/blog_post.py), one chat after another."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from convai.bench.baselines import blog_post
from convai.bench.contenders.base import Setup, Timing, Together, one_after_another
from convai.bench.contenders.hf import load_stock
from convai.bench.workload import BenchChat
from convai.core.dialog import AGENT, USER
from convai.text.tokenizer import Tokenizer


class Recompute:
    """float32, no cache."""

    def __init__(self, setup: Setup) -> None:
        torch.set_num_threads(setup.threads)
        self._model = load_stock(setup.folder)
        self._tokenizer = Tokenizer.load(setup.folder)
        t, work = self._tokenizer, setup.work
        self._special = blog_post.SpecialIds(t.bos_id, t.speaker1_id, t.speaker2_id, tuple(t.hidden_ids))
        self._settings = blog_post.Settings(work.reply, work.temperature, 0, work.top_p)

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        torch.manual_seed(seed)
        return one_after_another([self._one(chat) for chat in chats])

    def _one(self, chat: BenchChat) -> Timing:
        speakers = {USER: self._tokenizer.speaker1_id, AGENT: self._tokenizer.speaker2_id}
        history = [(speakers[turn.speaker], turn.ids) for turn in chat.turns]
        reply: list[int] = []
        times = Together(time.perf_counter(), 1)
        while len(reply) < self._settings.max_length:
            token = blog_post.sample_token(
                self._model, self._special, chat.persona, history, reply, self._settings
            )
            reply.append(token)
            times.token(0, token, time.perf_counter())
        return times.timing(time.perf_counter())

    def close(self) -> None:
        """Nothing outside Python is held."""
