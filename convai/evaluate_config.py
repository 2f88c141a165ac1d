"""The settings of `convai evaluate`, each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from convai.errors import SettingsError

METRICS: Final = ("hits", "ppl", "f1", "distinct")
"""What can be asked for: hits@1; perplexities and bits per byte; F1; distinct-n and repetition."""


def _check(ok: bool, name: str, value: object, mend: str) -> None:
    if not ok:
        raise SettingsError(f"{name}={value!r}: {mend}")


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
