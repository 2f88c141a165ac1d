"""The hard-sigmoid LSTM: equal to its formulae, one sequence and one step at a time; gradients; interface."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, pad_sequence

from convai.core.errors import SettingsError
from convai.emotion.lstm import HardSigmoidLSTM
from convai.emotion.recurrence import Steps, fold, run_layer
from tests.emotion.reference import one_sequence


def lstm(**options: object) -> HardSigmoidLSTM:
    """Weights large enough for many gates to be clamped."""
    torch.manual_seed(0)
    made = HardSigmoidLSTM(3, 4, **options).double()
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(1.5 * torch.randn(p.shape))
    return made


def sequences(*lengths: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(n, 3, dtype=torch.double) for n in lengths]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=0, atol=1e-12))


@pytest.mark.parametrize(
    ("layers", "both", "bias"), list(itertools.product((1, 2), (False, True), (False, True)))
)
def test_it_is_what_the_formulae_say(layers: int, both: bool, bias: bool) -> None:
    """Packed in any order, with states of one's own; one sequence is the reference."""
    model = lstm(num_layers=layers, bidirectional=both, bias=bias)
    xs = sequences(2, 5, 1, 5)
    n = layers * (2 if both else 1)
    h0, c0 = (torch.randn(n, 4, 4, dtype=torch.double) for _ in range(2))
    for state in (None, (h0, c0)):
        packed, (h, c) = model(pack_sequence(xs, enforce_sorted=False), state)
        rows, lengths = pad_packed_sequence(packed, batch_first=True)
        assert lengths.tolist() == [2, 5, 1, 5]
        for b, x in enumerate(xs):
            own = None if state is None else (h0[:, b], c0[:, b])
            expected, (h_end, c_end) = one_sequence(model, x, own)
            assert same(rows[b, : len(x)], expected)
            assert same(h[:, b], h_end)
            assert same(c[:, b], c_end)


def test_gates_are_really_clamped_there() -> None:
    """The test above would prove little if no gate left the straight part."""
    model = lstm()
    x = sequences(5)[0]
    w = dict(model.named_parameters())
    pre = x @ w["weight_ih_l0"].t() + w["bias_ih_l0"] + w["bias_hh_l0"]
    assert (pre.abs() > 2.5).any()
    assert (pre.abs() < 2.5).any()


@pytest.mark.parametrize("batch_first", [False, True])
def test_padded_batches_and_single_sequences(batch_first: bool) -> None:
    model = lstm(bidirectional=True, batch_first=batch_first)
    xs = sequences(4, 4)
    rows, (h, c) = model(torch.stack(xs, 0 if batch_first else 1))
    for b, x in enumerate(xs):
        expected, (h_end, c_end) = one_sequence(model, x)
        assert same(rows[b] if batch_first else rows[:, b], expected)
        alone, (h_alone, c_alone) = model(x)
        assert same(alone, expected)
        assert same(h_alone, h_end)
        assert same(c_alone, c_end)
        assert same(h[:, b], h_end)
        assert same(c[:, b], c_end)


def test_shapes_and_names_are_those_of_torchs_own() -> None:
    options = {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.5}
    ours, theirs = HardSigmoidLSTM(3, 4, **options), nn.LSTM(3, 4, **options)
    assert {n: p.shape for n, p in ours.named_parameters()} == {
        n: p.shape for n, p in theirs.named_parameters()
    }
    x = torch.randn(2, 5, 3)
    packed = pack_padded_sequence(x, torch.tensor([3, 5]), batch_first=True, enforce_sorted=False)
    for given in (x, x[0], packed):
        a, (h, c) = ours(given)
        b, (h_theirs, c_theirs) = theirs(given)
        assert type(a) is type(b)
        data_a, data_b = (a, b) if isinstance(a, torch.Tensor) else (a.data, b.data)
        assert data_a.shape == data_b.shape
        assert (h.shape, c.shape) == (h_theirs.shape, c_theirs.shape)


@pytest.mark.parametrize("hard", [True, False])
def test_the_written_out_gradient_is_the_gradient(hard: bool) -> None:
    torch.manual_seed(2)
    steps = Steps(torch.tensor([3, 3, 1]))
    shapes = ((7, 2), (2, 12, 2), (2, 12, 3), (2, 12), (2, 3, 3), (2, 3, 3))
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]

    def run(x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        w_x, w_h, bias, h0, c0 = rest
        out, last = run_layer(x, steps, fold(w_x, w_h, bias, hard=hard), (h0, c0), hard=hard)
        return (out, *last)

    assert torch.autograd.gradcheck(run, inputs)


def test_with_plain_gates_it_is_torchs_own() -> None:
    """The same steps with sigmoids: checks packing, order of gates and gradients against nn.LSTM."""
    torch.manual_seed(3)
    model = nn.LSTM(3, 4, bidirectional=True).double()
    w = dict(model.named_parameters())
    layer = fold(
        torch.stack([w["weight_ih_l0"], w["weight_ih_l0_reverse"]]),
        torch.stack([w["weight_hh_l0"], w["weight_hh_l0_reverse"]]),
        torch.stack([w[f"bias_ih_l0{s}"] + w[f"bias_hh_l0{s}"] for s in ("", "_reverse")]),
        hard=False,
    )
    packed = pack_sequence(sequences(5, 3, 3, 1))
    ours, last = run_layer(packed.data, Steps(packed.batch_sizes), layer, hard=False)
    theirs, (h, c) = model(packed)
    assert same(ours, theirs.data)
    assert same(last[0], h)
    assert same(last[1], c)
    grads = [
        torch.autograd.grad((out**2).sum(), list(model.parameters()), retain_graph=True)
        for out in (ours, theirs.data)
    ]
    assert all(same(a, b) for a, b in zip(*grads, strict=True))


def test_dropout_between_layers_only_in_training() -> None:
    model = lstm(num_layers=2, dropout=0.9)
    x = pad_sequence(sequences(6, 6))
    torch.manual_seed(0)
    trained = model(x)[0]
    assert not same(trained, model(x)[0])
    model.eval()
    assert same(model(x)[0], model(x)[0])


def test_what_it_refuses() -> None:
    with pytest.raises(SettingsError, match="proj_size"):
        HardSigmoidLSTM(3, 4, proj_size=2)
    model = lstm()
    with pytest.raises(RuntimeError, match="Expected 3, got 2"):
        model(torch.zeros(5, 1, 2).double())
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        model(torch.zeros(5, 1, 3).double(), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))
    with pytest.raises(RuntimeError, match="2D or 3D"):
        model(torch.zeros(5).double())
