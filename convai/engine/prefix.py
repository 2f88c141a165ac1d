"""The cached prefix of a conversation: what is still valid of it is not computed again."""

from __future__ import annotations

import torch
from torch import Tensor

from convai import segments
from convai.cache import KVCache
from convai.model import DoubleHeadsModel


class PrefixCache:
    """Keys and values of the prompt that was computed last, for one conversation at a time.

    A new prompt keeps the longest prefix whose words, positions and segments are the same; the rest (an
    edit, a moved window, another persona) is computed again.
    """

    def __init__(self, model: DoubleHeadsModel, dtype: torch.dtype) -> None:
        self._model = model
        self._cache = KVCache(model.config, device=model.device, dtype=dtype)
        self._tokens: list[tuple[int, int, int]] = []

    def clear(self) -> None:
        self._tokens = []

    def prefill(self, prompt: segments.Sequence) -> tuple[Tensor, KVCache, int]:
        """Compute what is new of `prompt`.

        Returns the hidden state `[1, D]` of its last token, the cache (valid until the next call), and how
        many tokens were reused.
        """
        tokens = list(zip(prompt.words, prompt.positions, prompt.segments, strict=True))
        common = 0
        # the last token is always computed: its hidden state is what the reply begins with
        for old, new in zip(self._tokens, tokens[:-1], strict=False):
            if old != new:
                break
            common += 1
        self._tokens = []  # until the computation is through, nothing is known of the cache
        self._cache.truncate(common)
        new_part = torch.tensor(tokens[common:], device=self._model.device).T.unsqueeze(1)  # [3, 1, T]
        hidden = self._model(new_part[0], new_part[1], new_part[2], cache=self._cache)
        self._tokens = tokens
        return hidden[:, -1], self._cache, common
