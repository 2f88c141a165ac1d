from __future__ import annotations

import math

import pytest
import torch
from transformers import GPT2Config, GPT2DoubleHeadsModel, OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel

from convai.core.errors import CheckpointError
from convai.model.double_heads import DoubleHeadsModel, sinusoids
from convai.model.shape import Family, Shape
from tests.tiny import FAMILIES, SPECIAL, close, inputs, randomize, tiny_config, tiny_model

V = SPECIAL.vocab_size


def stock(family: Family, config: Shape) -> torch.nn.Module:
    """transformers' own model of that shape, with the same weights as ours would be loaded from it."""
    if family == "gpt2":
        model: torch.nn.Module = GPT2DoubleHeadsModel(GPT2Config(**config.to_hf()))
    else:
        model = OpenAIGPTDoubleHeadsModel(OpenAIGPTConfig(**config.to_hf()))
    randomize(model, 3)
    return model.eval()


def ours_like(theirs: torch.nn.Module, config: Shape) -> DoubleHeadsModel:
    names = {"tokens_embed": "wte", "positions_embed": "wpe"}
    state = {}
    for name, value in theirs.state_dict().items():
        if name != "lm_head.weight":
            for their_name, our_name in names.items():
                name = name.replace(their_name, our_name)
            state[name] = value
    model = DoubleHeadsModel(config)
    model.load_state_dict(state, strict=True)
    return model.eval()


# -- parity with stock transformers


@pytest.mark.parametrize(("family", "n_inner"), [("gpt2", None), ("gpt2", 24), ("openai-gpt", None)])
def test_same_logits_as_transformers(family: Family, n_inner: int | None) -> None:
    config = tiny_config(family).replace(n_inner=n_inner)
    theirs = stock(family, config)
    model = ours_like(theirs, config)
    words, positions, segments = inputs()
    ends = torch.tensor([2, 10, 7])
    expected = theirs(
        words[:, None], position_ids=positions, token_type_ids=segments[:, None], mc_token_ids=ends[:, None]
    )
    hidden = model(words, positions, segments)
    logits = model.lm_logits(hidden)
    assert logits.std() > 0.5, "the weights are too small to show a difference"
    assert close(logits, expected.logits[:, 0])
    assert close(model.mc_logits(hidden[torch.arange(3), ends]), expected.mc_logits[:, 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_same_logits_without_segments(family: Family) -> None:
    config = tiny_config(family)
    theirs = stock(family, config)
    words, positions, _ = inputs(2, 6)
    model = ours_like(theirs, config)
    assert close(model.lm_logits(model(words, positions)), theirs(words, position_ids=positions).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_gradients_as_transformers(family: Family) -> None:
    config = tiny_config(family)
    theirs = stock(family, config)
    model = ours_like(theirs, config)
    words, positions, segments = inputs()
    model.lm_logits(model(words, positions, segments)).logsumexp(-1).sum().backward()
    theirs(words, position_ids=positions, token_type_ids=segments).logits.logsumexp(-1).sum().backward()
    pairs = dict(model.named_parameters())
    for name, p in theirs.named_parameters():
        if p.grad is not None and name != "lm_head.weight":
            ours = pairs[name.replace("tokens_embed", "wte").replace("positions_embed", "wpe")].grad
            assert ours is not None
            assert torch.allclose(ours, p.grad, rtol=1e-4, atol=1e-4), name


# -- the mask


@pytest.mark.parametrize("family", FAMILIES)
def test_no_mask_is_the_causal_mask(family: Family) -> None:
    model = tiny_model(family)
    words, positions, segments = inputs()
    mask = torch.ones(11, 11, dtype=torch.bool).tril()[None, None]
    plain = model(words, positions, segments)
    assert close(model(words, positions, segments, mask), plain, 1e-5)
    assert not close(model(words, positions, segments, torch.ones_like(mask)), plain, 1e-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_later_token_changes_nothing_before_it(family: Family) -> None:
    model = tiny_model(family)
    words, positions, segments = inputs()
    changed = words.clone()
    changed[:, 6] = (changed[:, 6] + 1) % V
    a, b = model(words, positions, segments), model(changed, positions, segments)
    assert close(a[:, :6], b[:, :6], 1e-6)
    assert not close(a[:, 6:], b[:, 6:], 1e-2)


# -- gradient checkpointing


@pytest.mark.parametrize("family", [*FAMILIES, "gemma3_text"])
@pytest.mark.parametrize("masked", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(family: Family, masked: bool) -> None:
    words, positions, segments = inputs()
    mask = torch.ones(11, 11, dtype=torch.bool).tril()[None, None] if masked else None
    gradients = []
    for on in (False, True):
        model = DoubleHeadsModel(tiny_config(family).replace(resid_pdrop=0.2, embd_pdrop=0.2))
        randomize(model)
        model.gradient_checkpointing = on
        model.train()
        torch.manual_seed(5)  # the same dropout, drawn again when activations are computed again
        hidden = model(words, positions, segments, mask)
        (model.lm_logits(hidden).logsumexp(-1).sum() + model.mc_logits(hidden).sum()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert gradient is not None
        assert other is not None
        assert torch.equal(gradient, other), name


def test_gradient_checkpointing_saves_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def spy(block: torch.nn.Module, *args: object, **options: object) -> object:
        calls.append(options)
        return block(*args)

    monkeypatch.setattr("convai.model.double_heads.checkpoint", spy)
    model = tiny_model().train()
    model.gradient_checkpointing = True
    model(*inputs())
    assert calls == [{"use_reentrant": False}] * 2
    model.eval()(*inputs())  # nothing to save
    assert len(calls) == 2


# -- vocabulary


def test_a_grown_vocabulary_keeps_the_old_rows_and_starts_new_ones_at_their_mean() -> None:
    model = tiny_model()
    words, positions, segments = inputs()
    old = model.transformer.wte.weight.detach().clone()
    before = model.lm_logits(model(words, positions, segments))
    model.resize_vocabulary(V + 5)
    assert model.config.vocab_size == V + 5
    logits = model.lm_logits(model(words, positions, segments))
    assert logits.shape[-1] == V + 5
    assert close(logits[..., :V], before, 1e-6)
    new = model.transformer.wte.weight[V:]
    assert close(new, old.mean(0).expand(5, -1), 0.1 * float(old.std()))
    assert len({tuple(row) for row in new.tolist()}) == 5, "equal rows could never be told apart"
    assert model.transformer.wte.weight.requires_grad
    # the mean of the rows is never more probable than all the old words
    assert bool((logits[..., V:].amax(-1) <= logits[..., :V].amax(-1) + 0.2).all())


def test_a_cut_vocabulary_keeps_the_first_rows() -> None:
    model = tiny_model()
    old = model.transformer.wte.weight.detach().clone()
    model.resize_vocabulary(20)
    assert torch.equal(model.transformer.wte.weight, old[:20])
    same = model.transformer.wte
    model.resize_vocabulary(20)
    assert model.transformer.wte is same


# -- initialisation


def test_initial_weights_are_gpt2s() -> None:
    torch.manual_seed(0)
    config = Shape(vocab_size=500, n_positions=256, n_embd=64, n_layer=4, n_head=4)
    for name, p in DoubleHeadsModel(config).named_parameters():
        values = p.detach()
        if name.endswith("bias"):
            assert not values.any(), name
        elif "ln_" in name:
            assert bool((values == 1).all()), name
        elif name.endswith("c_proj.weight"):
            assert float(values.std()) == pytest.approx(0.02 / math.sqrt(8), rel=0.1), name
        else:
            assert float(values.std()) == pytest.approx(0.02, rel=0.3), name


def test_sinusoid_positions() -> None:
    table = sinusoids(50, 16)
    for place, column in ((0, 0), (3, 0), (3, 1), (49, 14), (49, 15), (20, 7)):
        angle = place / 10000 ** (2 * (column // 2) / 16)
        expected = math.cos(angle) if column % 2 else math.sin(angle)
        assert float(table[place, column]) == pytest.approx(expected, abs=1e-5)
    assert sinusoids(4, 5).shape == (4, 5)

    model = DoubleHeadsModel(tiny_config())
    model.init_weights(positions="sinusoid")
    positions = model.transformer.wpe.weight.detach()
    assert float(positions.pow(2).mean().sqrt()) == pytest.approx(0.02, rel=0.01)
    assert close(positions / positions.norm(dim=1, keepdim=True), sinusoids(160, 16) / math.sqrt(8), 1e-5)
    near = torch.cosine_similarity(positions[10], positions[11], dim=0)
    far = torch.cosine_similarity(positions[10], positions[80], dim=0)
    assert near > far
    assert positions.requires_grad is False
    assert model.transformer.wpe.weight.requires_grad


def test_the_output_embedding_is_tied_and_counted_once() -> None:
    model = tiny_model()
    assert "lm_head.weight" not in model.state_dict()
    d, layers = 16, 2
    block = 4 * d + (d * 3 * d + 3 * d) + (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d)
    assert model.num_parameters() == (V + 160) * d + layers * block + 2 * d + d + 1
    assert tiny_model("openai-gpt").num_parameters() == model.num_parameters() - 2 * d


def test_dropout_only_while_training() -> None:
    model = DoubleHeadsModel(tiny_config().replace(resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5))
    randomize(model)
    model.train()
    assert not close(model(*inputs()), model(*inputs()))
    model.eval()
    assert torch.equal(model(*inputs()), model(*inputs()))


# -- the shape


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_survives_hugging_faces_config(family: Family) -> None:
    config = Shape(
        family=family,
        vocab_size=99,
        n_positions=64,
        n_embd=24,
        n_layer=3,
        n_head=3,
        embd_pdrop=0.0,
        layer_norm_epsilon=1e-6,
    )
    assert Shape.from_hf(config.to_hf()) == config


def test_what_a_config_leaves_out_is_the_familys_default() -> None:
    assert Shape.from_hf({"model_type": "gpt2"}) == Shape()
    gpt = Shape.from_hf({"model_type": "openai-gpt", "n_ctx": 512, "afn": "gelu"})
    stock_config = OpenAIGPTConfig()
    assert (gpt.vocab_size, gpt.n_positions) == (stock_config.vocab_size, stock_config.n_positions)
    assert gpt.n_embd == stock_config.n_embd


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert' is not supported"),
        ({"model_type": ["gpt2"]}, "model_type ['gpt2'] is not supported"),
        ({"activation_function": "relu"}, "activation 'relu'"),
        ({"activation_function": "gelu"}, "activation 'gelu'"),  # the exact one in GPT-2's family
        ({"model_type": "openai-gpt", "afn": "swish"}, "activation 'swish'"),
        ({"model_type": "openai-gpt", "n_inner": 9}, "n_inner is not a setting of openai-gpt"),
        ({"n_embd": "768"}, "n_embd='768': use a whole number"),
        ({"n_layer": 0}, "n_layer=0"),
        ({"n_layer": True}, "n_layer=True"),
        ({"n_head": 5}, "n_embd=768 is not a multiple of n_head=5"),
        ({"n_inner": -1}, "n_inner=-1"),
        ({"vocab_size": 10.5}, "vocab_size=10.5"),
        ({"resid_pdrop": 1.5}, "resid_pdrop=1.5: use 0 up to 1"),
        ({"attn_pdrop": None}, "attn_pdrop=None"),
        ({"layer_norm_epsilon": 0}, "layer_norm_epsilon=0"),
        ({"scale_attn_weights": False}, "scale_attn_weights false is not supported; use a model with true"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx true"),
        ({"summary_activation": "tanh"}, 'summary_activation "tanh"'),
        ({"tie_word_embeddings": False}, "tie_word_embeddings false"),
    ],
)
def test_a_model_of_another_kind_is_refused_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Shape.from_hf({"model_type": "gpt2", **changes}, "some/config.json")
    assert str(caught.value).startswith("some/config.json: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
