"""A lock that one process holds, and its end gives back."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import ConvaiError
from convai.core.only_one import only_one


def test_the_second_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    with only_one(path, "busy"):
        with pytest.raises(ConvaiError, match="busy"), only_one(path, "busy"):
            pass
    with only_one(path, "busy"):
        pass
