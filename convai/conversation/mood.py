"""What a chat feels like: messages and replies are read beside the conversation, never in its way.

A `MoodReader` classifies texts in a thread of its own. What goes wrong there is logged once and told to
whoever asks; the chat goes on. A `MoodPreference` makes the choice among several candidates lean towards a
mood. Both are handed to a `Session` as plain callables, which knows nothing of emotion models.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from convai.conversation.background import waited_for
from convai.core.dialog import Turn
from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings_values import nearest

if TYPE_CHECKING:
    from convai.emotion.classifier import EmotionClassifier, Prediction

_KEPT: Final = 256
"""Texts whose reading is remembered."""
_PATIENCE: Final = 5.0
"""Seconds that somebody who asks is made to wait at most; loading the model is in them."""
_LEAST: Final = 1e-6
_logger: Final = logging.getLogger(__name__)


class MoodReader:
    """Reads what it is given in a thread of its own; `load` gives the classifier, at the first text."""

    def __init__(self, load: Callable[[], EmotionClassifier]) -> None:
        self._load = load
        self._classifier: EmotionClassifier | None = None
        self._read: OrderedDict[str, Future[Prediction]] = OrderedDict()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="mood")
        self._warned = False

    def __call__(self, turn: Turn) -> None:
        """Have a turn read; returns at once. What `Session(on_turn=...)` calls."""
        self._start(turn.text)

    def of(self, text: str) -> Prediction:
        """The reading of `text`, waited for at most some seconds; its emoji are `faces.with_emoji`'.

        Raises ConvaiError, with the reason, where there is none: no model, a failure, too slow.
        """
        late, failed = "the mood is still being read; ask again", "the mood cannot be read"
        return waited_for(self._start(text), _PATIENCE, late, failed)

    def labels(self) -> tuple[str, ...]:
        """The names of the emotions that the model knows. Raises ConvaiError as `of` does."""
        return tuple(self.of("").emotions)

    def close(self) -> None:
        """Read no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _start(self, text: str) -> Future[Prediction]:
        with self._lock:
            found = self._read.get(text)
            if found is None:
                found = self._read[text] = self._worker.submit(self._predict, text)
                found.add_done_callback(self._log_failure)
                if len(self._read) > _KEPT:
                    self._read.popitem(last=False)
            self._read.move_to_end(text)
            return found

    def _predict(self, text: str) -> Prediction:
        from convai.emotion.emoji import with_emoji

        if self._classifier is None:
            self._classifier = self._load()
        [prediction] = self._classifier.predict([text])
        head = self._classifier.config.head("emotions")
        thresholds = dict(zip(head.labels, head.thresholds, strict=False)) if head else {}
        return with_emoji(prediction, thresholds)

    def _log_failure(self, done: Future[Prediction]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._warned:
            self._warned = True
            # no model is nothing to warn of: /mood says so
            level = logging.INFO if isinstance(error, ConvaiError) else logging.WARNING
            _logger.log(level, "the mood of the chat is not read: %s", error)


class MoodPreference:
    """A bonus for replies of a mood: `weight` times the logarithm of its probability."""

    def __init__(self, reader: MoodReader, emotion: str, weight: float = 1.0) -> None:
        """`emotion`: a label of the model. Raises SettingsError for an unknown one, ConvaiError as `of`."""
        known = reader.labels()
        if emotion not in known:
            close = nearest(emotion, known)
            advice = f"did you mean {close}?" if close else f"there are {', '.join(known) or 'none'}"
            raise SettingsError(f"there is no mood {emotion[:40]!r}; {advice}")
        self.emotion = emotion
        self.weight = weight
        self._reader = reader

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """The bonus of each candidate, to be added to the score of the next-sentence head."""
        chances = [self._reader.of(text).emotions[self.emotion] for text in texts]
        return [self.weight * math.log(max(_LEAST, p)) for p in chances]
