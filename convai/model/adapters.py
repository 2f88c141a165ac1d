"""LoRA through peft: small low-rank matrices learn beside frozen weights, and are added to them at the end.

Hu et al. 2021 (arXiv 2106.09685). What learns is kept in a folder of its own: peft's two files under
transformers' names, so that on the same base `peft.PeftModel` reads them with stock transformers as well,
and for the rotary families HEADS_FILE with what stock models lack (next-sentence heads, segment gate).
The frozen weights may be computed with in 8 bits (`frozen`), which a processor does several times faster.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import atomic_write, read_json, write_json
from convai.core.settings import TrainConfig
from convai.model.adapted_layers import NAME, inject, matrix_of
from convai.model.double_heads import DoubleHeadsModel
from convai.model.families import FAMILIES
from convai.model.frozen import FrozenLinear
from convai.model.match_head import MatchHead

if TYPE_CHECKING:
    pass

ADAPTER: Final = "adapter"
"""Folder of the adapter, in a checkpoint and in the finished model's folder."""
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
HEADS_FILE: Final = "heads.safetensors"
"""Heads and segment gate, where the base is of a family whose stock models have none."""

_HEADS: Final = ("multiple_choice_head", "match_head")
_PREFIX: Final = "base_model.model."  # what PeftModel puts before every name
_GATE: Final = "transformer.segment_gate"
_MATCH: Final = "match_head.projection.weight"


def adapt(model: DoubleHeadsModel, config: TrainConfig, fresh: Sequence[int] = ()) -> None:
    """Freeze `model` and give it adapters, in place; their effect is nothing until they have learnt.

    The next-sentence heads learn with them, and so do the rows of the word embedding in `fresh`: control
    tokens that the model did not know. Raises SettingsError when peft is not installed.
    """
    peft = _peft()
    parts = FAMILIES[model.config.family]
    if config.frozen_precision == "int8":
        freeze_in_int8(model, config)
    inject(
        model,
        peft.LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=list(parts.lora[config.lora_targets]),
            modules_to_save=[name for name in _HEADS if getattr(model, name) is not None],
            trainable_token_indices={"transformer.wte": list(fresh)} if fresh else None,
            fan_in_fan_out=not model.config.rotary,
        ),
    )


def freeze_in_int8(model: DoubleHeadsModel, config: TrainConfig) -> None:
    """Replace the layers that will get adapters by their 8-bit twins, in place."""
    for name in FAMILIES[model.config.family].lora[config.lora_targets]:
        part, _, leaf = name.partition(".")
        for block in model.transformer.h:
            parent = block.get_submodule(part)
            layer = getattr(parent, leaf)
            if not isinstance(layer, FrozenLinear):
                setattr(parent, leaf, FrozenLinear.of(layer))


def is_adapted(model: DoubleHeadsModel) -> bool:
    """Whether `model` has adapters."""
    return hasattr(model, "peft_config")


def save_adapter(model: DoubleHeadsModel, folder: Path) -> None:
    """Write what learns in `model` to `folder`, in peft's format. Raises OSError."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    state = {name: p.detach().cpu().contiguous() for name, p in state.items()}
    values: dict[str, Any] = model.peft_config[NAME].to_dict()  # type: ignore[union-attr, index]
    folder.mkdir(parents=True, exist_ok=True)
    if model.config.rotary:
        heads = {name: p for name, p in state.items() if name.startswith(_HEADS)}
        heads[_GATE] = model.transformer.segment_gate.detach().cpu()
        state = {_on_disk(name, model): p for name, p in state.items() if name not in heads}
        values["modules_to_save"] = None
        values["target_modules"] = [_stock_layer(name, model) for name in values["target_modules"]]
        rows = values["trainable_token_indices"]
        values["trainable_token_indices"] = rows and {"model.embed_tokens": rows["transformer.wte"]}
        atomic_write(folder / HEADS_FILE, lambda part: save_file(heads, part, metadata={"format": "pt"}))
    tensors = {_PREFIX + name: p for name, p in state.items()}
    atomic_write(folder / WEIGHTS, lambda part: save_file(tensors, part, metadata={"format": "pt"}))
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in values.items()}
    write_json(folder / CONFIG, plain | {"inference_mode": True})


def load_adapter(model: DoubleHeadsModel, folder: Path, config: TrainConfig | None = None) -> None:
    """Give `model`, the base that an adapter was made for, the one in `folder`, ready to learn on.

    `config`: of the run that goes on with it; its rank is to be the adapter's. Raises CheckpointError for a
    missing or damaged adapter, or one of another model.
    """
    peft = _peft()
    values = read_json(folder / CONFIG)
    if config is not None and config.lora_rank != values.get("r"):
        raise SettingsError(
            f"lora_rank={config.lora_rank}: the adapter in {folder} has rank {values.get('r')}; give that one"
        )
    if config is not None and config.frozen_precision == "int8":
        freeze_in_int8(model, config)
    state = {name.removeprefix(_PREFIX): p for name, p in read_tensors(folder / WEIGHTS).items()}
    if model.config.rotary:
        heads = read_tensors(folder / HEADS_FILE)
        gate = heads.pop(_GATE, None)
        if config is not None and config.match_size is not None:
            heads = _for_run(model, heads)
        _make_match_head(model, heads)
        state = {_from_disk(name, model): p for name, p in state.items()} | heads
        ours = {_stock_layer(n, model): n for n in FAMILIES[model.config.family].lora["all"]}
        values["target_modules"] = [ours.get(name, name) for name in values.get("target_modules") or ()]
        values["modules_to_save"] = [name for name in _HEADS if getattr(model, name) is not None]
        rows = new_rows(folder)
        make_room(model, rows)
        values["trainable_token_indices"] = {"transformer.wte": rows} if rows else None
    try:
        inject(model, peft.LoraConfig(**values | {"inference_mode": False}))
        result = peft.set_peft_model_state_dict(model, state, adapter_name=NAME)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder}: no adapter for this model ({reason}); give the model that it was trained on"
        ) from None
    known = set(peft.get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False))
    if result.unexpected_keys or known != set(state) or (model.config.rotary and gate is None):
        raise CheckpointError(
            f"{folder}: the adapter has other layers than the model; give the model that it was trained on"
        )
    if model.config.rotary and gate is not None:
        with torch.no_grad():
            model.transformer.segment_gate.copy_(gate)


def _make_match_head(model: DoubleHeadsModel, heads: Mapping[str, torch.Tensor]) -> None:
    """Give `model` the match head that an adapter brings, whose weights `heads` has: bases have none."""
    projection = heads.get(_MATCH)
    if projection is not None and model.match_head is None:
        size = projection.shape[0]
        model.match_head = MatchHead(model.config.n_embd, size)
        model.config = model.config.replace(match_size=size)


def _for_run(model: DoubleHeadsModel, heads: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An adapter's `heads` for a run that says itself which match head `model` has: a new one, or none."""
    own = {name: p.detach() for name, p in model.named_parameters() if name.startswith("match_head.")}
    if {name: heads[name].shape for name in own if name in heads} == {n: p.shape for n, p in own.items()}:
        own = {name: heads[name] for name in own}
    return {name: p for name, p in heads.items() if not name.startswith("match_head.")} | own


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """What a file of an adapter holds. Raises CheckpointError."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or missing ({error}); copy it again") from None


def _stock_layer(name: str, model: DoubleHeadsModel) -> str:
    """What stock transformers calls our layer `name` of a block."""
    return FAMILIES[model.config.family].inner.get(name, name)


_LAYER: Final = re.compile(r"transformer\.h\.(\d+)\.(.+?)\.(lora_.+)")


def _on_disk(name: str, model: DoubleHeadsModel) -> str:
    """The adapter's tensor `name` as peft would call it on the stock model."""
    if found := _LAYER.fullmatch(name):
        return f"{FAMILIES[model.config.family].block}.{found[1]}.{_stock_layer(found[2], model)}.{found[3]}"
    return name.replace("transformer.wte", "model.embed_tokens")


def _from_disk(name: str, model: DoubleHeadsModel) -> str:
    family = FAMILIES[model.config.family]
    stock = {theirs: ours for ours, theirs in family.inner.items()}
    if found := re.fullmatch(re.escape(family.block) + r"\.(\d+)\.(.+?)\.(lora_.+)", name):
        return f"transformer.h.{found[1]}.{stock.get(found[2], found[2])}.{found[3]}"
    return name.replace("model.embed_tokens", "transformer.wte")


def convert(source: Path, out: Path, dtype: torch.dtype) -> None:
    """Copy the adapter in `source` to `out` with its matrices in `dtype`; heads and gate stay float32.

    Half the size in float16, and no worse: the sum with the base is computed in float32. Raises OSError, and
    CheckpointError for a damaged adapter.
    """
    tensors = {name: p.to(dtype) for name, p in read_tensors(source / WEIGHTS).items()}
    write_adapter(out, tensors, read_tensors(source / HEADS_FILE), read_json(source / CONFIG))


def write_adapter(
    out: Path,
    tensors: dict[str, torch.Tensor],
    heads: dict[str, torch.Tensor],
    settings: Mapping[str, Any],
) -> None:
    """Write an adapter of a rotary family as its files have it: matrices, heads and gate, peft's settings.

    Raises OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / WEIGHTS, lambda part: save_file(tensors, part, metadata={"format": "pt"}))
    atomic_write(out / HEADS_FILE, lambda part: save_file(heads, part, metadata={"format": "pt"}))
    write_json(out / CONFIG, settings)


def new_rows(folder: Path) -> list[int]:
    """The rows of the word embedding that the adapter in `folder` brings: control tokens."""
    found = read_json(folder / CONFIG).get("trainable_token_indices") or {}
    rows = found.get("model.embed_tokens") if isinstance(found, dict) else None
    return list(rows or ())


def match_size(folder: Path) -> int:
    """Dimensions of the match head that the adapter in `folder` brings; 0: none."""
    projection = read_tensors(folder / HEADS_FILE).get(_MATCH)
    return 0 if projection is None else int(projection.shape[0])


def make_room(model: DoubleHeadsModel, rows: Sequence[int]) -> None:
    """Grow the vocabulary of `model` so that it has the embedding rows `rows`."""
    if rows and max(rows) >= model.config.vocab_size:
        model.resize_vocabulary(max(rows) + 1)


def add_to(model: DoubleHeadsModel, folder: Path) -> None:
    """Add the adapter in `folder` to the weights of `model`, its base of a rotary family, in place.

    What `load_adapter` and `merged` give, without peft and without a second copy of the weights: this is how
    a tuned model is loaded to talk. Raises CheckpointError as `load_adapter` does.
    """
    values = read_json(folder / CONFIG)
    state = {name.removeprefix(_PREFIX): p for name, p in read_tensors(folder / WEIGHTS).items()}
    heads = read_tensors(folder / HEADS_FILE)
    rows = new_rows(folder)
    make_room(model, rows)
    _make_match_head(model, heads)
    parameters = dict(model.named_parameters())
    try:
        scale = float(values["lora_alpha"]) / int(values["r"])
        with torch.no_grad():
            for name, down in state.items():
                if name.endswith(".lora_A.weight"):
                    up = state[name.replace(".lora_A.", ".lora_B.")]
                    layer = _from_disk(name, model).removesuffix(".lora_A.weight")
                    parameters[f"{layer}.weight"].addmm_(up.float(), down.float(), alpha=scale)
                elif name.endswith("trainable_tokens_delta"):
                    parameters["transformer.wte.weight"][rows] = down.float()
                elif not name.endswith(".lora_B.weight"):
                    raise KeyError(name)
            for name, p in heads.items():
                parameters[name].copy_(p)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder}: no adapter for this model ({reason}); give the model that it was trained on"
        ) from None


def merged(model: DoubleHeadsModel) -> DoubleHeadsModel:
    """A plain model with the adapters added to its weights; `model`, still learning, stays as it is."""
    return _plain(model, add=True)


def base(model: DoubleHeadsModel) -> DoubleHeadsModel:
    """A plain model without the adapters: what `model` was before `adapt`."""
    return _plain(model, add=False)


def _plain(model: DoubleHeadsModel, *, add: bool) -> DoubleHeadsModel:
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    plain = copy.deepcopy(model)
    for name, module in list(plain.named_modules()):
        if isinstance(module, AuxiliaryTrainingWrapper):  # the head, and the embedding with new rows
            own = module.original_module
            if add:
                own = module.unload_and_optionally_merge_module(True, safe_merge=False, adapter_names=None)
        elif isinstance(module, LoraLayer):
            own = module.get_base_layer()
            if isinstance(own, FrozenLinear):
                own = own.thawed()
                if add:
                    with torch.no_grad():
                        product = matrix_of(module.lora_B) @ matrix_of(module.lora_A)
                        own.weight += product * module.scaling[NAME]
            elif add:
                module.merge()
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(plain.get_submodule(parent), leaf, own)
    del plain.peft_config
    return plain.requires_grad_(True)


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise SettingsError("lora_rank: LoRA needs peft, which is not installed; pip install peft") from None
    return peft
