"""What is exported is the model: stock transformers and a reader of GGUF find the same weights and ids."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from gguf.quants import dequantize, quantize

from convai.__main__ import main
from convai.core.errors import SettingsError
from convai.model.base_import import fill_from_gguf
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.export import export_gguf, export_hf
from convai.model.gguf.architectures import read_config
from convai.model.gguf.container import open_gguf
from convai.model.gguf.tokenizer import read_tokenizer, rules_of
from convai.model.gguf.weights import read_weights
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer
from tests.model.gguf.files import Kind, tiny_model, trained_tokenizer, write_gguf
from tests.model.gguf.test_tokenizer import nasty_lines
from tests.model.gguf.test_weights import LLAMA3, logits

MODELS = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"rope_parameters": LLAMA3}),
    ("qwen3", {}),
    ("gemma3_text", {}),
]


def base(folder: Path, family: str = "llama", **options: Any) -> Path:
    """A base as `convai models import` makes it."""
    file = write_gguf(folder / "source.gguf", tiny_model(family, **options))
    (folder / "base").mkdir()
    fill_from_gguf(file, folder / "base", source="a test", licence="none", move=False)
    return folder / "base"


@pytest.mark.parametrize(("family", "options"), MODELS)
def test_a_gguf_file_holds_the_weights_config_and_ids(
    tmp_path: Path, family: str, options: dict[str, Any]
) -> None:
    folder = base(tmp_path, family, **options)
    model, tokenizer = load_model(folder), Tokenizer.load(folder)
    export_gguf(model, tokenizer, tmp_path / "out.gguf", "float32", "tiny")
    before, after = open_gguf(folder / "model.gguf"), open_gguf(tmp_path / "out.gguf")
    expected, actual = read_weights(before), read_weights(after)
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name
    assert Shape.from_hf(read_config(after)) == Shape.from_hf(read_config(before))
    assert after.metadata["tokenizer.chat_template"] == before.metadata["tokenizer.chat_template"]
    ours, theirs = read_tokenizer(after), read_tokenizer(before)
    for line in nasty_lines(300):
        assert ours.encode(line).ids == theirs.encode(line).ids


@pytest.mark.parametrize(
    ("dtype", "kind"), [("float16", Kind.F16), ("bfloat16", Kind.BF16), ("q8_0", Kind.Q8_0)]
)
def test_matrices_are_stored_as_asked_for(tmp_path: Path, dtype: str, kind: Kind) -> None:
    model = load_model(base(tmp_path))
    export_gguf(model, Tokenizer.load(tmp_path / "base"), tmp_path / "out.gguf", dtype, "tiny")
    file = open_gguf(tmp_path / "out.gguf")
    assert {info.kind for info in file.tensors.values() if len(info.shape) == 2} == {kind}
    assert {info.kind for info in file.tensors.values() if len(info.shape) == 1} == {Kind.F32}
    exact = model.transformer.h[0].mlp.up_proj.weight.detach().numpy()
    stored = read_weights(file)["model.layers.0.mlp.up_proj.weight"].numpy()
    assert (stored == dequantize(quantize(exact, kind), kind)).all()


def test_transformers_reads_the_file(tmp_path: Path) -> None:
    """Not Gemma's: transformers takes its query scale and local rotation for others than llama.cpp does."""
    model = load_model(base(tmp_path))
    export_gguf(model, Tokenizer.load(tmp_path / "base"), tmp_path / "out.gguf", "float32", "tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file="out.gguf", dtype=torch.float32
        )
    assert_same_logits(model, theirs)


@pytest.mark.parametrize(("family", "options"), MODELS)
def test_a_folder_is_stock_transformers_own(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    folder = base(tmp_path, family, **options)
    model = load_model(folder)
    export_hf(model, Tokenizer.load(folder), tmp_path / "out", torch.float32)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]
    assert_same_logits(model, theirs)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    ends = transformers.GenerationConfig.from_pretrained(tmp_path / "out").eos_token_id
    if family == "gemma3_text":
        assert chat == "<bos><start_of_turn>user\nhi<end_of_turn>\n"
        assert set(ends) == {1, 5}
    else:
        assert chat == "<|im_start|>user\nhi<|im_end|>\n"
        assert ends in (2, [2])


def assert_same_logits(ours: DoubleHeadsModel, theirs: transformers.PreTrainedModel) -> None:
    ids = torch.arange(40)[None] * 7 % theirs.config.vocab_size
    with torch.no_grad():
        mine = ours.lm_logits(ours(ids, torch.arange(40)[None]))
    torch.testing.assert_close(mine, logits(theirs.eval()), rtol=0, atol=1e-4)


def test_the_rules_of_a_tokenizer_are_found_by_what_they_do() -> None:
    assert rules_of(trained_tokenizer("smollm")) == "smollm"
    assert rules_of(trained_tokenizer("gpt-2")) == "gpt-2"


def test_gpt_and_foreign_rules_are_refused(tmp_path: Path) -> None:
    gpt = DoubleHeadsModel(Shape(vocab_size=261, n_positions=32, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(SettingsError, match="nothing without its segment embeddings"):
        export_gguf(gpt, Tokenizer.byte_level(), tmp_path / "out.gguf", "float16", "x")
    model, tokenizer = load_model(base(tmp_path)), Tokenizer.train(["to be or not to be"] * 9, 300)
    with pytest.raises(SettingsError, match=r"rules that llama\.cpp does not have; export it --to hf"):
        export_gguf(model, tokenizer, tmp_path / "out.gguf", "float16", "x")
    assert not (tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    "options", [{"query_pre_attn_scalar": 32}, {"layer_types": ["sliding_attention", "full_attention"] * 3}]
)
def test_a_gemma_that_llama_cpp_would_take_for_another_is_refused(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    folder = base(tmp_path, "gemma3_text")
    tiny_model("gemma3_text", **{"num_hidden_layers": 6} | options).save_pretrained(tmp_path / "other")
    with pytest.raises(SettingsError, match=r"this model has others; export it --to hf"):
        export_gguf(
            load_model(tmp_path / "other"), Tokenizer.load(folder), tmp_path / "out.gguf", "float32", "x"
        )
    assert not (tmp_path / "out.gguf").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = str(base(tmp_path)), tmp_path / "out.gguf"
    assert main(["models", "export", folder, str(out), "--to", "gguf"]) == 0
    assert "of float16 weights" in capsys.readouterr().out
    assert main(["models", "export", folder, str(tmp_path / "hf"), "--to", "hf", "--dtype", "float32"]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "float32"
    capsys.readouterr()
    assert main(["models", "export", folder, str(tmp_path / "hf"), "--to", "gguf"]) == 2
    assert "is a folder; name the file" in capsys.readouterr().err
    assert main(["models", "export", folder, str(tmp_path / "x"), "--dtype", "q8_0"]) == 2
    assert "a type of GGUF files only" in capsys.readouterr().err
