"""Every default, written once: decoding, training, evaluation. Command line and docs derive from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from convai.core.errors import SettingsError


def _check(ok: bool, name: str, value: object, mend: str) -> None:
    if not ok:
        raise SettingsError(f"{name}={value!r}: {mend}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingConfig:
    """How a reply is drawn from the model's distribution.

    Processors apply in the order of the fields below (see convai.decoding for each one's source).
    A value of 0, 1.0 or None that switches a processor off is named beside it.
    """

    max_length: int = 40
    """Most tokens in a reply."""
    min_length: int = 1
    """Fewest tokens before the end of the reply is allowed."""
    repetition_penalty: float = 1.0
    """Divides the logits of tokens already in the reply (CTRL); 1.0 is off."""
    no_repeat_ngram: int = 3
    """No n-gram twice inside a reply; 0 is off."""
    no_repeat_own_ngram: int = 4
    """No n-gram of the agent's own earlier turns again (it would repeat itself); 0 is off."""
    temperature: float = 0.7
    """Below 1 sharpens, above 1 flattens; 0 is greedy."""
    top_k: int = 0
    """Keep the k most probable tokens; 0 is off."""
    top_p: float = 0.9
    """Nucleus: keep the smallest set whose probability reaches p; 1.0 is off."""
    min_p: float = 0.0
    """Keep tokens at least this share as probable as the best one; 0 is off."""
    typical_p: float = 1.0
    """Locally typical sampling; 1.0 is off."""
    num_beams: int = 1
    """Beam search when above 1 (temperature and samplers are then not used)."""
    length_penalty: float = 1.0
    """Beam scores are divided by length ** length_penalty."""
    candidates: int = 1
    """Replies to sample; the next-sentence head picks the best."""
    seed: int | None = None
    """Seed of the sampler; None draws a fresh one."""

    def __post_init__(self) -> None:
        _check(1 <= self.max_length <= 1024, "max_length", self.max_length, "use 1 to 1024")
        _check(
            0 <= self.min_length <= self.max_length,
            "min_length",
            self.min_length,
            f"use 0 to max_length ({self.max_length})",
        )
        _check(
            self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "use a number above 0"
        )
        _check(self.no_repeat_ngram >= 0, "no_repeat_ngram", self.no_repeat_ngram, "use 0 (off) or more")
        _check(
            self.no_repeat_own_ngram >= 0,
            "no_repeat_own_ngram",
            self.no_repeat_own_ngram,
            "use 0 (off) or more",
        )
        _check(0 <= self.temperature <= 100, "temperature", self.temperature, "use 0 (greedy) to 100")
        _check(self.top_k >= 0, "top_k", self.top_k, "use 0 (off) or more")
        _check(0 < self.top_p <= 1, "top_p", self.top_p, "use a number above 0, up to 1 (off)")
        _check(0 <= self.min_p <= 1, "min_p", self.min_p, "use 0 (off) to 1")
        _check(0 < self.typical_p <= 1, "typical_p", self.typical_p, "use a number above 0, up to 1 (off)")
        _check(1 <= self.num_beams <= 64, "num_beams", self.num_beams, "use 1 (off) to 64")
        _check(self.length_penalty >= 0, "length_penalty", self.length_penalty, "use 0 or more")
        _check(1 <= self.candidates <= 64, "candidates", self.candidates, "use 1 to 64")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How the engine serves many conversations with one model."""

    slots: int = 64
    """Replies computed side by side; every candidate and every beam takes one."""
    queue: int = 256
    """Requests that may wait for a slot; one more is refused at once."""
    step_tokens: int = 256
    """Tokens a step, of prompts and replies together; fewer let replies in progress go on more evenly while
    prompts come in, more read long prompts faster."""
    prefix_mib: int = 512
    """MiB in which conversations wait for their next turn without being computed again; the one that was
    silent longest goes first."""
    deadline: float | None = None
    """Seconds after which a reply ends as it is; none: never."""
    precision: Literal["auto", "float32", "bf16", "int8"] = "auto"
    """What the model computes in: float32 is exact; auto is int8 on a processor with kernels for it, bf16 on
    CUDA, else float32."""
    device: str | None = None
    """Where it computes (cpu, cuda, mps); none: where the model is."""

    def __post_init__(self) -> None:
        _check(1 <= self.slots <= 1024, "slots", self.slots, "use 1 to 1024")
        _check(self.queue >= 1, "queue", self.queue, "use 1 or more")
        _check(self.step_tokens >= 1, "step_tokens", self.step_tokens, "use 1 or more")
        _check(self.prefix_mib >= 0, "prefix_mib", self.prefix_mib, "use 0 (as little as possible) or more")
        timely = self.deadline is None or self.deadline > 0
        _check(timely, "deadline", self.deadline, "use a number of seconds above 0, or none")


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
    epochs: float = 3.0
    """Passes over the data; `steps` overrides it."""
    steps: int = 0
    """Optimizer steps; 0 leaves it to `epochs`."""
    batch_tokens: int = 8192
    """Tokens of a forward pass, padding counted; lower it when memory runs out."""
    accumulation: int = 1
    """Forward passes of a process an optimizer step; raise it as you lower batch_tokens."""
    row_tokens: int = 512
    """Longest sequence; at most the model's positions."""
    distractors: int = 4
    """Wrong replies beside each gold one."""
    hard_distractors: float = 0.0
    """Share of them taken from the same dialogue."""
    random_start: float = 0.5
    """Share of dialogues that begin at a random turn, as a short history window shows them."""
    max_history: int | None = None
    """Exchanges of history (utterance layout); None: all that fits."""
    lm_coef: float = 1.0
    """Weight of the language-model loss."""
    mc_coef: float = 1.0
    """Weight of the next-sentence loss."""
    temperature: float = 2.0
    """Softens the distributions of teacher and student (with --teacher)."""
    soft_lm_coef: float = 1.0
    """Weight of the divergence from the teacher's distribution over words (with --teacher)."""
    soft_mc_coef: float = 1.0
    """Weight of the divergence from the teacher's next-sentence scores (with --teacher)."""
    hidden_coef: float = 1.0
    """Weight of the distance to the teacher's hidden states (with --teacher)."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: orthogonalised momentum for the blocks' matrices, AdamW for the rest."""
    apex_adam: bool = False
    """NVIDIA apex' FusedAdam in the place of torch's AdamW; needs a GPU and NVIDIA's apex."""
    apex_layer_norm: bool = False
    """NVIDIA apex' FusedLayerNorm in the model while it is trained; needs a GPU and NVIDIA's apex."""
    lr: float = 6.25e-5
    """Peak learning rate of AdamW (the blog post's, for fine-tuning)."""
    muon_lr: float = 1e-3
    """Peak learning rate of Muon."""
    weight_decay: float = 0.01
    """Of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's averages."""
    schedule: Literal["linear", "trapezoid", "slanted"] = "linear"
    """linear: down to 0 over the whole run; trapezoid: constant, down over the last fifth; slanted: ULMFiT's
    triangle between 1/32 of the rate and all of it (its paper's --warmup is 0.1)."""
    warmup: float = 0.02
    """Share of the steps in which the rate rises."""
    layer_decay: float = 1.0
    """Each layer's rate is that many times smaller than that of the one above; 1.0 is off, 2.6 ULMFiT's."""
    unfreeze_every: float = 0.0
    """Epochs (parts of one too) after which one more block learns, the last one first and the embeddings
    at the end; 0 lets all learn from the start, 1 is ULMFiT's."""
    last_blocks: int | None = None
    """Only so many blocks from the top learn, with the heads; 0: the next-sentence head alone, so that the
    language model stays as it is; none: all, and the embeddings."""
    lora_rank: int = 0
    """Adapters of this rank learn instead of the weights (LoRA; needs convai[lora]); 0 is off, 8 is usual."""
    lora_alpha: float = 16.0
    """An adapter's product is scaled by lora_alpha / lora_rank."""
    lora_dropout: float = 0.0
    """Dropout of what goes into an adapter."""
    lora_targets: Literal["all", "attention"] = "all"
    """Matrices with an adapter: all of the blocks', or those of their attention."""
    frozen_precision: Literal["float32", "int8"] = "float32"
    """What the weights below adapters are computed with: int8 is several times faster on processors with
    VNNI, and near to what an int8 engine will compute."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""
    dropout: float | None = None
    """Overrides the model's embedding and residual dropout."""
    match_size: int | None = None
    """Dimensions of the match head, which compares the words of a reply with those before it; 0 takes it
    away, none leaves the model as it is."""
    precision: Literal["auto", "float32", "bf16", "fp16"] = "auto"
    """Mixed precision; auto takes bf16 where the processor is faster in it."""
    gradient_checkpointing: bool = False
    """Recompute activations block by block: less memory, a third more time."""
    eval_every: int = 500
    """Steps between validations; 0 validates at the end only."""
    eval_dialogs: int = 50
    """Validation dialogues for the scores on the way."""
    save_every: int = 200
    """Steps between checkpoints."""
    patience: int = 0
    """Stop after this many validations without a better one; 0 never stops early."""
    seed: int = 0
    """Seed of weights, order, distractors and dropout."""

    def __post_init__(self) -> None:
        _check(self.epochs > 0, "epochs", self.epochs, "use a number above 0")
        _check(self.steps >= 0, "steps", self.steps, "use 0 (by epochs) or more")
        _check(self.batch_tokens >= 16, "batch_tokens", self.batch_tokens, "use 16 or more")
        _check(self.accumulation >= 1, "accumulation", self.accumulation, "use 1 or more")
        _check(self.row_tokens >= 16, "row_tokens", self.row_tokens, "use 16 or more")
        _check(0 <= self.distractors <= 256, "distractors", self.distractors, "use 0 to 256")
        _check(0 <= self.hard_distractors <= 1, "hard_distractors", self.hard_distractors, "use 0 to 1")
        _check(0 <= self.random_start <= 1, "random_start", self.random_start, "use 0 to 1")
        _check(self.lm_coef >= 0, "lm_coef", self.lm_coef, "use 0 or more")
        _check(self.mc_coef >= 0, "mc_coef", self.mc_coef, "use 0 or more")
        _check(
            self.lm_coef + self.mc_coef > 0,
            "lm_coef",
            self.lm_coef,
            "one of lm_coef and mc_coef must be above 0",
        )
        _check(self.temperature > 0, "temperature", self.temperature, "use a number above 0")
        _check(self.soft_lm_coef >= 0, "soft_lm_coef", self.soft_lm_coef, "use 0 or more")
        _check(self.soft_mc_coef >= 0, "soft_mc_coef", self.soft_mc_coef, "use 0 or more")
        _check(self.hidden_coef >= 0, "hidden_coef", self.hidden_coef, "use 0 or more")
        _check(self.lr > 0, "lr", self.lr, "use a number above 0")
        _check(self.muon_lr > 0, "muon_lr", self.muon_lr, "use a number above 0")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "use 0 or more")
        _check(0 <= self.warmup <= 1, "warmup", self.warmup, "use 0 to 1")
        _check(self.layer_decay >= 1, "layer_decay", self.layer_decay, "use 1 (off) or more")
        _check(self.unfreeze_every >= 0, "unfreeze_every", self.unfreeze_every, "use 0 (off) or more")
        _check(
            self.last_blocks is None or self.last_blocks >= 0,
            "last_blocks",
            self.last_blocks,
            "use 0 (the next-sentence head) or more, or none for all",
        )
        _check(0 <= self.lora_rank <= 1024, "lora_rank", self.lora_rank, "use 0 (off) to 1024")
        _check(self.lora_alpha > 0, "lora_alpha", self.lora_alpha, "use a number above 0")
        _check(0 <= self.lora_dropout < 1, "lora_dropout", self.lora_dropout, "use 0 up to 1")
        _check(self.max_norm > 0, "max_norm", self.max_norm, "use a number above 0")
        _check(self.dropout is None or 0 <= self.dropout < 1, "dropout", self.dropout, "use 0 up to 1")
        _check(
            self.match_size is None or self.match_size >= 0,
            "match_size",
            self.match_size,
            "use 0 (no match head) or more",
        )
        _check(self.eval_every >= 0, "eval_every", self.eval_every, "use 0 (at the end) or more")
        _check(self.eval_dialogs >= 1, "eval_dialogs", self.eval_dialogs, "use 1 or more")
        _check(self.save_every >= 1, "save_every", self.save_every, "use 1 or more")
        _check(self.patience >= 0, "patience", self.patience, "use 0 (off) or more")


METRICS: Final = ("hits", "ppl", "f1", "distinct")
"""What can be asked for: hits@1; perplexities and bits per byte; F1; distinct-n and repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How the replies of a file are measured."""

    metrics: str = ",".join(METRICS)
    """What to measure: of hits, ppl, f1, distinct, separated by commas; `none` needs no model."""
    candidates: int = 20
    """Replies to rank for hits@1, the right one among them."""
    max_history: int | None = 2
    """Exchanges before the utterance to be answered; none: all that fits."""
    dialogs: int = 0
    """Dialogues to take, from the begin of the file; 0 takes all."""
    resolved: bool = False
    """Whether the model reads earlier turns with their pronouns replaced (`convai coref`)."""
    seed: int = 0
    """Seed of the wrong replies and of the sampler."""
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """float32 is exact; bf16 is faster where the processor computes in it; auto takes it there only."""
    batch_tokens: int = 4096
    """Tokens of a forward pass, padding counted; lower it when memory runs out."""

    def __post_init__(self) -> None:
        names = [name.strip() for name in self.metrics.split(",")]
        known = names == ["none"] or all(name in METRICS for name in names)
        _check(known, "metrics", self.metrics, f"use some of {', '.join(METRICS)}, or none")
        _check(2 <= self.candidates <= 1000, "candidates", self.candidates, "use 2 to 1000")
        _check(
            self.max_history is None or self.max_history >= 0,
            "max_history",
            self.max_history,
            "use 0 or more, or none for all that fits",
        )
        _check(self.dialogs >= 0, "dialogs", self.dialogs, "use 0 (all) or more")
        _check(self.batch_tokens >= 16, "batch_tokens", self.batch_tokens, "use 16 or more")

    @property
    def chosen(self) -> frozenset[str]:
        """The metrics asked for, a subset of METRICS."""
        return frozenset(name.strip() for name in self.metrics.split(",")) - {"none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfChatConfig:
    """How the model talks with itself."""

    turns: int = 10
    """Replies of the agent a conversation."""
    personas: Path | None = None
    """File of personas to draw from, a sentence a line, a blank line between two; none: the samples."""
    out: Path | None = None
    """Write the conversations to this file (JSON Lines); none: nowhere."""

    def __post_init__(self) -> None:
        _check(1 <= self.turns <= 1000, "turns", self.turns, "use 1 to 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesConfig:
    """How often probes are asked, and where the answers go."""

    draws: int = 3
    """Answers to each probe, every one with another seed."""
    answers: Path | None = None
    """Write every answer and whether it was right to this file (JSON Lines); none: nowhere."""

    def __post_init__(self) -> None:
        _check(1 <= self.draws <= 1000, "draws", self.draws, "use 1 to 1000")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Where the server listens, whom it lets in, and how much it does for each."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every address of this machine, and then --tokens is needed."""
    port: int = 8000
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
    connections: int = 2000
    """Sockets at once."""
    connections_per_address: int = 64
    """Sockets at once from one address (an IPv6 network of /64 counts as one)."""
    generations: int = 16
    """Replies at once for one address."""
    rate: int = 240
    """Requests a minute from one address, on sockets and REST together."""
    idle: float = 900.0
    """Seconds without a frame after which a socket is closed."""
    hello: float = 10.0
    """Seconds that a socket has for its first frame."""
    drain: float = 20.0
    """Seconds that running replies have to finish after SIGTERM."""
    body_bytes: int = 1_048_576
    """Bytes of a REST request's body."""
    compression: bool = False
    """Compress the sockets' frames (permessage-deflate); costs memory for each of them."""

    def __post_init__(self) -> None:
        _check(0 <= self.port <= 65_535, "port", self.port, "use 1 to 65535, or 0 for a free one")
        for name in ("connections", "connections_per_address", "generations", "rate"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        for name in ("idle", "hello"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "use a number of seconds above 0")
        _check(self.drain >= 0, "drain", self.drain, "use 0 or more seconds")
        _check(self.body_bytes >= 1024, "body_bytes", self.body_bytes, "use 1024 or more")
        for origin in self.origins.split():
            scheme, _, rest = origin.partition("://")
            named = scheme in ("http", "https") and bool(rest) and not set(rest) & set("/?#@*")
            _check(
                named, "origins", origin, "use scheme://host or scheme://host:port, as in https://example.org"
            )
