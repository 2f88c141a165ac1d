"""One LSTM layer on packed rows, both directions at once: forward, and its gradient written out.

Rows are packed as in `PackedSequence`: sequences sorted by length, longest first; all first words, then all
second words, and so on. The reverse direction reads every sequence from its own end (`Steps.flip`), so that
both directions have the same number of live sequences at a step and step together. Shapes below: N rows in
all, n at a step, B sequences, G directions (1 or 2), D input channels, H hidden ones.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

State = tuple[Tensor, Tensor]


class Steps:
    """How many sequences are live at each step, and where their rows begin."""

    def __init__(self, batch_sizes: Tensor, *, device: torch.device | str = "cpu") -> None:
        self.sizes: list[int] = batch_sizes.tolist()
        self.device = torch.device(device)
        self.offsets = [0]
        for size in self.sizes:
            self.offsets.append(self.offsets[-1] + size)

    @property
    def batch(self) -> int:
        """Sequences, B."""
        return self.sizes[0] if self.sizes else 0

    @property
    def rows(self) -> int:
        """Rows, N."""
        return self.offsets[-1]

    @functools.cached_property
    def lengths(self) -> Tensor:
        """Words of each sequence `[B]`, falling."""
        sizes = torch.tensor(self.sizes)
        return (sizes[None] > torch.arange(self.batch)[:, None]).sum(1)

    @functools.cached_property
    def flip(self) -> Tensor:
        """`[N]`: the row that a row becomes when every sequence is read backwards (its own inverse)."""
        offsets = torch.tensor(self.offsets[:-1])
        steps = torch.repeat_interleave(torch.arange(len(self.sizes)), torch.tensor(self.sizes))
        sequences = self.sequences.cpu()
        return (offsets[self.lengths[sequences] - 1 - steps] + sequences).to(self.device)

    @functools.cached_property
    def sequences(self) -> Tensor:
        """`[N]`: the sequence of each row."""
        return torch.cat([torch.arange(size) for size in self.sizes]).to(self.device)

    @functools.cached_property
    def last_rows(self) -> Tensor:
        """`[B]`: the row of each sequence's last word."""
        offsets = torch.tensor(self.offsets[:-1])
        return (offsets[self.lengths - 1] + torch.arange(self.batch)).to(self.device)


class FoldedLayer(NamedTuple):
    """Folded weights of a layer: gates in the order i, f, o, g; see `fold`."""

    w_x: Tensor
    """`[G, 4H, D]`"""
    w_h: Tensor
    """`[G, 4H, H]`"""
    bias: Tensor
    """`[G, 4H]`"""


def fold(w_x: Tensor, w_h: Tensor, bias: Tensor, *, hard: bool = True) -> FoldedLayer:
    """torch's gate order i, f, g, o to i, f, o, g; with `hard`, 0.2 x + 0.5 put into i, f and o.

    After that hard_sigmoid is clamp(·, 0, 1). Exact in real numbers; within rounding in floating point.
    """
    i, f, g, o = bias.chunk(4, -1)
    scale = 0.2 if hard else 1.0
    shift = 0.5 if hard else 0.0

    def arrange(weight: Tensor) -> Tensor:
        i, f, g, o = weight.chunk(4, 1)
        return torch.cat((scale * i, scale * f, scale * o, g), 1)

    folded = torch.cat((scale * i + shift, scale * f + shift, scale * o + shift, g), -1)
    return FoldedLayer(arrange(w_x), arrange(w_h), folded)


def run_layer(
    x: Tensor, steps: Steps, layer: FoldedLayer, state: State | None = None, *, hard: bool = True
) -> tuple[Tensor, State]:
    """Rows `[N, D]` → rows `[N, G * H]`, and the last h and c, each `[G, B, H]`.

    `state`: the first h and c, zeros if None. `hard`: gates are clamped (the layer must be folded so),
    otherwise sigmoids. Differentiable in everything.
    """
    directions, _, hidden = layer.w_h.shape
    if state is None:
        zeros = x.new_zeros(directions, steps.batch, hidden)
        state = (zeros, zeros)
    gates = input_gates(x, steps, layer)
    if torch.is_grad_enabled():
        h, c = Recurrence.apply(gates, layer.w_h, *state, steps, hard)  # type: ignore[no-untyped-call]
    else:
        h, c = run_steps(gates, layer.w_h, *state, steps, hard)
    end = steps.last_rows
    last = (h.index_select(1, end), c.index_select(1, end))
    if directions == 1:
        return h[0], last
    return torch.cat((h[0], h[1].index_select(0, steps.flip)), 1), last


def input_gates(x: Tensor, steps: Steps, layer: FoldedLayer) -> Tensor:
    """What inputs give to the gates, `[G, N, 4H]`: a product a direction, the second on flipped rows."""
    sides = [x] if layer.w_x.shape[0] == 1 else [x, x.index_select(0, steps.flip)]
    if torch.is_grad_enabled():
        parts = zip(layer.bias, sides, layer.w_x, strict=True)
        return torch.stack([torch.addmm(bias, side, w.t()) for bias, side, w in parts])
    gates = x.new_empty(len(sides), len(x), layer.w_x.shape[1])
    for d, side in enumerate(sides):
        torch.addmm(layer.bias[d], side, layer.w_x[d].t(), out=gates[d])
    return gates


def advance(gates: Tensor, c: Tensor, h_out: Tensor, c_out: Tensor, scratch: Tensor, hard: bool) -> None:
    """One step in place: pre-activations `[G, n, 4H]` become gates, `c_out` and `h_out` are written.

    `c` (the cell before) may be `c_out` itself. No gradient; all others are `[G, n, H]`.
    """
    hidden = c.shape[-1]
    if hard:
        gates[..., : 3 * hidden].clamp_(0, 1)
    else:
        gates[..., : 3 * hidden].sigmoid_()
    i, f, o, g = gates.split(hidden, -1)
    g.tanh_()
    torch.mul(c, f, out=c_out)
    c_out.addcmul_(i, g)
    torch.tanh(c_out, out=scratch)
    torch.mul(o, scratch, out=h_out)


def run_steps(
    gates: Tensor, w_h: Tensor, h0: Tensor, c0: Tensor, steps: Steps, hard: bool
) -> tuple[Tensor, Tensor]:
    """Turn pre-activations `[G, N, 4H]` into gates, in place; h and c of every row, `[G, N, H]` each."""
    directions, rows, width = gates.shape
    h_all, c_all = (gates.new_empty(directions, rows, width // 4) for _ in range(2))
    scratch = torch.empty_like(c0)
    transposed = w_h.transpose(1, 2)
    h, c = h0, c0
    for start, n in zip(steps.offsets, steps.sizes, strict=False):
        now = slice(start, start + n)
        step = gates[:, now]
        for d in range(directions):  # a batched product of views is slower than two
            step[d].addmm_(h[d, :n], transposed[d])
        advance(step, c[:, :n], h_all[:, now], c_all[:, now], scratch[:, :n], hard)
        h, c = h_all[:, now], c_all[:, now]
    return h_all, c_all


class Recurrence(torch.autograd.Function):
    """The steps of a layer: pre-activations of the inputs in, h and c of every row out, `[G, N, H]` each."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w_h: Tensor, h0: Tensor, c0: Tensor, steps: Steps, hard: bool
    ) -> tuple[Tensor, Tensor]:
        """Run all steps. `inputs` `[G, N, 4H]`, `w_h` `[G, 4H, H]`, `h0` and `c0` `[G, B, H]`."""
        gates = inputs.clone()
        h_all, c_all = run_steps(gates, w_h, h0, c0, steps, hard)
        ctx.save_for_backward(gates, h_all, c_all, w_h, h0, c0)
        ctx.steps, ctx.hard = steps, hard
        return h_all, c_all

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Back through the steps; what belongs to the weights is one product over all rows."""
        gates, h_all, c_all, w_h, h0, c0 = ctx.saved_tensors
        steps: Steps = ctx.steps
        grad_h, grad_c = grads
        hidden = w_h.shape[-1]
        d_gates = torch.empty_like(gates)
        h_before, c_before = _shifted(h_all, h0, steps), _shifted(c_all, c0, steps)
        tanh_c = torch.tanh(c_all)
        d_h, d_c = torch.zeros_like(h0), torch.zeros_like(c0)
        for start, n in zip(reversed(steps.offsets[:-1]), reversed(steps.sizes), strict=True):
            now = slice(start, start + n)
            i, f, o, g = gates[:, now].split(hidden, -1)
            d_i, d_f, d_o, d_g = d_gates[:, now].split(hidden, -1)
            dh = d_h[:, :n] + grad_h[:, now]
            tanh = tanh_c[:, now]
            dc = d_c[:, :n] + grad_c[:, now] + dh * o * (1 - tanh * tanh)
            torch.mul(dc, g, out=d_i)
            torch.mul(dc, c_before[:, now], out=d_f)
            torch.mul(dh, tanh, out=d_o)
            torch.mul(dc * i, 1 - g * g, out=d_g)
            gate, d_gate = gates[:, now, : 3 * hidden], d_gates[:, now, : 3 * hidden]
            # the slope of the clamp, or of the sigmoid
            d_gate.mul_((gate > 0) & (gate < 1) if ctx.hard else gate * (1 - gate))
            d_c[:, :n] = dc * f
            d_h[:, :n] = torch.bmm(d_gates[:, now], w_h)
        d_w = torch.bmm(d_gates.transpose(1, 2), h_before) if ctx.needs_input_grad[1] else None
        return d_gates, d_w, d_h, d_c, None, None


def _shifted(states: Tensor, first: Tensor, steps: Steps) -> Tensor:
    """The state before each row: `first` for first words, else that of the word before."""
    before = torch.empty_like(states)
    before[:, : steps.batch] = first
    for (start, previous), n in zip(
        zip(steps.offsets[1:], steps.offsets, strict=False), steps.sizes[1:], strict=False
    ):
        before[:, start : start + n] = states[:, previous : previous + n]
    return before
