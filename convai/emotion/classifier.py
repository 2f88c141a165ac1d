"""What the rest of convai uses: texts in, predictions or feature vectors out, a row a text, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from convai.emotion.checkpoint import load_emotion_model
from convai.emotion.config import Head
from convai.emotion.encoder import Encoder, Precision
from convai.emotion.model import EmotionModel, Encoded, probabilities
from convai.emotion.negation import readings, turned
from convai.emotion.vocabulary import PAD_ID, UNKNOWN_ID, Vocabulary

Chances = dict[str, list[float]]
"""Head → the probability of each of its labels."""
BATCH: Final = 64
"""Texts encoded together: the gates of more fall out of the processor's cache."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model sees in one text."""

    words: tuple[str, ...]
    """As it read them; empty for a text without words."""
    attention: tuple[float, ...]
    """The weight of each word; they sum to 1."""
    emoji: tuple[tuple[str, float], ...] = ()
    """Emoji and probability, best first; empty where the model has no head for them."""
    emotions: dict[str, float] = field(default_factory=dict)
    """Label → probability."""
    labels: dict[str, dict[str, float]] = field(default_factory=dict)
    """The model's other heads: name → label → probability."""

    def best_emotion(self) -> str | None:
        """The most probable emotion, if the model has any."""
        return max(self.emotions, key=self.emotions.__getitem__, default=None)

    def to_json(self, digits: int = 6) -> dict[str, Any]:
        """As `convai emotion predict --json` prints it; `labels` only where there are any."""
        values: dict[str, Any] = {
            "emoji": [{"emoji": emoji, "p": round(p, digits)} for emoji, p in self.emoji],
            "emotions": {label: round(p, digits) for label, p in self.emotions.items()},
            "words": list(self.words),
            "attention": [round(weight, digits) for weight in self.attention],
        }
        if self.labels:
            values["labels"] = {
                name: {label: round(p, digits) for label, p in chances.items()}
                for name, chances in self.labels.items()
            }
        return values


class EmotionClassifier:
    """A loaded model, ready to predict. Results of a text do not depend on the texts beside it."""

    def __init__(
        self,
        model: EmotionModel,
        vocabulary: Vocabulary,
        precision: Precision = "float32",
        *,
        negation: bool = True,
    ) -> None:
        """`negation`: read what is denied (`emotion.negation`); otherwise what the network says is given."""
        self.negation = negation
        self.model = model.eval()
        self.vocabulary = vocabulary
        self.config = model.config
        self._encoder = Encoder(model, precision)

    @classmethod
    def load(
        cls, folder: Path | str | None = None, precision: Precision = "float32", *, negation: bool = True
    ) -> EmotionClassifier:
        """Load a model folder, the embedded model if None. Raises CheckpointError, SettingsError."""
        return cls(*load_emotion_model(folder), precision, negation=negation)

    def predict(self, texts: Sequence[str], top: int | None = 5) -> list[Prediction]:
        """A prediction a text, in order; `top` emoji each (None: all).

        A text without words is read as one unknown word: its prediction is what the model expects of
        anything, its words and attention are empty. Of a long text the first `config.max_words` words
        count.
        """
        split = [self.vocabulary.split(line, self.config.max_words) for line in texts]
        chances, attention = self._chances(split)
        if self.negation:
            self._read_negations(split, chances)
        return [
            self._prediction(tuple(words), weights[: len(words)], mine, top)
            for words, weights, mine in zip(split, attention, chances, strict=True)
        ]

    def _chances(self, split: Sequence[Sequence[str]]) -> tuple[list[Chances], list[list[float]]]:
        """Of each text the probabilities by head, and the attention of its words."""
        chances: list[Chances] = [{} for _ in split]
        attention: list[list[float]] = [[] for _ in split]
        for rows, encoded in self._encoded(split):
            for head in self.config.heads:
                found = probabilities(self.model.logits(encoded.features, head), head).tolist()
                for row, values in zip(rows, found, strict=True):
                    chances[row][head.name] = values
            for row, weights in zip(rows, encoded.attention.tolist(), strict=True):
                attention[row] = weights
        return chances, attention

    def _read_negations(self, split: Sequence[Sequence[str]], chances: list[Chances]) -> None:
        """Change the probabilities of texts whose negations the network has not read."""
        head = self.config.head("emotions")
        denied = {row: both for row, words in enumerate(split) if (both := readings(words))}
        if head is None or not denied:
            return
        others, _ = self._chances([text for both in denied.values() for text in both])
        for number, row in enumerate(denied):
            affirmed, bare = others[2 * number : 2 * number + 2]
            found = turned(*(_named(head, one) for one in (chances[row], affirmed, bare)))
            if found is not None:
                total = 1.0 if head.multi else sum(found.values())
                chances[row] = bare | {head.name: [p / total for p in found.values()]}

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The feature vectors, `[texts, config.feature_size]`, float32."""
        split = [self.vocabulary.split(line, self.config.max_words) for line in texts]
        features = torch.zeros(len(split), self.config.feature_size)
        for rows, encoded in self._encoded(split):
            features[rows] = encoded.features.cpu()
        return features

    def _encoded(self, split: Sequence[Sequence[str]]) -> Iterator[tuple[list[int], Encoded]]:
        """Texts in batches of like length, with their places in `split`."""
        ids = [self.vocabulary.ids(words) or [UNKNOWN_ID] for words in split]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        device = self.model.embed.weight.device
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                yield rows, self._encoder(*(_padded([ids[i] for i in rows], device)))

    def _prediction(
        self,
        words: tuple[str, ...],
        attention: Sequence[float],
        chances: Chances,
        top: int | None,
    ) -> Prediction:
        emoji, emotions = self.config.head("emoji"), self.config.head("emotions")
        best: tuple[tuple[str, float], ...] = ()
        if emoji is not None:
            ranked = sorted(zip(emoji.labels, chances[emoji.name], strict=True), key=lambda pair: -pair[1])
            best = tuple(ranked[:top])
        others = [head for head in self.config.heads if head not in (emoji, emotions)]
        return Prediction(
            words,
            tuple(attention),
            best,
            {} if emotions is None else _named(emotions, chances),
            {head.name: _named(head, chances) for head in others},
        )


def _named(head: Head, chances: Chances) -> dict[str, float]:
    return dict(zip(head.labels, chances[head.name], strict=True))


def _padded(ids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids `[B, T]` filled up with PAD_ID, and lengths `[B]` on the processor."""
    lengths = [len(row) for row in ids]
    longest = max(lengths)
    rows = [[*row, *[PAD_ID] * (longest - len(row))] for row in ids]
    return torch.tensor(rows, device=device), torch.tensor(lengths)
