"""The network: batched = single, padding without effect, attention, every precision, both kinds of gates."""

from __future__ import annotations

import ctypes
import json

import pytest
import torch
from torch import Tensor

from convai.core.errors import CheckpointError, SettingsError
from convai.emotion import native
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.encoder import Encoder, Precision
from convai.emotion.int8 import Int8Layer
from convai.emotion.model import EmotionModel, Packing, WordAttention, initialise
from convai.emotion.recurrence import Steps, fold
from tests.emotion.models import HEADS, tiny_model
from tests.emotion.reference import one_sequence

IDS = [[11, 12, 13, 14, 15], [16], [17, 18, 11], [12, 12, 12]]


def padded(rows: list[list[int]], width: int = 7) -> tuple[Tensor, Tensor]:
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return ids, torch.tensor([len(row) for row in rows])


def by_hand(model: EmotionModel, row: list[int]) -> tuple[Tensor, Tensor]:
    """Features and attention of one text by the paper's formulae."""
    x = torch.tanh(model.embed.weight[torch.tensor(row)])
    first, _ = one_sequence(model.lstm_0, x)
    second, _ = one_sequence(model.lstm_1, first)
    words = torch.cat((second, first, x), 1)
    weights = torch.softmax(words @ model.attention_layer.attention_vector, 0)
    return weights @ words, weights


def test_it_is_the_papers_network() -> None:
    model = tiny_model()
    with torch.no_grad():
        encoded = model(*padded(IDS))
        for i, row in enumerate(IDS):
            features, attention = by_hand(model, row)
            torch.testing.assert_close(encoded.features[i], features)
            torch.testing.assert_close(encoded.attention[i, : len(row)], attention)
            assert encoded.attention[i, len(row) :].abs().sum() == 0


@pytest.mark.parametrize("gates", ["hard_sigmoid", "sigmoid"])
def test_an_encoder_in_float32_is_the_model(gates: str) -> None:
    model = tiny_model(gates=gates)
    with torch.no_grad():
        expected = model(*padded(IDS))
    for a, b in zip(Encoder(model)(*padded(IDS)), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.02), ("int8", 0.03)])
@pytest.mark.parametrize("gates", ["hard_sigmoid", "sigmoid"])
def test_lower_precisions_are_near(precision: Precision, error: float, gates: str) -> None:
    model = tiny_model(gates=gates, embedding_size=32, hidden_size=24)
    exact = Encoder(model)(*padded(IDS)).features
    near = Encoder(model, precision)(*padded(IDS)).features
    difference = float((near - exact).pow(2).mean().sqrt() / exact.std())
    assert 0 < difference < error


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_text_alone_is_the_text_in_a_batch(precision: Precision) -> None:
    encoder = Encoder(tiny_model(), precision)
    together = encoder(*padded(IDS, 9))
    for i, row in enumerate(IDS):
        alone = encoder(*padded([row], len(row)))
        torch.testing.assert_close(alone.features[0], together.features[i])
        torch.testing.assert_close(alone.attention[0], together.attention[i, : len(row)])


def test_training_reaches_every_weight() -> None:
    model = tiny_model(embed_dropout=0.3, final_dropout=0.3).train()
    encoded = model(*padded(IDS))
    loss = sum(model.logits(encoded.features, head).square().sum() for head in HEADS)
    assert isinstance(loss, Tensor)
    loss.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_dropout_takes_whole_channels_of_a_text() -> None:
    model = tiny_model(embed_dropout=0.5, embedding_size=64).train()
    torch.manual_seed(0)
    packing = Packing(*padded(IDS))
    x = packing.pad(model.embedded(packing), 1.0)
    dropped = x[0, :5] == 0
    assert 10 < int(dropped[0].sum()) < 54
    assert bool((dropped == dropped[0]).all())


def test_the_original_sizes() -> None:
    config = EmotionConfig()
    assert config.feature_size == 2304
    with torch.device("meta"):
        model = EmotionModel(config)
    assert model.num_parameters() == 22_255_872


def test_keras_initialisation() -> None:
    shape = EmotionConfig(vocab_size=50, embedding_size=8, hidden_size=6, heads=HEADS)
    model = EmotionModel(shape).requires_grad_(False)
    w = dict(model.named_parameters())
    assert w["embed.weight"].abs().max() <= 0.5
    hh = w["lstm_0.weight_hh_l0"]
    torch.testing.assert_close(hh.t() @ hh, torch.eye(6))
    bound = (6 / (8 + 24)) ** 0.5
    assert 0.8 * bound < float(w["lstm_0.weight_ih_l0"].abs().max()) <= bound
    assert w["lstm_0.bias_ih_l0_reverse"].tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    assert w["lstm_0.bias_hh_l0"].abs().sum() == 0
    assert w["heads.faces.bias"].abs().sum() == 0
    before = w["heads.faces.weight"].clone()
    initialise(model.heads["faces"])
    assert not torch.equal(before, w["heads.faces.weight"])


def test_what_it_refuses() -> None:
    with pytest.raises(SettingsError, match="precision='int4'"):
        Encoder(tiny_model(), "int4")  # type: ignore[arg-type]
    for wrong in ({"hidden_size": 0}, {"embed_dropout": 1.0}, {"heads": (HEADS[0], HEADS[0])}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            EmotionConfig(**wrong)
    for labels, multi in (((), False), (("a",), False), (("a", "a"), True)):
        with pytest.raises(SettingsError, match="labels="):
            Head(name="x", labels=labels, multi=multi)
    with pytest.raises(SettingsError, match="name="):
        Head(name="a-b", labels=("a", "b"))
    with pytest.raises(SettingsError, match="thresholds="):
        Head(name="a", labels=("a", "b"), thresholds=(0.1,))


def test_a_config_survives_its_file() -> None:
    config = tiny_model().config.replace(
        heads=(Head(name="a", labels=("x",), multi=True, thresholds=(0.3,)),)
    )
    values = json.loads(json.dumps(config.to_json()))
    assert EmotionConfig.from_json(values, "f") == config
    for wrong in (
        {},
        {**values, "hidden_size": "many"},
        {**values, "hidden": 3},
        {**values, "heads": 3},
        {**values, "heads": [{"name": "a"}]},
        {**values, "heads": [{"name": "a", "labels": "xy"}]},
        {**values, "heads": [{"name": "a", "labels": ["x", "y"], "role": "chief"}]},
    ):
        with pytest.raises(CheckpointError, match=r"^f: "):
            EmotionConfig.from_json(wrong, "f")


# -- the int8 cells --------------------------------------------------------------------------------


@pytest.fixture
def cell() -> ctypes.CDLL:
    found = native.library()
    if found is None:
        pytest.skip("not compiled here, or no AVX-512 VNNI")
    return found


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(
    "sizes", [[1] * 30, [3, 3, 1], [5, 4, 2], [29, 29, 14, 13, 7, 6, 1], [12, 12], [67, 67, 40]]
)
@pytest.mark.parametrize("directions", [1, 2])
def test_the_compiled_cell_is_the_cell_in_torch(
    cell: ctypes.CDLL, sizes: list[int], hard: bool, directions: int
) -> None:
    """Every number of rows that has a kernel of its own; large weights, so that gates are clamped."""
    torch.manual_seed(0)
    steps = Steps(torch.tensor(sizes))
    shapes = ((directions, 128, 36), (directions, 128, 32), (directions, 128))
    layer = fold(*(0.4 * torch.randn(shape) for shape in shapes), hard=hard)
    x = torch.randn(steps.rows, 36)
    x[0] = 0
    ours = native.NativeLayer(layer, cell).run(x, steps, hard=hard)
    theirs = Int8Layer(layer).run(x, steps, hard=hard)
    # a last bit of tanh may decide a rounding; then single values differ by a step of 1/127
    assert float((ours - theirs).abs().mean()) < 2e-4
    assert float((ours - theirs).abs().max()) < 0.03


def test_two_threads_compute_what_one_does(cell: ctypes.CDLL) -> None:
    encoder = Encoder(tiny_model(embedding_size=32, hidden_size=32), "int8")
    alone = encoder(*padded(IDS)).features
    torch.set_num_threads(2)
    assert torch.equal(encoder(*padded(IDS)).features, alone)


@pytest.mark.parametrize("gates", ["hard_sigmoid", "sigmoid"])
def test_the_cell_gives_a_text_the_same_numbers_in_any_batch(cell: ctypes.CDLL, gates: str) -> None:
    """To the last bit, whatever kernels its rows fall to, on one thread and on two."""
    encoder = Encoder(tiny_model(embedding_size=36, hidden_size=32, gates=gates), "int8")
    rows = [[11 + (7 * i + j) % 8 for j in range(1 + i % 9)] for i in range(40)]
    together = encoder(*padded(rows, 9))
    torch.set_num_threads(2)
    for part in (slice(0, 40), slice(3, 20), *(slice(i, i + 1) for i in range(40))):
        some = encoder(*padded(rows[part], 9))
        assert torch.equal(some.features, together.features[part])
        assert torch.equal(some.attention, together.attention[part])


def test_the_cells_attention_is_the_models(cell: ctypes.CDLL) -> None:
    """Widths that no vector register divides, unsorted texts, padding behind the longest."""
    torch.manual_seed(0)
    packing = Packing(*padded(IDS, 9))
    parts = tuple(torch.randn(packing.steps.rows, width) for width in (40, 17, 3))
    attention = WordAttention(60)
    torch.nn.init.normal_(attention.attention_vector)
    vector = attention.attention_vector.detach()
    ours, theirs = native.attend(cell, vector, parts, packing), attention(parts, packing)
    torch.testing.assert_close(ours.features, theirs.features.detach())
    torch.testing.assert_close(ours.attention, theirs.attention.detach())


def test_sizes_that_the_cell_cannot_hold_run_in_torch() -> None:
    assert not native.fits(fold(torch.zeros(1, 40, 6), torch.zeros(1, 40, 10), torch.zeros(1, 40)))
    encoder = Encoder(tiny_model(), "int8")
    assert bool(encoder(*padded(IDS)).features.isfinite().all())


def test_int8_runs_without_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(embedding_size=32, hidden_size=32)
    best = Encoder(model, "int8")(*padded(IDS)).features
    monkeypatch.setattr(native, "library", lambda: None)
    torch.testing.assert_close(Encoder(model, "int8")(*padded(IDS)).features, best, rtol=0.05, atol=0.02)
