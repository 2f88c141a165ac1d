"""Which precision to compute in, where nobody says."""

from __future__ import annotations

from typing import Literal

import torch

from convai.core.errors import SettingsError
from convai.engine.backends import native_backend
from convai.engine.backends.linear import Precision
from convai.model.shape import Shape

Requested = Literal["auto", "float32", "bf16", "int8"]


def chosen(requested: Requested, config: Shape, device: torch.device) -> Precision:
    """The precision for a model of this shape on `device`.

    "auto": bf16 on CUDA where it has it; on a CPU int8 where the C kernels run; float32 elsewhere. Raises
    SettingsError for an unknown precision, and for int8 outside a CPU.
    """
    if requested not in ("auto", "float32", "bf16", "int8"):
        raise SettingsError(f"precision={requested!r}: use auto, float32, bf16 or int8")
    if requested == "int8" and device.type != "cpu":
        raise SettingsError(f"precision=int8: {device.type} has none; use bf16 or float32")
    if requested != "auto":
        return requested
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "float32"
    return "int8" if device.type == "cpu" and native_backend.available(config) else "float32"
