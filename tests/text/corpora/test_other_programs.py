"""What other programs write around dialogues, and beside them: exports, tables, labels, reasoning."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora import check, read
from convai.text.corpora.placeholders import cleaned
from tests.text.corpora.helpers import assert_refused, talk

HI = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
WHO = [{"from": "human", "value": "who?"}, {"from": "gpt", "value": "a baker."}]


def loaded(tmp_path: Path, *values: Any, name: str = "a.json") -> list[Dialog]:
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, values)), encoding="utf-8")
    return read(path)


def node(id: str, parent: str | None, children: list[str], role: str = "", *parts: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": list(parts)}
    message = {"author": {"role": role}, "content": content} if role else None
    return {"id": id, "parent": parent, "children": children, "message": message}


TREE = {
    "a": node("a", None, ["s"]),
    "s": node("s", "a", ["b"], "system", ""),
    "b": node("b", "s", ["x", "c"], "user", "hi"),
    "x": node("x", "b", [], "assistant", "an older reply"),
    "c": node("c", "b", ["t"], "assistant", "hello"),
    "t": node("t", "c", ["d"], "tool", "searching"),
    "d": node("d", "t", ["e"], "user", {"asset": "a picture"}, "and now?"),
    "e": node("e", "d", [], "assistant", "good night"),
}


def test_chatgpts_export_is_the_branch_that_was_shown(tmp_path: Path) -> None:
    whole = talk("hi", "hello", "and now?", "good night", id="t")
    shown = talk("hi", "an older reply", id="t")
    assert loaded(tmp_path, [{"title": "t", "mapping": TREE}]) == [whole]
    assert loaded(tmp_path, [{"title": "t", "mapping": TREE, "current_node": "e"}]) == [whole]
    assert loaded(tmp_path, {"title": "t", "mapping": TREE, "current_node": "x"}) == [shown]
    pictured = json.loads(json.dumps(TREE))
    pictured["d"]["message"]["content"]["content_type"] = "multimodal_text"
    assert loaded(tmp_path, {"title": "t", "mapping": pictured}) == [whole]
    circle = {**TREE, "a": node("a", "e", ["s"])}
    with pytest.raises(DataError):
        loaded(tmp_path, [{"title": "t", "mapping": {"a": node("a", "a", ["a"])}}])
    with pytest.raises(DataError, match="entry 1: a dialogue with no turns"):
        loaded(tmp_path, [{"title": "t", "mapping": circle, "current_node": "zz"}, {"messages": HI}])


def test_open_webuis_export_is_what_a_chat_shows(tmp_path: Path) -> None:
    history = {"currentId": "b", "messages": {"a": {"id": "a", "role": "user", "content": "hi"}}}
    chat = {"title": "x", "models": ["m"], "messages": HI, "history": history}
    [plain] = loaded(tmp_path, [{"id": "1", "title": "greeting", "chat": chat}])
    assert plain == talk("hi", "hello", id="greeting")
    [told] = loaded(tmp_path, [{"id": "1", "title": "", "chat": {**chat, "params": {"system": "i bake."}}}])
    assert told.persona.sentences == ("i bake.",)


def test_rows_and_columns_of_tables(tmp_path: Path) -> None:
    rows = {"features": [], "rows": [{"row_idx": 0, "row": {"messages": HI}, "truncated_cells": []}]}
    assert loaded(tmp_path, rows) == [talk("hi", "hello")]
    columns = {"conversations": {"0": WHO, "1": WHO}, "id": {"0": "p", "1": "q"}}
    assert [(d.id, d.turns) for d in loaded(tmp_path, columns)] == [
        (name, talk("who?", "a baker.").turns) for name in ("p", "q")
    ]


def test_an_author_may_be_an_object(tmp_path: Path) -> None:
    said = [
        {"id": "1", "author": {"id": "7", "name": "ann", "nickname": "a"}, "content": "hi"},
        {"id": "2", "author": {"name": "bob"}, "content": "hello"},
    ]
    assert loaded(tmp_path, {"guild": {}, "channel": {"name": "x"}, "messages": said}) == [
        talk("hi", "hello")
    ]


def test_a_chat_whose_header_names_nobody(tmp_path: Path) -> None:
    header = {"user_name": "unused", "character_name": "unused", "chat_metadata": {}}
    lines = [("Bob", True, "hi"), ("Ann", False, "hello"), ("Carl", False, "me too"), ("Ann", False, "oh")]
    messages = [{"name": name, "is_user": user, "mes": text} for name, user, text in lines]
    [dialog] = loaded(tmp_path, header, *messages, name="a.jsonl")
    assert [turn.speaker for turn in dialog.turns] == [0, 1, 0, 1]
    assert dialog.personas[1].name == "Ann"
    [other] = loaded(tmp_path, {**header, "character_name": "Carl"}, *messages, name="a.jsonl")
    assert [turn.speaker for turn in other.turns] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("entry", "targets"),
    [
        ({"messages": [*HI, HI[0], {**HI[1], "weight": 0}]}, [True, False]),
        ({"messages": [HI[0], {**HI[1], "training": False}, *HI]}, [False, True]),
        (
            {"conversations": [WHO[0], {**WHO[1], "loss": False}, WHO[0], {**WHO[1], "loss": True}]},
            [False, True],
        ),
        ({"conversations": [{**WHO[0], "loss": None}, WHO[1]]}, [True]),
        ({"messages": HI, "label": False}, [False]),
        ({"messages": HI, "label": True}, [True]),
        ({"prompt": "hi", "completion": "go away", "label": False}, [False]),
    ],
)
def test_what_is_marked_as_no_target_is_none(tmp_path: Path, entry: Any, targets: list[bool]) -> None:
    [dialog] = loaded(tmp_path, entry, name="a.jsonl")
    assert [turn.target for turn in dialog.turns if turn.speaker == 1] == targets


def test_reasoning_is_warned_of_and_taken_out(tmp_path: Path) -> None:
    reply = {"role": "assistant", "content": "<think>they greet\nme</think>\n\nhello"}
    [dialog] = loaded(tmp_path, {"messages": [HI[0], reply]}, name="a.jsonl")
    assert any("reasoning that nobody says" in line for line in check(tmp_path / "a.jsonl").warnings)
    assert cleaned(dialog) == talk("hi", "hello")
    [broken] = loaded(tmp_path, {"messages": [HI[0], {**reply, "content": "<think>cut"}]}, name="a.jsonl")
    assert cleaned(broken) is None


SNAP = {"Media Type": "TEXT", "Conversation Title": None}


def snap(sender: str, words: str, minute: int, *, own: bool) -> dict[str, Any]:
    created = f"2026-01-01 10:{minute:02}:00 UTC"
    return {**SNAP, "From": sender, "Content": words, "IsSender": own, "Created": created}


def test_snapchats_chats_are_read_oldest_first(tmp_path: Path) -> None:
    history = {
        "bo": [
            {**snap("ann", "", 3, own=True), "Media Type": "MEDIA"},
            snap("ann", "hello!", 1, own=True),
            snap("bo", "good morning!", 0, own=False),
        ],
        "carl": [snap("carl", "yo", 0, own=False), snap("ann", "hi carl", 1, own=True)],
    }
    assert loaded(tmp_path, history) == [
        talk("good morning!", "hello!"),
        talk("yo", "hi carl"),
    ]
    kept = {"Media Type": "TEXT"}
    older = {
        "Received Saved Chat History": [
            {**kept, "From": "bo", "Created": "2021-01-01 10:02:00 UTC", "Text": "how are you?"},
            {**kept, "From": "bo", "Created": "2021-01-01 10:00:00 UTC", "Text": "good morning!"},
        ],
        "Sent Saved Chat History": [
            {**kept, "To": "bo", "Created": "2021-01-01 10:01:00 UTC", "Text": "hello!"},
            {**kept, "To": "bo", "Created": "2021-01-01 10:03:00 UTC", "Text": "fine."},
        ],
    }
    assert loaded(tmp_path, older) == [talk("good morning!", "hello!", "how are you?", "fine.")]


def test_the_database_that_perchance_packs(tmp_path: Path) -> None:
    rows = {
        "characters": [{"id": 1, "name": "Ann", "roleInstruction": "i run a bakery."}],
        "threads": [{"id": 7, "name": "rolls", "characterId": 1}],
        "messages": [
            {"id": 2, "threadId": 7, "order": 1, "characterId": 1, "message": "hello!"},
            {"id": 1, "threadId": 7, "order": 0, "characterId": -1, "message": "good morning!"},
            {"id": 3, "threadId": 7, "order": 2, "characterId": -2, "message": "A storm begins."},
            {"id": 4, "threadId": 9, "order": 0, "characterId": -1, "message": "hi"},
            {"id": 5, "threadId": 9, "order": 1, "characterId": 1, "message": "who is there?"},
        ],
    }
    tables = [{"tableName": name, "rows": held} for name, held in rows.items()]
    file = tmp_path / "export.gz"
    file.write_bytes(gzip.compress(json.dumps({"formatName": "dexie", "data": {"data": tables}}).encode()))
    assert read(file) == [
        talk("good morning!", "hello!", persona=["i run a bakery."], id="rolls"),
        talk("hi", "who is there?"),
    ]


def segments(*pairs: tuple[str, bool]) -> dict[str, Any]:
    return {"segments": [{"text": text, "label": label} for text, label in pairs]}


def test_axolotls_segments(tmp_path: Path) -> None:
    """Texts without a template, of which what has a label is learnt."""
    plain = segments(
        ("<s>hey\n", False), ("hi there</s>\n", True), ("goodbye ", False), ("farewell</s>", True)
    )
    inst = segments(("<s>[INST] who? [/INST]", False), ("a baker.</s>", True))
    marked = segments(
        ("<|im_start|>system\ni bake.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n", False),
        ("<|im_start|>assistant\nyo<|im_end|>\n<|im_start|>user\nwho?<|im_end|>\n", False),
        ("<|im_start|>assistant\n", False),
        ("a baker.<|im_end|>\n", True),
    )
    found = loaded(tmp_path, plain, inst, marked, name="own.jsonl")
    assert found[:2] == [talk("hey", "hi there", "goodbye", "farewell"), talk("who?", "a baker.")]
    assert [(turn.text, turn.target) for turn in found[2].turns] == [
        ("hi", True),
        ("yo", False),
        ("who?", True),
        ("a baker.", True),
    ]
    assert found[2].persona.sentences == ("i bake.",)


def test_numbers_of_a_tokenizer_are_no_dialogues(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps({"input_ids": [1, 2], "labels": [-100, 2]}))
    assert_refused(file, None, "looks like text as a tokenizer's numbers")


def targets(dialog: Dialog) -> list[tuple[str, bool]]:
    return [(turn.text, turn.target) for turn in dialog.turns if turn.speaker == 1]


def test_what_is_no_target_by_other_names(tmp_path: Path) -> None:
    marks: list[dict[str, Any]] = [
        {"trainable": False},
        {"loss_mask": 0},
        {"loss_weight": 0.0},
        {"masked": True},
        {"trainable": True, "loss_mask": 1, "loss_weight": 1.0, "masked": False},
    ]
    messages = [
        message for i, mark in enumerate(marks) for message in (HI[0], {**HI[1], "content": f"{i}", **mark})
    ]
    [found] = loaded(tmp_path, {"messages": messages})
    assert targets(found) == [("0", False), ("1", False), ("2", False), ("3", False), ("4", True)]


def test_a_mask_beside_the_turns(tmp_path: Path) -> None:
    """LLaMA-Factory's: a number for every turn, a system message before them counted or not."""
    turns = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "bad"}]
    turns += [{"from": "human", "value": "q"}, {"from": "gpt", "value": "good"}]
    system = {"from": "system", "value": "i bake."}
    entries = [
        {"conversations": turns, "loss_mask": [0, 0, 0, 1]},
        {"conversations": [system, *turns], "loss_mask": [1, 0, 1, 1]},
        {"conversations": [system, *turns], "loss_mask": [0, 1, 0, 1, True]},
    ]
    assert [targets(found) for found in loaded(tmp_path, *entries)] == [[("bad", False), ("good", True)]] * 3
    with pytest.raises(DataError, match=r"turn 1: 'loss_mask' is '3 for 4 turns'; use 1, or 0"):
        loaded(tmp_path, {"conversations": turns, "loss_mask": [0, 0, 1]})


def test_messages_as_llama_factorys_second_version_has_them(tmp_path: Path) -> None:
    def said(role: str, *parts: tuple[str, str]) -> dict[str, Any]:
        return {"role": role, "content": [{"type": type, "value": text} for type, text in parts]}

    asked = said("user", ("text", "hi"))
    entry = {"messages": [said("system", ("text", "i bake.")), asked]}
    entry["messages"].append(said("assistant", ("reasoning", "they greet me"), ("text", "hello!")))
    assert loaded(tmp_path, entry) == [talk("hi", "hello!", persona=["i bake."])]
    pair = {"chosen_messages": [asked, said("assistant", ("text", "hello!"))]}
    pair["rejected_messages"] = [asked, said("assistant", ("text", "go away"))]
    [found] = loaded(tmp_path, pair)
    assert [(turn.text, turn.distractors) for turn in found.turns] == [("hi", ()), ("hello!", ("go away",))]


def test_a_call_of_a_tool_in_a_replys_words_is_none(tmp_path: Path) -> None:
    call = '<think>\nthe time?\n</think>\n<tool_call>\n{"name": "clock"}\n</tool_call>'
    turns = [{"from": "human", "value": "time?"}, {"from": "gpt", "value": call}]
    turns += [
        {"from": "tool", "value": "<tool_response>12</tool_response>"},
        {"from": "gpt", "value": "noon."},
    ]
    assert loaded(tmp_path, {"conversations": turns}) == [talk("time?", "noon.")]
    file = tmp_path / "a.json"
    assert check(file).omitted == {"tool message": 2}


def test_the_branch_that_llamacpps_page_showed(tmp_path: Path) -> None:
    def node(id: str, parent: str | None, role: str, text: str, **more: str) -> dict[str, Any]:
        return {
            "convId": "c",
            "type": "text",
            "id": id,
            "parent": parent,
            "role": role,
            "content": text,
            **more,
        }

    messages = [
        node("0", None, "system", "", type="root"),
        node("1", "0", "user", "hi"),
        node("2", "1", "assistant", "an older reply"),
        node("3", "1", "assistant", "hello!"),
    ]
    chat = {"conv": {"id": "c", "name": "greeting", "currNode": "3"}, "messages": messages}
    assert loaded(tmp_path, chat) == [talk("hi", "hello!", id="greeting")]


def test_chatgpts_newer_export_says_less_of_a_users_messages(tmp_path: Path) -> None:
    """Files of a hundred conversations each, the model named beside them and not in every message."""
    mapping = {"r": node("r", None, ["b"]), "b": node("b", "r", ["c"], "user", "hi")}
    mapping["c"] = node("c", "b", [], "assistant", "hello")
    chat = {"title": "t", "default_model_slug": "m", "mapping": mapping, "current_node": "c"}
    assert loaded(tmp_path, [chat, chat], name="conversations-003.json") == [talk("hi", "hello", id="t")] * 2
