"""Settings of the coreference model's training, each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from convai.core.settings_values import ABOVE_0, Range, check_ranges, wrong


@dataclass(frozen=True)
class CorefTrainSettings:
    """Sizes of the model, and the phases of its training.

    A phase ends when the development score has not risen for `patience` epochs, or after its share of epochs;
    the next one goes on from the best weights so far. A phase of 0 epochs is left out.
    """

    all_pairs: Annotated[int, Range(0)] = 3
    """Most epochs of the first phase: every pair decided by itself."""
    top_pairs: Annotated[int, Range(0)] = 3
    """Most epochs of the second: of each mention the best true and the best false antecedent."""
    ranking: Annotated[int, Range(0)] = 0
    """Most epochs of the slack-rescaled ranking."""
    likelihood: Annotated[int, Range(0)] = 6
    """Most epochs of the likelihood of all true antecedents."""
    patience: Annotated[int, Range(1)] = 2
    """Epochs without a better development score that end a phase."""
    lr: Annotated[float, ABOVE_0] = 1e-3
    """Learning rate of the first epoch of a phase; it falls to a fifth over the phase's epochs."""
    weight_decay: Annotated[float, Range(0)] = 1e-4
    """Of AdamW."""
    dropout: Annotated[float, Range(0, 1, below=True)] = 0.3
    """Share of activations that training drops."""
    questions: Annotated[float, ABOVE_0] = 2.0
    """How many mentions one answer of a file of ambiguous pronouns counts for."""
    batch_pairs: Annotated[int, Range(1)] = 12000
    """Pairs of a step: documents are put together until there are so many."""
    max_norm: Annotated[float, ABOVE_0] = 5.0
    """Longest gradient of a step."""
    average: Annotated[float, Range(0, 1, below=True)] = 0.98
    """Share of the averaged weights that a step keeps; these are judged and saved. 0 takes the step's own."""
    held_out: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of the documents that are the development set where none is given."""
    window: Annotated[int, Range(1)] = 48
    """Mentions that are looked back for an antecedent."""
    matching: Annotated[int, Range(0)] = 4
    """Mentions further back with the same head word that are looked at as well."""
    reach: Annotated[int, Range(1)] = 500
    """How many mentions further back these may be."""
    mention_size: Annotated[int, Range(1)] = 128
    """Hidden units for a mention."""
    pair_size: Annotated[int, Range(1)] = 96
    """Hidden units for a pair."""
    second_size: Annotated[int, Range(1)] = 64
    """Units of the second hidden layer."""
    learnt: Annotated[int, Range(1)] = 3000
    """Commonest words that have a learnt part beside their fixed vector."""
    learnt_size: Annotated[int, Range(1)] = 24
    """Numbers of that part."""
    context_layer: Annotated[int, Range(1)] = 12
    """Blocks of the language model of --context, after which its states are taken."""
    encoder_layers: Annotated[int, Range(1)] = 5
    """Lower layers of the encoder of --encoder that are taken."""
    encoder_fixed: Annotated[int, Range(0)] = 1
    """How many of them stay as they are."""
    encoder_pieces: Annotated[int, Range(1)] = 12000
    """Pieces of words that it goes on knowing: those that the model's commonest words need."""
    encoder_lr: Annotated[float, ABOVE_0] = 1e-4
    """Learning rate of the encoder, which rises over the first 100 steps and falls as the other."""
    encoder_dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of what goes into each layer that training drops."""
    products: Annotated[int, Range(1)] = 16
    """Products of two mentions' states that a pair is described by, with --context or --encoder."""
    product_size: Annotated[int, Range(1)] = 16
    """Numbers that each product is a sum of."""
    seed: int = 0
    """What the first weights and the order of documents are drawn from."""

    def __post_init__(self) -> None:
        """Raises SettingsError, naming field and mend."""
        check_ranges(self)
        if not any(epochs for _, epochs in self.phases()):
            raise wrong("all_pairs", 0, "every phase has 0 epochs; give one of them some")
        if self.reach < self.window:
            raise wrong("reach", self.reach, f"use at least as many as window, {self.window}")

    def phases(self) -> list[tuple[str, int]]:
        """Name of the loss and most epochs of each phase, in their order."""
        named = (
            ("all-pairs", self.all_pairs),
            ("top-pairs", self.top_pairs),
            ("ranking", self.ranking),
            ("likelihood", self.likelihood),
        )
        return [(name, epochs) for name, epochs in named if epochs]
