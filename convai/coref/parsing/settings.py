"""Settings of the parser's training, each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from convai.core.settings_values import Range, check_ranges


@dataclass(frozen=True)
class ParserSettings:
    """A shared convolutional encoder over hashed word features, and three small heads on it."""

    epochs: Annotated[int, Range(1)] = 12
    """Passes over the treebanks."""
    batch_words: Annotated[int, Range(1)] = 1000
    """Words in a step."""
    learning_rate: Annotated[float, Range(0, 1, above=True, below=True)] = 0.0015
    """Highest rate of Adam; it rises over the first steps and falls to nothing at the end."""
    warmup_steps: Annotated[int, Range(0)] = 100
    """Steps over which the rate rises."""
    dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of activations that training drops."""
    lower: Annotated[float, Range(0, 1, below=True)] = 0.25
    """Share of the texts that are learnt in lower case, half of their full stops left out."""
    text_sentences: Annotated[int, Range(1)] = 6
    """Sentences in a training text at most: what teaches where sentences end."""
    width: Annotated[int, Range(1)] = 96
    """Numbers in a word's vector."""
    depth: Annotated[int, Range(1)] = 4
    """Convolutions; each sees one word more to both sides."""
    rows: Annotated[tuple[int, int, int, int], Range(1)] = (5000, 1000, 2500, 2500)
    """Rows of the hashed tables for word, first letter, last three letters and shape."""
    hidden: Annotated[int, Range(1)] = 64
    """Hidden units of the transition model of parser and entity recogniser."""
    seed: int = 0
    """What the order of texts and the first weights are drawn from."""

    def __post_init__(self) -> None:
        """Raises SettingsError, naming field and mend."""
        check_ranges(self)
