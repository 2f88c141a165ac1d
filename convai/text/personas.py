"""Which persona: the sentences that were given, those of a file, or a random one with a seed of its own."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from convai.core import resources
from convai.core.character import Character
from convai.core.dialog import Persona
from convai.core.errors import DataError
from convai.core.safe_text import one_line
from convai.core.text_files import whole_text
from convai.text.cards import Card, card_persona, character_of, is_card_file, load_card
from convai.text.cards.written import MAX_WRITTEN, written
from convai.text.corpora.building import persona_from_text
from convai.text.corpora.personas import read_personas

_PATH: Final = re.compile(r"\S*[/\\]\S*|\S+\.\w+")
"""One word with a slash or a file name's ending: somebody means a file."""

MAX_PARTNER: Final = 10_000
"""Characters of what a user says of themselves."""
_NAME: Final = 40
_WORDS: Final = 3
"""Words of a name."""


class PersonaDeck:
    """Personas to draw from, by default those that travel with convai.

    The seed is the deck's own: a fixed seed for the sampler of replies does not fix who is talking.
    """

    def __init__(self, personas: Sequence[Persona] = (), seed: int | None = None) -> None:
        """Without `personas` the sample file is read at the first draw. `seed` None: another every time."""
        self._personas = list(personas)
        self._random = random.Random(seed)

    def draw(self, but: Persona | None = None) -> Persona:
        """A random persona, another than `but` where there is one. Raises DataError without sample file."""
        if not self._personas:
            self._personas = read_personas(resources.personas_path())
        others = [persona for persona in self._personas if persona != but]
        return self._random.choice(others or self._personas)

    def take(self, personas: Sequence[Persona]) -> None:
        """Draw from these from now on."""
        self._personas = list(personas)


def personas_of(text: str, where: str) -> list[Persona]:
    """The personas in the file called `text`, or else `text` itself, read as sentences (blank: nobody).

    A `.json`, `.png`, `.charx` or `.yaml` file is a character card; a text in W++, boostyle, Markdown, or as
    a property list, is read as a card's description (`cards/written.py`). Raises DataError, beginning with
    `where`, for what looks like a path and leads nowhere, and for text with control characters; also for a
    card that says nothing.
    """
    told = _told(text, where)
    if isinstance(told, Card):
        return [_of_card(told, text if os.path.exists(text) else where)]
    return told


def characters_of(text: str, where: str) -> list[Character]:
    """As `personas_of`, with everything that a card says."""
    told = _told(text, where)
    if isinstance(told, Card):
        return [character_of(told)]
    return [Character.of_persona(persona) for persona in told]


def partner_of(text: str, where: str) -> Persona:
    """Who the user is: `Ann`, `Ann: i am a nurse. i have a dog.`, sentences alone, or a file of these.

    Raises DataError, beginning with `where`.
    """
    if os.path.exists(text):
        text = Path(text).read_text("utf-8", errors="replace")[:MAX_PARTNER]
    name, colon, rest = text.strip().partition(":")
    if colon and len(name) <= _NAME and "\n" not in name:
        return Persona(persona_from_text(rest, where).sentences if rest.strip() else (), one_line(name))
    if len(text.split()) <= _WORDS and not text.rstrip().endswith((".", "!", "?")):
        return Persona((), one_line(text))
    return persona_from_text(text, where)


def trained_persona(model: str | Path | None) -> Persona | None:
    """The persona of all dialogues that the run in the folder `model` learnt from; None where it had several.

    A model that was tuned as one person is to talk as that one, unless somebody says otherwise.
    """
    try:
        found = json.loads((Path(model) / "run.json").read_text("utf-8")).get("personas") if model else None
    except (OSError, ValueError, AttributeError):  # no run, or one of another program
        return None
    if not isinstance(found, list) or len(found) != 1 or not found[0]:
        return None
    return persona_from_text("\n".join(map(str, found[0])), f"{model}: run.json")


def _told(text: str, where: str) -> Card | list[Persona]:
    """What is in the file called `text`, or else in `text`; see `personas_of`."""
    if os.path.exists(text):
        if persona := _told_in(Path(text)):
            return [persona]
        return _card_in(Path(text)) or read_personas(text)
    if _PATH.fullmatch(text.strip()):
        raise DataError(
            f"{where}: there is no file {text}; check the path, or write sentences: 'i have two dogs.'"
        )
    return written(text) or [_sentences_in(text, where) or persona_from_text(text, where)]


def _told_in(path: Path) -> Persona | None:
    """The persona in JSON that is no card: a list of sentences, or that under `persona` or `personality`."""
    if path.suffix.lower() != ".json" or path.stat().st_size > MAX_PARTNER:
        return None
    try:
        return _sentences_in(path.read_text("utf-8-sig"), str(path))
    except (OSError, ValueError):  # whoever reads it as a card says what is wrong
        return None


def _sentences_in(text: str, where: str) -> Persona | None:
    """The persona in JSON that holds nothing but its sentences; None for any other text."""
    if not text.lstrip().startswith(("[", "{", '"')):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and len(value) == 1:
        [(key, held)] = value.items()
        value = held if key.lower() in ("persona", "personality") else value
    if isinstance(value, str):
        return persona_from_text(value, where)
    if isinstance(value, list) and value and all(isinstance(sentence, str) for sentence in value):
        return persona_from_text("\n".join(value), where)
    return None


def _card_in(path: Path) -> Card | None:
    """The card in a file, or the character that somebody wrote in a text; None for other texts."""
    if is_card_file(path):
        return load_card(path)
    if not path.is_file() or path.stat().st_size > 4 * MAX_WRITTEN:
        return None
    try:
        text = whole_text(path)
        packed_card = path.suffix.lower() == ".gz" and text.lstrip()[:1] == "{"
        return load_card(path) if packed_card else written(text)
    except DataError:  # whoever reads it as sentences says what is wrong
        return None


def _of_card(card: Card, where: str) -> Persona:
    persona = card_persona(card).persona
    if not persona:
        raise DataError(f"{where}: the card says nothing of who somebody is (description, personality)")
    return persona
