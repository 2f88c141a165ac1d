"""Sentences as vectors by a small encoder that travels with convai: "which country is the wedding in?" is
near "shireen's getting married in cyprus", which has none of its words.

The mean of the last states of BERT's blocks (Reimers, Gurevych 2019, "Sentence-BERT", section 3), in 8 bits
on the disk. A folder has recall.json (sizes), pieces.txt (the rows of the table) and model.safetensors;
`write` makes one of a sentence encoder in transformers' layout.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from convai.conversation.memory.vectors import Floats
from convai.core import resources
from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.coref.encoder import EncoderBlock, EncoderShape, WordEncoder, pretrained
from convai.coref.pieces import BETWEEN, START, Pieces
from convai.model.frozen import packed_rows, unpacked_rows
from convai.model.products import quick_type

EMBEDDED: Final = "recall-mini"
"""The sentence encoder that travels with convai."""
CONFIG: Final = "recall.json"
PIECES: Final = "pieces.txt"
WEIGHTS: Final = "model.safetensors"
MOST_PIECES: Final = 96
"""Of a text; what is behind them is not read."""
KEPT: Final = 20_000
"""Vectors that are kept, the latest used ones: 15 MB."""
_TOKENS: Final = 1024
"""Of texts that are read at once."""


class SentenceVectors:
    """Texts → unit vectors; safe to use from any thread. A text that was read lately is not read again."""

    def __init__(self, encoder: WordEncoder) -> None:
        self._encoder, self._pieces = encoder.eval(), Pieces(encoder.pieces)
        self._type = quick_type()
        self._encoder.blocks.to(self._type)  # half the bytes: a text alone takes 0.65 of the time
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()
        self.size = encoder.width

    def __call__(self, texts: Sequence[str]) -> Floats:
        """Unit vectors `[texts, size]`."""
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, self._read(new), strict=True))
        with self._lock:
            for text in dict.fromkeys(texts):
                self._kept[text] = known[text]
                self._kept.move_to_end(text)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        rows = [known[text] for text in texts]
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, self.size), np.float32)

    def _read(self, texts: Sequence[str]) -> list[Floats]:
        """Vectors of texts, in half precision; those of like lengths are read together."""
        ids = [[START, *self._pieces.encode(text)[:MOST_PIECES], BETWEEN] for text in texts]
        order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
        found: dict[int, Floats] = {}
        begin = 0
        while begin < len(order):
            end = begin + 1
            while end < len(order) and (end + 1 - begin) * len(ids[order[end]]) <= _TOKENS:
                end += 1
            some = order[begin:end]
            for at, row in zip(some, self._means([ids[at] for at in some]), strict=True):
                found[at] = row.numpy().astype(np.float16)
            begin = end
        return [found[at] for at in range(len(ids))]

    @torch.inference_mode()
    def _means(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors `[B, W]` of the mean states of B texts."""
        encoder = self._encoder
        longest = max(map(len, ids))
        padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
        there = torch.arange(longest)[None] < torch.tensor([len(row) for row in ids])[:, None]
        x: Tensor = encoder.ln(encoder.table[padded] + encoder.places[:longest]).to(self._type)
        mask = None if bool(there.all()) else there[:, None, None]
        size = encoder.width // encoder.shape.heads
        for block in encoder.blocks:
            assert isinstance(block, EncoderBlock)
            parts = block.qkv(x.flatten(0, 1)).view(len(ids), longest, 3, encoder.shape.heads, size)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            x = block.joined(x.flatten(0, 1), attended.transpose(1, 2).reshape(-1, encoder.width))
            x = x.view(len(ids), longest, encoder.width)
        means = (x.float() * there[..., None]).sum(dim=1) / there.sum(dim=1, keepdim=True)
        return functional.normalize(means, dim=1)


def write(source: Path, folder: Path, words: Iterable[str], pieces: int) -> None:
    """Make a folder of a sentence encoder of BERT's kind in transformers' layout, its matrices in 8 bits.

    Its table keeps the `pieces` that `words`, the commonest first, are made of. Raises CheckpointError,
    OSError.
    """
    layers = int(read_json(source / "config.json").get("num_hidden_layers", 0))
    encoder = pretrained(source, layers, words, pieces)
    state = packed_rows(encoder.state_dict(), lambda name: True, torch.float16)
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, lambda part: save_file(state, part, metadata={"format": "pt"}))
    text = "\n".join(encoder.pieces) + "\n"
    atomic_write(folder / PIECES, lambda part: part.write_text(text, encoding="utf-8"))
    write_json(folder / CONFIG, asdict(encoder.shape))


def load(folder: Path) -> SentenceVectors:
    """The encoder in a folder. Raises CheckpointError for one that is missing, damaged, or does not fit."""
    try:
        shape = EncoderShape(**read_json(folder / CONFIG))
        pieces = (folder / PIECES).read_text(encoding="utf-8").split("\n")[:-1]
        if shape.pieces != len(pieces):
            raise ValueError(f"{len(pieces):,} pieces, {CONFIG} says {shape.pieces:,}")
        encoder = WordEncoder(shape, pieces)
        encoder.load_state_dict(unpacked_rows(load_file(folder / WEIGHTS)))
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder}: no sentence encoder ({reason}); copy the whole model folder"
        ) from None
    return SentenceVectors(encoder)


@cache
def embedded_sentences() -> SentenceVectors:
    """The one that travels with convai. Raises CheckpointError where it is missing."""
    return load(resources.models_dir() / EMBEDDED)
