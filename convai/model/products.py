"""Products of matrices in the number type that the processor has instructions for."""

from __future__ import annotations

import torch


def quick_type() -> torch.dtype:
    """bfloat16 where the processor multiplies that natively, else float32."""
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def quick_products() -> torch.autocast:
    """A context in which products are taken in `quick_type`."""
    return torch.autocast("cpu", torch.bfloat16, enabled=quick_type() is torch.bfloat16)
