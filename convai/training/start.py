"""What a run begins with: a model to tune, from a folder or the hub, or a fresh one; made ready to learn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ignite.distributed as idist

from convai.core.errors import CheckpointError, SettingsError, TrainingError
from convai.core.files import read_json
from convai.core.settings import TrainConfig
from convai.model import adapters as lora
from convai.model.bases import ABOUT
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import SETTINGS, BaseReference, is_adapter, load_base, model_folder
from convai.model.shape import Shape
from convai.model.shipped import read_settings, training_config
from convai.text.tokenizer import Tokenizer
from convai.training import apex
from convai.training.corpus import file_digest
from convai.training.prepare import Files, texts
from convai.training.processes import first_here, from_first, is_first
from convai.training.reporting import note

WEIGHTS = ("model.safetensors", "model.gguf", "adapter_model.safetensors")
_LICENCE = re.compile(r"^licen[cs]e\s*:\s*(.+)$|^#+ *licen[cs]es?\s*\n+(.+)$", re.IGNORECASE | re.MULTILINE)
HUB_NAMES = ("gpt2", "openai-gpt", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a model comes from: the folder (or hub name) to tune, or the shape of a fresh one."""

    model: str | None = None
    shape: Path | None = None
    tokenizer: Path | None = None
    teacher: str | None = None


class Built(NamedTuple):
    """What a new run begins with; `base`: what its adapters will be saved as belonging to, where they are
    saved without it.

    The rotary families' bases are large and stay where they are; OpenAI's GPTs are small, and a tuned one is
    saved whole, with the adapter beside it.
    """

    model: DoubleHeadsModel
    tokenizer: Tokenizer
    settings: dict[str, Any]
    base: BaseReference | None = None


def build(files: Files, start: Start, config: TrainConfig) -> Built:
    """Model, tokenizer and shipped settings that a new run begins with."""
    if start.shape is not None:
        if start.model is not None:
            raise TrainingError("--model and --config exclude each other: tune a model, or train a fresh one")
        if config.lora_rank or config.last_blocks is not None:
            option = "--lora-rank" if config.lora_rank else "--last-blocks"
            raise TrainingError(
                f"{option}: most of a fresh model would never learn; leave it out, or tune a --model"
            )
        shape = Shape.from_hf(read_json(start.shape), str(start.shape))
        if start.tokenizer is not None:
            tokenizer = Tokenizer.load(start.tokenizer)
        else:
            # one process trains it, the others wait
            made = Tokenizer.train(texts(files), shape.vocab_size).to_json() if is_first() else ""
            tokenizer = Tokenizer.from_json(from_first(made))
        fresh = DoubleHeadsModel(shape.replace(vocab_size=tokenizer.vocab_size))
        fresh.init_weights(positions="sinusoid")
        return Built(prepared_for_training(fresh, config), tokenizer, {})
    folder = local_folder(start.model)
    adapted = is_adapter(folder)
    if adapted and not config.lora_rank:
        raise TrainingError(
            f"{folder}: an adapter goes on learning as one: add --lora-rank, or make a model of it first "
            "(convai models merge)"
        )
    model = load_base(folder) if adapted else load_model(folder)
    base = None
    if config.lora_rank and model.config.rotary:
        base = BaseReference.read(folder) if adapted else BaseReference.of(model, folder)
    tokenizer, added = Tokenizer.load_pretrained(folder, config.frame)
    if added and config.frame == "auto":
        note(
            f"{folder.name}: no chat template, so dialogues are written in the blog post's frame, "
            f"with {added} new control tokens"
        )
    if tokenizer.vocab_size - added > model.config.vocab_size:
        raise CheckpointError(
            f"{folder}: the model knows {model.config.vocab_size} tokens, its tokenizer gives "
            f"{tokenizer.vocab_size - added}; take both from the same place"
        )
    if tokenizer.vocab_size > model.config.vocab_size:
        model.resize_vocabulary(tokenizer.vocab_size)
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
    read_settings(folder)  # refuse damaged settings now, not after the training
    training_config(folder)
    model = prepared_for_training(model, config)
    if added and config.last_blocks is not None:
        raise TrainingError(
            f"--last-blocks: {folder.name} does not know the control tokens yet, and its embeddings "
            "have to learn them; leave it out (--lora-rank learns them too)"
        )
    if adapted:
        lora.load_adapter(model, folder, config)
    elif config.lora_rank:
        lora.adapt(model, config, fresh=range(tokenizer.vocab_size - added, tokenizer.vocab_size))
    return Built(model, tokenizer, settings, base)


def describe_base(folder: Path) -> dict[str, Any]:
    """The model that a run begins with: its name, the digest of its weights, the licences its card names.

    An adapter has a `base` of its own, described alike.
    """
    weights = next((p for name in WEIGHTS if (p := folder / name).exists()), None)
    described: dict[str, Any] = {
        "name": folder.name,
        "sha256": file_digest(weights) if weights else "",
        "licence": str(read_json(folder / ABOUT).get("licence", "")) if (folder / ABOUT).exists() else "",
    }
    if not described["licence"] and (card := folder / "README.md").exists():
        described["licence"] = licences_of(card.read_text(encoding="utf-8", errors="replace"))
    if is_adapter(folder):
        described["base"] = describe_base(BaseReference.read(folder).folder())
    return described


def licences_of(card: str) -> str:
    """The licences that a model card names: in a line of its own, under a heading, or in a table."""
    found = _LICENCE.search(card)
    if found:
        return (found[1] or found[2]).strip()
    names: dict[str, None] = {}
    column: int | None = None
    for line in card.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if "|" in line else []
        titled = [i for i, cell in enumerate(cells) if cell.lower().startswith(("licence", "license"))]
        if titled or not cells:
            column = titled[0] if titled else None
        elif column is not None and column < len(cells) and cells[column].strip("-: "):
            names[cells[column]] = None
    return "; ".join(names)


def local_folder(model: str | None) -> Path:
    """The folder of `model`; the well-known names are fetched from the Hugging Face hub."""
    if model in HUB_NAMES and not Path(str(model)).exists():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        patterns = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer*.json"]
        try:
            with first_here():
                return Path(
                    snapshot_download(
                        str(model), allow_patterns=patterns, local_files_only=idist.get_local_rank() > 0
                    )
                )
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"{model}: cannot be fetched from the hub ({reason}); name a folder with its files"
            ) from None
    return model_folder(model)


def prepared_for_training(model: DoubleHeadsModel, config: TrainConfig) -> DoubleHeadsModel:
    """`model` with the run's dropout and match head, on this process' device."""
    shape = model.config
    if config.dropout is not None:
        shape = shape.replace(embd_pdrop=config.dropout, resid_pdrop=config.dropout, attn_pdrop=0.0)
    if config.match_size is not None:
        shape = shape.replace(match_size=config.match_size)
    if shape != model.config:
        # a block keeps the rate it was built with: rebuild around the same weights
        changed = DoubleHeadsModel(shape)
        same_head = shape.match_size == model.config.match_size
        kept = {n: p for n, p in model.state_dict().items() if same_head or not n.startswith("match_head.")}
        changed.load_state_dict(kept, strict=False)
        model = changed
    model.gradient_checkpointing = config.gradient_checkpointing
    if (config.apex_adam or config.apex_layer_norm) and idist.device().type != "cuda":
        option = "--apex-adam" if config.apex_adam else "--apex-layer-norm"
        raise SettingsError(f"{option}: apex computes on NVIDIA GPUs, and there is none here; leave it out")
    if config.apex_layer_norm:
        apex.fuse_layer_norms(model)
    return model.float().to(idist.device())
