"""Two hundred people at once, each with a secret word: nobody ever sees another's."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from tests.server.serving import PATIENCE, serving

PEOPLE = 200


async def person(number: int, url: str, tokens: list[str]) -> tuple[str, list[str]]:
    """Tell a secret twice, then list, search and open: all that is ever seen, and the conversation."""
    seen: list[str] = []
    secret = f"secret{number:03d}x"
    async with connect(url, compression=None, max_size=2**21, open_timeout=PATIENCE) as socket:

        async def ask(type: str, **fields: Any) -> dict[str, Any]:
            name = f"p{number}-{len(seen)}"
            await socket.send(json.dumps({"type": type, "request": name, **fields}))
            return await until(lambda frame: frame.get("request") == name)

        async def until(wanted: Any) -> dict[str, Any]:
            while True:
                seen.append(str(await asyncio.wait_for(socket.recv(), PATIENCE)))
                frame: dict[str, Any] = json.loads(seen[-1])
                if wanted(frame):
                    return frame

        await socket.send(json.dumps({"type": "hello", "version": 1, "token": tokens[number]}))
        await until(lambda frame: frame["type"] == "ready")
        made = await ask("new", persona={"sentences": [f"my word is {secret}."]})
        for turn in range(2):
            await ask("send", text=f"{secret} number {turn}")
            await until(lambda frame: frame["type"] == "finished")
        listed = await ask("list", limit=100)
        assert [item["id"] for item in listed["items"]] == [made["conversation"]]
        assert (await ask("list", search="secret", limit=100))["items"] == listed["items"]
        await ask("remember", text=f"i hide the word {secret}.")
        await ask("send", text="which word do i hide?")
        await until(lambda frame: frame["type"] == "finished")
        shown = await ask("inspect", message=json.loads(seen[-1])["message"]["id"])
        assert [added["text"] for added in shown["added"]] == [
            f"The user told you: i hide the word {secret}."
        ]
        facts = await ask("list_facts")
        # what was said beside it may be kept as remarks by now, or not yet
        assert [fact["text"] for fact in facts["items"] if not fact.get("aside")] == [
            f"i hide the word {secret}."
        ]
    return str(made["conversation"]), seen


def test_nobody_sees_anothers_words(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    tokens = [f"token-of-person-{number:04d}" for number in range(PEOPLE)]
    file.write_text("\n".join(tokens))

    async def everybody(url: str) -> list[tuple[str, list[str]]]:
        return await asyncio.gather(*(person(number, url, tokens) for number in range(PEOPLE)))

    limits = {"rate": 1_000_000, "connections_per_address": 1000, "generations": 1000}
    with serving(tmp_path, tokens=file, memory=True, **limits) as server:
        found = asyncio.run(everybody(server.socket_url))
        for number, (_, seen) in enumerate(found):
            assert set(re.findall(r"secret\d{3}x", "\n".join(seen))) == {f"secret{number:03d}x"}
        theirs = found[0][0]
        fact = server.store.memories.facts(server.app.service.access.owner(tokens[0]) or "")[0].id
        with server.chat(token=tokens[1]) as chat:  # and asking for it is of no use
            chat.ready()
            assert chat.refused("forget", fact=fact) == "not_found"
            assert chat.refused("edit_fact", fact=fact, text="mine now") == "not_found"
            assert chat.refused("restore_fact", fact=fact) == "not_found"
            assert chat.refused("open", conversation=theirs) == "not_found"
            assert chat.refused("delete", conversation=theirs) == "not_found"
