"""Model folders in Hugging Face's layout: ours load in stock transformers, theirs load here.

Weights are safetensors; a `pytorch_model.bin` of an older release is read with torch's weights-only
loader, which runs no code. Nothing half-written is ever left: files are written aside and renamed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from convai.errors import CheckpointError
from convai.model import DoubleHeadsModel
from convai.model_config import ModelConfig

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
OLD_WEIGHTS: Final = "pytorch_model.bin"

# OpenAI GPT's names in transformers for what GPT-2 calls wte and wpe
_OPENAI_NAMES: Final = {
    "transformer.tokens_embed.weight": "transformer.wte.weight",
    "transformer.positions_embed.weight": "transformer.wpe.weight",
}
# buffers of the causal mask that older releases stored, and weights tied to the word embedding
_IGNORED: Final = re.compile(r"\.attn\.(bias|masked_bias)$|^lm_head\.weight$|position_ids$")


def atomic_write(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write indented JSON atomically."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    atomic_write(path, lambda p: p.write_text(text, encoding="utf-8") and None)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError naming the file, and the line when it is malformed."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; is {path.parent} a model folder?") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}:{error.lineno}: not JSON ({error.msg}); copy the file again") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not a text file; copy it again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object; copy the file again")
    return values


def save_model(model: DoubleHeadsModel, folder: Path, dtype: torch.dtype | None = None) -> None:
    """Write config.json and model.safetensors; `dtype` converts the floating-point weights."""
    state = {name: p.detach().to("cpu", dtype or p.dtype).contiguous() for name, p in model.state_dict().items()}
    if model.config.family == "openai-gpt":
        back = {ours: theirs for theirs, ours in _OPENAI_NAMES.items()}
        state = {back.get(name, name): p for name, p in state.items()}
    config = model.config.to_hf()
    config["dtype"] = str(dtype or next(model.parameters()).dtype).removeprefix("torch.")
    atomic_write(folder / WEIGHTS, lambda p: save_file(state, p, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> DoubleHeadsModel:
    """Build the model that `folder` describes and load its weights, in evaluation mode.

    A checkpoint without a next-sentence head (a plain language model) gets a fresh one. Raises
    CheckpointError for a missing, truncated or mismatching file.
    """
    config = load_config(folder)
    state = _normalise(_read_weights(folder), folder)
    vocabulary = state.get("transformer.wte.weight")
    if vocabulary is not None and vocabulary.shape[0] != config.vocab_size:
        raise CheckpointError(
            f"{folder}: config.json says vocab_size {config.vocab_size}, the weights have "
            f"{vocabulary.shape[0]}; take both files from the same place"
        )
    model = DoubleHeadsModel(config)
    expected = model.state_dict()
    missing = [n for n in expected if n not in state and not n.startswith("multiple_choice_head.")]
    if missing:
        raise CheckpointError(f"{folder}: the weights lack {missing[0]} ({len(missing)} missing in all)")
    for name, tensor in state.items():
        if name not in expected:
            raise CheckpointError(f"{folder}: unknown weight {name}; is this a {config.family} checkpoint?")
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{folder}: {name} has shape {tuple(tensor.shape)}, config.json asks for "
                f"{tuple(expected[name].shape)}"
            )
    model.load_state_dict(state, strict=False)
    return model.to(dtype).eval()


def load_config(folder: Path) -> ModelConfig:
    """The shape of the model in `folder`."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such model folder; give --model the folder with config.json")
    path = folder / CONFIG
    return ModelConfig.from_hf(read_json(path), str(path))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged or cut short ({error}); copy it again") from None
    path = folder / OLD_WEIGHTS
    if path.exists():
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds here, all of them a bad file
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{path}: cannot be read as plain weights ({reason}); copy it again") from None
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise CheckpointError(f"{path}: does not hold a dictionary of tensors")
        return state
    raise CheckpointError(f"{folder}: {WEIGHTS} is missing; copy the whole model folder")


def _normalise(state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Our parameter names: prefix added where a plain trunk was saved, OpenAI's names mapped, buffers dropped."""
    if not any(name.startswith("transformer.") for name in state):
        state = {
            name if name.startswith(("lm_head.", "multiple_choice_head.")) else f"transformer.{name}": p
            for name, p in state.items()
        }
    state = {_OPENAI_NAMES.get(name, name): p for name, p in state.items()}
    output, words = state.get("lm_head.weight"), state.get("transformer.wte.weight")
    if output is not None and words is not None and not torch.equal(output, words):
        raise CheckpointError(f"{folder}: the output embedding is not tied to the word embedding; not supported")
    if words is None and output is not None:
        state["transformer.wte.weight"] = output
    return {name: p for name, p in state.items() if not _IGNORED.search(name)}
