"""A tiny engine, its prompts, and the blog post's loop that it is held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from convai.core.dialog import AGENT
from convai.core.settings import DecodingConfig
from convai.core.token_texts import biases_of, breakers_of
from convai.decoding import Past, RowSettings, next_tokens, row_generator
from convai.engine import Engine, Event, Finished, Request
from convai.engine.bans import ReplyBans
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from convai.text import segments
from convai.text.segments import NOBODY, EncodedTurn, build_prompt
from convai.text.tokenizer import Tokenizer
from tests import samplers
from tests.tiny import tiny_model

BYTES = Tokenizer.byte_level()
UNKNOWN_ROWS = 3
"""Rows of the model's embedding that the tokenizer has no token for."""

NO_BANS = {"no_repeat_ngram": 0, "no_repeat_own_ngram": 0}


def ready(
    family: Family = "gpt2",
    *,
    eos: float = 0.0,
    seed: int = 0,
    n_positions: int = 160,
    tokenizer: Tokenizer = BYTES,
) -> DoubleHeadsModel:
    """A tiny model; `eos` makes the end of a reply more probable, by that much in its logit."""
    model = tiny_model(family, tokenizer.vocab_size + UNKNOWN_ROWS, n_positions, seed)
    last_norm = "ln_f" if family == "gpt2" else "h.1.ln_2"
    bias = model.get_parameter(f"transformer.{last_norm}.bias")  # part of every last hidden state
    with torch.no_grad():
        model.transformer.wte.weight[tokenizer.eos_id] += eos * bias / bias.dot(bias)
    return model.requires_grad_(False)


def engine(model: DoubleHeadsModel, tokenizer: Tokenizer = BYTES) -> Engine:
    return Engine(model, tokenizer)


def prompt(
    *said: str,
    persona: Sequence[str] = ("i bake bread.",),
    tokenizer: Tokenizer = BYTES,
    speaker: int = AGENT,
) -> segments.TokenSequence:
    """The user begins, then turn about."""
    turns = [EncodedTurn(i % 2, tokenizer.encode(text)) for i, text in enumerate(said)]
    return build_prompt(tokenizer.frame, [tokenizer.encode(s) for s in persona], turns, speaker)


def settings_of(**changes: object) -> DecodingConfig:
    return DecodingConfig(**{"seed": 1, "temperature": 1.0, "top_p": 1.0, **changes})  # type: ignore[arg-type]


def states(model: DoubleHeadsModel, prompt: segments.TokenSequence, ids: Sequence[int]) -> torch.Tensor:
    """Hidden states `[T, D]` of prompt and reply, computed all at once and without a cache."""
    n = len(prompt) + len(ids)
    with torch.no_grad():
        hidden = model(
            torch.tensor([[*prompt.ids, *ids]]),
            torch.arange(n)[None],
            torch.tensor([prompt.segments + [prompt.segments[-1]] * len(ids)]),
        )
    return hidden[0]  # type: ignore[no-any-return]


def forbidden(model: DoubleHeadsModel, tokenizer: Tokenizer) -> list[int]:
    unknown = range(tokenizer.vocab_size, model.config.vocab_size)
    return sorted((tokenizer.hidden_ids | set(unknown)) - {tokenizer.eos_id})


def naive(
    model: DoubleHeadsModel, request: Request, index: int = 0, tokenizer: Tokenizer = BYTES
) -> tuple[list[int], str]:
    """The blog post's loop: everything is computed again for every token."""
    config, eos_id = request.config, tokenizer.eos_id
    generator = row_generator(config.seed, index)
    bans = ReplyBans(config, request.own_turns)
    chances = row_generator(config.seed, index, "xtc")
    words = [
        id if turn != NOBODY else -1 for id, turn in zip(request.prompt.ids, request.prompt.turn, strict=True)
    ]
    ids: list[int] = []
    room = model.config.n_positions - len(request.prompt) - 1
    for _ in range(min(config.max_length, room)):
        logits = model.lm_logits(states(model, request.prompt, ids)[-1:])
        token = int(
            next_tokens(
                logits,
                RowSettings.stack([config]),
                [generator],
                replies=[ids],
                eos_id=eos_id,
                forbidden=forbidden(model, tokenizer),
                banned=[bans.banned()],
                pasts=[
                    _past(config, words, ids, float(torch.rand((), generator=chances, dtype=torch.float64)))
                ],
                guarded=tokenizer.encode("\n")[-1:],
            )
        )
        if token == eos_id:
            return ids, "stop"
        ids.append(token)
        bans.push(token)
    return ids, "length"


def _past(config: DecodingConfig, words: Sequence[int], ids: Sequence[int], chance: float) -> Past:
    """By the definitions: everything is looked at again for every token. Breakers are single bytes."""
    said = [id for id in (*words, *ids) if id >= 0]
    last_n = config.repeat_last_n
    window = ids if last_n is None else said if last_n < 0 else said[max(len(said) - last_n, 0) :]
    breakers = {-1, *(ord(text) for text in breakers_of(config.dry_sequence_breakers))}
    moved = samplers.dry(
        [0.0] * 300,
        [*words, *ids],
        multiplier=config.dry_multiplier,
        base=config.dry_base,
        allowed=config.dry_allowed_length,
        breakers=breakers,
        last_n=config.dry_penalty_last_n,
    )
    bias = {int(name): amount for name, amount in biases_of(config.logit_bias)}
    return Past(Counter(window), bias, {id: -x for id, x in enumerate(moved) if x}, chance)


def finished(events: Sequence[Event]) -> list[Finished]:
    return sorted((e for e in events if isinstance(e, Finished)), key=lambda e: e.candidate)


def uncached_logprob(model: DoubleHeadsModel, prompt: segments.TokenSequence, drawn: Sequence[int]) -> float:
    logits = model.lm_logits(states(model, prompt, drawn))[len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1)[range(len(drawn)), list(drawn)].sum())


def uncached_score(
    model: DoubleHeadsModel, prompt: segments.TokenSequence, ids: Sequence[int], eos_id: int
) -> float:
    return float(model.mc_logits(states(model, prompt, [*ids, eos_id])[-1]).detach())
