"""Settings of the parser's training, each default written once."""

from __future__ import annotations

from dataclasses import dataclass

from convai.core.errors import SettingsError


@dataclass(frozen=True)
class ParserSettings:
    """A shared convolutional encoder over hashed word features, and three small heads on it."""

    epochs: int = 12
    """Passes over the treebanks."""
    batch_words: int = 1000
    """Words in a step."""
    learning_rate: float = 0.0015
    """Highest rate of Adam; it rises over the first steps and falls to nothing at the end."""
    warmup_steps: int = 100
    """Steps over which the rate rises."""
    dropout: float = 0.1
    """Share of activations that training drops."""
    lower: float = 0.25
    """Share of the texts that are learnt in lower case, half of their full stops left out."""
    text_sentences: int = 6
    """Sentences in a training text at most: what teaches where sentences end."""
    width: int = 96
    """Numbers in a word's vector."""
    depth: int = 4
    """Convolutions; each sees one word more to both sides."""
    rows: tuple[int, int, int, int] = (5000, 1000, 2500, 2500)
    """Rows of the hashed tables for word, first letter, last three letters and shape."""
    hidden: int = 64
    """Hidden units of the transition model of parser and entity recogniser."""
    seed: int = 0
    """What the order of texts and the first weights are drawn from."""

    def __post_init__(self) -> None:
        """Raises SettingsError, naming field and mend."""
        for name in ("epochs", "batch_words", "text_sentences", "width", "depth", "hidden"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: use a number of 1 or more")
        if not 0 < self.learning_rate < 1:
            raise SettingsError(f"learning_rate={self.learning_rate}: use a number between 0 and 1")
        if self.warmup_steps < 0:
            raise SettingsError(f"warmup_steps={self.warmup_steps}: use 0 or more")
        for name in ("dropout", "lower"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: use 0 or more, below 1")
        if min(self.rows) < 1:
            raise SettingsError(f"rows={self.rows}: use numbers of 1 or more")
