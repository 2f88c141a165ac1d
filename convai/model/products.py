"""Products of matrices in the number type that the processor has instructions for."""

from __future__ import annotations

import torch


def quick_products() -> torch.autocast:
    """A context in which products are taken in bfloat16 where the processor multiplies that natively."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())
