"""Adapters: nothing at first, the same sum merged or not, read back by us and by peft with transformers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convai.core.dialog import AGENT, USER
from convai.core.errors import CheckpointError, SettingsError
from convai.core.settings import TrainConfig
from convai.model import adapters as lora
from convai.model import frozen
from convai.model.checkpoint import load_model, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.families import FAMILIES as FAMILY_PARTS
from convai.model.frozen import FrozenLinear, adapted_product, quantise_rows
from convai.model.shape import Family, Shape
from convai.model.sparse_attention import worth_blocks
from convai.text.segments import EncodedDialog, EncodedTurn
from convai.training.batches import collate
from convai.training.losses import compute_losses
from convai.training.optim import Optimizers
from tests.tiny import FAMILIES, SPECIAL, WORDS, as_trees, inputs, randomize, tiny_model

CONFIG = TrainConfig(lora_rank=4, lora_alpha=8.0)
FRESH = (WORDS + 2, WORDS + 3)


def outputs(model: DoubleHeadsModel) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        hidden = model.eval()(*inputs())
        return model.lm_logits(hidden), model.mc_logits(hidden)


def taught(
    family: Any = "gpt2", config: TrainConfig = CONFIG, fresh: tuple[int, ...] = ()
) -> DoubleHeadsModel:
    """A tiny model with adapters that are no longer nothing."""
    model = tiny_model(family)
    torch.manual_seed(0)
    lora.adapt(model, CONFIG, fresh)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.2 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("targets", ["all", "attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_find_every_matrix_and_begin_as_nothing(family: Any, targets: Any) -> None:
    model = tiny_model(family)
    before = outputs(model)
    assert not lora.is_adapted(model)
    lora.adapt(model, TrainConfig(lora_rank=4, lora_targets=targets))
    assert lora.is_adapted(model)
    for one, other in zip(before, outputs(model), strict=True):
        assert torch.equal(one, other)
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sizes = {name.split(".lora_A")[0]: tuple(p.shape) for name, p in learning.items() if "lora_A" in name}
    parts = {"attn.c_attn": 16, "attn.c_proj": 16, "mlp.c_fc": 16, "mlp.c_proj": 64}
    wanted = {k: n for k, n in parts.items() if targets == "all" or k.startswith("attn")}
    assert sizes == {f"transformer.h.{i}.{k}": (4, n) for i in range(2) for k, n in wanted.items()}
    rest = {name for name in learning if "lora_" not in name}
    assert rest == {f"multiple_choice_head.modules_to_save.default.summary.{x}" for x in ("weight", "bias")}


@pytest.mark.parametrize("fresh", [(), FRESH])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_sum_is_an_ordinary_model_that_says_the_same(
    family: Any, fresh: tuple[int, ...], tmp_path: Path
) -> None:
    model = taught(family, fresh=fresh)
    plain = lora.merged(model)
    assert not lora.is_adapted(plain)
    assert plain.state_dict().keys() == tiny_model(family).state_dict().keys()
    assert all(p.requires_grad for p in plain.parameters())
    expected = outputs(model)
    assert float((expected[0] - outputs(tiny_model(family))[0]).abs().max()) > 0.1
    save_model(plain, tmp_path)
    for again in (plain, load_model(tmp_path), model):  # the last: merging left it as it was
        for one, other in zip(expected, outputs(again), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("fresh", [(), FRESH])
def test_the_base_is_what_it_was(fresh: tuple[int, ...]) -> None:
    original, base = tiny_model().state_dict(), lora.base(taught(fresh=fresh)).state_dict()
    assert original.keys() == base.keys()
    assert all(torch.equal(original[name], base[name]) for name in original)


@pytest.mark.parametrize("fresh", [(), FRESH])
def test_an_adapter_read_back_is_the_same_to_the_bit(fresh: tuple[int, ...], tmp_path: Path) -> None:
    model = taught(fresh=fresh)
    lora.save_adapter(model, tmp_path)
    again = tiny_model()
    lora.load_adapter(again, tmp_path)
    for (name, p), (other, q) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert (name, p.requires_grad) == (other, q.requires_grad)
        assert torch.equal(p, q), name


@pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)  # peft's own call
@pytest.mark.parametrize("family", FAMILIES)
def test_peft_reads_it_on_the_stock_model(family: Any, tmp_path: Path) -> None:
    import peft
    from transformers import GPT2DoubleHeadsModel, OpenAIGPTDoubleHeadsModel

    model = taught(family)
    save_model(tiny_model(family), tmp_path / "base")
    lora.save_adapter(model, tmp_path / "adapter")
    stock = GPT2DoubleHeadsModel if family == "gpt2" else OpenAIGPTDoubleHeadsModel
    theirs = peft.PeftModel.from_pretrained(
        stock.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    ).eval()
    ids = torch.randint(0, WORDS, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden = model.eval()(ids, torch.arange(9).expand(2, 9))
        given = theirs(ids[:, None], mc_token_ids=torch.tensor([[8], [8]]))
    torch.testing.assert_close(model.lm_logits(hidden), given.logits[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(model.mc_logits(hidden[:, 8]), given.mc_logits[:, 0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_adapters_head_and_new_rows_learn(optimizer: Any) -> None:
    model = tiny_model()
    lora.adapt(model, CONFIG, FRESH)
    optimizers = Optimizers(model, TrainConfig(optimizer=optimizer, lr=1e-2, muon_lr=1e-2, layer_decay=2.0))
    for _ in range(2):
        hidden = model.train()(*inputs())
        (model.lm_logits(hidden).logsumexp(-1).mean() + model.mc_logits(hidden).square().mean()).backward()
        optimizers.step()
        optimizers.zero_grad()
    before, after = tiny_model().state_dict(), lora.merged(model).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    matrices = {f"transformer.h.{i}.{t}.weight" for i in range(2) for t in FAMILY_PARTS["gpt2"].lora["all"]}
    head = {"multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias"}
    assert changed == matrices | head | {"transformer.wte.weight"}
    rows = (before["transformer.wte.weight"] != after["transformer.wte.weight"]).any(1)
    assert tuple(rows.nonzero().flatten().tolist()) == FRESH


def test_a_match_head_learns_too(tmp_path: Path) -> None:
    config = tiny_model().config.replace(match_size=4)
    first, model = DoubleHeadsModel(config), DoubleHeadsModel(config)
    model.load_state_dict(first.state_dict())
    lora.adapt(model, CONFIG)
    assert model.match_head is not None
    assert all(
        p.requires_grad for name, p in model.named_parameters() if "match_head.modules_to_save" in name
    )
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(1.0)
    lora.save_adapter(model, tmp_path)
    again = DoubleHeadsModel(config)
    again.load_state_dict(first.state_dict())
    lora.load_adapter(again, tmp_path)
    before, after = first.state_dict(), lora.merged(again).state_dict()
    for name in (n for n in before if n.startswith("match_head.")):
        torch.testing.assert_close(after[name], before[name] + 1, atol=0, rtol=0)


def test_a_damaged_or_foreign_adapter_is_refused(tmp_path: Path) -> None:
    lora.save_adapter(taught(), tmp_path)
    other = DoubleHeadsModel(tiny_model().config.replace(n_embd=32))
    with pytest.raises(CheckpointError, match="no adapter for this model"):
        lora.load_adapter(other, tmp_path)
    deeper = DoubleHeadsModel(tiny_model().config.replace(n_layer=3))
    with pytest.raises(CheckpointError, match="the adapter has other layers than the model"):
        lora.load_adapter(deeper, tmp_path)
    settings = json.loads((tmp_path / lora.CONFIG).read_text())
    (tmp_path / lora.CONFIG).write_text(json.dumps(settings | {"r": "four"}))
    with pytest.raises(CheckpointError, match="no adapter for this model"):
        lora.load_adapter(tiny_model(), tmp_path)
    data = (tmp_path / lora.WEIGHTS).read_bytes()
    (tmp_path / lora.WEIGHTS).write_bytes(data[:100])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: damaged or missing"):
        lora.load_adapter(tiny_model(), tmp_path)


def test_without_peft_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match="pip install peft"):
        lora.adapt(tiny_model(), CONFIG)


# -- rotary families: an adapter of its own, perhaps on 8-bit weights


def small(family: Family = "llama", seed: int = 0) -> DoubleHeadsModel:
    shape = Shape(
        family=family,
        vocab_size=WORDS + 5,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_kv_head=2,
        n_inner=48,
        sliding_window=3,
    )
    model = DoubleHeadsModel(shape.without_dropout())
    randomize(model, seed)
    with torch.no_grad():
        model.transformer.segment_gate.zero_()
    return model.eval()


def taught_rotary(config: TrainConfig, family: Family = "llama") -> DoubleHeadsModel:
    model = small(family)
    torch.manual_seed(0)
    lora.adapt(model, config)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    return model


ROTARY = pytest.mark.parametrize("family", ["llama", "gemma3_text"])
INT8 = TrainConfig(lora_rank=4, lora_alpha=8.0, frozen_precision="int8")


@pytest.mark.parametrize("config", [CONFIG, INT8])
def test_heads_and_gate_learn_beside_a_rotary_familys_adapters(config: TrainConfig) -> None:
    model = small()
    lora.adapt(model, config)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    layers = FAMILY_PARTS["llama"].lora["all"]
    wanted = {
        f"transformer.h.{i}.{n}.lora_{x}.default.weight" for i in range(2) for n in layers for x in "AB"
    }
    heads = {f"multiple_choice_head.modules_to_save.default.summary.{x}" for x in ("weight", "bias")}
    assert learning == wanted | heads | {"transformer.segment_gate"}
    (model.lm_logits(model(*inputs())).logsumexp(-1).mean()).backward()
    assert model.transformer.segment_gate.grad is not None


@ROTARY
@pytest.mark.parametrize("config", [CONFIG, INT8])
def test_a_rotary_familys_adapter_is_read_back_to_the_bit(
    config: TrainConfig, family: Family, tmp_path: Path
) -> None:
    model = taught_rotary(config, family)
    lora.save_adapter(model, tmp_path)
    again = small(family)
    lora.load_adapter(again, tmp_path, config)
    for (name, p), (other, q) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert (name, p.requires_grad) == (other, q.requires_grad)
        assert torch.equal(p, q), name
    assert torch.equal(outputs(model)[0], outputs(again)[0])


@ROTARY
def test_the_sum_of_a_rotary_base_and_its_adapter_says_the_same(family: Family) -> None:
    model = taught_rotary(CONFIG, family)
    for one, other in zip(outputs(model), outputs(lora.merged(model)), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@ROTARY
def test_stock_transformers_reads_a_rotary_familys_adapter(family: Family, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    model = taught_rotary(CONFIG, family)
    with torch.no_grad():
        model.transformer.segment_gate.zero_()  # what stock models do not have
    save_model(small(family), tmp_path / "base")
    lora.save_adapter(model, tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ids = torch.randint(0, WORDS, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = model.eval().lm_logits(model(ids, torch.arange(9).expand(2, 9)))
        torch.testing.assert_close(ours, theirs(ids).logits, atol=1e-4, rtol=1e-4)


def test_another_rank_is_refused(tmp_path: Path) -> None:
    lora.save_adapter(taught_rotary(CONFIG), tmp_path)
    with pytest.raises(SettingsError, match="has rank 4"):
        lora.load_adapter(small(), tmp_path, TrainConfig(lora_rank=8))


def test_frozen_layers_are_near_the_float_ones_and_so_are_their_gradients() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(96, 64)
    frozen = FrozenLinear.of(layer)
    x = torch.randn(5, 7, 96)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    weights = torch.randn(5, 7, 64)
    exact, rounded = layer(one), frozen(other)
    (exact * weights).sum().backward()
    (rounded * weights).sum().backward()
    exact, rounded = exact.detach(), rounded.detach()
    assert float((exact - rounded).norm() / exact.norm()) < 0.02
    assert one.grad is not None
    assert other.grad is not None
    assert float((one.grad - other.grad).norm() / one.grad.norm()) < 0.02
    assert all(not p.requires_grad for p in frozen.parameters())
    thawed = frozen.thawed()
    assert float((thawed.weight - layer.weight).detach().norm() / layer.weight.detach().norm()) < 0.01
    assert thawed.bias is not None
    assert torch.equal(thawed.bias, layer.bias)


@pytest.mark.parametrize("learns", [True, False], ids=["inside", "first layer"])
def test_a_frozen_layer_and_its_adapter_are_one_product_with_the_same_gradients(learns: bool) -> None:
    torch.manual_seed(0)
    layer = FrozenLinear.of(torch.nn.Linear(96, 64))
    x, down, up = torch.randn(5, 7, 96), torch.randn(4, 96), torch.randn(64, 4)
    weights = torch.randn(5, 7, 64)

    def computed(product: Callable[..., torch.Tensor]) -> list[torch.Tensor | None]:
        leaves = [
            x.clone().requires_grad_(learns),
            down.clone().requires_grad_(),
            up.clone().requires_grad_(),
        ]
        y = product(*leaves)
        (y * weights).sum().backward()
        return [y.detach(), *(leaf.grad for leaf in leaves)]

    together = computed(lambda x, down, up: adapted_product(layer, x, down, up, 2.0))
    apart = computed(lambda x, down, up: layer(x) + 2.0 * (x @ down.t() @ up.t()))
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_in_bfloat16_the_product_and_its_gradients_are_near(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = FrozenLinear.of(torch.nn.Linear(96, 64))
    x, down, up = torch.randn(5, 7, 96), torch.randn(4, 96), torch.randn(64, 4)
    weights = torch.randn(5, 7, 64)

    def computed(x: torch.Tensor) -> list[torch.Tensor | None]:
        leaves = [x.clone().requires_grad_(), down.clone().requires_grad_(), up.clone().requires_grad_()]
        y = adapted_product(layer, leaves[0], leaves[1], leaves[2], 2.0)
        (y * weights).sum().backward()
        return [y.detach(), *(leaf.grad for leaf in leaves)]

    exact = computed(x)
    with torch.autocast("cpu", torch.bfloat16):
        short = computed(x.to(kind))
    assert [p.dtype for p in short if p is not None] == [torch.bfloat16, kind, torch.float32, torch.float32]
    for one, other in zip(short, exact, strict=True):
        assert one is not None
        assert other is not None
        assert float((one - other).norm() / other.norm()) < 0.01


def long_dialogs() -> list[EncodedDialog]:
    """Two dialogues of eight exchanges, each reply beside four others of eight words."""
    numbers = iter(torch.randint(0, WORDS, (9999,), generator=torch.Generator().manual_seed(1)).tolist())

    def words(count: int) -> list[int]:
        return [next(numbers) for _ in range(count)]

    def turns() -> list[EncodedTurn]:
        reply = EncodedTurn(AGENT, words(8), tuple(words(8) for _ in range(4)))
        return [EncodedTurn(USER, words(5)), reply]

    return [EncodedDialog([words(6)], [turn for _ in range(8) for turn in turns()]) for _ in range(2)]


@ROTARY
@pytest.mark.parametrize(("config", "near"), [(CONFIG, 0.999), (INT8, 0.997)], ids=["float32", "int8"])
def test_a_rotary_familys_adapters_learn_the_same_in_bfloat16(
    config: TrainConfig, near: float, family: Family
) -> None:
    """Trees long enough for attention in blocks, so everything that is computed in bfloat16 is in it.

    Whatever moves a number a little moves some to the next of 8 bits' 255 levels.
    """
    model = small(family)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.5 if p.dim() > 1 else 1.0)  # attention that hangs on one key turns with any rounding
    torch.manual_seed(0)
    lora.adapt(model, config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.add_(0.1 * torch.randn_like(p))
    model.train()
    batch = collate(as_trees(long_dialogs()), SPECIAL.pad_id)
    assert batch.mask is not None
    assert worth_blocks(batch.mask)

    def learnt(kind: torch.dtype | None) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        with torch.autocast("cpu", kind, enabled=kind is not None):
            losses = compute_losses(model, batch)
            (losses.lm / batch.n_labels + losses.mc / batch.n_choices).backward()
        gradients = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
        assert {g.dtype for g in gradients} == {torch.float32}
        return float(losses.lm.detach() / batch.n_labels), torch.cat([g.flatten() for g in gradients])

    exact, wanted = learnt(None)
    short, got = learnt(torch.bfloat16)
    assert short == pytest.approx(exact, rel=5e-3)
    assert not torch.equal(got, wanted)
    assert float(torch.cosine_similarity(got, wanted, dim=0)) > near


def test_rows_are_quantised_each_by_its_own_largest_number() -> None:
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [1e-3, 2e-3, -2e-3]])
    rows, scale = quantise_rows(x)
    assert rows.dtype is torch.int8
    assert rows.tolist() == [[64, -127, 32], [0, 0, 0], [64, 127, -127]]
    torch.testing.assert_close(rows.float() * scale[:, None], x, atol=2.0 / 254, rtol=0)


@pytest.mark.parametrize("by", [None, torch.rand(37, generator=torch.Generator().manual_seed(3))])
def test_the_compiled_passes_are_the_same_to_the_bit(by: torch.Tensor | None) -> None:
    if frozen._library() is None:
        pytest.skip("frozen.c is not compiled, or the processor lacks AVX-512")
    generator = torch.Generator().manual_seed(0)
    x = 5 * torch.randn(30, 37, generator=generator) * torch.rand(30, 1, generator=generator)
    x[3] = 0
    rows, scale = frozen._rows(x, by)
    expected = quantise_rows(x if by is None else x * by)
    assert torch.equal(rows, expected[0])
    assert torch.equal(scale, expected[1])
    sums = torch.randint(-(10**6), 10**6, (30, 37), dtype=torch.int32, generator=generator)
    floats = sums.float() * scale[:, None]
    floats = floats if by is None else floats * by
    assert torch.equal(frozen._floats(sums, scale, by), floats)
    short = x.bfloat16()
    rows, scale = frozen._rows(short, by)
    expected = quantise_rows(short.float() if by is None else short * by)
    assert torch.equal(rows, expected[0])
    assert torch.equal(scale, expected[1])
    for kind in (torch.float32, torch.bfloat16):
        got = frozen._floats(sums, expected[1], by, more=short, kind=kind)
        floats = sums.float() * expected[1][:, None]
        floats = (floats if by is None else floats * by) + short
        assert got.dtype is kind
        torch.testing.assert_close(got, floats.to(kind))  # one rounding less where it is a fused operation


def test_without_compiled_passes_the_layer_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = FrozenLinear.of(torch.nn.Linear(24, 16))
    x = torch.randn(9, 24)
    expected = layer(x)
    monkeypatch.setattr(frozen, "_library", lambda: None)
    torch.testing.assert_close(layer(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fresh", [(), (WORDS + 5, WORDS + 6)])
def test_an_adapter_is_added_to_its_base_without_peft(
    fresh: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small()
    lora.make_room(model, fresh)
    torch.manual_seed(0)
    lora.adapt(model, CONFIG, fresh)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
    lora.save_adapter(model, tmp_path)
    assert tuple(lora.new_rows(tmp_path)) == fresh
    again = small()
    monkeypatch.setitem(sys.modules, "peft", None)
    lora.add_to(again, tmp_path)
    monkeypatch.undo()
    assert again.state_dict().keys() == lora.merged(model).state_dict().keys()
    for one, other in zip(outputs(model), outputs(again), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    resumed = small()
    lora.load_adapter(resumed, tmp_path)
    assert torch.equal(outputs(model)[0], outputs(resumed)[0])


def test_an_adapter_of_another_shape_is_not_added(tmp_path: Path) -> None:
    lora.save_adapter(taught_rotary(CONFIG), tmp_path)
    shape = small().config.replace(n_inner=40)
    with pytest.raises(CheckpointError, match="no adapter for this model"):
        lora.add_to(DoubleHeadsModel(shape), tmp_path)


def test_an_adapter_in_half_precision_is_half_the_size_and_says_nearly_the_same(tmp_path: Path) -> None:
    model = taught_rotary(CONFIG)
    lora.save_adapter(model, tmp_path / "full")
    lora.convert(tmp_path / "full", tmp_path / "half", torch.float16)
    sizes = [(tmp_path / name / lora.WEIGHTS).stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.75 * sizes[0]
    again = small()
    lora.add_to(again, tmp_path / "half")
    for one, other in zip(outputs(model), outputs(again), strict=True):
        torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-2)
