"""Character cards, versions 1 to 3: read leniently, written by the book, and nothing unknown is lost.

Sources: character-card-spec-v2 (spec_v1.md, spec_v2.md) and character-card-spec-v3 (SPEC_V3.md). Version 1 is
a flat object; 2 and 3 have `spec`, `spec_version` and the fields in `data`. In the wild fields are missing or
of another type, and those of version 1 stand beside `data`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from convai.core.errors import DataError
from convai.core.safe_text import one_line
from convai.text.cards.books import looks_like_book
from convai.text.cards.others import from_yaml, renamed

MAX_NAME: Final = 100
_TEXTS: Final = ("name", "description", "personality", "scenario", "first_mes", "mes_example")
"""The fields of version 1."""
_V2_TEXTS: Final = (
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
)
_KNOWN: Final = {*_TEXTS, *_V2_TEXTS, "spec", "spec_version", "data", "tags", "extensions", "character_book"}
_STRANGE: Final = 2
"""Fields of no card that something with a name, or a description, may have; a manifest has more."""
_PACKAGE: Final = {
    *("version", "dependencies", "devDependencies", "scripts", "main"),
    *("require", "autoload", "engines", "license", "repository"),
}
"""What a package's description has beside a name."""
_CARD_ONLY: Final = {
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
    "system_prompt",
    "alternate_greetings",
}
_BESIDE: Final = {"avatar", "chat", "create_date", "creatorcomment", "fav", "nickname", "talkativeness"}
"""What SillyTavern and others write beside a card."""
MAX_JSON: Final = 16 * 2**20
"""Bytes, or characters, of a card's JSON."""
MAX_DEPTH: Final = 100
"""Of objects and lists in one another; cards have ten at most."""
_SPECS: Final = {"chara_card_v2": 2, "chara_card_v3": 3}
BACKFILL: Final = "This is a Character Card V3 that was loaded as a V2; use an application that reads V3."
"""Goes before the creator's notes where a version 2 is put beside a version 3 (SPEC_V3.md, PNG/APNG)."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card as it was read. `document` is never changed; `notes` tell what was odd about it."""

    document: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """1, 2 or 3."""
        return _version(self.document)

    @property
    def data(self) -> Mapping[str, Any]:
        """The object with the fields: `data`, or in version 1 the whole."""
        inner = self.document.get("data")
        return inner if isinstance(inner, dict) else self.document

    def text(self, field: str) -> str:
        """A field as text, whatever its type: lists are joined by lines, objects are attributes.

        Where `data` has nothing, the field of version 1 beside it counts.
        """
        return _as_text(self.data.get(field)) or _as_text(self.document.get(field))

    @property
    def name(self) -> str:
        """The character's name, on one line; blank where there is none."""
        return one_line(self.text("name"))[:MAX_NAME].rstrip()

    @property
    def called(self) -> str:
        """What `{{char}}` stands for: the nickname of version 3, or the name."""
        return one_line(_as_text(self.data.get("nickname")))[:MAX_NAME].rstrip() or self.name

    def changed(self, **fields: str) -> Card:
        """The same card with other texts, in `data` and, where they stand beside it, there too."""
        document = dict(self.document)
        if isinstance(document.get("data"), dict):
            document["data"] = {**document["data"], **fields}
            beside = {name: text for name, text in fields.items() if name in document}
            return Card({**document, **beside}, self.notes)
        return Card({**document, **fields}, self.notes)

    def as_version(self, version: int) -> dict[str, Any]:
        """The JSON of the card in a version, its obligatory fields filled in, all others kept."""
        flat = {name: self.text(name) for name in _TEXTS}
        if version == 1:
            outside = {k: v for k, v in self.document.items() if k not in ("spec", "spec_version", "data")}
            newer = {name: text for name in _V2_TEXTS if (text := self.text(name))}
            return {**outside, **self.data, **newer, **flat}
        inside = dict(self.data)
        outside = {}
        if self.data is not self.document:
            outside = {k: v for k, v in self.document.items() if k != "data"}
        inside |= flat | {name: self.text(name) for name in _V2_TEXTS}
        lists = ("alternate_greetings", "tags", *(["group_only_greetings"] if version == 3 else []))
        for name in lists:
            if isinstance(inside.get(name), str) and inside[name]:
                inside[name] = [inside[name]]
            elif not inside.get(name):
                inside[name] = []
        if not inside.get("extensions"):
            inside["extensions"] = {}
        spec = {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0"}
        return {**outside, **spec, "data": inside}


def new_card(name: str, description: str) -> Card:
    """A card of version 1 with nothing but these."""
    return Card({**dict.fromkeys(_TEXTS, ""), "name": name, "description": description})


def parse_card(text: str | bytes, where: str) -> Card:
    """A card from its JSON, or YAML. Raises DataError, beginning with `where`, for what is no card."""
    if len(text) > MAX_JSON:
        raise DataError(f"{where}: over {MAX_JSON // 2**20} MiB of text; is this a card?")
    value = decoded(text, where)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        raise DataError(f'{where}: no JSON object; a card is like {{"name": "Ann", "description": "..."}}')
    if looks_like_book(value):
        raise DataError(f"{where}: a lorebook and no card; give it as one (convai chat --lore)")
    notes = []
    inner = value.get("data")
    if isinstance(inner, str):  # JSON inside JSON
        inner = decoded(inner, f"{where}, data")
        value = {**value, "data": inner}
    value = renamed(value)
    card = Card(value)
    is_one = _is_known(value.get("spec")) or bool(_CARD_ONLY & (value.keys() | card.data.keys()))
    if _PACKAGE & value.keys() and not is_one:
        raise DataError(f"{where}: no character card but a package's description; name a card")
    said = [field for field in (*_TEXTS, "system_prompt") if card.text(field).strip()]
    strange = set() if is_one else (value.keys() | card.data.keys()) - _KNOWN - _BESIDE
    bare = said == ["name"] and strange and not _BESIDE & value.keys()
    if not said or bare or len(strange) > _STRANGE:
        raise DataError(f"{where}: no character card; it has none of {', '.join(_TEXTS)}")
    if card.version > 1 and not isinstance(inner, dict):
        notes.append("it has no data, only fields of version 1")
    spec = value.get("spec")
    if spec is not None and not _is_known(spec):
        notes.append("its spec is unknown; read as version " + str(card.version))
    if not card.name:
        notes.append("it has no name")
    odd = [f for f in (*_TEXTS, *_V2_TEXTS) if not isinstance(card.data.get(f, ""), str)]
    if odd:
        notes.append(f"not text: {', '.join(odd)}")
    return Card(value, tuple(notes))


def to_json(document: Mapping[str, Any]) -> str:
    """The card's JSON, on one line, ASCII."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def to_base64(document: Mapping[str, Any]) -> bytes:
    """The card as it stands in a PNG: JSON in UTF-8 in base64."""
    return base64.b64encode(to_json(document).encode())


def from_base64(data: bytes, where: str) -> bytes:
    """The JSON in a PNG's text: base64, if need be without padding or with line ends, or JSON itself.

    Raises DataError for anything else.
    """
    if data.lstrip().startswith((b"{", b"\xef\xbb\xbf{")):
        return data
    data = b"".join(data.split()).rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error:
        raise DataError(f"{where}: the card in the image is damaged (no base64); download it again") from None


def decoded(text: str | bytes, where: str) -> Any:
    """What JSON or YAML says. Raises DataError, beginning with `where`, for what is neither."""
    try:
        if isinstance(text, bytes):
            wide = text.startswith((b"\xff\xfe", b"\xfe\xff"))
            text = text.decode("utf-16" if wide else "utf-8-sig")
        text = text.removeprefix("\ufeff").strip()
        value = from_yaml(text, where) if _is_yaml(text, where) else _DECODER.decode(text)
    except UnicodeDecodeError:
        raise DataError(f"{where}: no UTF-8 text; is this a card?") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{where}:{error.lineno}: malformed JSON ({error.msg}); is this a card?") from None
    except RecursionError:
        raise DataError(f"{where}: JSON that is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{where}: malformed JSON ({str(error).partition(';')[0]})") from None
    if _too_deep(value):
        raise DataError(f"{where}: JSON that is nested too deeply")
    return value


def _is_yaml(text: str, where: str) -> bool:
    """Whether it is YAML rather than JSON: by the name of the file, and a key where JSON has a brace."""
    return where.lower().endswith((".yaml", ".yml")) or re.match(r"[A-Za-z_]{1,40}:\s", text) is not None


def _too_deep(value: object) -> bool:
    """Whether it would be too deep for a writer, who gives up before a reader does."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return False
        level = inner
    return True


def _no_number(_name: str) -> None:
    """NaN and Infinity, which some writers put and no reader may."""
    return None


def _real(digits: str) -> float | None:
    number = float(digits)
    return number if abs(number) < float("inf") else None


_DECODER: Final = json.JSONDecoder(parse_constant=_no_number, parse_float=_real, strict=False)


def _is_known(spec: object) -> bool:
    return isinstance(spec, str) and spec in _SPECS


def _version(document: Mapping[str, Any]) -> int:
    spec = document.get("spec")
    if isinstance(spec, str) and _is_known(spec):
        return _SPECS[spec]
    return 2 if isinstance(document.get("data"), dict) else 1


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "\n".join(item for item in value if isinstance(item, str))
    if isinstance(value, dict):  # attributes
        items = ((name, _as_text(item).replace("\n", ", ")) for name, item in value.items())
        return "\n".join(f"{name}: {text}" for name, text in items if text)
    return ""
