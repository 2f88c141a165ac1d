"""The shapes that are measured: S, and M, which is GPT-2 small's."""

from __future__ import annotations

from typing import Final

from convai.model.shape import Shape

SIZES: Final = {
    "S": Shape(vocab_size=16384, n_positions=512, n_embd=384, n_layer=6, n_head=6),
    "M": Shape(vocab_size=50262, n_positions=512, n_embd=768, n_layer=12, n_head=12),
}
