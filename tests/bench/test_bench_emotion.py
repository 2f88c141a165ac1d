"""The emotion benchmark: its baseline computes the same features; its table and its JSON line."""

from __future__ import annotations

import json
import time

import pytest
import torch

from convai.__main__ import main
from convai.bench import emotion, torchmoji_loop
from convai.emotion.config import EmotionConfig
from convai.emotion.encoder import Encoder
from tests.emotion.models import tiny_model


def test_the_baseline_is_the_same_network() -> None:
    model = tiny_model()
    ids, lengths = emotion.sentences(9, model.config.vocab_size)
    with torch.no_grad():
        ours = model(ids, lengths)
    theirs = torchmoji_loop.encode(model, ids, lengths)
    torch.testing.assert_close(theirs.features, ours.features)
    torch.testing.assert_close(theirs.attention, ours.attention)


def test_many_texts_in_batches_are_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion, "BATCH", 4)
    model = tiny_model()
    ids, lengths = emotion.sentences(11, model.config.vocab_size)
    together, parts = Encoder(model)(ids, lengths), emotion.in_batches(Encoder(model), ids, lengths)
    torch.testing.assert_close(parts.features, together.features)
    torch.testing.assert_close(parts.attention, together.attention)


def test_table_and_json_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    small = EmotionConfig(vocab_size=60, embedding_size=8, hidden_size=8)
    monkeypatch.setattr(emotion, "EmotionConfig", lambda **shape: small.replace(**shape))
    assert main(["bench", "emotion", "--seconds", "0"]) == 0
    *table, line = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert {"1/vs_loop", "32/vs_loop", "256/vs_loop"} <= set(found["ratios"])
    assert found["raw"]["256"]["feature_error"]["float32"] < 1e-4
    assert found["raw"]["one_message"]["ms"] > 0
    assert len(table) == 8
    assert main(["bench", "emotion", "--seconds", "0", "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_processor_time_is_counted_on_one_thread(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(torch, "set_num_threads", lambda count: asked.append((count,)))
    monkeypatch.setattr(emotion, "measure", lambda *args, **options: asked.append((options["clock"],)) or {})
    monkeypatch.setattr(emotion, "one_message", lambda **options: asked.append((options["clock"],)) or {})
    assert main(["bench", "emotion", "--processor-time", "--json"]) == 0
    assert asked == [(1,), (time.process_time,), (time.process_time,)]
    capsys.readouterr()
    del asked[:]
    assert main(["bench", "emotion", "--json"]) == 0
    assert asked == [(time.perf_counter,), (time.perf_counter,)]


def test_medians_go_by_the_clock_that_is_given() -> None:
    moments = iter(range(100))
    found = emotion.medians({"a": lambda: None, "b": lambda: None}, 0, lambda: float(next(moments)))
    assert found == {"a": 1.0, "b": 1.0}
