"""peft's adapters on this project's layers: Conv1D's `[in, out]` weights, and frozen ones in 8 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from convai.model.double_heads import DoubleHeadsModel
from convai.model.frozen import FrozenLinear, adapted_product
from convai.model.gpt import Conv1D

if TYPE_CHECKING:
    from peft import LoraConfig

NAME: Final = "default"
"""What the adapters are called inside peft."""


def matrix_of(adapters: torch.nn.ModuleDict) -> torch.Tensor:
    """The weight of one of a layer's two adapter matrices."""
    weight = adapters[NAME].weight
    assert isinstance(weight, torch.Tensor)
    return weight


def inject(model: DoubleHeadsModel, settings: LoraConfig) -> None:
    """Put adapters beside the layers that `settings` names, and let a segment gate learn."""
    from peft import inject_adapter_in_model
    from peft.tuners.lora.layer import Linear

    class AdaptedConv1D(Linear):  # type: ignore[misc, unused-ignore]
        """peft's adapter of a linear layer, told the sizes of ours, whose weight is `[in, out]`."""

        def _get_in_out_features(self, module: torch.nn.Module) -> tuple[int, int]:
            assert isinstance(module, Conv1D)
            n_in, n_out = module.weight.shape
            return n_in, n_out

    class AdaptedFrozen(Linear):  # type: ignore[misc, unused-ignore]
        """peft's adapter of a frozen 8-bit layer."""

        def _get_in_out_features(self, module: torch.nn.Module) -> tuple[int, int]:
            assert isinstance(module, FrozenLinear)
            return module.in_features, module.out_features

        def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            plain = not self.disable_adapters and not self.merged and self.active_adapters == [NAME]
            if (
                not plain
                or NAME not in self.lora_A
                or args
                or kwargs
                or x.dtype not in _types(x.device.type)
                or not isinstance(self.lora_dropout[NAME], torch.nn.Identity)
            ):
                return super().forward(x, *args, **kwargs)
            down, up = matrix_of(self.lora_A), matrix_of(self.lora_B)
            assert isinstance(self.base_layer, FrozenLinear)
            return adapted_product(self.base_layer, x, down, up, self.scaling[NAME])

    def _types(device: str) -> tuple[torch.dtype, ...]:
        """What `adapted_product` computes with here; none under another autocast."""
        if not torch.is_autocast_enabled(device):
            return (torch.float32,)
        known = device == "cpu" and torch.get_autocast_dtype(device) == torch.bfloat16
        return (torch.float32, torch.bfloat16) if known else ()

    settings._register_custom_module({Conv1D: AdaptedConv1D, FrozenLinear: AdaptedFrozen})
    inject_adapter_in_model(settings, model, NAME)
    if model.config.rotary:
        model.transformer.segment_gate.requires_grad_(True)
