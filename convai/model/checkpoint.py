"""Model folders in Hugging Face's layout: ours load in stock transformers, theirs load here.

Weights are safetensors, or a base's GGUF file (see `bases`), dequantised as it is read; a `pytorch_model.bin`
of an older release is read with torch's weights-only loader, which runs no code. Files are written aside and
renamed: all of one or nothing.
"""

from __future__ import annotations

import errno
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.model.bases import GGUF_WEIGHTS
from convai.model.double_heads import DoubleHeadsModel
from convai.model.families import FAMILIES
from convai.model.gguf.container import open_gguf
from convai.model.gguf.weights import read_weights
from convai.model.shape import Shape

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
OLD_WEIGHTS: Final = "pytorch_model.bin"

HEADS: Final = ("multiple_choice_head.", "match_head.")
_FRESH: Final = (*HEADS, "transformer.segment_gate")
"""What a plain language model lacks, and gets as a fresh model has it."""

# buffers that older releases stored
_IGNORED: Final = re.compile(r"\.attn\.(bias|masked_bias)$|position_ids$|rotary_emb\.inv_freq$")


def save_model(
    model: DoubleHeadsModel,
    folder: Path,
    dtype: torch.dtype | None = None,
    *,
    control_ids: Mapping[str, int] | None = None,
) -> None:
    """Write config.json and model.safetensors; `dtype` converts the floating-point weights.

    `control_ids` (`bos_token_id` and the like) go into the config, where transformers' `generate` looks
    for them. Raises OSError, when the disk is full for example; earlier files then stay.
    """
    state = {
        name: p.detach().to("cpu", dtype or p.dtype).contiguous() for name, p in model.state_dict().items()
    }
    state = FAMILIES[model.config.family].to_disk(state)
    config = model.config.to_hf() | dict(control_ids or {})
    config["dtype"] = str(dtype or next(model.parameters()).dtype).removeprefix("torch.")
    try:
        atomic_write(folder / WEIGHTS, lambda p: save_file(state, p, metadata={"format": "pt"}))
    except SafetensorError as error:  # how it reports a full disk
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error), str(folder / WEIGHTS)) from error
    write_json(folder / CONFIG, config)


def load_model(folder: Path, dtype: torch.dtype = torch.float32) -> DoubleHeadsModel:
    """Build the model that `folder` describes and load its weights, in evaluation mode.

    A checkpoint without a next-sentence head (a plain language model) gets a fresh one, and so does one
    without the match head that its config asks for. Raises
    CheckpointError for a missing, truncated or mismatching file.
    """
    config = load_config(folder)
    state = _normalise(_read_weights(folder), folder, config)
    vocabulary = state.get("transformer.wte.weight")
    if vocabulary is not None and vocabulary.shape[0] != config.vocab_size:
        raise CheckpointError(
            f"{folder}: config.json says vocab_size {config.vocab_size}, the weights have "
            f"{vocabulary.shape[0]}; take both files from the same place"
        )
    # Compared with a model without memory first: the sizes in a damaged config may be anything.
    with torch.device("meta"):
        model = DoubleHeadsModel(config)
    expected = model.state_dict()
    for name, tensor in state.items():
        if name not in expected:
            raise CheckpointError(f"{folder}: unknown weight {name}; is this a {config.family} checkpoint?")
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{folder}: {name} has shape {tuple(tensor.shape)}, config.json asks for "
                f"{tuple(expected[name].shape)}; take both files from the same place"
            )
    fresh = [
        name
        for head in _FRESH
        if not any(name.startswith(head) for name in state)
        for name in expected
        if name.startswith(head)
    ]
    missing = [name for name in expected if name not in state and name not in fresh]
    if missing:
        raise CheckpointError(
            f"{folder}: the weights lack {missing[0]} ({len(missing)} missing in all); copy the folder again"
        )
    for name in fresh:
        # not empty_like, which imports computer algebra to copy the strides of what has no memory
        state[name] = torch.empty(expected[name].shape, dtype=expected[name].dtype)
        model.init_parameter(name, state[name])
    # a copy of what is mapped from a file, which somebody may write over while the model runs
    mapped = (folder / WEIGHTS).exists()
    model.take_weights({name: p.to(dtype, copy=mapped) for name, p in state.items()})
    return model.eval()


def load_config(folder: Path) -> Shape:
    """The shape of the model in `folder`."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such model folder; give --model the folder with config.json")
    path = folder / CONFIG
    return Shape.from_hf(read_json(path), str(path))


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS
    if path.exists():
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged or cut short ({error}); copy it again") from None
    if (folder / GGUF_WEIGHTS).exists():
        return read_weights(open_gguf(folder / GGUF_WEIGHTS))
    path = folder / OLD_WEIGHTS
    if path.exists():
        return _read_old_weights(path)
    raise CheckpointError(f"{folder}: {WEIGHTS} is missing; copy the whole model folder")


def _read_old_weights(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        # torch's own message advises to load it all the same
        raise CheckpointError(
            f"{path}: not plain weights (damaged, or it would run code); use {WEIGHTS} instead"
        ) from None
    except Exception as error:  # torch raises many kinds here, all of them a bad file
        raise CheckpointError(
            f"{path}: damaged or cut short ({type(error).__name__}); copy it again"
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise CheckpointError(f"{path}: does not hold named tensors; use a gpt2 or openai-gpt checkpoint")
    return state


def _normalise(state: dict[str, Tensor], folder: Path, config: Shape) -> dict[str, Tensor]:
    """Our names: prefix added where a plain trunk was saved, the family's mapped, buffers left out."""
    family = FAMILIES[config.family]
    root = family.block.partition(".")[0] + "."
    if not any(name.startswith(root) for name in state):
        state = {
            name if name.startswith(("lm_head.", *HEADS)) else f"{root}{name}": p for name, p in state.items()
        }
    state = family.from_disk(state)
    if config.tied:
        output, words = state.pop("lm_head.weight", None), state.get("transformer.wte.weight")
        if output is not None and words is not None and not torch.equal(output, words):
            raise CheckpointError(
                f"{folder}: the output embedding is not tied to the word embedding, as config.json says it "
                "is; take both files from the same place"
            )
        if words is None and output is not None:
            state["transformer.wte.weight"] = output
    return {name: p for name, p in state.items() if not _IGNORED.search(name)}
