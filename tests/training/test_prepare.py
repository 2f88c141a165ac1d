"""What is held out when no validation file is given."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from convai.core.dialog import AGENT, Dialog, Turn
from convai.core.errors import DataError
from convai.core.resources import data_dir
from convai.core.settings import TrainConfig
from convai.evaluation.validation import check_valid
from convai.text.corpora import Reading, read, write
from convai.text.tokenizer import Tokenizer
from convai.training.prepare import Files, Prepared, held_out, prepare

TOKENIZER = Tokenizer.byte_level()
CONFIG = TrainConfig(row_tokens=512, batch_tokens=1024)


@pytest.mark.parametrize("both_sides", [False, True])
def test_held_out_dialogues_are_not_learnt_from(both_sides: bool) -> None:
    path = data_dir() / "sample_dialogues.jsonl"
    config = dataclasses.replace(CONFIG, both_sides=both_sides)
    [corpus], [valid] = held_out([read(path)], TOKENIZER, config)
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


def divided(folder: Path) -> Path:
    def entry(text: str) -> dict[str, object]:
        return {
            "personality": ["i bake."],
            "utterances": [{"candidates": ["no.", f"hello {text}"], "history": [f"hi {text}"]}],
        }

    file = folder / "divided.json"
    parts = {"train": [entry("one"), entry("two")], "valid": [entry("zebra")]}
    file.write_text(json.dumps(parts), encoding="utf-8")
    return file


def said(encoded: object) -> set[str]:
    return {TOKENIZER.decode(list(turn.ids)) for dialog in encoded for turn in dialog.turns}  # type: ignore[attr-defined]


def test_a_divided_file_is_trained_on_its_train_part_and_validated_on_its_valid_part(tmp_path: Path) -> None:
    prepared = prepare(Files((divided(tmp_path),)), TOKENIZER, CONFIG)
    assert said(prepared.source.corpus) == {"hi one", "hello one", "hi two", "hello two"}  # type: ignore[attr-defined]
    assert said(prepared.valid) == {"hi zebra", "hello zebra"}
    assert prepared.personas == (("i bake.",),)
    assert prepared.notes == (
        "training: divided.json: personachat, 2 dialogues, part train (the file has train 2, valid 1)",
        "validation: divided.json: personachat, 1 dialogue, part valid (the file has train 2, valid 1)",
    )
    everything = Files((divided(tmp_path),), reading=Reading(split="all"))
    assert Files.from_description(everything.describe()) == everything
    assert "hi zebra" in said(prepare(everything, TOKENIZER, CONFIG).source.corpus) | said(  # type: ignore[attr-defined]
        prepare(everything, TOKENIZER, CONFIG).valid
    )


def test_replies_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    chats = [Dialog((Turn(0, "hi"), Turn(AGENT, "hello" if n else "word " * 40))) for n in range(4)]
    write(path, chats)
    config = dataclasses.replace(CONFIG, row_tokens=64)
    prepared = prepare(Files((path,), valid=path), TOKENIZER, config)
    assert any("1 reply left out, which do not fit into 64 tokens" in note for note in prepared.notes)
    files = Files((path,), valid=path)
    assert check_valid(prepared.valid, TOKENIZER, 64, files) == [
        "validation: 1 reply left out, too long for 64 positions"
    ]
    with pytest.raises(DataError, match=r"long\.jsonl: no validation reply fits the model's 8 positions"):
        check_valid(prepared.valid, TOKENIZER, 8, files)


def test_what_is_held_out_can_be_measured(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    config = dataclasses.replace(CONFIG, row_tokens=64)

    def prepared(fit: int, seed: int) -> Prepared:
        said = ["hello"] * fit + ["word " * 40] * (6 - fit)
        write(path, [Dialog((Turn(0, f"hi {n}"), Turn(AGENT, text))) for n, text in enumerate(said)])
        return prepare(Files((path,)), TOKENIZER, dataclasses.replace(config, seed=seed))

    for seed in range(6):
        several = prepared(2, seed)
        assert [len(d.turns[1].ids) for d in several.valid] == [5]
        assert "4 replies left out, which do not fit into 64 tokens" in several.notes[-1]
        assert prepared(1, seed).valid == [], "the only one is learnt from"
        with pytest.raises(DataError, match="no agent reply fits into 64 tokens"):
            prepared(0, seed)


def test_what_is_no_target_is_read_and_not_learnt(tmp_path: Path) -> None:
    turns = (Turn(0, "hi"), Turn(AGENT, "quiet", target=False), Turn(0, "you?"), Turn(AGENT, "loud"))
    path = tmp_path / "weights.jsonl"
    write(path, [Dialog(turns)] * 2)
    config = dataclasses.replace(CONFIG, distractors=0, random_start=0.0)
    prepared = prepare(Files((path,), valid=path), TOKENIZER, config, cache=tmp_path / "cache")
    [batch] = next(prepared.source.steps())
    assert batch.n_labels == 2 * (len("loud") + 1)
    assert [turn.target for turn in prepared.valid[0].turns] == [True, False, True, True]
