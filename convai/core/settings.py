"""Every default, written once: decoding, engine, training, server. Command line and docs derive from here.

Those of what measures a model are in `evaluation_settings`, those of emotion and coref with their trainings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from convai.core.settings_values import ABOVE_0, Range, check_ranges, wrong
from convai.core.token_texts import biases_of, breakers_of

FROM_OFF: Final = Range(0, words="0 (off) or more")
UP_TO_OFF: Final = Range(0, 1, above=True, words="a number above 0, up to 1 (off)")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingConfig:
    """How a reply is drawn from the model's distribution.

    Processors apply in the order of the fields below (see convai.model.logits for each one's source).
    A value of 0, 1.0 or None that switches a processor off is named beside it.
    """

    max_length: Annotated[int, Range(1, 1024)] = 40
    """Most tokens in a reply."""
    min_length: int = 1
    """Fewest tokens before the end of the reply is allowed."""
    logit_bias: str = ""
    """Makes tokens, or the tokens of texts, more or less likely: " pizza": -5, "15043": false (never); empty
    is off."""
    repetition_penalty: Annotated[float, ABOVE_0] = 1.0
    """Divides the logits of tokens that were said (CTRL); 1.0 is off."""
    frequency_penalty: Annotated[float, Range(-2, 2)] = 0.0
    """Taken from a token's logit for every time that it was said; 0 is off."""
    presence_penalty: Annotated[float, Range(-2, 2)] = 0.0
    """Taken once from the logits of tokens that were said; 0 is off."""
    repeat_last_n: Annotated[int | None, Range(-1, words="-1 (all), 0 (off) or more, or none")] = None
    """Which tokens were said, for these three: the last n of prompt and reply, -1 for all; none: the reply's
    alone."""
    dry_multiplier: Annotated[float, Range(0, 100, words="0 (off) to 100")] = 0.0
    """DRY: how much what would go on with a repeated sequence loses; 0 is off."""
    dry_base: Annotated[float, Range(1, 10)] = 1.75
    """DRY: by how much more for each token that the sequence is longer."""
    dry_allowed_length: Annotated[int, Range(1, 50)] = 2
    """DRY: tokens of a sequence that may be repeated for nothing."""
    dry_penalty_last_n: Annotated[int, Range(-1, words="-1 (all), 0 (off) or more")] = -1
    """DRY: how many of the last tokens of prompt and reply are looked through; -1 for all."""
    dry_sequence_breakers: str = '"\\n", ":", "\\"", "*"'
    """DRY: texts that end a sequence, in quotation marks."""
    no_repeat_ngram: Annotated[int, FROM_OFF] = 3
    """No n-gram twice inside a reply; 0 is off."""
    no_repeat_own_ngram: Annotated[int, FROM_OFF] = 4
    """No n-gram of the agent's own earlier turns again, but for words of its persona and of the partner; 0 is
    off."""
    temperature: Annotated[float, Range(0, 100, words="0 (greedy) to 100")] = 0.7
    """Below 1 sharpens, above 1 flattens; 0 is greedy."""
    dynatemp_low: Annotated[float, Range(0, 100)] = 0.0
    """Dynamic temperature: the one where the model is sure."""
    dynatemp_high: Annotated[float, Range(0, 100, words="0 (off) to 100")] = 0.0
    """Dynamic temperature, in the place of `temperature`: the one where all tokens are equal; 0 is off."""
    dynatemp_exponent: Annotated[float, Range(0, 10, above=True, words="a number above 0, up to 10")] = 1.0
    """Dynamic temperature: above 1 it rises later."""
    top_n_sigma: Annotated[float, Range(0, 100, words="0 (off) to 100")] = 0.0
    """Keep tokens whose logit is within n standard deviations of the best; 0 is off."""
    top_k: Annotated[int, FROM_OFF] = 0
    """Keep the k most probable tokens; 0 is off."""
    top_p: Annotated[float, UP_TO_OFF] = 0.9
    """Nucleus: keep the smallest set whose probability reaches p; 1.0 is off."""
    min_p: Annotated[float, Range(0, 1, words="0 (off) to 1")] = 0.0
    """Keep tokens at least this share as probable as the best one; 0 is off."""
    typical_p: Annotated[float, UP_TO_OFF] = 1.0
    """Locally typical sampling; 1.0 is off."""
    xtc_probability: Annotated[float, Range(0, 1, words="0 (off) to 1")] = 0.0
    """XTC: how often the likeliest tokens are taken out; 0 is off."""
    xtc_threshold: Annotated[float, Range(0, 1)] = 0.1
    """XTC: of the tokens that are at least so probable all but the last are taken out."""
    temperature_last: bool = False
    """Whether the temperature comes behind all of these filters, and not before them."""
    num_beams: Annotated[int, Range(1, 64, words="1 (off) to 64")] = 1
    """Beam search when above 1 (temperature and samplers are then not used)."""
    length_penalty: Annotated[float, Range(0)] = 1.0
    """Beam scores are divided by length ** length_penalty."""
    candidates: Annotated[int, Range(1, 64)] = 1
    """Replies to sample; the next-sentence head picks the best."""
    seed: int | None = None
    """Seed of the sampler; None draws a fresh one."""
    adapter: str = ""
    """Which of the engine's models draws it, by its folder's name (see --adapters); empty: its own."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.min_length > self.max_length or self.min_length < 0:
            raise wrong("min_length", self.min_length, f"use 0 to max_length ({self.max_length})")
        if self.dynatemp_low > self.dynatemp_high > 0:
            raise wrong(
                "dynatemp_low", self.dynatemp_low, f"use at most dynatemp_high ({self.dynatemp_high:g})"
            )
        for name, parse in (("logit_bias", biases_of), ("dry_sequence_breakers", breakers_of)):
            try:
                parse(getattr(self, name))
            except ValueError as error:
                raise wrong(name, getattr(self, name)[:40], str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the engine serves many conversations with one model."""

    slots: Annotated[int, Range(1, 1024)] = 64
    """Replies computed side by side; every candidate and every beam takes one."""
    queue: Annotated[int, Range(1)] = 256
    """Requests that may wait for a slot; one more is refused at once."""
    step_tokens: Annotated[int, Range(1)] = 256
    """Tokens a step, of prompts and replies together; fewer let replies in progress go on more evenly while
    prompts come in, more read long prompts faster."""
    prefix_mib: Annotated[int, Range(0, words="0 (as little as possible) or more")] = 512
    """MiB in which conversations wait for their next turn without being computed again; the one that was
    silent longest goes first."""
    deadline: Annotated[float | None, Range(0, above=True, words="a number of seconds above 0, or none")] = (
        None
    )
    """Seconds after which a reply ends as it is; none: never."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """What the model computes in: float32 is exact; auto is int8 on a processor with kernels for it, bf16 on
    CUDA, else float32."""
    device: str | None = None
    """Where it computes (cpu, cuda, mps); none: where the model is."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run: what is learnt, in which order, how fast."""

    layout: Literal["dialogue", "utterance", "stream"] = "dialogue"
    """dialogue: whole dialogues, both heads; utterance: the blog post's sequences; stream: language-model
    pre-training on everything that anybody says."""
    targets: Literal["agent", "all"] = "agent"
    """Whose turns are language-model targets (dialogue layout)."""
    frame: Literal["auto", "template", "blog"] = "auto"
    """How a dialogue is written: in the base's own chat template, or as the blog post does, with control
    tokens of its own; auto takes the template where there is one."""
    both_sides: bool = False
    """Take every dialogue twice, the second time from the other chair."""
    epochs: Annotated[float, ABOVE_0] = 3.0
    """Passes over the data; `steps` overrides it."""
    steps: Annotated[int, Range(0, words="0 (by epochs) or more")] = 0
    """Optimizer steps; 0 leaves it to `epochs`."""
    batch_tokens: Annotated[int, Range(16)] = 8192
    """Tokens of a forward pass, padding counted; lower it when memory runs out."""
    accumulation: Annotated[int, Range(1)] = 1
    """Forward passes of a process an optimizer step; raise it as you lower batch_tokens."""
    row_tokens: Annotated[int, Range(16)] = 512
    """Longest sequence; at most the model's positions."""
    distractors: Annotated[int, Range(0, 256)] = 4
    """Wrong replies beside each gold one."""
    hard_distractors: Annotated[float, Range(0, 1)] = 0.0
    """Share of them taken from the same dialogue."""
    random_start: Annotated[float, Range(0, 1)] = 0.5
    """Share of dialogues that begin at a random turn, as a short history window shows them."""
    memory: Annotated[float, Range(0, 1)] = 0.0
    """Share of dialogues that are learnt as second sessions: what the partner told before stands in lines of
    the memory."""
    max_history: int | None = None
    """Exchanges of history (utterance layout); None: all that fits."""
    lm_coef: Annotated[float, Range(0)] = 1.0
    """Weight of the language-model loss."""
    mc_coef: Annotated[float, Range(0)] = 1.0
    """Weight of the next-sentence loss."""
    preference_coef: Annotated[float, Range(0)] = 0.25
    """Weight of the loss of pairs of replies (with --preferences)."""
    temperature: Annotated[float, ABOVE_0] = 2.0
    """Softens the distributions of teacher and student (with --teacher)."""
    soft_lm_coef: Annotated[float, Range(0)] = 1.0
    """Weight of the divergence from the teacher's distribution over words (with --teacher)."""
    soft_mc_coef: Annotated[float, Range(0)] = 1.0
    """Weight of the divergence from the teacher's next-sentence scores (with --teacher)."""
    hidden_coef: Annotated[float, Range(0)] = 1.0
    """Weight of the distance to the teacher's hidden states (with --teacher)."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: orthogonalised momentum for the blocks' matrices, AdamW for the rest."""
    apex_adam: bool = False
    """NVIDIA apex' FusedAdam in the place of torch's AdamW; needs a GPU and NVIDIA's apex."""
    apex_layer_norm: bool = False
    """NVIDIA apex' FusedLayerNorm in the model while it is trained; needs a GPU and NVIDIA's apex."""
    lr: Annotated[float, ABOVE_0] = 6.25e-5
    """Peak learning rate of AdamW (the blog post's, for fine-tuning)."""
    muon_lr: Annotated[float, ABOVE_0] = 1e-3
    """Peak learning rate of Muon."""
    weight_decay: Annotated[float, Range(0)] = 0.01
    """Of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's averages."""
    schedule: Literal["linear", "trapezoid", "slanted"] = "linear"
    """linear: down to 0 over the whole run; trapezoid: constant, down over the last fifth; slanted: ULMFiT's
    triangle between 1/32 of the rate and all of it (its paper's --warmup is 0.1)."""
    warmup: Annotated[float, Range(0, 1)] = 0.02
    """Share of the steps in which the rate rises."""
    layer_decay: Annotated[float, Range(1, words="1 (off) or more")] = 1.0
    """Each layer's rate is that many times smaller than that of the one above; 1.0 is off, 2.6 ULMFiT's."""
    unfreeze_every: Annotated[float, FROM_OFF] = 0.0
    """Epochs (parts of one too) after which one more block learns, the last one first and the embeddings
    at the end; 0 lets all learn from the start, 1 is ULMFiT's."""
    last_blocks: Annotated[
        int | None, Range(0, words="0 (the next-sentence head) or more, or none for all")
    ] = None
    """Only so many blocks from the top learn, with the heads; 0: the next-sentence head alone, so that the
    language model stays as it is; none: all, and the embeddings."""
    lora_rank: Annotated[int, Range(0, 1024, words="0 (off) to 1024")] = 0
    """Adapters of this rank learn instead of the weights (LoRA); 0 is off, 8 is usual."""
    lora_alpha: Annotated[float, ABOVE_0] = 16.0
    """An adapter's product is scaled by lora_alpha / lora_rank."""
    lora_dropout: Annotated[float, Range(0, 1, below=True)] = 0.0
    """Dropout of what goes into an adapter."""
    lora_targets: Literal["all", "attention"] = "all"
    """Matrices with an adapter: all of the blocks', or those of their attention."""
    frozen_precision: Literal["float32", "int8"] = "float32"
    """What the weights below adapters are computed with: int8 is several times faster on processors with
    VNNI, and near to what an int8 engine will compute."""
    max_norm: Annotated[float, ABOVE_0] = 1.0
    """Gradients are clipped to this norm."""
    dropout: Annotated[float | None, Range(0, 1, below=True)] = None
    """Overrides the model's embedding and residual dropout."""
    match_size: Annotated[int | None, Range(0, words="0 (no match head) or more")] = None
    """Dimensions of the match head, which compares the words of a reply with those before it; 0 takes it
    away, none leaves the model as it is."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Mixed precision; auto takes bf16 where the processor is faster in it."""
    gradient_checkpointing: bool = False
    """Recompute activations block by block: less memory, a third more time."""
    eval_every: Annotated[int, Range(0, words="0 (at the end) or more")] = 500
    """Steps between validations; 0 validates at the end only."""
    eval_dialogs: Annotated[int, Range(1)] = 50
    """Validation dialogues for the scores on the way."""
    save_every: Annotated[int, Range(1)] = 200
    """Steps between checkpoints."""
    patience: Annotated[int, FROM_OFF] = 0
    """Stop after this many validations without a better one; 0 never stops early."""
    seed: int = 0
    """Seed of weights, order, distractors and dropout."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.lm_coef + self.mc_coef == 0:
            raise wrong("lm_coef", self.lm_coef, "one of lm_coef and mc_coef must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where the server listens, whom it lets in, and how much it does for each."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every address of this machine, and then --tokens is needed."""
    port: Annotated[int, Range(0, 65_535, words="1 to 65535, or 0 for a free one")] = 8000
    """Port to listen on; 0 takes a free one."""
    store: str | None = None
    """Database file, or URL, of the conversations; none: conversations.db in the user's data folder."""
    tokens: Path | None = None
    """File with a bearer token a line; each is a person with conversations of their own; none: nobody is
    asked, and all share one list."""
    open: bool = False
    """Listen on an address that others can reach without --tokens: anybody can read all conversations."""
    origins: str = ""
    """Origins whose pages may connect beside the server's own, separated by blanks: https://chat.example.org."""
    proxy: bool = False
    """A proxy on this machine is in front: believe its X-Forwarded-For."""
    connections: Annotated[int, Range(1)] = 2000
    """Sockets at once."""
    connections_per_address: Annotated[int, Range(1)] = 64
    """Sockets at once from one address (an IPv6 network of /64 counts as one)."""
    generations: Annotated[int, Range(1)] = 16
    """Replies at once for one address."""
    rate: Annotated[int, Range(1)] = 240
    """Requests a minute from one address, on sockets and REST together."""
    idle: Annotated[float, Range(0, above=True, words="a number of seconds above 0")] = 900.0
    """Seconds without a frame after which a socket is closed."""
    hello: Annotated[float, Range(0, above=True, words="a number of seconds above 0")] = 10.0
    """Seconds that a socket has for its first frame."""
    grace: Annotated[float, Range(0, words="0 or more seconds")] = 120.0
    """Seconds that a reply goes on without a reader (a phone sleeps), who finds it when they come back."""
    drain: Annotated[float, Range(0, words="0 or more seconds")] = 20.0
    """Seconds that running replies have to finish after SIGTERM."""
    body_bytes: Annotated[int, Range(1024)] = 1_048_576
    """Bytes of a REST request's body."""
    compression: bool = False
    """Compress the sockets' frames (permessage-deflate); costs memory for each of them."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for origin in self.origins.split():
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or set(rest) & set("/?#@*"):
                mend = "use scheme://host or scheme://host:port, as in https://example.org"
                raise wrong("origins", origin, mend)
