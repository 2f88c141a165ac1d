"""What goes over a socket between a door and an engine: frames of msgpack, each of a bounded length.

A frame is four bytes, its length (big-endian), and one message. A door asks and leaves; an engine answers
with batches: what a step drew for all requests of one connection is one frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import groupby
from typing import Final, TypeVar

import msgspec

import convai
from convai.core.errors import ConvaiError
from convai.engine.errors import EngineError
from convai.engine.mailbox import Parcel
from convai.engine.messages import Failure, Finished, Health, ModelLimits, Request, Stats, Token

PROTOCOL: Final = 2
"""Of these frames; another number cannot be talked with."""
VERSION: Final = f"{convai.__version__}/{PROTOCOL}"
"""Both ends have the same one: what a request means may change with every release."""
MAX_FRAME: Final = 8 * 2**20
"""Bytes of a frame."""
MAX_HANDSHAKE: Final = 4096
"""Bytes of a frame from somebody who has not shown the token yet."""
MOST_TOLD: Final = 2048
"""Parcels in a frame."""
BEAT: Final = 1.0
"""Seconds between two signs of life of a door."""
SILENCE: Final = 5.0
"""Seconds without a sign after which the other end is taken for dead."""
HEAD: Final = struct.Struct(">I")
T = TypeVar("T")


class WireError(EngineError):
    """What came is no frame of this protocol."""


# -- the handshake -------------------------------------------------------------------------------------


class Challenge(msgspec.Struct, tag="challenge", array_like=True, frozen=True):
    """The engine begins: who it is, and a number used once that its token is to be proved with."""

    version: str
    nonce: bytes


class Proof(msgspec.Struct, tag="proof", array_like=True, frozen=True):
    """The door shows that it knows the token, and asks the same of the engine."""

    version: str
    nonce: bytes
    proof: bytes


class Identity(msgspec.Struct, array_like=True, frozen=True):
    """Which model an engine has. `prompts`: digest of all that a prompt's ids depend on (the tokenizer, the
    frame); `weights`: digest of the weights and of what they are computed in. Replies go on at another engine
    only where both are the same. `adapters`: of each other model that it can load, a digest of its files.
    """

    name: str = ""
    prompts: str = ""
    weights: str = ""
    adapters: dict[str, str] = {}


class EngineState(msgspec.Struct, array_like=True, frozen=True):
    """How the engine is at this moment. `draining`: it takes no more requests."""

    stats: Stats
    health: Health
    draining: bool = False


class Welcome(msgspec.Struct, tag="welcome", array_like=True, frozen=True):
    """The engine has let the door in, and shows that it knows the token as well."""

    proof: bytes
    limits: ModelLimits
    identity: Identity
    state: EngineState


class NotWelcome(msgspec.Struct, tag="refused", array_like=True, frozen=True):
    """The engine does not let the door in; `text` is a line to read."""

    text: str


Opening = Challenge | Proof | Welcome | NotWelcome


# -- from a door ---------------------------------------------------------------------------------------


class Ask(msgspec.Struct, tag="ask", array_like=True, frozen=True):
    """A request; the door calls it by a `number` of its own."""

    number: int
    request: Request


class Leave(msgspec.Struct, tag="leave", array_like=True, frozen=True):
    """Nobody reads this request any more."""

    number: int


class Beat(msgspec.Struct, tag="beat", array_like=True, frozen=True):
    """The door is there. The engine answers with its state."""


FromDoor = Ask | Leave | Beat


# -- from an engine ------------------------------------------------------------------------------------


class NewEvents(msgspec.Struct, array_like=True, frozen=True):
    """Events of one request, in order: tokens, then ends. `over`: the last ones; `failure`: it broke off."""

    number: int
    tokens: list[Token] = []
    ends: list[Finished] = []
    over: bool = False
    failure: Failure | None = None

    def parcel(self) -> Parcel:
        """As the reader gets it."""
        error = None if self.failure is None else self.failure.error()
        return Parcel([*self.tokens, *self.ends], self.over, error)


class EventBatch(msgspec.Struct, tag="batch", array_like=True, frozen=True):
    """What is new. `taken`: numbers of requests that are in the engine's queue now."""

    taken: list[int] = []
    told: list[NewEvents] = []
    state: EngineState | None = None


FromEngine = EventBatch

_ENCODER: Final = msgspec.msgpack.Encoder()
_OPENING: Final = msgspec.msgpack.Decoder(Opening)
_DOOR: Final = msgspec.msgpack.Decoder(FromDoor)
_ENGINE: Final = msgspec.msgpack.Decoder(FromEngine)


def in_frames(number: int, parcel: Parcel) -> Iterator[NewEvents]:
    """A parcel on its way; more than one where tokens follow an end."""
    runs: list[tuple[list[Token], list[Finished]]] = []
    for kind, events in groupby(parcel.events, type):
        if kind is Token or not runs:
            runs.append(([], []))
        (runs[-1][0] if kind is Token else runs[-1][1]).extend(events)  # type: ignore[arg-type]
    failure = None if parcel.error is None else Failure.of(_shown(parcel.error))
    if not runs:
        runs.append(([], []))
    for place, (tokens, ends) in enumerate(runs, 1):
        last = place == len(runs)
        yield NewEvents(number, tokens, ends, last and parcel.over, failure if last else None)


def _shown(error: BaseException) -> ConvaiError:
    return error if isinstance(error, ConvaiError) else EngineError(f"the reply broke off: {error}")


def frame(message: Opening | FromDoor | FromEngine) -> bytes:
    """A message as it goes over the socket. Raises WireError for one that is too large."""
    buffer = bytearray(HEAD.size)
    _ENCODER.encode_into(message, buffer, HEAD.size)
    size = len(buffer) - HEAD.size
    if size > MAX_FRAME:
        raise WireError(f"a message of {size:,} bytes; the largest has {MAX_FRAME:,}")
    HEAD.pack_into(buffer, 0, size)
    return bytes(buffer)


def batches(taken: list[int], told: list[NewEvents], state: EngineState | None) -> Iterator[EventBatch]:
    """As few batches as hold it all, none of them too large."""
    for start in range(0, len(told), MOST_TOLD):
        if start + MOST_TOLD >= len(told):
            told = told[start:]
            break
        yield EventBatch(taken, told[start : start + MOST_TOLD])
        taken = []
    yield EventBatch(taken, told, state)


def length(head: bytes, most: int = MAX_FRAME) -> int:
    """Bytes that follow a head. Raises WireError for more than `most`: it is not convai that speaks."""
    size = int(HEAD.unpack(head)[0])
    if not 0 < size <= most:
        raise WireError(
            f"a frame of {size:,} bytes, {most:,} at most: the other side is no convai engine or door"
        )
    return size


def opening(body: bytes) -> Opening:
    """A message of the handshake. Raises WireError."""
    return _decode(_OPENING, body)


def from_door(body: bytes) -> FromDoor:
    """A door's message. Raises WireError; SettingsError for a request that is none."""
    return _decode(_DOOR, body)


def from_engine(body: bytes) -> FromEngine:
    """An engine's message. Raises WireError."""
    return _decode(_ENGINE, body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"a frame that cannot be read ({error}); update convai on both sides") from None
