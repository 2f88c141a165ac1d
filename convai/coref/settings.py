"""Settings of the coreference model's training, each default written once."""

from __future__ import annotations

from dataclasses import dataclass

from convai.core.errors import SettingsError


@dataclass(frozen=True)
class CorefTrainSettings:
    """Sizes of the model, and the phases of its training.

    A phase ends when the development score has not risen for `patience` epochs, or after its share of epochs;
    the next one goes on from the best weights so far. A phase of 0 epochs is left out.
    """

    all_pairs: int = 3
    """Most epochs of the first phase: every pair decided by itself."""
    top_pairs: int = 3
    """Most epochs of the second: of each mention the best true and the best false antecedent."""
    ranking: int = 0
    """Most epochs of the slack-rescaled ranking."""
    likelihood: int = 6
    """Most epochs of the likelihood of all true antecedents."""
    patience: int = 2
    """Epochs without a better development score that end a phase."""
    lr: float = 1e-3
    """Learning rate of the first epoch of a phase; it falls to a fifth over the phase's epochs."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    dropout: float = 0.3
    """Share of activations that training drops."""
    questions: float = 2.0
    """How many mentions one answer of a file of ambiguous pronouns counts for."""
    batch_pairs: int = 12000
    """Pairs of a step: documents are put together until there are so many."""
    max_norm: float = 5.0
    """Longest gradient of a step."""
    average: float = 0.98
    """Share of the averaged weights that a step keeps; these are judged and saved. 0 takes the step's own."""
    held_out: float = 0.1
    """Share of the documents that are the development set where none is given."""
    window: int = 48
    """Mentions that are looked back for an antecedent."""
    matching: int = 4
    """Mentions further back with the same head word that are looked at as well."""
    reach: int = 500
    """How many mentions further back these may be."""
    mention_size: int = 128
    """Hidden units for a mention."""
    pair_size: int = 96
    """Hidden units for a pair."""
    second_size: int = 64
    """Units of the second hidden layer."""
    learnt: int = 3000
    """Commonest words that have a learnt part beside their fixed vector."""
    learnt_size: int = 24
    """Numbers of that part."""
    seed: int = 0
    """What the first weights and the order of documents are drawn from."""

    def __post_init__(self) -> None:
        """Raises SettingsError, naming field and mend."""
        for name in (
            "patience", "batch_pairs", "window", "reach", "mention_size", "pair_size", "second_size",
            "learnt", "learnt_size",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: use a number of 1 or more")
        for name in ("all_pairs", "top_pairs", "ranking", "likelihood", "matching"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name}={getattr(self, name)}: use 0 or more")
        if not any(epochs for _, epochs in self.phases()):
            raise SettingsError("all_pairs=0: every phase has 0 epochs; give one of them some")
        if self.reach < self.window:
            raise SettingsError(f"reach={self.reach}: use at least as many as window, {self.window}")
        for name in ("lr", "max_norm", "questions"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name}={getattr(self, name)}: use a number above 0")
        if self.weight_decay < 0:
            raise SettingsError(f"weight_decay={self.weight_decay}: use 0 or more")
        for name in ("dropout", "average", "held_out"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name}={getattr(self, name)}: use 0 or more, below 1")

    def phases(self) -> list[tuple[str, int]]:
        """Name of the loss and most epochs of each phase, in their order."""
        named = (
            ("all-pairs", self.all_pairs),
            ("top-pairs", self.top_pairs),
            ("ranking", self.ranking),
            ("likelihood", self.likelihood),
        )
        return [(name, epochs) for name, epochs in named if epochs]
