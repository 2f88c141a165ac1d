"""All that a server sends: answers, states and changes."""

from __future__ import annotations

from typing import Final

from convai.server.protocol.answers import ANSWERS, Answer
from convai.server.protocol.changes import CHANGES, Change, State
from convai.server.protocol.schema import type_of

ServerEvent = Answer | State | Change

SERVER_EVENTS: Final[dict[str, type[ServerEvent]]] = {**ANSWERS, type_of(State): State, **CHANGES}
"""`type` of a frame from the server → its class."""
