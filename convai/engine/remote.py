"""An engine elsewhere, behind one socket: the same port to a door as the engine that computes here.

Two threads for each engine, however many replies: one reads frames and fills mailboxes, or leaves that to one
that hears several engines (`hearing`); one writes what was asked for. A connection that is lost fails what
was being read (EngineLost) and is made again, for as long as it takes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from convai.core.errors import ConvaiError, SettingsError
from convai.engine.errors import EngineClosed, EngineError, EngineLost
from convai.engine.handshake import Kin, Stranger
from convai.engine.hearing import Hearing
from convai.engine.link import Dial, FrameLink
from convai.engine.mailbox import Mailbox, Parcel, Waiting, wake
from convai.engine.messages import Health, ModelLimits, Request, Stats
from convai.engine.stream import MailboxSource, Stream
from convai.engine.wire import (
    BEAT,
    SILENCE,
    Ask,
    Beat,
    EngineState,
    Identity,
    Leave,
    WireError,
    frame,
    from_engine,
)

logger: Final = logging.getLogger("convai.engine")
_AGAIN: Final = (0.05, 2.0)
"""Seconds between two attempts to connect: the first pause, which doubles, and the longest."""


@dataclass(slots=True, eq=False)
class _Asked:
    """A request on its way. `answered`: the engine has taken it, or refused it for `refusal`."""

    request: Request
    mailbox: Mailbox = field(default_factory=Mailbox)
    answered: threading.Event | None = None
    refusal: BaseException | None = None


class RemoteEngine:
    """A `convai.engine.port.Port` of an engine that listens elsewhere."""

    def __init__(
        self,
        connect: Dial,
        token: str,
        name: str,
        *,
        kin: Kin | None = None,
        wait: float = 10.0,
        silence: float = SILENCE,
        required: bool = True,
        hearing: Hearing | None = None,
    ) -> None:
        """`name`: where it is, for messages; `kin`: the model that it must have; `wait`: seconds in
        which it must be there, or else this raises EngineLost, if it is `required`; one that is not may come
        later; `hearing`: what hears it together with others.

        Raises Stranger for another version, model or token.
        """
        self.name = name
        self._connect, self._token, self._kin = connect, token, kin or Kin(Identity())
        self._silence, self._hearing = silence, hearing
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        self._outbox: queue.SimpleQueue[Ask | Leave | None] = queue.SimpleQueue()
        self._link: FrameLink | None = None
        self._why = "it has not been reached yet"
        self._closed = False
        self._ended = threading.Event()
        self._limits: ModelLimits | None = None
        self.identity = Identity()
        self._state = EngineState(Stats(), Health("lost", self._why))
        self._first(wait, required)
        self._reading = threading.Thread(target=self._read, name="convai-remote-in", daemon=True)
        self._writing = threading.Thread(target=self._write, name="convai-remote-out", daemon=True)
        self._reading.start()
        self._writing.start()

    # -- the port ----------------------------------------------------------------------------------

    @property
    def limits(self) -> ModelLimits:
        """What its model takes. Raises EngineLost while it was never reached."""
        if self._limits is None:
            raise EngineLost(f"the engine at {self.name} was not reached yet: {self._why}")
        return self._limits

    @property
    def ready(self) -> bool:
        """Whether it takes requests, as far as is known here."""
        return self._link is not None and not self._state.draining and not self._closed

    def stream(self, request: Request) -> Stream:
        """Draw replies there, event by event.

        In a thread this waits for the engine's word, and raises as `Port.stream` does, and EngineLost. In an
        event loop, which may not wait, an engine that refuses is heard of by who reads the stream.
        """
        if self._closed:
            raise EngineClosed
        limits = self.limits
        request.room(limits.positions)
        if request.width > limits.slots:
            raise SettingsError(
                f"{request.width} replies at once are asked for, the engine has {limits.slots} slots; "
                "ask for fewer candidates or beams"
            )
        asked = _Asked(request, answered=None if _in_a_loop() else threading.Event())
        number = next(self._numbers)
        self._asked[number] = asked
        if self._link is None:  # after it is known: what is lost now finds it, or we do
            self._asked.pop(number, None)
            raise self._lost()
        self._outbox.put(Ask(number, request))
        if asked.answered is not None:
            if not asked.answered.wait(2 * self._silence):
                self._outbox.put(Leave(number))
                raise EngineLost(f"the engine at {self.name} does not answer")
            if asked.refusal is not None:
                raise asked.refusal
        return Stream(MailboxSource(asked.mailbox, lambda: self._outbox.put(Leave(number))))

    def stats(self) -> Stats:
        """What it had done when it was last heard of: at the end of every reply, and every second."""
        return self._state.stats

    def health(self) -> Health:
        """How it was when it was last heard of."""
        if self._closed:
            return Health("closed", str(EngineClosed()))
        if self._link is None:
            return Health("lost", str(self._lost()))
        if self._state.draining:
            return Health("draining", f"the engine at {self.name} is about to stop")
        return self._state.health

    def close(self) -> None:
        """Hang up; the engine goes on for others."""
        if self._closed:
            return
        self._closed = True
        self._ended.set()
        if self._link is not None:
            self._link.close()
        self._outbox.put(None)
        self._reading.join()
        self._writing.join()

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # -- connecting --------------------------------------------------------------------------------

    def _lost(self) -> EngineLost:
        return EngineLost(f"the engine at {self.name} cannot be reached: {self._why}; check that it runs")

    def _first(self, wait: float, required: bool) -> None:
        until, pause = time.monotonic() + wait, _AGAIN[0]
        while True:
            try:
                self._open()
                return
            except OSError as error:
                self._why = error.strerror or str(error) or type(error).__name__
            except EngineLost as error:
                self._why = str(error)
            if not required:
                return
            if time.monotonic() >= until:
                raise self._lost()
            time.sleep(pause)
            pause = min(2 * pause, _AGAIN[1])

    def _open(self) -> None:
        """Connect, and shake hands. Raises OSError, Stranger, EngineLost."""
        link = FrameLink(self._connect(), self._silence)
        try:
            welcome = link.shake_hands(self._token, self._kin, self.name)
        except EOFError:
            link.end()
            raise EngineLost("it hung up") from None
        except WireError as error:
            link.end()
            raise Stranger(f"{self.name}: {error}") from None
        except BaseException:
            link.end()
            raise
        self._limits, self._state, self.identity = welcome.limits, welcome.state, welcome.identity
        self._link = link

    # -- the threads -------------------------------------------------------------------------------

    def _read(self) -> None:
        pause = _AGAIN[0]
        while not self._closed:
            if (link := self._link) is not None:
                pause = _AGAIN[0]
                self._why = self._hear(link)
                link.end()
                self._link = None
                if not self._closed:
                    logger.warning("the engine at %s was lost: %s", self.name, self._why)
                self._break_off()
                continue
            try:
                self._open()
            except (OSError, ConvaiError) as error:
                self._why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                self._ended.wait(pause)
                pause = min(2 * pause, _AGAIN[1])
        if (last := self._link) is not None:  # made while it was closed
            last.end()
            self._link = None
        self._break_off()

    def _hear(self, link: FrameLink) -> str:
        """Read until the connection is lost; returns why."""
        try:
            for body in link.held():  # behind the welcome
                wake(self._take(body))
            if self._hearing is not None:
                self._hearing.hear(link, self._take, self._silence)
            while True:
                wake(self._take(link.read()))
        except TimeoutError:
            return f"nothing was heard for {self._silence:g} seconds"
        except EOFError:
            return "it hung up"
        except OSError as error:
            return error.strerror or type(error).__name__
        except ConvaiError as error:
            return str(error)

    def _take(self, body: bytes) -> list[Waiting]:
        """Deliver what a frame tells; returns the coroutines that wait for it."""
        batch = from_engine(body)
        if batch.state is not None:
            self._state = batch.state
        for number in batch.taken:
            if (asked := self._asked.get(number)) is not None and asked.answered is not None:
                asked.answered.set()
        waiting: list[Waiting] = []
        for told in batch.told:
            asked = self._asked.pop(told.number, None) if told.over else self._asked.get(told.number)
            if asked is not None and (reader := _deliver(asked, told.parcel())) is not None:
                waiting.append(reader)
        return waiting

    def _break_off(self) -> None:
        """Nothing of what was asked for comes any more."""
        waiting: list[Waiting] = []
        while self._asked:
            with suppress(KeyError):
                _, asked = self._asked.popitem()
                error: EngineError = EngineClosed() if self._closed else self._lost()
                if (reader := _deliver(asked, Parcel((), over=True, error=error))) is not None:
                    waiting.append(reader)
        wake(waiting)

    def _write(self) -> None:
        beat = time.monotonic()
        while True:
            messages: list[Ask | Leave | None] = []
            with suppress(queue.Empty):
                messages.append(self._outbox.get(timeout=max(beat + BEAT - time.monotonic(), 0.0)))
                while True:
                    messages.append(self._outbox.get_nowait())
            if self._closed:
                return
            data = bytearray()
            for message in messages:
                if isinstance(message, Leave):
                    self._let_go(message.number)
                elif not isinstance(message, Ask) or message.number not in self._asked:
                    continue
                try:
                    data += frame(message)
                except WireError as error:
                    self._refuse(message.number, SettingsError(str(error)))
                except Exception as error:  # what cannot be said takes nothing else along
                    why = f"the request cannot be told to the engine ({type(error).__name__})"
                    self._refuse(message.number, EngineError(why))
            if time.monotonic() - beat >= BEAT:
                beat = time.monotonic()
                data += frame(Beat())
            if (link := self._link) is not None and data:
                try:
                    link.send(data)
                except OSError:
                    link.close()  # the thread that reads sees to it

    def _let_go(self, number: int) -> None:
        """Nothing comes any more of what was left; who still waits for it, in another coroutine, hears so."""
        asked = self._asked.pop(number, None)
        if asked is not None and (reader := _deliver(asked, Parcel((), over=True))):
            wake([reader])

    def _refuse(self, number: int, error: ConvaiError) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None and (reader := _deliver(asked, Parcel((), over=True, error=error))):
            wake([reader])


def _deliver(asked: _Asked, parcel: Parcel) -> Waiting | None:
    """Hand a parcel over; returns the coroutine that is to be woken. A refusal goes to who asks."""
    answered = asked.answered
    if answered is not None and not answered.is_set():
        if parcel.error is not None and not parcel.events:
            asked.refusal = parcel.error
        else:
            answered.set()
            return asked.mailbox.leave(parcel)
        answered.set()
        return None
    return asked.mailbox.leave(parcel)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
