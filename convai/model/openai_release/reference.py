"""The forward pass of GPT and GPT-2 in plain numpy, from a checkpoint's own variables.

Written after the releases' TensorFlow code (finetune-transformer-lm/train.py, gpt-2/src/model.py) and sharing
nothing with convai.model.double_heads, so that a mistake in either shows as a difference. float64: what
is left of the difference is the other side's rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convai.model.shape import Shape

Floats = NDArray[np.float64]


def hidden_states(
    variables: Mapping[str, NDArray[Any]], config: Shape, ids: NDArray[np.int64]
) -> list[Floats]:
    """States `[B, T, D]` for word ids `[B, T]`: the embeddings, after every block, after the last norm."""

    def take(scope: str) -> Floats:
        return np.asarray(variables[f"model/{scope}"]).astype(np.float64)

    def norm(x: Floats, scope: str) -> Floats:
        mean = x.mean(-1, keepdims=True)
        variance = np.square(x - mean).mean(-1, keepdims=True)
        normal: Floats = (x - mean) / np.sqrt(variance + 1e-5)
        return normal * take(f"{scope}/g") + take(f"{scope}/b")

    def conv1d(x: Floats, scope: str) -> Floats:
        w = take(f"{scope}/w")
        return x @ w.reshape(x.shape[-1], -1) + take(f"{scope}/b")

    def attention(x: Floats, scope: str) -> Floats:
        b, t, d = x.shape
        query, key, value = (
            part.reshape(b, t, config.n_head, -1).transpose(0, 2, 1, 3)
            for part in np.split(conv1d(x, f"{scope}/c_attn"), 3, axis=2)
        )
        w = query @ key.transpose(0, 1, 3, 2) / np.sqrt(d // config.n_head)
        w = np.where(np.tril(np.ones((t, t), bool)), w, -1e10)
        w = np.exp(w - w.max(-1, keepdims=True))
        w /= w.sum(-1, keepdims=True)
        return conv1d((w @ value).transpose(0, 2, 1, 3).reshape(b, t, d), f"{scope}/c_proj")

    def mlp(x: Floats, scope: str) -> Floats:
        h = conv1d(x, f"{scope}/c_fc")
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        return conv1d(h, f"{scope}/c_proj")

    x = take("wte")[ids] + take("wpe")[: ids.shape[1]]
    states = [x]
    for layer in range(config.n_layer):
        scope = f"h{layer}"
        if config.family == "gpt2":
            x = x + attention(norm(x, f"{scope}/ln_1"), f"{scope}/attn")
            x = x + mlp(norm(x, f"{scope}/ln_2"), f"{scope}/mlp")
        else:
            x = norm(x + attention(x, f"{scope}/attn"), f"{scope}/ln_1")
            x = norm(x + mlp(x, f"{scope}/mlp"), f"{scope}/ln_2")
        states.append(x)
    if config.family == "gpt2":
        states.append(norm(x, "ln_f"))
    return states
