"""Inference: one engine that every door shares."""

from convai.engine.engine import Engine
from convai.engine.errors import EngineClosed, EngineError, EngineLost, NotANumber, Overloaded
from convai.engine.messages import Begun, Event, Finished, Health, ModelLimits, Request, Stats, Timings, Token
from convai.engine.port import Port
from convai.engine.stream import Stream

__all__ = [
    "Begun",
    "Engine",
    "EngineClosed",
    "EngineError",
    "EngineLost",
    "Event",
    "Finished",
    "Health",
    "ModelLimits",
    "NotANumber",
    "Overloaded",
    "Port",
    "Request",
    "Stats",
    "Stream",
    "Timings",
    "Token",
]
