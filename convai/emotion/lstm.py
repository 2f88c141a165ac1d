"""An LSTM with Keras' hard sigmoid, under torch's interface: `nn.LSTM` in every argument and parameter name.

The gates are clip(0.2 x + 0.5, 0, 1), Keras' and Theano's default when DeepMoji was trained:

    i, f, o = hard_sigmoid(W x + U h + b),  g = tanh(W x + U h + b)
    c' = f c + i g,  h' = o tanh(c')

torch's own LSTM (cuDNN, oneDNN) has the plain sigmoid only. Here 0.2 and 0.5 are folded into weights and
bias, so that a gate is one clamp; the products with the inputs are taken for all time steps at once; both
directions step together; and a step works on all gates of all sequences. The gradient is written out
(`recurrence.Recurrence`), one matrix product a weight instead of one a step. Why not a compiled cell:
TorchScript is deprecated, and torch.compile needs a C++ compiler where the model is used.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from convai.core.errors import SettingsError
from convai.emotion.recurrence import FoldedLayer, Steps, fold, run_layer

State = tuple[Tensor, Tensor]


class HardSigmoidLSTM(nn.LSTM):
    """`nn.LSTM` with hard-sigmoid gates; arguments, parameters, inputs and outputs are nn.LSTM's.

    Input `[T, B, D]` (`[B, T, D]` with `batch_first`), `[T, D]` for one sequence, or a PackedSequence;
    output likewise with `num_directions * hidden_size` channels, and the last (h, c), each
    `[num_layers * num_directions, B, hidden_size]`. `proj_size` is refused with SettingsError.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.proj_size:
            raise SettingsError("proj_size: a hard-sigmoid LSTM has no projections; use 0")

    def layer(self, index: int) -> FoldedLayer:
        """The weights of layer `index`, folded, both directions stacked; gradients reach the parameters."""
        w_x, w_h, bias = [], [], []
        for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
            w_x.append(getattr(self, f"weight_ih_l{index}{suffix}"))
            w_h.append(getattr(self, f"weight_hh_l{index}{suffix}"))
            if self.bias:
                b_ih, b_hh = (getattr(self, f"bias_{part}_l{index}{suffix}") for part in ("ih", "hh"))
                bias.append(b_ih + b_hh)
            else:
                bias.append(w_x[-1].new_zeros(4 * self.hidden_size))
        return fold(torch.stack(w_x), torch.stack(w_h), torch.stack(bias))

    def forward(  # type: ignore[override]
        self, input: Tensor | PackedSequence, hx: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """As `nn.LSTM.forward`. Raises RuntimeError, as it does, for inputs and states of a wrong shape."""
        if isinstance(input, PackedSequence):
            state = None if hx is None else self.permute_hidden(hx, input.sorted_indices)
            steps = Steps(input.batch_sizes, device=input.data.device)
            output, last = self._layers(input.data, steps, state)
            packed = PackedSequence(output, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
            return packed, self.permute_hidden(last, input.unsorted_indices)
        if input.dim() not in (2, 3):
            raise RuntimeError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        alone = input.dim() == 2
        if alone:
            x, state = input[:, None], None if hx is None else (hx[0][:, None], hx[1][:, None])
        else:
            x, state = (input.transpose(0, 1) if self.batch_first else input), hx
        length, batch = x.shape[:2]
        steps = Steps(torch.full((length,), batch), device=x.device)
        output, last = self._layers(x.reshape(length * batch, -1), steps, state)
        output = output.view(length, batch, -1)
        if alone:
            return output[:, 0], (last[0][:, 0], last[1][:, 0])
        return (output.transpose(0, 1) if self.batch_first else output), last

    def _layers(self, x: Tensor, steps: Steps, state: State | None) -> tuple[Tensor, State]:
        """Packed rows `[N, D]` through all layers: `[N, directions * hidden]` and the last states."""
        directions = 1 + self.bidirectional
        shape = (self.num_layers * directions, steps.batch, self.hidden_size)
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        if state is not None and any(part.shape != shape for part in state):
            raise RuntimeError(f"Expected hidden size {shape}, got {[tuple(p.shape) for p in state]}")
        last: list[State] = []
        for index in range(self.num_layers):
            part = slice(index * directions, (index + 1) * directions)
            first = None if state is None else (state[0][part], state[1][part])
            x, end = run_layer(x, steps, self.layer(index), first)
            last.append(end)
            if self.dropout and index + 1 < self.num_layers:
                x = nn.functional.dropout(x, self.dropout, self.training)
        return x, (torch.cat([h for h, _ in last]), torch.cat([c for _, c in last]))
