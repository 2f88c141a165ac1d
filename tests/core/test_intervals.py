"""The interval of a share, against its definition."""

from __future__ import annotations

import pytest

from convai.core.intervals import wilson


@pytest.mark.parametrize(("share", "count"), [(0.0, 10), (1.0, 10), (0.3, 30), (0.5, 400)])
def test_the_interval_covers_the_share(share: float, count: int) -> None:
    """Against its definition: the shares whose normal 95 % band just reaches the one that was seen."""
    low, high = wilson(share, count)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for end in (low, high):
        if 1e-9 < end < 1 - 1e-9:
            assert abs(end - share) == pytest.approx(1.959964 * (end * (1 - end) / count) ** 0.5)
    with pytest.raises(ValueError, match="one trial"):
        wilson(0.5, 0)
