"""Defaults of training and tuning emotion models, each written once; the command line derives from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal, get_args

from convai.core.settings_values import ABOVE_0, Range, check_ranges, wrong

Method = Literal["new", "last", "full", "chain-thaw"]
METHODS: Final = get_args(Method)
LAYERS: Final = ("embed", "lstm_0", "lstm_1", "attention_layer", "heads")
"""From the text to the labels; the names are torchMoji's."""

SHARE: Final = Range(0, 1, above=True, below=True, words="a share between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A network of one's own, trained from nothing on several label sets at once."""

    vocab_size: Annotated[int, Range(10)] = 16000
    """Most words of the vocabulary, the special ones included."""
    min_count: Annotated[int, Range(1)] = 3
    """Times a word must occur to be in it."""
    embedding_size: Annotated[int, Range(1)] = 128
    """Width of the embedding."""
    hidden_size: Annotated[int, Range(1)] = 256
    """Width of each direction of each LSTM."""
    gates: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid"
    """Keras' old gates, or the plain ones of torch's own LSTM."""
    max_words: Annotated[int, Range(1)] = 64
    """Words that are read of a text."""
    split_hashtags: bool = False
    """Read a hashtag that is no word of the vocabulary as the words it is made of."""
    embed_dropout: Annotated[float, Range(0, 1, below=True)] = 0.2
    """Share of a text's embedding channels that are dropped."""
    final_dropout: Annotated[float, Range(0, 1, below=True)] = 0.5
    """Share of features that are dropped before the heads."""
    epochs: Annotated[int, Range(1)] = 30
    """Epochs at most."""
    epoch_size: Annotated[int, Range(1)] = 40000
    """Texts an epoch, drawn anew each time."""
    batch_size: Annotated[int, Range(1)] = 64
    """Texts a step."""
    lr: Annotated[float, ABOVE_0] = 1e-3
    """Peak learning rate of Adam; it rises over the first epoch and falls to 0 over all."""
    embed_l2: Annotated[float, Range(0)] = 1e-6
    """Weight decay of the embedding (all of a method's L2, as in the paper)."""
    max_norm: Annotated[float, ABOVE_0] = 1.0
    """Gradients are clipped to this norm."""
    balanced: bool = False
    """Draw every label equally often instead of every text."""
    vectors: str = ""
    """A .npz file of words and vectors, with which the first channels of the embedding begin."""
    vector_scale: Annotated[float, ABOVE_0] = 0.4
    """Root mean square of the numbers of those vectors in the embedding."""
    word_dropout: Annotated[float, Range(0, 1, below=True)] = 0.0
    """Share of words that are unknown to the network, in training."""
    average: Annotated[float, Range(0, 1, below=True)] = 0.0
    """Decay a step of the weights' running mean, which becomes the model; 0 takes the weights themselves."""
    level: bool = False
    """Give rare labels of single-label sets the bias that is best for macro-F1 on the held-out texts."""
    teacher_share: Annotated[float, Range(0, 1)] = 0.5
    """Share of the teachers' probabilities in what a labelled text teaches its head, beside its labels."""
    texts_weight: Annotated[float, ABOVE_0] = 1.0
    """How often texts without labels are drawn, beside the data sets' weights."""
    held_out: Annotated[float, SHARE] = 0.05
    """Share of the training texts that choose the best epoch and the thresholds."""
    patience: Annotated[int, Range(0, words="0 (off) or more")] = 6
    """Stop after this many epochs without a better one; 0 never stops early."""
    seed: int = 0
    """Seed of weights, order and dropout."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeachSettings:
    """A pretrained sentence encoder tuned on label sets, to teach a smaller network."""

    freeze: Annotated[int, Range(0)] = 2
    """Lowest layers that stay as they are, above the embeddings, which do too."""
    max_words: Annotated[int, Range(2)] = 64
    """Pieces of words that are read of a text."""
    final_dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of features that are dropped before the heads."""
    epochs: Annotated[int, Range(1)] = 4
    """Parts of the run, after each of which it is measured and saved."""
    epoch_size: Annotated[int, Range(1)] = 12000
    """Texts of each part, drawn anew each time."""
    batch_size: Annotated[int, Range(1)] = 32
    """Texts a step."""
    lr: Annotated[float, ABOVE_0] = 5e-5
    """Peak learning rate of AdamW; it rises over the first tenth and falls to 0 over all parts. MiniLM falls
    apart at 2e-4."""
    head_lr: Annotated[float, ABOVE_0] = 2e-3
    """The heads' own."""
    weight_decay: Annotated[float, Range(0)] = 0.01
    """AdamW's."""
    max_norm: Annotated[float, ABOVE_0] = 1.0
    """Gradients are clipped to this norm."""
    held_out: Annotated[float, SHARE] = 0.05
    """Share of the training texts to measure on; give the student's training the same, with the same seed."""
    seed: int = 0
    """Seed of heads, order and dropout."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """A pretrained sentence encoder as it is, with a small network a label set on what it says of a text."""

    layers: Annotated[int, Range(1)] = 4
    """Upper layers that are read."""
    hidden: Annotated[int, Range(1)] = 384
    """Units between them and the labels."""
    max_words: Annotated[int, Range(2)] = 64
    """Pieces of words that are read of a text."""
    final_dropout: Annotated[float, Range(0, 1, below=True)] = 0.2
    """Share of features that are dropped before the heads."""
    epochs: Annotated[int, Range(1)] = 6
    """Times that each training text is learnt."""
    batch_size: Annotated[int, Range(1)] = 256
    """Texts a step."""
    lr: Annotated[float, ABOVE_0] = 1e-3
    """Peak learning rate of AdamW; it rises over the first tenth and falls to 0."""
    weight_decay: Annotated[float, Range(0)] = 0.1
    """AdamW's."""
    held_out: Annotated[float, SHARE] = 0.05
    """Share of the training texts to measure on; give the student's training the same, with the same seed."""
    seed: int = 0
    """Seed of heads, order and dropout."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramSettings:
    """A linear model of n-grams, to teach a network beside others."""

    buckets: Annotated[int, Range(2)] = 2**18
    """Numbers that features are hashed to."""
    max_words: Annotated[int, Range(1)] = 64
    """Words that are read of a text."""
    epochs: Annotated[int, Range(1)] = 1
    """Epochs; after few it knows its texts by heart."""
    epoch_size: Annotated[int, Range(1)] = 80000
    """Texts an epoch, drawn anew each time."""
    batch_size: Annotated[int, Range(1)] = 64
    """Texts a step."""
    lr: Annotated[float, ABOVE_0] = 0.5
    """Learning rate of AdaGrad."""
    held_out: Annotated[float, SHARE] = 0.05
    """Share of the training texts to measure on; give the student's training the same, with the same seed."""
    seed: int = 0
    """Seed of the order."""

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """Transfer to another label set (Felbo et al. 2017, §3.3).

    The defaults suit the embedded model, which learns sets of some thousand texts in minutes; torchMoji's for
    its larger one were lr 1e-4, head_lr 1e-3, epochs of 5,000 texts, patience 5, no running mean.
    """

    method: Method = "chain-thaw"
    """new: fresh weights; last: the new head alone; full: all layers; chain-thaw: the head, then each layer
    by itself from the embedding up, then all."""
    extend: Annotated[int, Range(0)] = 0
    """New words that the vocabulary takes in from the training texts."""
    epoch_size: Annotated[int, Range(1)] = 2000
    """Texts an epoch, drawn anew each time; of a smaller set as many as it has (but ten batches)."""
    epochs: Annotated[int, Range(1)] = 20
    """Epochs of a stage at most; stages stop early."""
    batch_size: Annotated[int, Range(1)] = 32
    """Texts a step."""
    head_lr: Annotated[float, ABOVE_0] = 3e-3
    """Learning rate of a new head, and of all layers with method new."""
    lr: Annotated[float, ABOVE_0] = 3e-4
    """Learning rate of the other layers."""
    layer_lrs: str = ""
    """Rates of single layers instead, as in `embed=1e-5,lstm_0=3e-5`."""
    embed_l2: Annotated[float, Range(0)] = 1e-6
    """Weight decay of the embedding."""
    embed_dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of a text's embedding channels that are dropped."""
    final_dropout: Annotated[float, Range(0, 1, below=True)] = 0.5
    """Share of features that are dropped before the head."""
    word_dropout: Annotated[float, Range(0, 1, below=True)] = 0.1
    """Share of words that are unknown to the network, in training."""
    max_norm: Annotated[float, ABOVE_0] = 1.0
    """Gradients are clipped to this norm."""
    balanced: bool = False
    """Draw every label equally often instead of every text."""
    average: Annotated[float, Range(0, 1, below=True)] = 0.98
    """Decay a step of the weights' running mean, which a stage gives; 0 gives the weights themselves."""
    level: bool = False
    """Give rare labels of a single-label set the bias that is best for macro-F1 on the validation texts."""
    held_out: Annotated[float, SHARE] = 0.1
    """Share of the training texts to validate on, where the data has no split for it."""
    spare_valid: bool = False
    """Validate on a part of the training texts all the same; the validation split is only measured."""
    patience: Annotated[int, Range(1)] = 1
    """A stage ends after this many epochs without a lower validation loss."""
    seed: int = 0
    """Seed of new weights, order and dropout."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.method not in METHODS:
            raise wrong("method", self.method, f"use {', '.join(METHODS)}")
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
            if name.strip() not in LAYERS or not rate > 0:
                mend = f"use layer=rate,layer=rate with the layers {', '.join(LAYERS)}"
                raise wrong("layer_lrs", self.layer_lrs, mend)
            rates[name.strip()] = rate
        return rates
