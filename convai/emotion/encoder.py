"""A trained model made ready to predict: weights folded and converted once, in a precision of choice."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from convai.core.errors import SettingsError
from convai.emotion import native
from convai.emotion.int8 import Int8Layer
from convai.emotion.model import EmotionModel, Encoded, Packing
from convai.emotion.recurrence import FoldedLayer, Steps, fold, run_layer

Precision = Literal["float32", "bf16", "int8"]
PRECISIONS: Final = get_args(Precision)
_Ready = FoldedLayer | Int8Layer | native.NativeLayer


class Encoder:
    """Encodes as the model does in evaluation mode; later changes of the model's weights are not seen.

    float32 gives the model's own numbers, bf16 halves the weights that are read, int8 quarters them (on a
    processor only). Embedding, attention and heads stay in float32.
    """

    def __init__(self, model: EmotionModel, precision: Precision = "float32") -> None:
        if precision not in PRECISIONS:
            raise SettingsError(f"precision={precision!r}: use {', '.join(PRECISIONS)}")
        device = model.embed.weight.device
        if precision == "int8" and device.type != "cpu":
            raise SettingsError("precision='int8': works on the processor only; use bf16")
        self.model = model
        self.precision = precision
        self.hard = model.config.gates == "hard_sigmoid"
        with torch.no_grad():
            folded = [_folded(lstm, self.hard) for lstm in (model.lstm_0, model.lstm_1)]
            if precision == "bf16":
                folded = [FoldedLayer(*(weight.bfloat16() for weight in layer)) for layer in folded]
            self._layers: list[_Ready] = [_int8(layer) if precision == "int8" else layer for layer in folded]
            compiled = any(isinstance(layer, native.NativeLayer) for layer in self._layers)
            vector = model.attention_layer.attention_vector
            self._attention = vector.detach().float().contiguous() if compiled else None

    @torch.inference_mode()
    def __call__(self, ids: Tensor, lengths: Tensor) -> Encoded:
        """Word ids `[B, T]` and lengths `[B]` → features `[B, F]` and attention `[B, T]`, float32."""
        packing = Packing(ids, lengths)
        x = torch.tanh(self.model.embed(packing.rows).float())
        first = self._run(self._layers[0], x, packing.steps)
        second = self._run(self._layers[1], first, packing.steps)
        if self._attention is not None and (cell := native.library()):
            return native.attend(cell, self._attention, (second, first, x), packing)
        encoded: Encoded = self.model.attention_layer((second, first, x), packing)
        return encoded

    def _run(self, layer: _Ready, x: Tensor, steps: Steps) -> Tensor:
        if not isinstance(layer, FoldedLayer):
            return layer.run(x, steps, hard=self.hard)
        rows, _ = run_layer(x.to(layer.w_x.dtype), steps, layer, hard=self.hard)
        return rows.float()


def _int8(layer: FoldedLayer) -> Int8Layer | native.NativeLayer:
    """The compiled cell where there is one, otherwise the same on torch's operators."""
    cell = native.library() if native.fits(layer) else None
    return Int8Layer(layer) if cell is None else native.NativeLayer(layer, cell)


def _folded(lstm: nn.LSTM, hard: bool) -> FoldedLayer:
    """The first layer of a bidirectional `lstm`, folded."""
    suffixes = ("l0", "l0_reverse")
    weights = {name: p.detach().float() for name, p in lstm.named_parameters()}
    return fold(
        torch.stack([weights[f"weight_ih_{s}"] for s in suffixes]),
        torch.stack([weights[f"weight_hh_{s}"] for s in suffixes]),
        torch.stack([weights[f"bias_ih_{s}"] + weights[f"bias_hh_{s}"] for s in suffixes]),
        hard=hard,
    )
