"""What a frame may hold at most, the version, and the codes of errors and closings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from convai.core.dialog import MAX_UTTERANCE_CHARS
from convai.core.errors import ConvaiError

VERSION: Final = 1
"""The protocol's version, sent in `hello`. It changes when a client of before would misunderstand."""

MAX_WHOLE: Final = 2**53 - 1
"""The largest whole number that JSON carries unharmed between languages (RFC 8259, section 6)."""

ErrorCode = Literal[
    "bad_frame",
    "bad_field",
    "order",
    "version",
    "unauthorized",
    "not_found",
    "conflict",
    "refused",
    "internal",
]
ERROR_CODES: Final[dict[ErrorCode, str]] = {
    "bad_frame": "no JSON object, too large, or of an unknown type",
    "bad_field": "a field is unknown, missing, of another type, or out of range; `field` names it",
    "order": "`hello` was not the first frame, came twice, or no conversation is open",
    "version": "the server does not speak the version that was asked for",
    "unauthorized": "the token is missing or wrong",
    "not_found": "there is no such conversation or message, or it is somebody else's",
    "conflict": "the conversation has moved on, or a reply is being written",
    "refused": "what was asked for does not fit: a persona too long for the model, nothing to undo",
    "internal": "the server failed; the line says no more than that",
}
"""Code of an `error` frame → what it means."""

CLOSE_CODES: Final[dict[int, str]] = {
    1001: "the server goes away, or nothing was heard for too long; `going_away` was sent before",
    1008: "the Origin is not allowed, or `hello` brought no valid token",
    1009: "a frame was larger than `frame_bytes`",
    4400: "too many frames that could not be read",
    4408: "no `hello` in time",
    4429: "too many connections from this address",
}
"""Close code of the socket → what it means (RFC 6455, section 7.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a frame may hold. The server tells its own in `ready`."""

    frame_bytes: int = 65_536
    """Bytes of a frame from the client, as UTF-8."""
    server_frame_bytes: int = 1_048_576
    """Bytes of a frame from the server, as UTF-8."""
    message_chars: int = 4_000
    """Characters of a message that somebody types."""
    reply_chars: int = MAX_UTTERANCE_CHARS
    """Characters of any message in a conversation, imported ones included."""
    persona_sentences: int = 64
    """Sentences of a persona."""
    sentence_chars: int = 500
    """Characters of one sentence of a persona."""
    name_chars: int = 100
    """Characters of a name: of a persona, a model, the server."""
    title_chars: int = 200
    """Characters of a conversation's title, and of the words to search for."""
    token_chars: int = 512
    """Characters of the token in `hello`."""
    page_messages: int = 200
    """Messages in one frame; the client asks for earlier ones with `history`."""
    page_conversations: int = 100
    """Conversations in one frame."""
    fact_chars: int = 300
    """Characters of a fact in the memory."""
    page_facts: int = 100
    """Facts in one frame; the client asks for others with `list_facts`."""
    alternatives: int = 10
    """Alternatives beside a token."""
    suggestions: int = 5
    """Suggested lines."""
    candidates: int = 16
    """Replies to sample and rank: most for the setting `candidates`."""
    num_beams: int = 16
    """Most for the setting `num_beams`."""
    max_length: int = 512
    """Tokens: most for the setting `max_length`."""
    rows: int = 8_192
    """Tokens in `inspected`."""
    note_chars: int = 4_000
    """Characters of an author's note."""
    greetings: int = 100
    """Greetings of a character."""
    books: int = 20
    """Lorebooks in a conversation."""
    members: int = 32
    """Characters in a group, those who have left counted."""
    data_bytes: int = 16_384
    """Bytes of a free JSON object, such as the marks on a message."""


class ProtocolError(ConvaiError):
    """A frame that cannot be accepted: what the `error` frame tells.

    `field` is the path of the field (`send.text`), `request` the frame's own `request`, where there is one.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, field: str | None = None, request: str | None = None
    ) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.field = field
        self.request = request
