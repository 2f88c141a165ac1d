"""An encoder of words in their sentences that learns with the model: BERT's blocks (Devlin et al. 2018, §3).

A token sees its sentence whole and the sentences before it, so that a growing text is read once (`chunks`).
It begins as the lower layers of a pretrained encoder; its embeddings stay as they are. Shapes: N tokens of
several texts one after the other, without padding; W numbers a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from convai.core.errors import CheckpointError
from convai.coref.chunks import BLOCK, Chunk
from convai.coref.pieces import needed
from convai.model.attention import attend
from convai.model.frozen import FrozenLinear, quantise_rows
from convai.model.lower_blocks import Past

PLACES: Final = BLOCK + 1
"""Positions that there are: a block, and what stands before it."""
_EPSILON: Final = 1e-12
_ROUND: Final = 128
"""Tokens are padded to a multiple: a product of a shape never seen costs the making of its kernel."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of an encoder."""

    pieces: int
    """Rows of its table."""
    layers: int
    width: int = 384
    heads: int = 12
    inner: int = 1536


class EncoderBlock(nn.Module):
    """Attention, then a perceptron; each is added to its input and levelled."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv: nn.Module = nn.Linear(shape.width, 3 * shape.width)
        self.out: nn.Module = nn.Linear(shape.width, shape.width)
        self.ln_1 = nn.LayerNorm(shape.width, eps=_EPSILON)
        self.up: nn.Module = nn.Linear(shape.width, shape.inner)
        self.down: nn.Module = nn.Linear(shape.inner, shape.width)
        self.ln_2 = nn.LayerNorm(shape.width, eps=_EPSILON)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[1, heads, N, size]`."""
        n, width = x.shape
        q, k, v = self.qkv(x).view(n, 3, self.heads, width // self.heads).permute(1, 2, 0, 3).unsqueeze(1)
        return q, k, v

    def joined(self, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of the block, from what the heads found, `[N, W]`."""
        x = self.ln_1(x + self.out(attended))
        y: Tensor = self.ln_2(x + self.down(functional.gelu(self.up(x))))
        return y


class WordEncoder(nn.Module):
    """Embeddings, which do not learn, and blocks, which do."""

    table: Tensor
    places: Tensor

    def __init__(self, shape: EncoderShape, pieces: Sequence[str]) -> None:
        """`pieces`: what the rows of the table stand for (`pieces`)."""
        super().__init__()
        self.shape, self.pieces = shape, list(pieces)
        self.width = shape.width
        self.register_buffer("table", torch.zeros(shape.pieces, shape.width))
        self.register_buffer("places", torch.zeros(PLACES, shape.width))
        self.ln = nn.LayerNorm(shape.width, eps=_EPSILON).requires_grad_(False)
        self.blocks = nn.ModuleList(EncoderBlock(shape) for _ in range(shape.layers))

    def forward(self, chunks: Sequence[Chunk], dropout: float = 0.0) -> Tensor:
        """States `[words, W]` of the chunks' new words, each chunk the beginning of a block.

        In bfloat16 where autocast says so.
        """
        ids = [token for chunk in chunks for token in chunk.ids]
        positions = [position for chunk in chunks for position in chunk.positions]
        spare = -len(ids) % _ROUND
        x = self._embedded(torch.tensor(ids + [0] * spare), torch.tensor(positions + [0] * spare))
        masks = [torch.from_numpy(chunk.sight(forward=True)) for chunk in chunks]
        ends, offset = [], 0
        for chunk in chunks:
            ends += [offset + end for end in chunk.ends]
            offset += len(chunk.ids)
        for block in self.blocks:
            assert isinstance(block, EncoderBlock)
            x = functional.dropout(x, dropout, self.training)
            q, k, v = block.split(x)
            attended, start = [], 0
            for mask in masks:
                here = slice(start, start := start + len(mask))
                found = attend(q[:, :, here], k[:, :, here], v[:, :, here], mask)
                attended.append(found[0].transpose(0, 1).reshape(len(mask), -1))
            attended.append(attended[0].new_zeros(spare, self.width))
            x = block.joined(x, torch.cat(attended))
        return x[ends].float()

    def read(
        self, ids: Tensor, positions: Tensor, mask: Tensor, past: Past | None = None
    ) -> tuple[Tensor, Past]:
        """States `[T, W]` of tokens behind those of `past`, and all keys and values; `contexts.Blocks`."""
        x = self._embedded(ids, positions)
        read: Past = []
        for number, block in enumerate(self.blocks):
            assert isinstance(block, EncoderBlock)
            q, k, v = block.split(x)
            if past is not None:
                k, v = torch.cat((past[number][0], k), dim=2), torch.cat((past[number][1], v), dim=2)
            found = attend(q, k, v, mask)
            x = block.joined(x, found[0].transpose(0, 1).reshape(len(ids), -1))
            read.append((k, v))
        return x, read

    def _embedded(self, ids: Tensor, positions: Tensor) -> Tensor:
        x: Tensor = self.ln(self.table[ids] + self.places[positions])
        return x

    def frozen(self) -> WordEncoder:
        """A twin for reading, whose layers compute in 8 bits."""
        twin = WordEncoder(self.shape, self.pieces)
        twin.load_state_dict(self.state_dict())
        for block in twin.blocks:
            for name in ("qkv", "out", "up", "down"):
                setattr(block, name, FrozenLinear.of(block.get_submodule(name)))  # type: ignore[arg-type]
        return twin.eval()

    def fix(self, blocks: int) -> None:
        """Keep the first `blocks` blocks as they are."""
        for block in list(self.blocks)[:blocks]:
            block.requires_grad_(False)


def pretrained(folder: Path, layers: int, words: Iterable[str], pieces: int) -> WordEncoder:
    """The lower `layers` of an encoder of BERT's kind in transformers' layout.

    Its table has the rows that `words`, the commonest first, need, `pieces` of them, in what 8 bits hold.
    Raises CheckpointError for what is no such encoder, or has fewer layers.
    """
    model, tokenizer = _loaded(folder)
    config = model.config
    if not 1 <= layers <= config.num_hidden_layers:
        raise CheckpointError(
            f"{folder}: has {config.num_hidden_layers} layers; use 1 to that for --encoder-layers"
        )
    known = tokenizer.get_vocab()
    kept = needed(known, words, pieces)
    sizes = (config.hidden_size, config.num_attention_heads, config.intermediate_size)
    encoder = WordEncoder(EncoderShape(len(kept), layers, *sizes), kept)
    state, given = {}, {name: p.detach().float() for name, p in model.state_dict().items()}
    table, scale = quantise_rows(given["embeddings.word_embeddings.weight"][[known[piece] for piece in kept]])
    state["table"] = table * scale[:, None]
    state["places"] = (
        given["embeddings.position_embeddings.weight"][:PLACES]
        + given["embeddings.token_type_embeddings.weight"][0]
    )
    for part in ("weight", "bias"):
        state[f"ln.{part}"] = given[f"embeddings.LayerNorm.{part}"]
        for i in range(layers):
            of, to = f"encoder.layer.{i}", f"blocks.{i}"
            heads = [given[f"{of}.attention.self.{name}.{part}"] for name in ("query", "key", "value")]
            state[f"{to}.qkv.{part}"] = torch.cat(heads)
            for theirs, ours in _NAMES.items():
                state[f"{to}.{ours}.{part}"] = given[f"{of}.{theirs}.{part}"]
    encoder.load_state_dict(state)
    return encoder


def _loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer  # seconds

    try:
        model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder}: no encoder in transformers' layout ({reason})") from None
    if model.config.model_type != "bert":
        raise CheckpointError(
            f"{folder}: a model of the kind {model.config.model_type}; --encoder takes BERT's"
        )
    return model, tokenizer


_NAMES: Final = {
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "ln_1",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "ln_2",
}
"""What the parts of a block are called in transformers, and here."""
