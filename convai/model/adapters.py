"""LoRA through peft: small low-rank matrices learn beside frozen weights, and are added to them at the end.

Hu et al. 2021 (arXiv 2106.09685). A checkpoint of such a run holds the unchanged model and, in ADAPTER, what
learns; the finished folder holds the sum, an ordinary model, and the adapter too. The adapter's files are
peft's own: on the same base `peft.PeftModel` reads them with stock transformers as well.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import atomic_write
from convai.core.settings import TrainConfig
from convai.model.checkpoint import read_json, write_json
from convai.model.double_heads import DoubleHeadsModel
from convai.model.gpt import Conv1D

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER: Final = "adapter"
"""Folder of the adapter, in a checkpoint and in the finished model's folder."""
CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"

_NAME: Final = "default"
_HEADS: Final = ("multiple_choice_head", "match_head")
_PREFIX: Final = "base_model.model."  # what PeftModel puts before every name
_TARGETS: Final = {
    "all": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    "attention": ["attn.c_attn", "attn.c_proj"],
}


def adapt(model: DoubleHeadsModel, config: TrainConfig, fresh: Sequence[int] = ()) -> None:
    """Freeze `model` and give it adapters, in place; their effect is nothing until they have learnt.

    The next-sentence heads learn with them, and so do the rows of the word embedding in `fresh`: control
    tokens that the model did not know. Raises SettingsError when peft is not installed.
    """
    peft = _peft()
    _inject(
        model,
        peft.LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=_TARGETS[config.lora_targets],
            modules_to_save=[name for name in _HEADS if getattr(model, name) is not None],
            trainable_token_indices={"transformer.wte": list(fresh)} if fresh else None,
            fan_in_fan_out=True,
        ),
    )


def is_adapted(model: DoubleHeadsModel) -> bool:
    """Whether `model` has adapters."""
    return hasattr(model, "peft_config")


def save_adapter(model: DoubleHeadsModel, folder: Path) -> None:
    """Write what learns in `model` to `folder`, in peft's format. Raises OSError."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    tensors = {_PREFIX + name: p.detach().cpu().contiguous() for name, p in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, lambda part: save_file(tensors, part, metadata={"format": "pt"}))
    values: dict[str, Any] = model.peft_config[_NAME].to_dict()  # type: ignore[union-attr, index]
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in values.items()}
    write_json(folder / CONFIG, plain | {"inference_mode": True})


def load_adapter(model: DoubleHeadsModel, folder: Path) -> None:
    """Give `model`, the base that an adapter was made for, the one in `folder`, ready to learn on.

    Raises CheckpointError for a missing or damaged adapter, or one of another model.
    """
    peft = _peft()
    values = read_json(folder / CONFIG)
    try:
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder / WEIGHTS}: damaged or missing ({error}); copy it again") from None
    try:
        _inject(model, peft.LoraConfig(**values | {"inference_mode": False}))
        own = {name.removeprefix(_PREFIX): p for name, p in state.items()}
        result = peft.set_peft_model_state_dict(model, own, adapter_name=_NAME)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{folder}: no adapter for this model ({reason}); give the model that it was trained on"
        ) from None
    known = set(peft.get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False))
    if result.unexpected_keys or known != set(own):
        raise CheckpointError(
            f"{folder}: the adapter has other layers than the model; give the model that it was trained on"
        )


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
            if add:
                module.merge()
            own = module.get_base_layer()
        else:
            continue
        parent, _, leaf = name.rpartition(".")
        setattr(plain.get_submodule(parent), leaf, own)
    del plain.peft_config
    return plain.requires_grad_(True)


def _inject(model: DoubleHeadsModel, settings: LoraConfig) -> None:
    from peft import inject_adapter_in_model
    from peft.tuners.lora.layer import Linear

    class AdaptedConv1D(Linear):  # type: ignore[misc, unused-ignore]
        """peft's adapter of a linear layer, told the sizes of ours, whose weight is `[in, out]`."""

        def _get_in_out_features(self, module: torch.nn.Module) -> tuple[int, int]:
            assert isinstance(module, Conv1D)
            n_in, n_out = module.weight.shape
            return n_in, n_out

    settings._register_custom_module({Conv1D: AdaptedConv1D})
    inject_adapter_in_model(settings, model, _NAME)


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise SettingsError(
            "lora_rank: LoRA needs peft, which is not installed; pip install 'convai[lora]'"
        ) from None
    return peft
