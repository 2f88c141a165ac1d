"""One model, one conversation at a time: prefill, draw, rank, stream."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from convai import segments
from convai.cache import KVCache
from convai.config import DecodingConfig
from convai.decoding import (
    ReplyBans,
    RowSettings,
    forbid,
    log_prob_of,
    next_tokens,
    process,
    row_generator,
    top_alternatives,
)
from convai.engine.events import Event, Finished, Token
from convai.engine.prefix import PrefixCache
from convai.errors import ConvaiError, SettingsError
from convai.model import DoubleHeadsModel
from convai.sampling.beam import BeamState
from convai.text.detokenizer import StreamDecoder
from convai.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Request:
    """A reply to be drawn: the prompt (it ends with a speaker token), how, and what not to say again.

    `own_turns`: ids of what this speaker said before (`no_repeat_own_ngram`); `alternatives`: how many of
    the most probable tokens every Token event names.
    """

    prompt: segments.Sequence
    config: DecodingConfig = field(default_factory=DecodingConfig)
    own_turns: Sequence[Sequence[int]] = ()
    alternatives: int = 0


class Engine:
    """Draws replies from a model. Closing the iterator of a reply cancels it."""

    def __init__(
        self, model: DoubleHeadsModel, tokenizer: Tokenizer, *, autocast: torch.dtype | None = None
    ) -> None:
        """`autocast`: the type that matrix products are computed in; None keeps the weights' own."""
        if model.config.vocab_size < tokenizer.vocab_size:
            raise SettingsError(
                f"the model knows {model.config.vocab_size} tokens, its tokenizer gives "
                f"{tokenizer.vocab_size}; take both from the same folder"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self._autocast = autocast
        self._prefix = PrefixCache(model, autocast or next(model.parameters()).dtype)
        hidden = set(tokenizer.hidden_ids) | set(range(tokenizer.vocab_size, model.config.vocab_size))
        # ids without a text of their own, and rows of the embedding that the tokenizer does not know
        self._forbidden = torch.tensor(sorted(hidden - {tokenizer.eos_id}), device=model.device)

    def _computing(self) -> AbstractContextManager[None]:
        return torch.autocast(self.model.device.type, self._autocast, enabled=self._autocast is not None)

    def stream(self, request: Request) -> Generator[Event, None, None]:
        """Draw `request.config.candidates` replies (or one, by beam search), event by event.

        Token events come as tokens are drawn; every candidate ends with a Finished event. With beam search
        there are no Token events: what a beam begins may not be what it ends with. Raises SettingsError
        when the prompt leaves no position for a reply.
        """
        room = self.model.config.n_positions - len(request.prompt) - 1  # the <eos> has a position too
        if room < 1:
            raise SettingsError(
                f"the prompt has {len(request.prompt)} tokens, the model {self.model.config.n_positions} "
                "positions: no room for a reply; shorten the persona or the history"
            )
        limit = min(request.config.max_length, room)
        draw = self._beam if request.config.num_beams > 1 else self._sample
        events = draw(request, limit)
        while True:
            # the mode is entered for each step, not held while the reader does something else
            with torch.inference_mode(), self._computing():
                event = next(events, None)
            if event is None:
                return
            yield event

    def best(self, request: Request) -> Finished:
        """The finished candidate that the next-sentence head likes best (the first of equals)."""
        finished = [event for event in self.stream(request) if isinstance(event, Finished)]
        return max(finished, key=lambda event: event.score)

    # -- sampling ----------------------------------------------------------------------------------

    def _sample(self, request: Request, limit: int) -> Generator[Event, None, None]:
        config, eos_id = request.config, self.tokenizer.eos_id
        n = config.candidates
        rows = list(range(n))  # candidates still running, one a batch row
        hidden, prefix, _ = self._prefix.prefill(request.prompt)
        hidden = hidden.expand(n, -1)
        cache = forked(self.model, prefix, n, limit + 1)
        settings = RowSettings.stack([config] * n)
        generators = [row_generator(config.seed, i) for i in range(n)]
        fresh = ReplyBans(config, request.own_turns)
        bans = [fresh.copy() for _ in range(n)]
        drafts = [_Draft(self.tokenizer.stream()) for _ in range(n)]
        for _ in range(limit):
            logits = self.model.lm_logits(hidden).float()
            tokens = next_tokens(
                logits,
                settings,
                [generators[r] for r in rows],
                replies=[drafts[r].ids for r in rows],
                eos_id=eos_id,
                forbidden=self._forbidden,
                banned=[bans[r].banned() for r in rows],
            )
            drawn = tokens.tolist()
            logprobs = log_prob_of(logits, tokens).tolist()
            named = self._alternatives(logits, request.alternatives)
            for row, token, logprob, others in zip(rows, drawn, logprobs, named, strict=True):
                drafts[row].logprob += logprob
                if token != eos_id:
                    bans[row].push(token)
                    yield Token(row, token, drafts[row].push(token), logprob, others)
            hidden = self._forward(cache, request.prompt, tokens[:, None])[:, -1]
            ended = [place for place, token in enumerate(drawn) if token == eos_id]
            if ended:
                scores = self.model.mc_logits(hidden[ended]).tolist()
                for place, score in zip(ended, scores, strict=True):
                    yield drafts[rows[place]].finished(rows[place], score, "stop")
                keep = [place for place, token in enumerate(drawn) if token != eos_id]
                rows = [rows[place] for place in keep]
                if not rows:
                    return
                kept = torch.tensor(keep, device=hidden.device)
                hidden = hidden[kept]
                cache.select(kept)
                settings = RowSettings.stack([config] * len(rows))
        # cut off by length: the <eos> that the model did not reach is appended to be scored
        hidden = self._forward(cache, request.prompt, torch.full((len(rows), 1), eos_id))[:, -1]
        for row, score in zip(rows, self.model.mc_logits(hidden).tolist(), strict=True):
            yield drafts[row].finished(row, score, "length")

    def _forward(self, cache: KVCache, prompt: segments.Sequence, words: Tensor) -> Tensor:
        """Hidden states `[B, T, D]` of T more tokens `[B, T]` a row."""
        words = words.to(self.model.device)
        start = cache.length
        positions = torch.arange(start, start + words.shape[1], device=words.device).expand_as(words)
        segment = torch.full_like(words, prompt.segments[-1])
        return self.model(words, positions, segment, cache=cache)  # type: ignore[no-any-return]

    def _alternatives(self, logits: Tensor, k: int) -> list[tuple[tuple[str, float], ...]]:
        if not k:
            return [()] * logits.shape[0]
        ids, values = top_alternatives(forbid(logits, self._forbidden), k)
        return [
            tuple(
                (self.tokenizer.decode([i]), v)
                for i, v in zip(row, row_values, strict=True)
                if v > -math.inf  # fewer are left than asked for
            )
            for row, row_values in zip(ids.tolist(), values.tolist(), strict=True)
        ]

    # -- beam search -------------------------------------------------------------------------------

    def _beam(self, request: Request, limit: int) -> Generator[Event, None, None]:
        config, eos_id, beams = request.config, self.tokenizer.eos_id, request.config.num_beams
        first, prefix, _ = self._prefix.prefill(request.prompt)
        hidden = first.expand(beams, -1)
        cache = forked(self.model, prefix, beams, limit)
        search = BeamState(1, beams, eos_id=eos_id, max_length=limit, length_penalty=config.length_penalty)
        settings = RowSettings.stack([config] * beams)
        bans = [ReplyBans(config, request.own_turns)] * beams
        while True:
            # On log-probabilities, as transformers does: a reply's score is then the model's own, and what
            # is forbidden takes no part in it.
            log_probs = self.model.lm_logits(hidden).float().log_softmax(-1)
            allowed = process(
                log_probs,
                settings,
                replies=list(search.running()),
                eos_id=eos_id,
                forbidden=self._forbidden,
                banned=[ban.banned() for ban in bans],
            )
            parents, tokens = search.step(allowed)
            if search.done:
                break
            bans = [bans[parent].copy() for parent in parents.tolist()]
            for ban, token in zip(bans, tokens.tolist(), strict=True):
                ban.push(token)
            cache.select(parents)
            hidden = self._forward(cache, request.prompt, tokens[:, None])[:, -1]
        drawn = search.best(0).tokens
        draft = _Draft(self.tokenizer.stream())
        for token in drawn:
            if token != eos_id:
                draft.push(token)
        # the reply once more, in one pass: its score, and its probability without penalties
        ending = torch.tensor([[*draft.ids, eos_id]])
        states = self._forward(forked(self.model, prefix, 1, ending.shape[1]), request.prompt, ending)
        logits = self.model.lm_logits(torch.cat([first[:, None], states], 1)[0, : len(drawn)])
        draft.logprob = float(log_prob_of(logits, ending[0, : len(drawn)].to(logits.device)).sum())
        score = float(self.model.mc_logits(states[0, -1]))
        yield draft.finished(0, score, "stop" if drawn[-1] == eos_id else "length")


@dataclass(slots=True)
class _Draft:
    """A reply as it grows."""

    decoder: StreamDecoder
    ids: list[int] = field(default_factory=list)
    text: str = ""
    logprob: float = 0.0

    def push(self, token: int) -> str:
        """One more token; returns the text that it makes certain."""
        self.ids.append(token)
        piece = self.decoder.push(token)
        self.text += piece
        return piece

    def finished(self, candidate: int, score: float, reason: Literal["stop", "length"]) -> Finished:
        """Raises ConvaiError when the score is not a number."""
        if not math.isfinite(score):
            raise ConvaiError(
                "the next-sentence head's output is not a finite number; the checkpoint is damaged or its "
                "precision too low: try float32"
            )
        text = self.text + self.decoder.finish()
        return Finished(candidate, tuple(self.ids), text, self.logprob, score, reason)


def forked(model: DoubleHeadsModel, cache: KVCache, rows: int, more: int) -> KVCache:
    """A cache of `rows` equal rows that begin with what `cache` (one row) holds, with room for `more`."""
    fork = KVCache(model.config, rows, cache.length + more, model.device, cache.keys[0].dtype)
    for layer in range(model.config.n_layer):
        n = cache.length
        fork.append(
            layer,
            cache.keys[layer][:, :, :n].expand(rows, -1, -1, -1),
            cache.values[layer][:, :, :n].expand(rows, -1, -1, -1),
        )
    return fork
