"""Who talks: what a conversation needs of a model, and a model here with an engine of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from convai.core.settings import DecodingConfig, EngineConfig
from convai.engine import Engine, ModelLimits
from convai.engine.backends.precision import Requested
from convai.model.shipped import ShippedModel, read_shipped
from convai.text.history import LONG, default_context
from convai.text.prompt import KnownTexts
from convai.text.tokenizer import Tokenizer


class Talker(Protocol):
    """What a conversation needs of a model; the weights may be elsewhere, behind an `engine.port`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer, which knows the frame that dialogues are written in."""

    @property
    def texts(self) -> KnownTexts:
        """The tokenizer for what is said in chats."""

    @property
    def positions(self) -> int:
        """Positions that a prompt and its reply take."""

    @property
    def has_long_context(self) -> bool:
        """Whether history is what fits, and not a number of exchanges."""

    @property
    def decoding(self) -> DecodingConfig:
        """How it draws replies, where nobody says."""

    @property
    def max_history(self) -> int | None:
        """Exchanges that it is shown; None: all that fits."""

    @property
    def name(self) -> str:
        """What it is called."""


@dataclass(slots=True)
class Agent(ShippedModel):
    """A `Talker` whose model is here: `engine` to draw replies."""

    texts: KnownTexts = field(init=False, repr=False, compare=False)
    """The tokenizer for what is said in chats."""

    def __post_init__(self) -> None:
        self.texts = KnownTexts(self.tokenizer)

    def engine(self, config: EngineConfig | None = None) -> Engine:
        """An engine of this model."""
        return Engine(self.model, self.tokenizer, config, name=self.name, positions=self.positions)

    def exact_engine(self, precision: Requested = "float32") -> Engine:
        """One for scores that others are to find again: unless told otherwise, in float32."""
        return self.engine(EngineConfig(precision=precision))


@dataclass(slots=True)
class Voice:
    """A `Talker` whose weights are elsewhere: what a door needs to write prompts and to read replies."""

    tokenizer: Tokenizer
    decoding: DecodingConfig
    max_history: int | None
    name: str
    positions: int
    has_long_context: bool
    texts: KnownTexts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.texts = KnownTexts(self.tokenizer)

    def within(self, limits: ModelLimits) -> Voice:
        """Itself, told what its engine takes."""
        self.positions = min(self.positions, limits.positions)
        return self


def load_voice(model: str | Path | None = None, *, context: int | None = None) -> Voice:
    """What a model's folder says beside the weights; raises as `load_agent` does."""
    found = read_shipped(model, context=context)
    long = found.shape.n_positions
    return Voice(
        found.tokenizer,
        found.decoding,
        found.max_history,
        found.folder.name,
        found.context or default_context(long),
        long >= LONG,
    )


def load_agent(model: str | Path | None = None, *, context: int | None = None) -> Agent:
    """Load a model folder, ready to talk; see `ShippedModel.load`, which says what is raised."""
    return Agent.load(model, context=context)
