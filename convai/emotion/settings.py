"""Defaults of training and tuning emotion models, each written once; the command line derives from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from convai.core.errors import SettingsError

Method = Literal["new", "last", "full", "chain-thaw"]
METHODS: Final = get_args(Method)
LAYERS: Final = ("embed", "lstm_0", "lstm_1", "attention_layer", "heads")
"""From the text to the labels; the names are torchMoji's."""


def _check(ok: bool, name: str, value: object, mend: str) -> None:
    if not ok:
        raise SettingsError(f"{name}={value!r}: {mend}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A network of one's own, trained from nothing on several label sets at once."""

    vocab_size: int = 16000
    """Most words of the vocabulary, the special ones included."""
    min_count: int = 3
    """Times a word must occur to be in it."""
    embedding_size: int = 128
    """Width of the embedding."""
    hidden_size: int = 256
    """Width of each direction of each LSTM."""
    gates: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid"
    """Keras' old gates, or the plain ones of torch's own LSTM."""
    max_words: int = 64
    """Words that are read of a text."""
    split_hashtags: bool = False
    """Read a hashtag that is no word of the vocabulary as the words it is made of."""
    embed_dropout: float = 0.2
    """Share of a text's embedding channels that are dropped."""
    final_dropout: float = 0.5
    """Share of features that are dropped before the heads."""
    epochs: int = 30
    """Epochs at most."""
    epoch_size: int = 40000
    """Texts an epoch, drawn anew each time."""
    batch_size: int = 64
    """Texts a step."""
    lr: float = 1e-3
    """Peak learning rate of Adam; it rises over the first epoch and falls to 0 over all."""
    embed_l2: float = 1e-6
    """Weight decay of the embedding (all of a method's L2, as in the paper)."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""
    balanced: bool = False
    """Draw every label equally often instead of every text."""
    vectors: str = ""
    """A .npz file of words and vectors, with which the first channels of the embedding begin."""
    vector_scale: float = 0.4
    """Root mean square of the numbers of those vectors in the embedding."""
    word_dropout: float = 0.0
    """Share of words that are unknown to the network, in training."""
    average: float = 0.0
    """Decay a step of the weights' running mean, which becomes the model; 0 takes the weights themselves."""
    level: bool = False
    """Give rare labels of single-label sets the bias that is best for macro-F1 on the held-out texts."""
    held_out: float = 0.05
    """Share of the training texts that choose the best epoch and the thresholds."""
    patience: int = 6
    """Stop after this many epochs without a better one; 0 never stops early."""
    seed: int = 0
    """Seed of weights, order and dropout."""

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "max_words", "epochs", "epoch_size", "batch_size"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        _check(self.vocab_size >= 10, "vocab_size", self.vocab_size, "use 10 or more")
        _check(self.min_count >= 1, "min_count", self.min_count, "use 1 or more")
        for name in ("embed_dropout", "final_dropout", "word_dropout", "average"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "use 0 up to 1")
        _check(self.vector_scale > 0, "vector_scale", self.vector_scale, "use a number above 0")
        _check(self.lr > 0, "lr", self.lr, "use a number above 0")
        _check(self.embed_l2 >= 0, "embed_l2", self.embed_l2, "use 0 or more")
        _check(self.max_norm > 0, "max_norm", self.max_norm, "use a number above 0")
        _check(0 < self.held_out < 1, "held_out", self.held_out, "use a share between 0 and 1")
        _check(self.patience >= 0, "patience", self.patience, "use 0 (off) or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """Transfer to another label set (Felbo et al. 2017, §3.3).

    The defaults suit the embedded model, which learns sets of some thousand texts in minutes; torchMoji's for
    its larger one were lr 1e-4, head_lr 1e-3, epochs of 5,000 texts, patience 5, no running mean.
    """

    method: Method = "chain-thaw"
    """new: fresh weights; last: the new head alone; full: all layers; chain-thaw: the head, then each layer
    by itself from the embedding up, then all."""
    extend: int = 0
    """New words that the vocabulary takes in from the training texts."""
    epoch_size: int = 2000
    """Texts an epoch, drawn anew each time; of a smaller set as many as it has (but ten batches)."""
    epochs: int = 20
    """Epochs of a stage at most; stages stop early."""
    batch_size: int = 32
    """Texts a step."""
    head_lr: float = 3e-3
    """Learning rate of a new head, and of all layers with method new."""
    lr: float = 3e-4
    """Learning rate of the other layers."""
    layer_lrs: str = ""
    """Rates of single layers instead, as in `embed=1e-5,lstm_0=3e-5`."""
    embed_l2: float = 1e-6
    """Weight decay of the embedding."""
    embed_dropout: float = 0.1
    """Share of a text's embedding channels that are dropped."""
    final_dropout: float = 0.5
    """Share of features that are dropped before the head."""
    word_dropout: float = 0.1
    """Share of words that are unknown to the network, in training."""
    max_norm: float = 1.0
    """Gradients are clipped to this norm."""
    balanced: bool = False
    """Draw every label equally often instead of every text."""
    average: float = 0.98
    """Decay a step of the weights' running mean, which a stage gives; 0 gives the weights themselves."""
    level: bool = False
    """Give rare labels of a single-label set the bias that is best for macro-F1 on the validation texts."""
    held_out: float = 0.1
    """Share of the training texts to validate on, where the data has no split for it."""
    spare_valid: bool = False
    """Validate on a part of the training texts all the same; the validation split is only measured."""
    patience: int = 1
    """A stage ends after this many epochs without a lower validation loss."""
    seed: int = 0
    """Seed of new weights, order and dropout."""

    def __post_init__(self) -> None:
        _check(self.method in METHODS, "method", self.method, f"use {', '.join(METHODS)}")
        for name in ("epoch_size", "epochs", "batch_size", "patience"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "use 1 or more")
        _check(self.extend >= 0, "extend", self.extend, "use 0 or more")
        for name in ("head_lr", "lr", "max_norm"):
            _check(getattr(self, name) > 0, name, getattr(self, name), "use a number above 0")
        _check(self.embed_l2 >= 0, "embed_l2", self.embed_l2, "use 0 or more")
        for name in ("embed_dropout", "final_dropout", "word_dropout", "average"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "use 0 up to 1")
        _check(0 < self.held_out < 1, "held_out", self.held_out, "use a share between 0 and 1")
        self.rates()

    def rates(self) -> dict[str, float]:
        """Layer → learning rate, in the order of LAYERS. Raises SettingsError for wrong `layer_lrs`."""
        general = self.head_lr if self.method == "new" else self.lr
        rates = dict.fromkeys(LAYERS, general) | {"heads": self.head_lr}
        for part in filter(None, self.layer_lrs.split(",")):
            name, _, value = part.partition("=")
            try:
                rate = float(value)
            except ValueError:
                rate = -1.0
            _check(
                name.strip() in LAYERS and rate > 0,
                "layer_lrs",
                self.layer_lrs,
                f"use layer=rate,layer=rate with the layers {', '.join(LAYERS)}",
            )
            rates[name.strip()] = rate
        return rates
