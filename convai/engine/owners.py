"""Which models have an engine whose thread owns them: one at a time."""

from __future__ import annotations

import threading
import weakref

from convai.engine.errors import EngineError
from convai.model.double_heads import DoubleHeadsModel

_lock = threading.Lock()
_owners: weakref.WeakKeyDictionary[DoubleHeadsModel, object] = weakref.WeakKeyDictionary()


def claim(model: DoubleHeadsModel, owner: object) -> None:
    """`owner` computes with `model` in a thread of its own. Raises EngineError while another one does."""
    with _lock:
        if _owners.setdefault(model, owner) is not owner:
            raise EngineError(
                "another engine has been started on this model; use that one, or close it first"
            )


def release(owner: object) -> None:
    """`owner` is through with its model."""
    with _lock:
        for model, one in list(_owners.items()):
            if one is owner:
                del _owners[model]
