"""What is read beside a conversation: the mood of each message, and who is meant by which words.

Both come from callables, each in a thread of its own, so that they never keep a reply waiting; what fails, or
comes too fast to keep up with, is left out, counted and, the first time, logged. A mood is kept with its
message; links between words belong to a branch as it is shown, and are read anew when that changes.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, Protocol

from convai.core.dialog import Turn
from convai.coref.chat import Linked
from convai.server.metrics import Metrics
from convai.server.protocol.values import Message

MOST_WAITING: Final = 64
"""Messages that wait to be read, in the whole server; others are left out."""
LOOK_BACK: Final = 50
"""Messages from the end of a branch that are read together, and of an opened one that get a mood."""
_EMOTION_BYTES: Final = 6_000
_COREF_BYTES: Final = 9_000
"""Together less than the protocol has for the marks of a message."""
_EMOJI: Final = 5
_WORD: Final = 40
_logger: Final = logging.getLogger("convai.server")


class Mood(Protocol):
    """What is read in one text; `convai.emotion.classifier.Prediction` is one."""

    @property
    def words(self) -> Sequence[str]:
        """The words as they were read."""

    @property
    def attention(self) -> Sequence[float]:
        """The weight of each word."""

    @property
    def emoji(self) -> Sequence[tuple[str, float]]:
        """Emoji and probability, best first."""

    @property
    def emotions(self) -> Mapping[str, float]:
        """Label → probability."""


ReadMood = Callable[[str], Mood]
"""The mood of a text. May take its time, and may raise."""
ReadCoref = Callable[[Sequence[Turn]], Sequence[Linked]]
"""The links in a branch, oldest turn first. May take its time, and may raise."""


class MarkedRoom(Protocol):
    """A conversation whose messages are marked; `convai.server.room.Room` is one."""

    deleted: bool

    async def turns(self, most: int) -> tuple[list[Turn], list[str]]:
        """The last `most` messages that are whole, and their ids."""

    async def mark(self, message: str, kind: Literal["emotion", "coref"], data: dict[str, Any]) -> None:
        """Tell what was found in a message."""


class Marker:
    """Reads along in the rooms of a server. Everything here runs in the event loop and raises nothing."""

    def __init__(
        self, metrics: Metrics, read_mood: ReadMood | None = None, read_coref: ReadCoref | None = None
    ) -> None:
        self._metrics, self._read_mood, self._read_coref = metrics, read_mood, read_coref
        self._mood_thread = ThreadPoolExecutor(1, "convai-mood")
        self._coref_thread = ThreadPoolExecutor(1, "convai-coref")
        self._waiting = 0
        self._reading: set[str] = set()
        self._looking: dict[MarkedRoom, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()

    def seen(self, room: MarkedRoom, messages: Iterable[Message]) -> None:
        """These messages are shown now: have the mood of those read that have none yet."""
        if self._read_mood is None:
            return
        for message in list(messages)[-LOOK_BACK:]:
            marked = message.marks is not None and "emotion" in message.marks
            if marked or message.status == "streaming" or message.id in self._reading:
                continue
            if self._waiting >= MOST_WAITING:
                self._metrics.marks.labels("emotion", "left_out").inc()
                continue
            self._waiting += 1
            self._reading.add(message.id)
            self._start(self._mood(room, message.id, message.text))

    def changed(self, room: MarkedRoom) -> None:
        """The branch that a room shows is another one now: have its links read."""
        if self._read_coref is None:
            return
        if room in self._looking:
            self._looking[room] = True
        elif len(self._looking) >= MOST_WAITING:
            self._metrics.marks.labels("coref", "left_out").inc()
        else:
            self._looking[room] = False
            self._start(self._look(room))

    def close(self) -> None:
        """Read no more."""
        for task in self._tasks:
            task.cancel()
        self._mood_thread.shutdown(wait=False, cancel_futures=True)
        self._coref_thread.shutdown(wait=False, cancel_futures=True)

    # -- inside ------------------------------------------------------------------------------------

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="convai-marks")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _mood(self, room: MarkedRoom, message: str, text: str) -> None:
        assert self._read_mood is not None
        loop = asyncio.get_running_loop()
        try:
            mood = await loop.run_in_executor(self._mood_thread, self._read_mood, text)
            data = emotion_data(mood)
            if data:
                await room.mark(message, "emotion", data)
            self._metrics.marks.labels("emotion", "done").inc()
        except Exception as error:
            self._failed("emotion", error)
        finally:
            self._waiting -= 1
            self._reading.discard(message)

    async def _look(self, room: MarkedRoom) -> None:
        assert self._read_coref is not None
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._looking[room] = False
                turns, ids = await room.turns(LOOK_BACK)
                if not turns or room.deleted:
                    return
                links = await loop.run_in_executor(self._coref_thread, self._read_coref, turns)
                if self._looking[room]:
                    continue  # it has changed meanwhile
                await room.mark(ids[-1], "coref", coref_data(links, turns, ids))
                self._metrics.marks.labels("coref", "done").inc()
                if not self._looking[room]:
                    return
        except Exception as error:
            self._failed("coref", error)
        finally:
            del self._looking[room]

    def _failed(self, kind: str, error: Exception) -> None:
        self._metrics.marks.labels(kind, "failed").inc()
        if kind not in self._warned:
            self._warned.add(kind)
            # its kind alone: the message may hold what somebody wrote
            _logger.warning(
                "%s marks cannot be read (%s); the chat goes on without, and this is said once",
                kind,
                type(error).__name__,
            )


def emotion_data(mood: Mood) -> dict[str, Any]:
    """A mood as it goes over the wire, within its bounds; {} where nothing was found."""
    if not mood.emoji and not mood.emotions:
        return {}
    data: dict[str, Any] = {
        "emoji": [[emoji[:_WORD], round(float(p), 4)] for emoji, p in mood.emoji[:_EMOJI]],
        "emotions": {str(name)[:_WORD]: round(float(p), 4) for name, p in list(mood.emotions.items())[:64]},
        "words": [],
        "attention": [],
    }
    room = _EMOTION_BYTES - _size(data)
    for word, weight in zip(mood.words, mood.attention, strict=False):
        shown, number = word[:_WORD], round(float(weight), 4)
        room -= _size(shown) + _size(number) + 4
        if room < 0:
            break
        data["words"].append(shown)
        data["attention"].append(number)
    return data


def coref_data(links: Sequence[Linked], turns: Sequence[Turn], ids: Sequence[str]) -> dict[str, Any]:
    """Links as they go over the wire, within their bounds; a mention outside of its turn's text is left out.

    Only what is said twice links anything.
    """
    clusters: list[dict[str, Any]] = []
    room = _COREF_BYTES - _size({"clusters": []})
    for link in links:
        spans: dict[str, list[list[int]]] = {}
        count = 0
        for turn, start, end in link.mentions:
            if 0 <= turn < len(ids) and 0 <= start < end <= len(turns[turn].text):
                spans.setdefault(ids[turn], []).append([int(start), int(end)])
                count += 1
        cluster = {"main": link.main[:_WORD], "spans": spans}
        if count < 2:
            continue
        room -= _size(cluster) + 2
        if room < 0:
            break
        clusters.append(cluster)
    return {"clusters": clusters}


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
