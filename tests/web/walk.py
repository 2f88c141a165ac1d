"""What a stranger does: a card, a greeting, something told; the next day a new chat with it, on a phone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.web.browser import Page

DAY_MS: Final = 24 * 60 * 60 * 1000
GREETING: Final = (
    "*A kettle sings somewhere up the stairs.*\n\nCome in out of the wind! I am Odile. Mind the umbrellas."
)
CARD: Final[dict[str, Any]] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        "name": "Odile",
        "description": "Odile restores broken umbrellas in a lighthouse. She is afraid of geese. "
        "She collects other people's shopping lists. Her brother sells fog horns.",
        "personality": "warm, curious",
        "first_mes": GREETING,
        "alternate_greetings": ["Up here! Watch the third step."],
        "creator_notes": "Bring a broken umbrella.",
        "tags": ["lighthouse"],
        "character_book": {
            "entries": [
                {
                    "keys": ["lamp"],
                    "content": "The lamp has been dark since the winter storm.",
                    "enabled": True,
                }
            ]
        },
    },
}
TOLD: Final = "i deliver the post by boat. my parrot admiral comes along."
FACT: Final = "my parrot admiral"
QUESTION: Final = "what is the name of my parrot?"


def card_file(folder: Path) -> Path:
    """The card, as it was downloaded."""
    file = folder / "odile.json"
    file.write_text(json.dumps(CARD))
    return file


def shown_text(text: str) -> str:
    """A text as the page shows it: what stands between asterisks is set off, without them."""
    return text.replace("*", "")


def bring_card(page: Page, card: Path) -> None:
    """Where nothing was said yet: choose the file, and be greeted."""
    assert page.shown("#welcome-import")
    page.find("#character-file").send_keys(str(card))  # the button opens the system's dialog
    page.until(lambda: page.texts() == [shown_text(GREETING)])


def a_day_passes(database: Path) -> None:
    """All that is kept is a day older; nobody may have it open."""
    columns = {
        "conversations": ("created", "updated"),
        "messages": ("created",),
        "facts": ("created",),
        "imported": ("created",),
    }
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, names in columns.items():
            older = ", ".join(f"{name} = {name} - {DAY_MS}" for name in names)
            connection.execute(f"UPDATE {table} SET {older}")
