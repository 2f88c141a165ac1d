"""Two models on the same words, layer by layer: the largest absolute difference of their hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from convai.core.errors import CheckpointError
from convai.model.checkpoint import load_model
from convai.model.hidden_states import recorded
from convai.model.openai_release.reference import hidden_states
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer

SOURCE, STOCK = "source", "transformers"

TOLERANCE = 1e-4
"""Of a layer's largest value: float32 leaves less than 1e-5, a wrong or transposed weight far more."""

TEXT = (
    "hello! how are you today? i am fine, thank you. i was reading a book about the sea when it began to "
    "rain, so i went in, made some tea and looked out of the window for an hour."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Max absolute difference a layer of the converted model to each `others`; `size` is its max value."""

    layers: list[str]
    size: list[float]
    others: dict[str, list[float]]

    def rows(self) -> list[str]:
        """A table to print."""
        names = list(self.others)
        widths = [max(12, len(name)) for name in names]
        heads = "  ".join(f"{name:>{w}}" for name, w in zip(names, widths, strict=True))
        rows = [f"{'layer':<12} {'max |state|':>12}  {heads}"]
        for i, layer in enumerate(self.layers):
            cells = "  ".join(f"{self.others[n][i]:>{w}.2e}" for n, w in zip(names, widths, strict=True))
            rows.append(f"{layer:<12} {self.size[i]:>12.5g}  {cells}")
        return rows

    def check(self) -> None:
        """Raises CheckpointError at the first layer where the conversion went wrong by more than TOLERANCE.

        Other folders are only compared: they may hold the model as it was tuned later.
        """
        for name in (SOURCE, STOCK):
            for layer, size, difference in zip(self.layers, self.size, self.others[name], strict=True):
                if not difference <= TOLERANCE * max(size, 1e-3):  # not a number is no agreement
                    raise CheckpointError(
                        f"{layer}: the states differ from those of {name} by {difference:.3g}, the largest "
                        f"being {size:.3g}; settings and weights do not belong together"
                    )


def sample_ids(tokenizer: Tokenizer, vocab_size: int, length: int) -> NDArray[np.int64]:
    """Two rows of at most `length` ids `[2, T]`: English, and ids from all over the vocabulary."""
    words = np.array(tokenizer.encode(TEXT)[:length], np.int64)
    return np.stack([words, np.linspace(0, vocab_size - 1, len(words)).astype(np.int64)])


def compare(
    folder: Path,
    ids: NDArray[np.int64],
    variables: Mapping[str, NDArray[Any]],
    others: Sequence[Path] = (),
) -> Comparison:
    """The converted model in `folder` beside the source's own arithmetic, transformers' model, and `others`.

    `ids`: `[B, T]`. Raises CheckpointError where one of `others` cannot be loaded or has other layers.
    """
    model = load_model(folder)
    config = model.config
    ours = states_of(model, ids)
    found = {
        SOURCE: hidden_states(variables, config, ids),
        STOCK: states_of(_stock(folder, config), ids),
    }
    for other in others:
        theirs = load_model(other)
        if (theirs.config.family, theirs.config.n_layer, theirs.config.n_embd) != (
            *(config.family, config.n_layer, config.n_embd),
        ) or theirs.config.vocab_size <= ids.max():
            raise CheckpointError(f"{other}: has other layers or fewer words; compare with the same model")
        found[str(other)] = states_of(theirs, ids)
    layers = ["embeddings", *(f"block {i}" for i in range(config.n_layer)), *["last norm"][: config.pre_norm]]
    return Comparison(
        layers,
        [float(np.abs(state).max()) for state in ours],
        {name: _differences(ours, states) for name, states in found.items()},
    )


@torch.no_grad()
def states_of(model: nn.Module, ids: NDArray[np.int64]) -> list[NDArray[Any]]:
    """States of a double-heads model, ours or transformers', for `ids` `[B, T]`, without segments."""
    words = torch.from_numpy(ids)
    positions = torch.arange(ids.shape[1]).expand(ids.shape)
    trunk = model.get_submodule("transformer")
    with recorded(trunk) as states:
        if hasattr(model, "lm_logits"):
            model(words, positions)
        else:
            trunk(words, position_ids=positions)
    return [state.double().numpy() for state in states]


def _differences(ours: list[NDArray[Any]], theirs: list[NDArray[Any]]) -> list[float]:
    return [float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)]


def _stock(folder: Path, config: Shape) -> nn.Module:
    """transformers' model of the same files."""
    from transformers import GPT2DoubleHeadsModel, OpenAIGPTDoubleHeadsModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    kind = GPT2DoubleHeadsModel if config.family == "gpt2" else OpenAIGPTDoubleHeadsModel
    stock: nn.Module = kind.from_pretrained(str(folder))
    return stock.eval()
