"""Inference: one engine that every door shares."""

from convai.engine.engine import Engine
from convai.engine.errors import EngineClosed, EngineError, NotANumber, Overloaded
from convai.engine.messages import Event, Finished, Health, Limits, Request, Stats, Timings, Token
from convai.engine.port import Port
from convai.engine.stream import Stream

__all__ = [
    "Engine",
    "EngineClosed",
    "EngineError",
    "Event",
    "Finished",
    "Health",
    "Limits",
    "NotANumber",
    "Overloaded",
    "Port",
    "Request",
    "Stats",
    "Stream",
    "Timings",
    "Token",
]
