"""Cards, lorebooks and memories that would hurt, at the doors of a server: bounded, one clear line."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from convai.text.cards import png
from convai.text.cards.png import Chunk, plain_image
from tests.conversation.test_characters import chatml
from tests.server.serving import PATIENCE, Chat, Running, serving
from tests.server.test_characters import imported, post

MIB = 2**20
LONG = "a" * (20 * MIB)


def card(**data: Any) -> dict[str, Any]:
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": {"name": "Ann", **data}}


def book(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"entries": [{"enabled": True, **entry} for entry in entries], **more}


def picture(text: bytes, kind: bytes = b"tEXt") -> bytes:
    image = plain_image(8, 8, (0, 0, 0))
    body = b"chara\0" + (b"\0" if kind == b"zTXt" else b"") + text
    return image[:-12] + Chunk(kind, body).encoded() + image[-12:]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (json.dumps(card(description=LONG)).encode(), "over 16 MiB of text"),
        (json.dumps(card(description=LONG[: 8 * MIB])).encode(), "are kept of a card"),
        (json.dumps(card(tags=["x"] * (3 * MIB // 5))).encode(), "are kept of a card"),
        (picture(LONG.encode()), "a text of over 16 MiB"),
        (picture(zlib.compress(LONG.encode()), b"zTXt"), "a text of over 16 MiB"),
        (b'{"name":' * 100_000, "nested too deeply"),
        (LONG.encode() * 2, "at most 33,554,432 bytes"),
    ],
    ids=["json", "kept", "tags", "png", "packed", "deep", "file"],
)
def test_a_card_of_many_megabytes_is_refused_in_a_line(server: Running, body: bytes, says: str) -> None:
    told, status = post(server, "/api/characters", body)
    assert status in (400, 413)
    assert says in told["error"]["message"]
    assert "\n" not in told["error"]["message"]
    assert len(told["error"]["message"]) < 300
    assert png.SIGNATURE not in json.dumps(told).encode()


def test_a_card_whose_picture_has_twenty_megabytes_is_taken(server: Running) -> None:
    noise = Chunk(b"IDAT", bytes(20 * MIB)).encoded()
    image = picture(json.dumps(card(description="Ann bakes.")).encode())
    whole = image[:33] + noise + image[33:]
    assert len(whole) > 20 * MIB
    told, status = post(server, "/api/characters", whole)
    assert (status, told["name"]) == (201, "Ann")


EXPLODES = card(
    description="Ann bakes.",
    character_book=book(
        *({"keys": [f"(a+)+{i}$"], "use_regex": True, "content": f"never {i}"} for i in range(50)),
        {"keys": ["((a{1000}){1000}){1000}"], "use_regex": True, "content": "too large"},
        {"keys": ["aaa"], "content": "A word of a's."},
    ),
)
CALLS_ITSELF = card(
    description="Ann bakes.",
    character_book=book(
        {"keys": ["aaa", "loop"], "content": "loop aaa loop"},
        *({"keys": ["loop", f"k{i}"], "content": f"loop k{i + 1} {{{{char}}}}"} for i in range(300)),
        recursive_scanning=True,
        token_budget=60,
    ),
)
MACROS = card(
    description="{{personality}}" * 1_000,
    personality="{{scenario}}" * 1_000 + "{{description}}",
    scenario="x {{roll:1000d9}} " * 300 + "{{random:" * 300 + "}}" * 300,
    first_mes="{{description}}" * 3_000,
    system_prompt=" " * 50_000 + "{{trim" + " " * 100,
)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with room for what such a card may bring into a prompt."""
    with serving(tmp_path_factory.mktemp("wide"), chatml(3_000), rate=1_000_000) as up:
        yield up


@pytest.mark.parametrize("bad", [EXPLODES, CALLS_ITSELF], ids=["explodes", "calls-itself"])
def test_a_lorebook_that_would_go_on_for_ever_is_bounded(wide: Running, bad: dict[str, Any]) -> None:
    """Over the socket and over REST; a reply comes, and what may be called is."""
    id = imported(wide, bad)
    with wide.chat() as chat:
        chat.ready()
        chat.new(character=id, settings={"seed": 1})
        chat.say("a" * 200 + "!")
        told = chat.ask("inspect", message=chat.view.messages[-1].id)
        lore = [one.text for one in told.added if one.kind == "lore"]
        assert lore
        assert len(lore) < 100
        assert not [text for text in lore if text.startswith(("never", "too large"))]
    begun, _ = post(wide, "/api/conversations", json.dumps({"character": id}).encode())
    said, status = post(
        wide,
        f"/api/conversations/{begun['conversation']}/messages",
        json.dumps({"text": "a" * 200 + "?"}).encode(),
    )
    assert (status, said["messages"][-1]["status"]) == (201, "complete")


def test_a_bomb_of_macros_is_bounded(wide: Running) -> None:
    """It may not fit into the model: then that is said in a line."""
    id = imported(wide, MACROS)
    begun = httpx2.post(f"{wide.url}/api/conversations", json={"character": id}, timeout=PATIENCE)
    asked = {"model": "chatml", "character": id, "messages": [{"role": "user", "content": "hi"}]}
    drawn = httpx2.post(f"{wide.url}/v1/chat/completions", json=asked, timeout=PATIENCE)
    for answer in (begun, drawn):
        assert answer.status_code in (200, 201, 400)
        assert len(answer.content) < 2 * MIB
        if answer.status_code == 400:
            assert "\n" not in answer.json()["error"]["message"]
    with wide.chat() as chat:
        chat.ready()
        chat.new()
        assert chat.say("hi")


def test_a_memory_of_somebody_who_was_deleted_is_nobodys(tmp_path: Path) -> None:
    """At every door: what was theirs cannot be read, changed, brought back, or told to whoever comes next."""
    (tmp_path / "tokens").write_text("ann-0123456789abcdef\n")
    ann = {"authorization": "Bearer ann-0123456789abcdef"}
    with serving(tmp_path, memory=True, tokens=tmp_path / "tokens", rate=1_000_000) as up:
        kept = httpx2.post(f"{up.url}/api/memory", json={"text": "i live in lima."}, headers=ann).json()
        fact = kept["id"] if "id" in kept else kept["kept"][0]["id"]
        assert httpx2.delete(f"{up.url}/api/person", headers=ann).status_code == 200
        for method, path, body in (
            ("PUT", f"/api/memory/{fact}", {"text": "i live in oslo."}),
            ("PATCH", f"/api/memory/{fact}", {"text": "i live in oslo."}),
            ("POST", f"/api/memory/{fact}/restore", None),
            ("DELETE", f"/api/memory/{fact}", None),
        ):
            answer = httpx2.request(method, f"{up.url}{path}", json=body, headers=ann)
            assert answer.status_code in (404, 405), (method, path, answer.text)
            assert "\n" not in answer.text.strip()
        with Chat(up.socket_url, token="ann-0123456789abcdef") as chat:
            chat.ready()
            for type, fields in (
                ("edit_fact", {"fact": fact, "text": "i live in oslo."}),
                ("restore_fact", {"fact": fact}),
                ("forget", {"fact": fact}),
            ):
                assert chat.refused(type, **fields) == "not_found"
            assert chat.ask("list_facts").items == ()
            chat.new()
            chat.say("where do i live?")
            told = chat.ask("inspect", message=chat.view.messages[-1].id)
            assert "lima" not in "".join(row.text for row in told.rows)
