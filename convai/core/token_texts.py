"""Decoding settings that are texts: what DRY does not look across, which tokens are more or less likely.

Both are JSON without the outer brackets: `"\\n", ":"` and `" pizza": -5, "15043": false`.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any, Final

from convai.core.errors import SettingsError

MOST_BREAKERS: Final = 64
MOST_CHARACTERS: Final = 40
"""Of one sequence breaker, as in llama.cpp."""
MOST_BIASES: Final = 300
"""Tokens and texts, as in OpenAI's API."""
MOST_BIAS: Final = 10_000.0
MOST_TEXT: Final = 20_000
"""Characters of either setting."""


@lru_cache(maxsize=64)
def breakers_of(text: str) -> tuple[str, ...]:
    """The texts in a list such as `"\\n", ":"`. Raises ValueError, which says what to write."""
    found = _read(text, "[]", '"\\n", ":"')
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError('use texts in quotation marks, as in "\\n", ":"')
    if len(found) > MOST_BREAKERS or any(len(one) > MOST_CHARACTERS for one in found):
        raise ValueError(f"use up to {MOST_BREAKERS} texts of up to {MOST_CHARACTERS} characters")
    return tuple(dict.fromkeys(one for one in found if one))


@lru_cache(maxsize=64)
def biases_of(text: str) -> tuple[tuple[int | str, float], ...]:
    """Token ids, or texts, and what is added to their logits (minus infinity for `false`).

    A name of digits alone is an id. Raises ValueError, which says what to write.
    """
    found = _read(text, "{}", '" pizza": -5, "15043": false')
    if isinstance(found, list):  # llama.cpp's list of pairs
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in found):
            raise ValueError('use pairs of a token and a number, as in [["pizza", -5]]')
        pairs = [(name, value) for name, value in found]
    elif isinstance(found, dict):
        pairs = list(found.items())
    else:
        raise ValueError('use names and numbers, as in " pizza": -5')
    if len(pairs) > MOST_BIASES:
        raise ValueError(f"use up to {MOST_BIASES} tokens")
    return tuple((_token(name), _number(value)) for name, value in pairs)


def check_bias(text: str, vocabulary: int) -> None:
    """Raise SettingsError where a bias names an id that is not below `vocabulary`."""
    for token, _ in biases_of(text):
        if isinstance(token, int) and token >= vocabulary:
            raise SettingsError(f"logit_bias={token}: the model has tokens 0 to {vocabulary - 1:,}")


def _read(text: str, brackets: str, example: str) -> Any:
    if len(text) > MOST_TEXT:
        raise ValueError(f"use up to {MOST_TEXT:,} characters")
    clean = text.strip()
    if clean[:1] not in ("[", "{"):
        clean = brackets[0] + clean + brackets[1]
    try:
        return json.loads(clean)
    except (ValueError, RecursionError):
        raise ValueError(f"write it as JSON, as in {example}") from None


def _token(name: object) -> int | str:
    if isinstance(name, str) and name:
        return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else name
    if isinstance(name, int) and not isinstance(name, bool) and name >= 0:
        return name
    raise ValueError("name a token by its id, or give a text")


def _number(value: object) -> float:
    if value is False:
        return -math.inf
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_BIAS:
        return float(value)
    raise ValueError(f"use numbers from {-MOST_BIAS:g} to {MOST_BIAS:g}, or false for never")
