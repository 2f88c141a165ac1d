"""Cards in files: JSON, YAML, PNG with the card in a text chunk, .charx (a ZIP with the card in it).

JPEG and WebP with a card are read, too (`pictures`), and never written.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Final

from convai.core.character import Lorebook
from convai.core.errors import DataError
from convai.core.files import atomic_write
from convai.text.cards import png
from convai.text.cards.books import read_book
from convai.text.cards.card import (
    BACKFILL,
    MAX_JSON,
    Card,
    decoded,
    from_base64,
    parse_card,
    to_base64,
    to_json,
)
from convai.text.cards.pictures import comment_in, picture_of, zip_behind

MAX_FILE: Final = 32 * 2**20
"""Bytes of a file; cards of several megabytes exist, since their images are large."""
KEYWORDS: Final = ("ccv3", "chara")
"""Of the text chunks with a card, the better one first (SPEC_V3.md, Embedding Methods)."""
VERSIONS: Final = (1, 2, 3)
SUFFIXES: Final = (".png", ".json", ".charx", ".yaml", ".yml", ".webp", ".jpg", ".jpeg", ".gif")
_CHARX: Final = "card.json"
"""The card's name in a .charx (SPEC_V3.md, CHARX)."""
_GZIP: Final = b"\x1f\x8b"
_MOST_FILES: Final = 10_000


def is_card_file(path: Path) -> bool:
    """Whether the name is that of a card, or of a picture that may hold one: .png, .json, .charx, .yaml."""
    return path.suffix.lower() in SUFFIXES


def load_card(path: Path) -> Card:
    """The card in a JSON or PNG file; which it is, its first bytes tell. Raises DataError."""
    return read_card(_bytes_of(path), str(path))


def _bytes_of(path: Path) -> bytes:
    """What a file holds, and a little more than MAX_FILE of a larger one."""
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file; name a file in it")
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path") from None


def read_card(data: bytes, where: str) -> Card:
    """The card in the bytes of a file. Raises DataError, beginning with `where`, for what holds none."""
    if len(data) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE // 2**20} MiB; is this a card?")
    if data.startswith(_GZIP):
        return read_card(_unpacked(data, where), where)
    if png.is_png(data):
        return _from_png(data, where)
    if data.startswith(b"PK") or where.lower().endswith(".charx"):
        return _from_zip(data, where)
    if kind := picture_of(data):
        return _from_picture(data, kind, where)
    return parse_card(data, where)


def _unpacked(data: bytes, where: str) -> bytes:
    """What gzip packed, as Perchance does, and no more than a card may have."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = stream.decompress(data, MAX_FILE + 1)
    except zlib.error as error:
        raise DataError(f"{where}: the compressed data are damaged ({error}); download it again") from None
    if len(unpacked) <= MAX_FILE and not stream.eof:
        raise DataError(f"{where}: the compressed data are cut short; download it again")
    if unpacked.startswith(_GZIP):
        raise DataError(f"{where}: packed twice; unpack it once")
    return unpacked


def load_book(path: Path) -> Lorebook:
    """The lorebook in a file of its own, or in a card. Raises DataError."""
    return read_book_file(_bytes_of(path), str(path))


def read_book_file(data: bytes, where: str) -> Lorebook:
    """The lorebook in the bytes of a file, or of a card. Raises DataError beginning with `where`."""
    if len(data) > MAX_FILE:
        raise DataError(f"{where}: over {MAX_FILE // 2**20} MiB; is this a lorebook?")
    if png.is_png(data) or data.startswith(b"PK"):
        found = read_card(data, where).data.get("character_book")
    elif len(data) > MAX_JSON:
        raise DataError(f"{where}: over {MAX_JSON // 2**20} MiB of text; is this a lorebook?")
    else:
        found = decoded(data, where)
        if isinstance(found, dict) and isinstance(found.get("data"), dict) and "entries" not in found["data"]:
            found = found["data"].get("character_book")
    return read_book(found, where)


def _from_picture(data: bytes, kind: str, where: str) -> Card:
    if zip_behind(data):
        return _from_zip(data, where)
    if text := comment_in(data):
        return parse_card(from_base64(text, where), where)
    raise DataError(f"{where}: a {kind} without a card in it; cards are in PNG, JSON, .charx or YAML")


def _from_zip(data: bytes, where: str) -> Card:
    """The card in a .charx. Nothing else of it is unpacked, and no more than a card may have."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if len(archive.infolist()) > _MOST_FILES:
                raise DataError(f"{where}: over {_MOST_FILES:,} files in it; is this a card?")
            with archive.open(_CHARX) as file:
                text = file.read(MAX_JSON + 1)
    except KeyError:
        raise DataError(f"{where}: the archive holds no {_CHARX}; is this a .charx?") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())[:100] or "it ends too early"
        raise DataError(f"{where}: the archive is damaged ({reason}); download it again") from None
    return parse_card(text, where)


def _from_png(data: bytes, where: str) -> Card:
    found: dict[str, png.Text] = {}
    damage: DataError | None = None
    try:
        for chunk in png.chunks(data, where):
            text = png.text_of(chunk, where)
            if text is not None and text.keyword in KEYWORDS:
                found.setdefault(text.keyword, text)
    except DataError as error:
        damage = error
    errors = [damage] if damage else []
    for keyword in KEYWORDS:
        if keyword not in found:
            continue
        try:
            if not found[keyword].sound:
                raise DataError(f"{where}: the card in the image is damaged (a check sum is wrong)")
            card = parse_card(from_base64(found[keyword].data, where), where)
        except DataError as error:
            errors.append(error)
            continue
        trouble = tuple(str(error).removeprefix(f"{where}: ") for error in errors)
        return Card(card.document, card.notes + trouble)
    if errors:
        raise errors[-1]
    raise DataError(f"{where}: the image holds no card (no text chunk chara or ccv3)")


def card_json(card: Card, version: int = 3) -> str:
    """The card as a JSON file, in a version."""
    return to_json(card.as_version(version)) + "\n"


def card_png(card: Card, version: int = 3, image: bytes | None = None, where: str = "image") -> bytes:
    """The card in an image, or in a plain one; version 3 is put beside a version 2, for those who read that.

    Raises DataError, beginning with `where`, for an image that is no PNG or not whole.
    """
    if image is None:
        shade = zlib.crc32(card.name.encode("utf-8", "replace"))
        image = png.plain_image(400, 600, (96 + shade % 96, 96 + (shade >> 8) % 96, 96 + (shade >> 16) % 96))
    texts = {"chara": to_base64(card.as_version(min(version, 2)))}
    if version == 3:
        notes = f"{BACKFILL}\n{card.text('creator_notes')}".rstrip()
        older = card.as_version(2)
        older["data"]["creator_notes"] = notes
        texts = {"chara": to_base64(older), "ccv3": to_base64(card.as_version(3))}
    return png.with_texts(image, texts, KEYWORDS, where)


def save_card(path: Path, card: Card, version: int = 3, image: Path | None = None) -> None:
    """Write the card to a .png or .json file, whole or not at all. Raises DataError."""
    if version not in VERSIONS:
        raise DataError(f"version={version}: use 1, 2 or 3")
    if path.suffix.lower() == ".json":
        content = card_json(card, version).encode()
    elif path.suffix.lower() == ".png":
        picture = None
        if image is not None:
            picture = _bytes_of(image)
            if len(picture) > MAX_FILE:
                raise DataError(f"{image}: over {MAX_FILE // 2**20} MiB; choose a smaller image")
        content = card_png(card, version, picture, str(image))
    else:
        raise DataError(f"{path}: a card is a .png or a .json file; choose such a name")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}; create it first")
    atomic_write(path, lambda temporary: temporary.write_bytes(content))
