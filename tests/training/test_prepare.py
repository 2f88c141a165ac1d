"""What is held out when no validation file is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from convai.core.resources import data_dir
from convai.core.settings import TrainConfig
from convai.text.corpora import read, write
from convai.text.tokenizer import Tokenizer
from convai.training.prepare import Files, held_out, prepare

TOKENIZER = Tokenizer.byte_level()
CONFIG = TrainConfig(row_tokens=512, batch_tokens=1024)


@pytest.mark.parametrize("both_sides", [False, True])
def test_held_out_dialogues_are_not_learnt_from(both_sides: bool) -> None:
    path = data_dir() / "sample_dialogues.jsonl"
    config = dataclasses.replace(CONFIG, both_sides=both_sides)
    corpus, [valid] = held_out(Files((path,)), TOKENIZER, config)
    seen = {tuple(turn.ids) for dialog in corpus for turn in dialog.turns}
    assert not any(tuple(turn.ids) in seen for turn in valid.turns if len(turn.ids) > 20)
    assert all(len(turn.distractors) == 19 for turn in valid.turns[1:] if turn.speaker == 1)


@pytest.mark.parametrize("both_sides", [False, True])
def test_a_single_dialogue_is_learnt_from_and_not_held_out(tmp_path: Path, both_sides: bool) -> None:
    path = tmp_path / "one.jsonl"
    write(path, read(data_dir() / "sample_dialogues.jsonl")[:1])
    prepared = prepare(Files((path,)), TOKENIZER, dataclasses.replace(CONFIG, both_sides=both_sides))
    assert prepared.valid == []
    [batch] = next(prepared.source.steps())
    assert batch.n_labels
