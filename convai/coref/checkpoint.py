"""Folders of coreference models: coref.json (sizes, window), vocabulary.txt and model.safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from convai.core import resources
from convai.core.errors import CheckpointError
from convai.core.files import atomic_write, read_json, write_json
from convai.coref.contexts import contexts_of, encoder_reader
from convai.coref.encoder import EncoderShape
from convai.coref.model import Context, CorefConfig, CorefModel
from convai.coref.pairs import Window
from convai.coref.resolver import CorefResolver, ResolveSettings
from convai.coref.words import WordIds
from convai.model.folder import BaseReference
from convai.model.frozen import packed_rows, unpacked_rows

CONFIG: Final = "coref.json"
WEIGHTS: Final = "model.safetensors"
VOCABULARY: Final = "vocabulary.txt"
PIECES: Final = "pieces.txt"
_IN_8_BITS: Final = ("encoder.", "vectors", "of_state", "product_")
"""Matrices of a model with an encoder that are kept as int8, with a scale a row."""
EMBEDDED: Final = "coref-mini"
"""The coreference model that travels with convai."""


def save_coref_model(
    model: CorefModel, words: WordIds, folder: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write the folder, weights as `dtype`. Raises OSError, when the disk is full for example."""
    in_8_bits = _IN_8_BITS if model.encoder is not None else ()
    state = packed_rows(model.state_dict(), lambda name: name.startswith(in_8_bits), dtype)
    if model.encoder is not None:
        text = "\n".join(model.encoder.pieces) + "\n"
        atomic_write(folder / PIECES, lambda part: part.write_text(text, encoding="utf-8"))
    try:
        atomic_write(folder / WEIGHTS, lambda part: save_file(state, part, metadata={"format": "pt"}))
    except SafetensorError as error:  # how it reports a full disk
        raise OSError(f"{folder / WEIGHTS}: {error}") from error
    vocabulary = "\n".join(words.words) + "\n"
    atomic_write(folder / VOCABULARY, lambda part: part.write_text(vocabulary, encoding="utf-8"))
    write_json(folder / CONFIG, model.config.to_json())


def load_coref_model(folder: Path | str | None = None) -> tuple[CorefModel, WordIds]:
    """The model in `folder` (None: the embedded one), ready for use, and its words.

    Raises CheckpointError for a folder or file that is missing, damaged, or does not fit the others.
    """
    folder = _folder(folder)
    config = _config(read_json(folder / CONFIG), folder / CONFIG)
    try:
        text = (folder / VOCABULARY).read_text(encoding="utf-8")
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: missing or damaged ({error}); copy the whole model folder"
        ) from None
    words, pieces = WordIds(text.split("\n")[:-1]), _pieces(config, folder)
    if len(words) != config.words:
        raise CheckpointError(
            f"{folder / VOCABULARY}: makes {len(words)} rows, {CONFIG} asks for {config.words}; "
            "take both files from the same place"
        )
    model = CorefModel(config, torch.zeros(config.words, config.vector), pieces=pieces)
    try:
        model.load_state_dict(unpacked_rows(state))
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder / WEIGHTS}: does not fit {CONFIG} ({reason}); take both files from the same place"
        ) from None
    return model.eval(), words


def load_resolver(
    folder: Path | str | None = None,
    settings: ResolveSettings | None = None,
    conv_dict: Mapping[str, Sequence[str]] | None = None,
) -> CorefResolver:
    """A resolver with the model in `folder` (None: the embedded one).

    A model that takes a language model's states has that loaded, too.
    Raises CheckpointError as `load_coref_model`, BaseUnavailable where the language model is missing,
    SettingsError for a `conv_dict` of unknown words.
    """
    model, words = load_coref_model(folder)
    source = None if folder is None else _folder(folder)
    contexts, context = None, model.config.context
    if model.encoder is not None:
        contexts = encoder_reader(model.encoder.frozen())
    elif context is not None and context.base is not None:
        contexts = contexts_of(context.base, context.layer, source or _folder(None))
    return CorefResolver(model, words, settings, conv_dict, source, contexts)


def _folder(folder: Path | str | None) -> Path:
    if folder is None:
        path = resources.models_dir() / EMBEDDED
        if not (path / CONFIG).is_file():
            raise CheckpointError(
                "this installation has no embedded coreference model; name one with --model DIR, or "
                "train one with 'convai coref train'"
            )
        return path
    path = Path(folder)
    if not path.exists() and str(folder) in (names := embedded_names()):
        return resources.models_dir() / str(folder)
    if not (path / CONFIG).is_file():
        raise CheckpointError(
            f"{path}: no coreference model here; give the folder that holds {CONFIG}"
            + (f", or a name: {', '.join(names)}" if not path.exists() else "")
        )
    return path


def embedded_names() -> list[str]:
    """Names of the coreference models that travel with convai."""
    return sorted(path.parent.name for path in resources.models_dir().glob(f"*/{CONFIG}"))


def _config(values: Mapping[str, Any], source: Path) -> CorefConfig:
    """The sizes in a read coref.json. Raises CheckpointError for a value missing, unknown or no number."""
    names = {f.name for f in fields(CorefConfig)} - {"context"}
    window = values.get("window")
    values, context = {k: v for k, v in values.items() if k != "context"}, values.get("context")
    if (
        set(values) != names
        or not isinstance(window, dict)
        or set(window) != {f.name for f in fields(Window)}
    ):
        raise CheckpointError(f"{source}: not the sizes of a coreference model; copy the file again")
    numbers = [*(value for name, value in values.items() if name != "window"), *window.values()]
    known = None if context is None else _context(context, source)
    if any(not isinstance(value, int) or isinstance(value, bool) or value < 1 for value in numbers):
        raise CheckpointError(f"{source}: sizes are whole numbers above 0; copy the file again")
    return CorefConfig(**{**values, "window": Window(**window), "context": known})


def _pieces(config: CorefConfig, folder: Path) -> list[str]:
    """Those of the encoder, none where there is no encoder. Raises CheckpointError."""
    shape = None if config.context is None else config.context.encoder
    if shape is None:
        return []
    try:
        found = (folder / PIECES).read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / PIECES}: missing or damaged ({error}); copy the whole folder"
        ) from None
    if len(found) != shape.pieces:
        raise CheckpointError(
            f"{folder / PIECES}: {len(found)} pieces, {CONFIG} asks for {shape.pieces}; take both "
            "from the same place"
        )
    return found


def _context(values: object, source: Path) -> Context:
    try:
        sizes = {k: v for k, v in values.items() if k not in ("base", "encoder")}  # type: ignore[attr-defined]
        base, encoder = values["base"], values.get("encoder")  # type: ignore[index, attr-defined]
        if any(type(size) is not int or size < 1 for size in (*sizes.values(), *(encoder or {}).values())):
            raise TypeError("sizes")
        return Context(
            None if base is None else BaseReference(**base),
            **sizes,
            encoder=None if encoder is None else EncoderShape(**encoder),
        )
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f'{source}: not a base and the sizes of its states in "context"; copy the file again'
        ) from None
