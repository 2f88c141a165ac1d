"""The chat socket's events: parse, validate, limits, numbered replay; no I/O. docs/protocol.md explains them.

Parts, lowest first: `kinds` (of values), `schema` (what the classes have in common), `values`,
`client`, `answers` and `changes` (the events), `wire` (frames) and `replay` (the server's memory of what was
sent).
"""

from convai.core.limits import CLOSE_CODES, ERROR_CODES, VERSION, ErrorCode, Limits, ProtocolError
from convai.server.protocol.answers import ANSWERS, Answer
from convai.server.protocol.changes import CHANGES, Change
from convai.server.protocol.client import CLIENT_EVENTS, ClientEvent, Request
from convai.server.protocol.replay import ReplayBuffer, SentChange
from convai.server.protocol.server import SERVER_EVENTS, ServerEvent
from convai.server.protocol.wire import (
    Receiver,
    encode,
    error_event,
    newest_that_fit,
    parse_client,
    parse_server,
)

__all__ = [
    "ANSWERS",
    "CHANGES",
    "CLIENT_EVENTS",
    "CLOSE_CODES",
    "ERROR_CODES",
    "SERVER_EVENTS",
    "VERSION",
    "Answer",
    "Change",
    "ClientEvent",
    "ErrorCode",
    "Limits",
    "ProtocolError",
    "Receiver",
    "ReplayBuffer",
    "Request",
    "SentChange",
    "ServerEvent",
    "encode",
    "error_event",
    "newest_that_fit",
    "parse_client",
    "parse_server",
]
