"""Defaults of what measures a model: evaluation, talking with itself, probes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from convai.core.settings_values import Range, check_ranges, wrong

METRICS: Final = ("hits", "ppl", "f1", "distinct")
"""What can be asked for: hits@1; perplexities and bits per byte; F1; distinct-n and repetition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How the replies of a file are measured."""

    metrics: str = ",".join(METRICS)
    """What to measure: of hits, ppl, f1, distinct, separated by commas; `none` needs no model."""
    candidates: Annotated[int, Range(2, 1000)] = 20
    """Replies to rank for hits@1, the right one among them."""
    max_history: Annotated[int | None, Range(0, words="0 or more, or none for all that fits")] = 2
    """Exchanges before the utterance to be answered; none: all that fits, as models of a long context are
    measured unless this is given."""
    dialogs: Annotated[int, Range(0, words="0 (all) or more")] = 0
    """Dialogues to take, from the begin of the file; 0 takes all."""
    resolved: bool = False
    """Whether the model reads earlier turns with their pronouns replaced (`convai coref`)."""
    seed: int = 0
    """Seed of the wrong replies and of the sampler."""
    precision: Literal["float32", "bf16", "int8", "auto"] = "float32"
    """What the model computes in; auto: what a chat does (int8 where its kernels run, bf16 on a GPU)."""
    batch_tokens: Annotated[int, Range(16)] = 4096
    """Tokens of a forward pass; lower it when memory runs out."""

    def __post_init__(self) -> None:
        check_ranges(self)
        names = [name.strip() for name in self.metrics.split(",")]
        if names != ["none"] and not all(name in METRICS for name in names):
            raise wrong("metrics", self.metrics, f"use some of {', '.join(METRICS)}, or none")

    @property
    def chosen(self) -> frozenset[str]:
        """The metrics asked for, a subset of METRICS."""
        return frozenset(name.strip() for name in self.metrics.split(",")) - {"none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfChatConfig:
    """How the model talks with itself."""

    turns: Annotated[int, Range(1, 1000)] = 10
    """Replies of the agent a conversation."""
    personas: Path | None = None
    """File of personas to draw from, a sentence a line, a blank line between two; none: the samples."""
    out: Path | None = None
    """Write the conversations to this file (JSON Lines); none: nowhere."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbesConfig:
    """How often probes are asked, and where the answers go."""

    draws: Annotated[int, Range(1, 1000)] = 3
    """Answers to each probe, every one with another seed."""
    answers: Path | None = None
    """Write every answer and whether it was right to this file (JSON Lines); none: nowhere."""

    def __post_init__(self) -> None:
        check_ranges(self)
