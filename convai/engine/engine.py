"""One model, one conversation at a time: prefill, draw, rank, stream."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convai import segments
from convai.beam import BeamState
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
from convai.errors import SettingsError
from convai.model import DoubleHeadsModel
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
                f"the model knows {model.config.vocab_size} tokens, its tokenizer gives {tokenizer.vocab_size}; "
                "take both from the same folder"
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
                f"the prompt has {len(request.prompt)} tokens, the model {self.model.config.n_positions} positions: "
                "no room for a reply; shorten the persona or the history"
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
        hidden, cache, _ = self._prefix.prefill(request.prompt)
        hidden = hidden.expand(n, -1)
        cache = forked(self.model, cache, n, limit + 1)
        settings = RowSettings.stack([config] * n)
        generators = [row_generator(config.seed, i) for i in range(n)]
        bans = [ReplyBans(config, request.own_turns) for _ in range(n)]
        decoders = [self.tokenizer.stream() for _ in range(n)]
        replies: list[list[int]] = [[] for _ in range(n)]
        texts = [""] * n
        logprobs = [0.0] * n
        for _ in range(limit):
            logits = self.model.lm_logits(hidden).float()
            tokens = next_tokens(
                logits,
                settings,
                [generators[r] for r in rows],
                replies=[replies[r] for r in rows],
                eos_id=eos_id,
                forbidden=self._forbidden,
                banned=[bans[r].banned() for r in rows],
            )
            drawn = tokens.tolist()
            for row, logprob in zip(rows, log_prob_of(logits, tokens).tolist(), strict=True):
                logprobs[row] += logprob
            named = self._alternatives(logits, request.alternatives)
            for place, (row, token) in enumerate(zip(rows, drawn, strict=True)):
                if token == eos_id:
                    continue
                replies[row].append(token)
                bans[row].push(token)
                piece = decoders[row].push(token)
                texts[row] += piece
                logprob = float(log_prob_of(logits[place : place + 1], tokens[place : place + 1])[0])
                yield Token(row, token, piece, logprob, named[place])
            hidden = self._forward(cache, request.prompt, tokens)
            ended = [place for place, token in enumerate(drawn) if token == eos_id]
            if ended:
                scores = self.model.mc_logits(hidden[ended]).tolist()
                for place, score in zip(ended, scores, strict=True):
                    row = rows[place]
                    yield self._finished(row, replies[row], texts[row], decoders[row].finish(), logprobs[row], score, "stop")
                keep = [place for place, token in enumerate(drawn) if token != eos_id]
                rows = [rows[place] for place in keep]
                if not rows:
                    return
                kept = torch.tensor(keep, device=hidden.device)
                hidden = hidden[kept]
                cache.select(kept)
                settings = RowSettings.stack([config] * len(rows))
        # cut off by length: the <eos> that the model did not reach is appended to be scored
        scores = self.model.mc_logits(self._forward(cache, request.prompt, torch.full((len(rows),), eos_id))).tolist()
        for row, score in zip(rows, scores, strict=True):
            yield self._finished(row, replies[row], texts[row], decoders[row].finish(), logprobs[row], score, "length")

    def _finished(
        self, row: int, ids: list[int], text: str, rest: str, logprob: float, score: float, reason: str
    ) -> Finished:
        return Finished(row, tuple(ids), text + rest, logprob, score, "stop" if reason == "stop" else "length")

    def _forward(self, cache: KVCache, prompt: segments.Sequence, tokens: Tensor) -> Tensor:
        """Hidden states `[B, D]` after one more token `[B]` a row."""
        words = tokens.to(self.model.device).unsqueeze(1)
        position = torch.full_like(words, cache.length)
        segment = torch.full_like(words, prompt.segments[-1])
        hidden = self.model(words, position, segment, cache=cache)
        return hidden[:, -1]  # type: ignore[no-any-return]

    def _alternatives(self, logits: Tensor, k: int) -> list[tuple[tuple[str, float], ...]]:
        if not k:
            return [()] * logits.shape[0]
        ids, values = top_alternatives(forbid(logits, self._forbidden), k)
        return [
            tuple((self.tokenizer.decode([i]), v) for i, v in zip(row, row_values, strict=True))
            for row, row_values in zip(ids.tolist(), values.tolist(), strict=True)
        ]

    # -- beam search -------------------------------------------------------------------------------

    def _beam(self, request: Request, limit: int) -> Generator[Event, None, None]:
        config, eos_id, beams = request.config, self.tokenizer.eos_id, request.config.num_beams
        hidden, cache, _ = self._prefix.prefill(request.prompt)
        hidden = hidden.expand(beams, -1)
        cache = forked(self.model, cache, beams, limit + 1)
        search = BeamState(
            1, beams, eos_id=eos_id, max_length=limit, length_penalty=config.length_penalty
        )
        settings = RowSettings.stack([config] * beams)
        while not search.done:
            running = list(search.running())
            bans = [ReplyBans(config, request.own_turns) for _ in running]
            for ban, tokens in zip(bans, running, strict=True):
                for token in tokens:
                    ban.push(token)
            logits = self.model.lm_logits(hidden).float()
            allowed = process(
                logits,
                settings,
                replies=running,
                eos_id=eos_id,
                forbidden=self._forbidden,
                banned=[ban.banned() for ban in bans],
            )
            parents, tokens = search.step(allowed.log_softmax(-1))
            if search.done:
                break
            cache.select(parents)
            hidden = self._forward(cache, request.prompt, tokens)
        best = search.best(0)
        ids = [token for token in best.tokens if token != eos_id]
        _, cache, _ = self._prefix.prefill(request.prompt)
        cache = forked(self.model, cache, 1, len(ids) + 1)
        for token in [*ids, eos_id]:
            hidden = self._forward(cache, request.prompt, torch.tensor([token]))
        score = float(self.model.mc_logits(hidden)[0])
        reason = "stop" if len(best.tokens) > len(ids) or len(ids) < limit else "length"
        yield self._finished(0, ids, self.tokenizer.decode(ids), "", best.log_prob, score, reason)


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
