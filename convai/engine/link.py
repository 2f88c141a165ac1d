"""A door's connection to an engine: made, shaken hands over, whole frames in and bytes out."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from convai.engine.handshake import Kin, Stranger, check_version, nonce, prove
from convai.engine.wire import (
    HEAD,
    MAX_FRAME,
    MAX_HANDSHAKE,
    SILENCE,
    VERSION,
    Challenge,
    NotWelcome,
    Proof,
    Welcome,
    WireError,
    frame,
    length,
    opening,
)

Dial = Callable[[], socket.socket]
"""Makes a connection. Raises OSError."""
_BUFFER: Final = 2**18


def dial(host: str, port: int, silence: float = SILENCE) -> Dial:
    """Connections to an address, which answers within `silence` seconds."""

    def connect() -> socket.socket:
        made = socket.create_connection((host, port), timeout=silence)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    return connect


class FrameLink:
    """A connection: whole frames in, bytes out."""

    def __init__(self, connected: socket.socket, silence: float) -> None:
        self._socket = connected
        connected.settimeout(silence)
        self._came = bytearray()

    def fileno(self) -> int:
        """Its socket's number, for who waits for several of them."""
        return self._socket.fileno()

    def read(self, most: int = MAX_FRAME) -> bytes:
        """The body of the next frame. Raises OSError (TimeoutError), EOFError, WireError."""
        while (body := self._whole(most)) is None:
            self._receive()
        return body

    def arrived(self) -> Iterator[bytes]:
        """The bodies of the frames that are whole, once there is something to receive. Raises as `read`."""
        self._receive()
        yield from self.held()

    def held(self) -> Iterator[bytes]:
        """The bodies of the frames that have been received already. Raises WireError."""
        while (body := self._whole(MAX_FRAME)) is not None:
            yield body

    def _receive(self) -> None:
        data = self._socket.recv(_BUFFER)
        if not data:
            raise EOFError
        self._came += data

    def _whole(self, most: int) -> bytes | None:
        """The next frame's body, if all of it is here."""
        if len(self._came) < HEAD.size:
            return None
        end = HEAD.size + length(bytes(self._came[: HEAD.size]), most)
        if len(self._came) < end:
            return None
        body = bytes(self._came[HEAD.size : end])
        del self._came[:end]
        return body

    def shake_hands(self, token: str, kin: Kin, name: str) -> Welcome:
        """Be let in by the engine called `name`, which must have the model of `kin`.

        Raises Stranger for another version, model or token, and as `read` and `send` do.
        """
        challenge = opening(self.read(MAX_HANDSHAKE))
        if not isinstance(challenge, Challenge):
            raise WireError("the other side is no convai engine")
        check_version(challenge.version, f"the engine at {name}")
        own = nonce()
        self.send(frame(Proof(VERSION, own, prove(token, "door", own, challenge.nonce))))
        answer = opening(self.read())
        if isinstance(answer, NotWelcome):
            raise Stranger(f"{name}: {answer.text}")
        if not isinstance(answer, Welcome) or answer.proof != prove(token, "engine", challenge.nonce, own):
            raise Stranger(f"{name}: the engine does not know the token; give both the same --token-file")
        try:
            kin.admit(answer.identity)
        except Stranger as error:
            raise Stranger(f"{name}: {error}") from None
        return answer

    def send(self, data: bytes | bytearray) -> None:
        """Send all of it. Raises OSError."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Hang up; who reads hears of it. May be called from any thread, and twice."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Hang up, and give the socket back. Belongs to the thread that reads."""
        self.close()
        self._socket.close()
