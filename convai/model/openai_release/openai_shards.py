"""OpenAI's release of GPT (finetune-transformer-lm): ten numpy shards and a list of shapes.

The shards are one long float32 vector, cut into ten for the size of a file. `params_shapes.json` cuts it into
arrays, without names: position embeddings, word embeddings, then twelve arrays a block in the order in which
the release's `model` function creates its variables. (The training code stacks the word embeddings, its own
special tokens, and the positions into one variable `model/we`; here both keep the names of GPT-2's scopes.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from convai.core.errors import CheckpointError

SHAPES: Final = "params_shapes.json"
BLOCK: Final = (
    *("attn/c_attn/w", "attn/c_attn/b", "attn/c_proj/w", "attn/c_proj/b", "ln_1/g", "ln_1/b"),
    *("mlp/c_fc/w", "mlp/c_fc/b", "mlp/c_proj/w", "mlp/c_proj/b", "ln_2/g", "ln_2/b"),
)
"""The variables of a block in the order of their creation."""


class OpenAIShards(Mapping[str, NDArray[Any]]):
    """The arrays of the release by the names of their scopes."""

    def __init__(self, folder: Path) -> None:
        """Read shapes and shards. Raises CheckpointError where they are damaged or do not belong together."""
        shapes = _shapes(folder / SHAPES)
        blocks, rest = divmod(len(shapes) - 2, len(BLOCK))
        if blocks < 1 or rest:
            raise CheckpointError(
                f"{folder / SHAPES}: {len(shapes)} arrays are not two embeddings and {len(BLOCK)} a block; "
                "copy the file again"
            )
        scopes = (f"model/h{layer}/{name}" for layer in range(blocks) for name in BLOCK)
        names = ["model/wpe", "model/wte", *scopes]
        shards = list(_shards(folder))
        wanted, found = sum(map(math.prod, shapes)), sum(map(len, shards))
        if wanted != found:
            raise CheckpointError(
                f"{folder}: {SHAPES} asks for {wanted} numbers, the {len(shards)} files params_*.npy hold "
                f"{found}; copy the folder again"
            )
        self._numbers = np.concatenate(shards)
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        self._arrays = {
            name: (int(end) - math.prod(shape), shape)
            for name, end, shape in zip(names, ends, shapes, strict=True)
        }

    def __len__(self) -> int:
        return len(self._arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """An array's shape."""
        return self._arrays[name][1]

    def __getitem__(self, name: str) -> NDArray[Any]:
        start, shape = self._arrays[name]
        return self._numbers[start : start + math.prod(shape)].reshape(shape)


def _shapes(path: Path) -> list[tuple[int, ...]]:
    try:
        shapes = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; copy the whole folder") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path}: not JSON; copy the file again") from None
    if not isinstance(shapes, list) or not all(
        isinstance(shape, list) and shape and all(type(n) is int and n > 0 for n in shape) for shape in shapes
    ):
        raise CheckpointError(f"{path}: expected a list of shapes, [[512, 768], ...]; copy the file again")
    return [tuple(shape) for shape in shapes]


def _shards(folder: Path) -> Iterator[NDArray[np.float32]]:
    """params_0.npy, params_1.npy, ... up to the first number that is not there."""
    for number in count():
        path = folder / f"params_{number}.npy"
        if not path.exists():
            if not number:
                raise CheckpointError(f"{path}: missing; copy the whole folder")
            return
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path}: not an array ({reason}); copy the file again") from None
        if not isinstance(shard, np.ndarray) or shard.ndim != 1 or shard.dtype != np.float32:
            raise CheckpointError(f"{path}: expected a vector of float32; copy the file again")
        yield shard
