"""A pretrained sentence encoder with a head a label set: too large to ship, it teaches the network that is.

Any encoder of transformers with a fast tokenizer will do (BERT's kind: MiniLM, DistilBERT); what it says of a
text is the mean of its last states (Reimers & Gurevych 2019, arXiv 1908.10084, §3), those of several layers
side by side if wanted, and a linear layer or a small network on it. Its folder is the encoder's own, and
teacher.json with the heads. Shapes: B texts, T pieces of the longest, F features.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import read_json, write_json
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.hashtags import parts
from convai.emotion.model import Encoded
from convai.emotion.vocabulary import PAD_ID

DESCRIPTION: Final = "teacher.json"
_PIECES: Final = "tokenizer.json"
_HEADS: Final = "heads.pt"
_HIDDEN_DROPOUT: Final = 0.3


class Pieces:
    """A teacher's words: its tokenizer, with emoji as the words that name them (its vocabulary has none)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        # the usual vocabularies of word pieces begin with the most frequent words
        words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
        self._places = {word: place for place, word in enumerate(w for w, _ in words if w.isalpha())}

    @classmethod
    def load(cls, folder: Path) -> Pieces:
        """The tokenizer of a folder. Raises CheckpointError."""
        path = folder / _PIECES
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises plain Exceptions
            raise CheckpointError(
                f"{path}: no tokenizer ({error}); copy the encoder's whole folder"
            ) from None

    def encode(self, text: str, max_words: int) -> list[int]:
        """The ids of a text's first pieces, the special ones at its ends included."""
        words = (self._parts(word) if word.startswith("#") else word for word in with_names(text).split())
        ids: list[int] = self.tokenizer.encode(" ".join(words)).ids
        return ids if len(ids) <= max_words else [*ids[: max_words - 1], ids[-1]]

    def _parts(self, tag: str) -> str:
        """A hashtag as the words it is made of; what follows its letters stays."""
        letters = tag[1:].rstrip("".join(c for c in tag[1:] if not c.isalnum()))
        cut = " ".join(parts(f"#{letters.lower()}", self._places))
        return cut + tag[1 + len(letters) :]


@cache
def _name(char: str) -> str:
    return f" {unicodedata.name(char, '').lower()} "


def with_names(text: str) -> str:
    """The text with symbols, emoji above all, as their names in Unicode.

    >>> with_names("so happy😂")
    'so happy face with tears of joy '
    """
    return "".join(_name(c) if ord(c) > 0x2000 and unicodedata.category(c) == "So" else c for c in text)


class EmotionTeacher(nn.Module):
    """The encoder and its heads; `forward` encodes, `logits` classifies, as an `EmotionModel` does."""

    def __init__(
        self, encoder: Any, pieces: Pieces, config: EmotionConfig, layers: int = 1, hidden: int = 0
    ) -> None:
        """`config`: of its fields `heads`, `max_words` and `final_dropout` count.

        `layers`: how many of the upper layers are read, the last one included; `hidden`: units between
        them and the labels of a head, 0 for none. Raises SettingsError for layers that are not there.
        """
        super().__init__()
        self.encoder, self.pieces, self.config = encoder, pieces, config
        self.layers, self.hidden = layers, hidden
        self.final_dropout = nn.Dropout(config.final_dropout)
        there = encoder.config.num_hidden_layers
        if not 1 <= layers <= there:
            raise SettingsError(f"layers={layers}: the encoder has {there} layers")
        self.heads = nn.ModuleDict({head.name: self.head(len(head.labels)) for head in config.heads})

    @property
    def width(self) -> int:
        """F, the width of its features."""
        return self.layers * int(self.encoder.config.hidden_size)

    def head(self, labels: int) -> nn.Module:
        """A fresh head for so many labels."""
        if not self.hidden:
            return nn.Linear(self.width, labels)
        first, last = nn.Linear(self.width, self.hidden), nn.Linear(self.hidden, labels)
        return nn.Sequential(first, nn.GELU(), nn.Dropout(_HIDDEN_DROPOUT), last)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.encoder.device
        return device

    def forward(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Ids `[B, T]`, padded behind; `lengths` `[B]`."""
        there = (torch.arange(ids.shape[1]) < lengths[:, None]).to(ids.device)
        said = self.encoder(input_ids=ids, attention_mask=there.long(), output_hidden_states=self.layers > 1)
        states = said.hidden_states[-self.layers :] if self.layers > 1 else (said.last_hidden_state,)
        weights = there / lengths.to(ids.device)[:, None]
        means = [(state.float() * weights[..., None]).sum(1) for state in states]
        return Encoded(torch.cat(means, 1), weights)

    def logits(self, features: Tensor, head: Head) -> Tensor:
        """`[B, F]` → `[B, labels]`."""
        with torch.autocast(features.device.type, enabled=False):  # thresholds want more than 8 bits
            scores: Tensor = self.heads[head.name](self.final_dropout(features))
        return scores

    def freeze(self, layers: int) -> None:
        """Keep the embeddings and the first `layers` layers as they are. Raises SettingsError."""
        blocks = next((m for m in self.encoder.modules() if isinstance(m, nn.ModuleList)), nn.ModuleList())
        if layers > len(blocks):
            raise SettingsError(f"freeze={layers}: the encoder has {len(blocks)} layers")
        for part in (self.encoder.get_input_embeddings(), *blocks[:layers]):
            part.requires_grad_(False)
        if embeddings := getattr(self.encoder, "embeddings", None):
            embeddings.requires_grad_(False)

    @torch.no_grad()
    def begin(self, name: str, counts: Sequence[int], texts: int) -> None:
        """Let head `name` begin at its labels' shares, `counts` of `texts`: nothing has to unlearn a half."""
        head = next(head for head in self.config.heads if head.name == name)
        share = (torch.tensor(counts) + 1.0) / (texts + 2.0)
        linear = self.heads[name]
        assert isinstance(linear, nn.Linear)
        nn.init.normal_(linear.weight, std=0.02)
        linear.bias.copy_(share.logit() if head.multi else share.log())

    def save(self, folder: Path) -> None:
        """Write the folder. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self.encoder.save_pretrained(folder)
        self.pieces.tokenizer.save(str(folder / _PIECES))
        torch.save(self.heads.state_dict(), folder / _HEADS)
        shape = {"layers": self.layers, "hidden": self.hidden}
        write_json(folder / DESCRIPTION, self.config.to_json() | shape)

    @classmethod
    def load(cls, folder: Path) -> EmotionTeacher:
        """A teacher that was saved. Raises CheckpointError."""
        path = folder / DESCRIPTION
        values = read_json(path)
        layers, hidden = values.pop("layers", 1), values.pop("hidden", 0)
        config = EmotionConfig.from_json(values, str(path))
        try:
            teacher = cls(_encoder(folder), Pieces.load(folder), config, int(layers), int(hidden))
        except (SettingsError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path}: {error}; copy the folder again") from None
        try:
            teacher.heads.load_state_dict(torch.load(folder / _HEADS, weights_only=True))
        except Exception as error:  # torch raises many kinds here, all of them a bad file
            reason = type(error).__name__
            raise CheckpointError(f"{folder / _HEADS}: damaged ({reason}); copy the folder again") from None
        return teacher.eval()

    @classmethod
    def begun(cls, folder: Path, config: EmotionConfig, layers: int = 1, hidden: int = 0) -> EmotionTeacher:
        """A pretrained encoder with fresh heads. Raises CheckpointError, and SettingsError as `__init__`."""
        pieces = Pieces.load(folder)
        if (pieces.tokenizer.token_to_id("[PAD]") or PAD_ID) != PAD_ID:
            raise CheckpointError(
                f"{folder / _PIECES}: [PAD] is not word {PAD_ID}; take an encoder of BERT's kind"
            )
        encoder = _encoder(folder)
        longest = getattr(encoder.config, "max_position_embeddings", config.max_words)
        config = dataclasses.replace(config, max_words=min(config.max_words, longest))
        return cls(encoder, pieces, config, layers, hidden)


def _encoder(folder: Path) -> Any:
    try:
        return AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder}: no encoder that transformers knows ({reason})") from None
