"""Folders of emotion models, and torchMoji's own weights, which are converted once.

A folder holds emotion.json (shape and heads), model.safetensors and vocabulary.json. torchMoji's
pytorch_model.bin is a pickle: it is read with torch's weights-only loader, which runs no code, by
`convert_torchmoji` alone.
"""

from __future__ import annotations

import errno
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from convai.core import resources
from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.emotion import labels as tables
from convai.emotion.config import EmotionConfig, Head
from convai.emotion.model import EmotionModel
from convai.emotion.vocabulary import Vocabulary

CONFIG: Final = "emotion.json"
WEIGHTS: Final = "model.safetensors"
VOCABULARY: Final = "vocabulary.json"
EMBEDDED: Final = "emotion-mini"
"""The emotion model that travels with convai."""

_OUTPUT: Final = "output_layer.0."


def save_emotion_model(
    model: EmotionModel, vocabulary: Vocabulary, folder: Path, dtype: torch.dtype | None = None
) -> None:
    """Write the folder; `dtype` converts the weights. Raises OSError, when the disk is full for example."""
    state = {
        name: p.detach().to("cpu", dtype or p.dtype).contiguous() for name, p in model.state_dict().items()
    }
    try:
        atomic_write(folder / WEIGHTS, lambda part: save_file(state, part, metadata={"format": "pt"}))
    except SafetensorError as error:  # how it reports a full disk
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error), str(folder / WEIGHTS)) from error
    vocabulary.save(folder / VOCABULARY)
    write_json(folder / CONFIG, model.config.to_json())


def load_emotion_model(folder: Path | str | None = None) -> tuple[EmotionModel, Vocabulary]:
    """The model in `folder` (None, or its name: the embedded one), as float32, and its vocabulary.

    Raises CheckpointError for a folder or file that is missing, damaged, or does not fit the others.
    """
    folder = _folder(folder)
    config = EmotionConfig.from_json(read_json(folder / CONFIG), str(folder / CONFIG))
    vocabulary = Vocabulary.load(folder / VOCABULARY, split_hashtags=config.split_hashtags)
    if len(vocabulary) != config.vocab_size:
        raise CheckpointError(
            f"{folder / VOCABULARY}: has {len(vocabulary)} words, {CONFIG} asks for {config.vocab_size}; "
            "take both files from the same place"
        )
    path = folder / WEIGHTS
    if not path.exists():
        raise CheckpointError(f"{path}: missing; copy the whole model folder")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or cut short ({error}); copy it again") from None
    return _filled(config, state, path), vocabulary


def _folder(folder: Path | str | None) -> Path:
    if folder is None or (str(folder) == EMBEDDED and not Path(folder).exists()):
        folder = resources.models_dir() / EMBEDDED
        if not (folder / CONFIG).is_file():
            raise CheckpointError(
                "this installation has no embedded emotion model; name one with --model DIR, or train one "
                "with 'convai emotion train'"
            )
    path = Path(folder)
    if not (path / CONFIG).is_file():
        old = next(iter(path.glob("*.bin")), None) if path.is_dir() else None
        mend = (
            f"convert torchMoji's weights once: convai emotion convert {old} --vocabulary {VOCABULARY} "
            "--out DIR"
            if old
            else f"give the folder that holds {CONFIG}"
        )
        raise CheckpointError(f"{path}: no emotion model here; {mend}")
    return path


def _filled(config: EmotionConfig, state: Mapping[str, Tensor], source: Path) -> EmotionModel:
    """A model of `config` with the weights of `state`, names and shapes compared before memory is taken."""
    with torch.device("meta"):
        expected = EmotionModel(config).state_dict()
    for name in expected.keys() | state.keys():
        if name not in state:
            raise CheckpointError(f"{source}: lacks {name}; copy the file again")
        if name not in expected:
            raise CheckpointError(f"{source}: unknown weight {name}; take all files from the same place")
        if state[name].shape != expected[name].shape:
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(state[name].shape)}, expected "
                f"{tuple(expected[name].shape)}; take all files from the same place"
            )
    with torch.device("meta"):
        model = EmotionModel(config)
    model.load_state_dict({name: p.float() for name, p in state.items()}, assign=True)
    return model.eval()


# -- torchMoji's own weights -----------------------------------------------------------------------


def convert_torchmoji(
    weights: Path, vocabulary: Path, out: Path, labels: Sequence[str] | None = None
) -> EmotionConfig:
    """Write torchMoji's `pytorch_model.bin` and `vocabulary.json` as a folder of ours; return its shape.

    All sizes are read off the weights. 64 outputs are DeepMoji's emoji; other outputs are called `labels`,
    or 0, 1 and so on; one output (a tuned binary model) is the probability of `labels` (default: "1").
    Raises CheckpointError when either file is not what it claims to be, or they do not fit.
    """
    state = read_torchmoji(weights)
    config = _shape_of(state, labels, weights)
    words = Vocabulary.load(vocabulary)
    if len(words) != config.vocab_size:
        raise CheckpointError(
            f"{vocabulary}: has {len(words)} words, the weights have {config.vocab_size}; "
            "take both files from the same place"
        )
    prefix = f"heads.{config.heads[0].name}." if config.heads else _OUTPUT
    renamed = {name.replace(_OUTPUT, prefix): p for name, p in state.items()}
    save_emotion_model(_filled(config, renamed, weights), words, out)
    return config


def read_torchmoji(path: Path) -> dict[str, Tensor]:
    """The named tensors of a pickle of weights; no code in it is run. Raises CheckpointError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; give torchMoji's pytorch_model.bin") from None
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: not plain weights (damaged, or it would run code); use another copy"
        ) from None
    except Exception as error:  # torch raises many kinds here, all of them a bad file
        reason = type(error).__name__
        raise CheckpointError(f"{path}: damaged or cut short ({reason}); copy it again") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(p, Tensor) for name, p in state.items()
    ):
        raise CheckpointError(f"{path}: does not hold named tensors; give torchMoji's pytorch_model.bin")
    return state


def _shape_of(state: Mapping[str, Tensor], labels: Sequence[str] | None, source: Path) -> EmotionConfig:
    needed = {"embed.weight": 2, "lstm_0.weight_hh_l0": 2}
    for name, dims in needed.items():
        if name not in state or state[name].dim() != dims:
            raise CheckpointError(f"{source}: lacks {name}; give torchMoji's pytorch_model.bin")
    words, width = state["embed.weight"].shape
    heads: tuple[Head, ...] = ()
    if f"{_OUTPUT}weight" in state:
        heads = (_output_head(len(state[f"{_OUTPUT}weight"]), labels, source),)
    return EmotionConfig(
        vocab_size=words,
        embedding_size=width,
        hidden_size=state["lstm_0.weight_hh_l0"].shape[1],
        heads=heads,
    )


def _output_head(outputs: int, labels: Sequence[str] | None, source: Path) -> Head:
    if labels is None and outputs == len(tables.DEEPMOJI):
        return Head(name="deepmoji", labels=tuple(tables.DEEPMOJI), role="emoji")
    names = tuple(labels) if labels is not None else tuple(map(str, range(outputs)))
    if outputs == 1 and labels is None:
        names = ("1",)
    if len(names) != outputs:
        raise CheckpointError(f"{source}: has {outputs} outputs, but {len(names)} labels were given")
    return Head(name="labels", labels=names, multi=outputs == 1)
