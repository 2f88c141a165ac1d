"""Inference: one engine that every door shares."""

from convai.engine.engine import Engine, Request
from convai.engine.events import Event, Finished, Token

__all__ = ["Engine", "Event", "Finished", "Request", "Token"]
