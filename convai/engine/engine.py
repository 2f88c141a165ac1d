"""Many conversations on one model: requests in, streams of events out.

An engine works in one of two ways, with the same results. As it is made, it computes while somebody reads:
each reader that waits for an event does the next step for all of them. That needs no thread, so a program
that talks to one person starts, stops and is interrupted at once. `start` gives it a thread that alone
computes, for programs with many readers; coroutines can read then, too.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Final, Self

from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import owners
from convai.engine.core import Core
from convai.engine.errors import EngineClosed, EngineError, Overloaded
from convai.engine.job import Job, new_job
from convai.engine.mailbox import Parcel
from convai.engine.messages import Finished, Health, ModelLimits, Request, Stats
from convai.engine.past import Pasts
from convai.engine.stream import Stream
from convai.model.double_heads import DoubleHeadsModel
from convai.text.tokenizer import Tokenizer

_STOP: Final = object()
"""Tells the thread to end."""


class Engine:
    """Draws replies from a model, many at once. Closing the stream of a reply cancels it."""

    def __init__(
        self,
        model: DoubleHeadsModel,
        tokenizer: Tokenizer,
        config: EngineConfig | None = None,
        *,
        name: str = "",
        positions: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name`: the model's; `positions`: of the model's, those that a prompt and its reply take at most
        (None: all of them); `clock` gives seconds, for deadlines and timings.

        Raises SettingsError when the tokenizer has more tokens than the model, or the model cannot compute
        in the precision, or on the device, asked for.
        """
        if model.config.vocab_size < tokenizer.vocab_size:
            raise SettingsError(
                f"the model knows {model.config.vocab_size} tokens, its tokenizer gives "
                f"{tokenizer.vocab_size}; take both from the same folder"
            )
        self.config = config or EngineConfig()
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.positions = positions or model.config.n_positions
        self._pasts = Pasts(tokenizer)
        self._core = Core(model, tokenizer, self.config, self.positions, clock)
        self._gate = threading.Lock()  # nothing comes in once the engine is closed
        self._stepping = threading.Lock()
        # what the thread is told: jobs to cancel, None to look for new ones, _STOP
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._finalizer: weakref.finalize | None = None  # type: ignore[type-arg]
        self._closed = False

    # -- asking ------------------------------------------------------------------------------------

    def stream(self, request: Request) -> Stream:
        """Draw `request.config.candidates` replies (or one, by beam search), event by event.

        Token events come as tokens are drawn; every candidate ends with a Finished event. With beam search
        there are no Token events: what a beam begins may not be what it ends with.

        Raises at once SettingsError when the prompt leaves no position for a reply, more replies are asked
        for than there are slots or a token has a bias that there is not, Overloaded when the queue is full,
        EngineClosed. So does a request for an adapter: an engine has one model (see `engine.adapters`).
        """
        self.limits.check_adapter(request.config.adapter)
        job = new_job(
            request,
            self.positions,
            now=self._core.clock(),
            deadline=self.config.deadline,
            past=self._pasts.of(request.config, request.prompt),
        )
        with self._gate:
            if self._closed:
                raise EngineClosed
            self._core.submit(job)
        if self._thread is not None:
            self._inbox.put(None)
        return Stream(_Reading(self, job))

    def best(self, request: Request) -> Finished:
        """The finished candidate that the next-sentence head likes best (the first of equals)."""
        return _best(self.stream(request))

    def map(self, requests: Iterable[Request]) -> Iterator[Finished]:
        """`best` of each request, in their order; as many are computed side by side as there are slots."""
        ahead: deque[Stream] = deque()
        try:
            for request in requests:
                while True:
                    try:
                        ahead.append(self.stream(request))
                        break
                    except Overloaded:
                        if not ahead:  # others fill the queue: wait for a place behind them
                            raise
                        yield _best(ahead.popleft())
                if len(ahead) > 2 * self.config.slots:
                    yield _best(ahead.popleft())
            while ahead:
                yield _best(ahead.popleft())
        finally:
            for stream in ahead:
                stream.close()

    # -- looking -----------------------------------------------------------------------------------

    @property
    def limits(self) -> ModelLimits:
        """What the model takes."""
        return ModelLimits(
            positions=self.positions,
            vocabulary=self.tokenizer.vocab_size,
            slots=self.config.slots,
            name=self.name,
        )

    @property
    def precision(self) -> str:
        """What it computes in: what "auto" became."""
        return self._core.precision

    def stats(self) -> Stats:
        """What has been done, and what is going on."""
        return self._core.stats()

    def health(self) -> Health:
        """Whether the engine can be trusted; it costs nothing."""
        if self._closed:
            return Health("closed", str(EngineClosed()))
        broken = self._core.counters.not_a_number
        if broken:
            return Health(
                "poisoned",
                f"{broken} requests ended because the model's output was not a finite number; "
                "its weights are damaged or its precision is too low",
            )
        return Health("ok")

    # -- living ------------------------------------------------------------------------------------

    def start(self, *, reserve: bool = False) -> Self:
        """Compute in a thread from now on. Returns the engine.

        The cache's memory is taken page by page as conversations come, up to its bound; with `reserve` all of
        it is taken now.

        Raises EngineError when it has been started, or another one on the same model; EngineClosed.
        """
        if self._closed:
            raise EngineClosed
        if self._thread is not None:
            raise EngineError("the engine has been started already")
        owners.claim(self.model, self._inbox)
        with self._stepping:  # a reader's step comes to its end first
            if reserve:
                self._core.reserve()
            self._thread = threading.Thread(
                target=_serve, args=(self._core, self._inbox), name="convai-engine", daemon=True
            )
            # at the interpreter's end as well: a thread must not compute while torch is taken down
            self._finalizer = weakref.finalize(self, _stop, self._thread, self._inbox)
            self._thread.start()
        self._inbox.put(None)
        return self

    def close(self) -> None:
        """Break off all requests (their readers get EngineClosed) and take no more. May be called twice."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        if self._finalizer is not None:
            self._finalizer()
        with self._stepping:
            self._core.fail_all(EngineClosed())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _started(self) -> bool:
        return self._thread is not None

    # -- for streams -------------------------------------------------------------------------------

    def next_parcel(self, job: Job) -> Parcel:
        """The next events of `job`; computes them where there is no thread for that."""
        while self._thread is None:
            parcel = job.mailbox.take()
            if parcel is not None:
                return parcel
            with self._stepping:
                if not (job.mailbox or self._started):
                    self._cancel_waiting()
                    self._core.step()
        return job.mailbox.wait()

    def arriving_parcel(self, job: Job) -> Awaitable[Parcel]:
        """The next events of `job`. Raises EngineError where there is no thread that computes."""
        if self._thread is None:
            raise EngineError("the engine has no thread to wait for; start() it to read with async")
        return job.mailbox.arrive()

    def cancel(self, job: Job) -> None:
        """Nobody reads `job` any more. May be called at any time, by a garbage collector too."""
        self._inbox.put(job)
        if self._thread is None and self._stepping.acquire(blocking=False):
            try:
                self._cancel_waiting()
            finally:
                self._stepping.release()

    def _cancel_waiting(self) -> None:
        while not self._inbox.empty():
            job = self._inbox.get()
            if isinstance(job, Job):
                self._core.cancel(job)


class _Reading:
    """The events of one job, computed by its engine, or by that engine's readers."""

    __slots__ = ("_engine", "_job")

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine, self._job = engine, job

    def next_parcel(self) -> Parcel:
        return self._engine.next_parcel(self._job)

    def arriving_parcel(self) -> Awaitable[Parcel]:
        return self._engine.arriving_parcel(self._job)

    def cancel(self) -> None:
        self._engine.cancel(self._job)


def _best(stream: Stream) -> Finished:
    with closing(stream):
        finished = [event for event in stream if isinstance(event, Finished)]
    return max(finished, key=lambda event: event.score)


def _serve(core: Core, inbox: queue.SimpleQueue[object]) -> None:
    """The thread: a step for as long as there is something to compute. It does not keep its engine alive."""
    while True:
        while core.idle or not inbox.empty():
            message = inbox.get()
            if message is _STOP:
                return
            if isinstance(message, Job):
                core.cancel(message)
        core.step()


def _stop(thread: threading.Thread, inbox: queue.SimpleQueue[object]) -> None:
    inbox.put(_STOP)
    if thread is not threading.current_thread():
        thread.join()
    owners.release(inbox)
