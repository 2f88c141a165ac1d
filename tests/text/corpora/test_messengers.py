"""Exports of messengers, and SillyTavern's chats: who speaks, what has no words, where a dialogue ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.text.corpora import detect, read
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str, name: str = "chat.txt") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "stamp",
    [
        "1/{day}/26, {hour}:05 {half} - ",
        "[{day}.01.26, {hour24}:05:10] ",
        "{day}/01/2026, {hour24}:05 - ",
        "\u200e[{day}/1/26, {hour}:05:10\u202f{half}] ",
        "2026-01-{day}, {hour24}:05 - ",
    ],
)
def test_whatsapp_in_the_ways_of_many_countries(stamp: str, tmp_path: Path) -> None:
    def at(day: int, hour: int) -> str:
        half = "PM" if hour >= 12 else "AM"
        return stamp.format(day=day, hour=(hour - 1) % 12 + 1, hour24=f"{hour:02d}", half=half)

    lines = [
        at(13, 9) + "Messages and calls are end-to-end encrypted.",
        at(13, 9) + "Bo: hi: you",
        at(13, 10) + "Ann: hello",
        "and a second line",
        at(13, 10) + "Ann: <Media omitted>",
        at(13, 14) + "Ann: IMG-1.jpg (file attached)",
        at(14, 9) + "Ann: good morning",
        at(14, 10) + "Bo: morning!",
        at(16, 10) + "Bo: anybody there?",
    ]
    file = saved(tmp_path, "\n".join(lines) + "\n")
    assert detect(file) == "whatsapp"
    first, second = read(file)
    assert first == talk("hi: you", "hello and a second line")
    assert [(t.speaker, t.text) for t in second.turns] == [(1, "good morning"), (0, "morning!")]


def telegram(*posts: tuple[str, str, Any], **more: Any) -> dict[str, Any]:
    messages = [
        {"id": i, "type": "message", "date": f"2026-01-{day}T10:00:{i:02d}", "from": name, "from_id": name,
         "text": text}
        for i, (name, day, text) in enumerate(posts)
    ]  # fmt: skip
    return {"name": "Bo", "type": "personal_chat", "id": 1, "messages": messages, **more}


def test_telegram_names_a_chat_after_the_partner(tmp_path: Path) -> None:
    link = [{"type": "link", "text": "https://example.org"}, " look"]
    chat = telegram(
        ("Ann", "01", "hi"), ("Bo", "01", link), ("Ann", "01", ""), ("Bo", "05", "a"), ("Ann", "05", "b")
    )
    file = saved(tmp_path, json.dumps(chat, indent=1), "result.json")
    assert detect(file) == "telegram"
    one, two = read(file)
    assert [(t.speaker, t.text) for t in one.turns] == [(1, "hi"), (0, "https://example.org look")]
    assert two == talk("a", "b")
    whole = {"about": "x", "chats": {"about": "y", "list": [chat, chat]}}
    assert read(saved(tmp_path, json.dumps(whole), "all.json")) == [one, two, one, two]


def test_sillytavern(tmp_path: Path) -> None:
    lines = [
        {"user_name": "You", "character_name": "Ann", "chat_metadata": {}},
        {"name": "Ann", "is_user": False, "mes": "*waves* hello"},
        {"name": "You", "is_user": True, "mes": "hi"},
        {"name": "System", "is_user": False, "is_system": True, "mes": "checkpoint"},
        {"name": "Ann", "is_user": False, "mes": "how are you?", "swipes": ["how are you?", "what now?", ""]},
    ]
    file = saved(tmp_path, "".join(json.dumps(line) + "\n" for line in lines), "Ann.jsonl")
    (found,) = read(file)
    assert [(t.speaker, t.text) for t in found.turns] == [
        (1, "*waves* hello"),
        (0, "hi"),
        (1, "how are you?"),
    ]
    assert [turn.distractors for turn in found.turns] == [(), (), ("what now?",)]
    assert found.persona.name == "Ann"
    assert_refused(saved(tmp_path, json.dumps(lines[0]), "empty.jsonl"), None, "no dialogues in the file")
