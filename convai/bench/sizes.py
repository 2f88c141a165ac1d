"""The shapes that are measured: S; M, which is GPT-2 small's; smol, which is SmolLM2-135M's."""

from __future__ import annotations

from typing import Final

from convai.model.shape import Shape

SIZES: Final = {
    "S": Shape(vocab_size=16384, n_positions=512, n_embd=384, n_layer=6, n_head=6),
    "M": Shape(vocab_size=50262, n_positions=512, n_embd=768, n_layer=12, n_head=12),
    "smol": Shape(
        family="llama",
        vocab_size=49152,
        n_positions=8192,
        n_embd=576,
        n_layer=30,
        n_head=9,
        n_kv_head=3,
        n_inner=1536,
        rope_theta=100_000.0,
    ),
}

BASES: Final = {"smol": "smollm2-135m"}
"""The base whose weights are taken where this machine has it; random ones elsewhere."""
