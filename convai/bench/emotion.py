"""`convai bench emotion`: encoding at torchMoji's sizes against its own way, and one message's answer.

The sentences are random words, 5 to 25 of them (15 when there is one sentence), the weights Keras'
initialisation. Contenders take turns, so that a busy machine slows them all; each runs once before it is
timed, so that none pays for what another left in the processor's caches. The features' error is the root mean
square difference to float32, divided by the features' standard deviation.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from convai.bench import torchmoji_loop
from convai.core.errors import CheckpointError
from convai.emotion.checkpoint import load_emotion_model
from convai.emotion.classifier import BATCH, EmotionClassifier
from convai.emotion.config import EmotionConfig
from convai.emotion.encoder import PRECISIONS, Encoder
from convai.emotion.model import EmotionModel, Encoded
from convai.emotion.vocabulary import RESERVED, Vocabulary

SIZES: Final = (1, 32, 256)
_WORDS_ALONE: Final = 15
_ROUNDS: Final = 3
"""Fewest rounds, however slow the machine."""
Clock = Callable[[], float]
"""Seconds since some moment."""


def sentences(count: int, vocab_size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Ids `[count, longest]` of random words, and their lengths."""
    rng = random.Random(seed)
    lengths = [_WORDS_ALONE if count == 1 else rng.randint(5, 25) for _ in range(count)]
    ids = torch.zeros(count, max(lengths), dtype=torch.long)
    for i, length in enumerate(lengths):
        ids[i, :length] = torch.tensor([rng.randrange(len(RESERVED), vocab_size) for _ in range(length)])
    return ids, torch.tensor(lengths)


def in_batches(encoder: Encoder, ids: Tensor, lengths: Tensor) -> Encoded:
    """As `EmotionClassifier` encodes many texts: those of like length together, BATCH at a time."""
    order = torch.argsort(lengths, stable=True)
    features = torch.empty(len(ids), encoder.model.config.feature_size)
    attention = torch.zeros(ids.shape)
    for rows in order.split(BATCH):
        longest = int(lengths[rows].max())
        encoded = encoder(ids[rows, :longest], lengths[rows])
        features[rows], attention[rows, :longest] = encoded
    return Encoded(features, attention)


def medians(
    contenders: dict[str, Callable[[], object]], seconds: float, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each, all run in turn for about `seconds`; of two runs in a row the second counts.

    `clock`: `time.process_time` counts what the processor did, whatever else it has to do meanwhile.
    """
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(next(iter(times.values()))) < _ROUNDS:
        for name, run in contenders.items():
            run()
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(
    seconds: float = 20.0,
    seed: int = 0,
    config: EmotionConfig | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Milliseconds and ratios of every precision at every size of SIZES, and the features' errors."""
    torch.manual_seed(seed)
    model = EmotionModel(config or EmotionConfig()).eval()
    encoders = {precision: Encoder(model, precision) for precision in PRECISIONS}
    results: dict[str, Any] = {}
    for size in SIZES:
        ids, lengths = sentences(size, model.config.vocab_size, seed)
        exact = torchmoji_loop.encode(model, ids, lengths).features
        errors = {
            name: float(
                (in_batches(encoder, ids, lengths).features - exact).pow(2).mean().sqrt() / exact.std()
            )
            for name, encoder in encoders.items()
        }
        contenders: dict[str, Callable[[], object]] = {
            "loop": lambda ids=ids, lengths=lengths: torchmoji_loop.encode(model, ids, lengths),  # type: ignore[misc]
        }
        for name, encoder in encoders.items():
            contenders[name] = lambda e=encoder, ids=ids, lengths=lengths: in_batches(e, ids, lengths)  # type: ignore[misc]
        spent = medians(contenders, seconds, clock)
        loop = spent.pop("loop")
        results[str(size)] = {
            "loop_ms": 1000 * loop,
            "ms": {name: 1000 * value for name, value in spent.items()},
            "ratios": {name: loop / value for name, value in spent.items()},
            "feature_error": errors,
        }
    return results


def one_message(
    seconds: float = 3.0, folder: str | None = None, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Median milliseconds from a message to its prediction, text processing included, in int8 and float32.

    int8 is what the chat uses. With the embedded model, or that in `folder`; where there is none, with random
    weights of a small shape.
    """
    try:
        model, words = load_emotion_model(folder)
        name = folder or "the embedded model"
    except CheckpointError:
        if folder is not None:
            raise
        words = Vocabulary([*RESERVED, *(f"w{i}" for i in range(12000))])
        shape = EmotionConfig(vocab_size=len(words), embedding_size=128, hidden_size=256)
        model = EmotionModel(shape)
        name = "no embedded model: random weights, 128/256"
    message = "i really did not think that you would be so happy about it today !"
    exact, fast = EmotionClassifier(model, words), EmotionClassifier(model, words, "int8")
    spent = medians(
        {"float32": lambda: exact.predict([message]), "int8": lambda: fast.predict([message])},
        seconds,
        clock,
    )
    return {
        "ms": 1000 * spent["int8"],
        "float32_ms": 1000 * spent["float32"],
        "model": name,
        "words": len(exact.predict([message])[0].words),
    }
