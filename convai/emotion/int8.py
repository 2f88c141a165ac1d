"""An LSTM layer in 8-bit integers: for prediction on a processor, about a percent off in its features.

Weights have one scale a gate channel, rows (inputs and hidden states) one each, taken as they come: so a
text's result does not depend on the others in its batch. Products are exact in int32 (`torch._int_mm`,
oneDNN; fast where the processor has VNNI), everything else is float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convai.emotion.recurrence import FoldedLayer, Steps, advance
from convai.model.native import quantise


class Int8Layer:
    """A layer whose weights are int8. Works on the processor, and gives no gradients."""

    def __init__(self, layer: FoldedLayer) -> None:
        """`layer`: folded weights in float32."""
        # [K, 4H] views of contiguous [4H, K]: the layout that the product wants
        self.w_x, self.x_scale = self._pack(layer.w_x)
        self.w_h, self.h_scale = self._pack(layer.w_h)
        self.bias = layer.bias.detach()

    @staticmethod
    def _pack(weights: Tensor) -> tuple[list[Tensor], Tensor]:
        quantised, scale = quantise(weights.detach())
        return [w.contiguous().t() for w in quantised], scale.transpose(1, 2)

    def run(self, x: Tensor, steps: Steps, *, hard: bool = True) -> Tensor:
        """Rows `[N, D]` → rows `[N, G * H]`, from zero states; as `recurrence.run_layer` but for rounding."""
        gates = self._input_gates(x, steps)
        directions, rows, width = gates.shape
        hidden = width // 4
        h_all = gates.new_empty(directions, rows, hidden)
        c, scratch = (gates.new_zeros(directions, steps.batch, hidden) for _ in range(2))
        sums = gates.new_empty(directions, steps.batch, width, dtype=torch.int32)
        products = gates.new_empty(directions, steps.batch, width)
        h: Tensor | None = None
        for start, n in zip(steps.offsets, steps.sizes, strict=False):
            now = slice(start, start + n)
            step = gates[:, now]
            if h is not None:
                q, scale = quantise(h[:, :n])
                for d in range(directions):
                    torch._int_mm(q[d], self.w_h[d], out=sums[d, :n])
                # whole passes of like operands: mixed types and broadcast addcmul are many times slower
                product = products[:, :n].copy_(sums[:, :n])
                step.add_(product.mul_(self.h_scale).mul_(scale))
            h = h_all[:, now]
            advance(step, c[:, :n], h, c[:, :n], scratch[:, :n], hard)
        if directions == 1:
            return h_all[0]
        return torch.cat((h_all[0], h_all[1].index_select(0, steps.flip)), 1)

    def _input_gates(self, x: Tensor, steps: Steps) -> Tensor:
        q, scale = quantise(x)
        gates = x.new_empty(len(self.w_x), len(x), self.bias.shape[1])
        for d, w in enumerate(self.w_x):
            if d:
                q, scale = q.index_select(0, steps.flip), scale.index_select(0, steps.flip)
            gates[d].copy_(torch._int_mm(q, w)).mul_(self.x_scale[d]).mul_(scale).add_(self.bias[d])
        return gates
