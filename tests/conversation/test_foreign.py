"""Other programs' conversations: SillyTavern's chats with swipes, ChatGPT's tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.foreign import read_foreign
from convai.conversation.saved import load_conversation, loads
from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError

HEADER = {"user_name": "Bob", "character_name": "Ann", "create_date": "2026-1-1", "chat_metadata": {}}
SAID: list[dict[str, Any]] = [
    {
        "name": "Ann",
        "is_user": False,
        "mes": "Hello!\n*waves*",
        "swipes": ["Hi.", "Hello!\n*waves*"],
        "swipe_id": 1,
    },
    {"name": "System", "is_user": False, "is_system": True, "mes": "hidden"},
    {"name": "Bob", "is_user": True, "mes": "who are you?"},
    {
        "name": "Ann",
        "is_user": False,
        "mes": "Ann, I bake.",
        "swipes": ["A baker.", "Ann, I bake.", "A baker."],
    },
]


def sillytavern(header: bool = True) -> str:
    return "".join(json.dumps(line) + "\n" for line in ([HEADER] if header else []) + SAID)


def node(id: str, parent: str | None, role: str | None = None, text: str = "") -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text, {"image": 1}]}
    message = role and {"author": {"role": role}, "content": content, "create_time": 1.5}
    return {"id": id, "parent": parent, "message": message, "children": []}


def chatgpt(**more: Any) -> dict[str, Any]:
    nodes = [
        node("d", "c", "assistant", "first try"),
        node("root", None),
        node("s", "root", "system", "be kind"),
        node("c", "s", "user", "tell me\na joke"),
        node("t", "c", "tool", "searching"),
        node("e", "t", "assistant", "second try"),
        node("f", "e", "user", "ha"),
        node("lost", "nowhere", "user", "loose"),
        node("x", "y", "user", "circle"),
        node("y", "x", "user", "circle"),
    ]
    mapping = {one["id"]: one for one in nodes}
    return {"title": "A joke", "mapping": mapping, "current_node": "f", **more}


@pytest.mark.parametrize("header", [True, False])
def test_a_chat_of_sillytavern_with_its_swipes(header: bool) -> None:
    talk = read_foreign(sillytavern(header), "file")
    assert talk is not None
    assert [(one.speaker, one.text) for one in talk.branch()] == [
        (AGENT, "Hello!\n*waves*"),
        (USER, "who are you?"),
        (AGENT, "Ann, I bake."),
    ]
    assert [one.text for one in talk.replies(None)] == ["Hi.", "Hello!\n*waves*"]
    assert [(one.text, one.attempt) for one in talk.replies("1.0")] == [("A baker.", 0), ("Ann, I bake.", 1)]
    assert talk.persona.name == "Ann"
    assert talk.partner.name == ("Bob" if header else "")


def test_an_export_of_chatgpt_with_its_branches() -> None:
    talk = read_foreign(json.dumps(chatgpt()), "file")
    assert talk is not None
    assert [one.text for one in talk.branch()] == ["tell me\na joke", "second try", "ha"]
    assert [(one.text, one.attempt) for one in talk.replies("c")] == [("first try", 0), ("second try", 1)]
    assert (talk.title, talk.branch()[0].created) == ("A joke", 1500)
    assert read_foreign(json.dumps([chatgpt()], indent=1), "file") is not None
    elsewhere = read_foreign(json.dumps(chatgpt(current_node="gone")), "file")
    assert elsewhere is not None
    assert elsewhere.branch()


@pytest.mark.parametrize("text", [sillytavern(), json.dumps(chatgpt()), json.dumps([chatgpt()], indent=2)])
def test_they_are_loaded_as_saved_conversations_are(text: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    path.write_text(text)
    found, settings = load_conversation(path)
    assert settings is None
    assert [one.text for one in found.branch()] == [one.text for one in loads(text, "x")[0].branch()]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (json.dumps(HEADER), "nobody says anything"),
        (json.dumps(chatgpt(mapping={})), "nobody says anything"),
        (json.dumps([chatgpt(), chatgpt()]), "2 conversations; import it on the page"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=f"^file: .*{problem}"):
        read_foreign(text, "file")


def test_other_files_are_not_theirs() -> None:
    for text in (
        "",
        "hi",
        '{"turns": []}',
        '{"a": "\\"mapping\\""}',
        '{"mapping": 3}',
        '["mapping"]',
        "[" * 9_000,
    ):
        assert read_foreign(text, "file") is None


@pytest.mark.parametrize(
    ("metadata", "note"),
    [
        (
            {"note_prompt": "It rains.", "note_depth": 2, "note_interval": 1, "note_position": 1},
            ("It rains.", 2),
        ),
        ({"note_prompt": "It rains.", "note_depth": 2, "note_position": 0}, ("It rains.", 1_000)),
        ({"note_prompt": "It rains.", "note_depth": "x", "note_interval": 3}, ("It rains.", 4)),
        ({"note_prompt": "It rains.", "note_depth": -3}, ("It rains.", 0)),
        ({"note_prompt": "It rains.", "note_interval": 0}, ("", 4)),
        ({"note_prompt": " "}, ("", 4)),
        ({"note_prompt": ["x"]}, ("", 4)),
        (None, ("", 4)),
    ],
)
def test_sillytaverns_authors_note_is_kept(metadata: object, note: tuple[str, int]) -> None:
    header = {"user_name": "Bob", "character_name": "Ann", "chat_metadata": metadata}
    said = {"name": "Ann", "is_user": False, "mes": "Hello!"}
    talk = read_foreign("\n".join(map(json.dumps, (header, said))), "file")
    assert talk is not None
    assert (talk.note.text, talk.note.depth) == note


def test_a_group_of_sillytavern_is_one_here() -> None:
    lines = [
        {"name": "Ann", "is_user": False, "mes": "Hello.", "swipes": ["Hi.", "Hello."]},
        {"name": "Tom", "is_user": True, "mes": "who are you?"},
        {"name": "Bob", "is_user": False, "mes": "A smith."},
        {"name": "Ann", "is_user": False, "mes": "A baker."},
    ]
    talk = read_foreign("".join(json.dumps(line) + "\n" for line in lines), "chat")
    assert talk is not None
    assert [(turn.name, turn.text) for turn in talk.turns] == [
        ("Ann", "Hello."),
        ("", "who are you?"),
        ("Bob", "A smith."),
        ("Ann", "A baker."),
    ]
    assert [one.name for one in talk.group.here] == ["Ann", "Bob"]
    assert talk.partner.name == "Tom"
