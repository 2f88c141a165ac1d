"""How far a measured share may be from the true one."""

from __future__ import annotations

import math
from typing import Final

Z95: Final = 1.959964
"""Standard deviations of a normal distribution between which 95 % of it lie."""


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share over `count` independent trials.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    >>> low, high = wilson(0.5, 10)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    """
    if count < 1:
        raise ValueError("an interval needs one trial at least")
    middle = share + Z95**2 / (2 * count)
    spread = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2))
    scale = 1 + Z95**2 / count
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
