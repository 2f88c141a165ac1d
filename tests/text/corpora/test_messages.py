"""Messages by whatever keys, exchanges, preferences, transcripts: the right turns, targets, wrong replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import Dialog
from convai.text.corpora import detect, read, write
from tests.text.corpora.helpers import assert_refused, talk

HI = {"role": "user", "content": "hi"}
HELLO = {"role": "assistant", "content": "hello"}


def saved(tmp_path: Path, value: Any, indent: int | None = None, name: str = "x.json") -> Path:
    file = tmp_path / name
    file.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [HI, HELLO]},
        [HI, HELLO],
        {"conversations": [HI, HELLO]},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"conversation": [{"speaker": "Bo", "text": "hi"}, {"speaker": "Ann", "text": "hello"}]},
        {"items": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"dialog": ["hi", "hello"]},
        {"utterances": ["hi", "hello"]},
        {"dialogue": [["hi", "hello"]]},
        {"conversation": [{"human": "hi", "assistant": "hello"}]},
        {"internal": [["hi", "hello"]], "visible": [["hi", "hello"]]},
        ["hi", "hello"],
        {"instruction": "hi", "input": "", "output": "hello"},
        {"prompt": "hi", "completion": "hello"},
        {"prompt": [HI], "completion": [HELLO]},
        {"question": "hi", "answer": "hello"},
        {"Context": "hi", "Response": "hello"},
        {"text": "### Human: hi ### Assistant: hello"},
        {"text": "### Instruction:\nhi\n\n### Response:\nhello"},
        {"text": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>"},
        {"text": "<s>[INST] hi [/INST] hello </s>"},
        {"text": "Bo: hi\nAnn: hello"},
    ],
)
@pytest.mark.parametrize("layout", ["one", "list", "lines", "pretty", "wrapped"])
def test_the_same_dialogue_in_many_ways(value: Any, layout: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    texts = {
        "one": json.dumps(value),
        "list": json.dumps([value, value]),
        "lines": 2 * (json.dumps(value) + "\n"),
        "pretty": json.dumps([value, value], indent=2),
        "wrapped": json.dumps({"version": 1, "data": [value, value]}, indent=1),
    }
    file.write_text(texts[layout], encoding="utf-8")
    assert read(file) == [talk("hi", "hello")] * (1 if layout == "one" else 2)


def test_a_reply_of_weight_0_is_history_and_no_target(tmp_path: Path) -> None:
    quiet = {**HELLO, "weight": 0}
    (found,) = read(saved(tmp_path, {"messages": [HI, quiet, HI, {**HELLO, "weight": 1}]}))
    assert [turn.target for turn in found.turns] == [True, False, True, True]
    assert [i for i, _ in found.replies()] == [3]
    for format in ("jsonl", "openai"):
        write(tmp_path / "out.jsonl", [found], format)
        assert read(tmp_path / "out.jsonl") == [found]
    (kept,) = _through(tmp_path, found, "personachat")
    assert [i for i, _ in kept.replies()] == [1, 3]  # it has no place for it among the history
    assert_refused(saved(tmp_path, {"messages": [HI, {**HELLO, "weight": 0.5}]}), None, "'weight' is '0.5'")


def _through(tmp_path: Path, d: Dialog, format: str) -> list[Dialog]:
    write(tmp_path / "through.json", [d], format)
    return read(tmp_path / "through.json")


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "hi", "chosen": "hello", "rejected": "go away"},
        {"conversations": [{"from": "human", "value": "hi"}],
         "chosen": {"from": "gpt", "value": "hello"}, "rejected": {"from": "gpt", "value": "go away"}},
        {"chosen": [HI, HELLO], "rejected": [HI, {**HELLO, "content": "go away"}]},
        {"prompt": "hi", "chosen": [HI, HELLO], "rejected": [HI, {**HELLO, "content": "go away"}]},
        {"prompt": [HI], "chosen": [HELLO], "rejected": [{**HELLO, "content": "go away"}]},
        {"chosen": "\n\nHuman: hi\n\nAssistant: hello", "rejected": "\n\nHuman: hi\n\nAssistant: go away"},
        {"question": "hi", "chosen": "hello", "rejected": "go away"},
        {"input": {"messages": [HI]}, "preferred_output": [HELLO],
         "non_preferred_output": [{**HELLO, "content": "go away"}]},
        {"question": "hi", "response_j": "hello", "response_k": "go away"},
        {"prompt": "hi", "chosen_response": "hello", "rejected_response": "go away"},
    ],
)  # fmt: skip
def test_the_chosen_reply_is_gold_and_the_rejected_a_wrong_one(value: Any, tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, value))
    assert [turn.text for turn in found.turns] == ["hi", "hello"]
    assert found.turns[1].distractors == ("go away",)


def test_an_instruction_with_input_history_and_system(tmp_path: Path) -> None:
    value = {
        "system": "i bake.",
        "instruction": "who are you?",
        "input": "answer briefly.",
        "output": "ann.",
        "history": [["hi", "hello"]],
    }
    assert read(saved(tmp_path, [value])) == [
        talk("hi", "hello", "who are you? answer briefly.", "ann.", persona=("i bake.",))
    ]
    (found,) = read(saved(tmp_path, {"prompt": "hi", "completion": "go away", "label": False}))
    assert not found.turns[1].target


def test_names_of_people_go_by_the_order_of_speaking(tmp_path: Path) -> None:
    said = [("Ann", "a"), ("Bo", "b"), ("Cy", "c"), ("Bo", "d")]
    value = {"dialog": [{"speaker": name, "text": text} for name, text in said]}
    assert [t.speaker for t in read(saved(tmp_path, value))[0].turns] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"prompt": "hi", "chosen": "hello"}, "cannot tell the format"),
        ({"prompt": "hi", "completion": ""}, "no answer"),
        ({"text": "just a text"}, "does not say who speaks"),
        ({"messages": [HI, {"role": "narrator", "content": "x"}]}, "'narrator' is no speaker"),
        ({"messages": [HI, {"role": "tool", "content": "x"}]}, "a dialogue with one turn"),
        ({"name": "x", "version": "1.0", "scripts": {}}, "looks like a package's description"),
        (
            {"spec": "chara_card_v2", "data": {"name": "Ann", "first_mes": "hi"}},
            "looks like a character card",
        ),
        ({"entries": {"0": {"key": ["cat"], "content": "x"}}}, "looks like a lorebook"),
        ({"cells": [], "nbformat": 4}, "looks like a notebook"),
        ({"some": 1, "keys": 2}, "JSON objects with the keys 'some', 'keys'"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(value: Any, part: str, tmp_path: Path) -> None:
    assert_refused(saved(tmp_path, value), None, part)


def test_the_parts_of_a_file_are_kept(tmp_path: Path) -> None:
    entry = {"messages": [HI, HELLO]}
    file = saved(tmp_path, {"train": [entry], "validation": [entry], "test": [entry]})
    assert detect(file) == "openai"
    assert [d.labels["split"] for d in read(file)] == ["train", "valid", "test"]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({**entry, "split": s}) + "\n" for s in ("dev", "train")), "utf-8")
    assert [d.labels["split"] for d in read(rows)] == ["valid", "train"]
