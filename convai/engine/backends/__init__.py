"""Running a model fast: weights converted once, a pool of caches, ragged batches of spans."""

from convai.engine.backends.model import InferenceModel
from convai.engine.backends.pool import KVPool, SlotSpan

__all__ = ["InferenceModel", "KVPool", "SlotSpan"]
