"""Cards in JPEG and WebP pictures, as other libraries write them, and pictures without one."""

from __future__ import annotations

import base64
import json
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from convai.core.errors import DataError
from convai.text.cards.files import read_card

CARD = {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Tess é", "description": "I bake."}}
JSON = json.dumps(CARD)
COMMENT, WITHIN = 0x9286, 0x8769


def picture(kind: str, comment: bytes | None, within: bool = True) -> bytes:
    exif = Image.Exif()
    if comment is not None and within:
        exif.get_ifd(WITHIN)[COMMENT] = comment
    elif comment is not None:
        exif[COMMENT] = comment
    out = BytesIO()
    Image.new("RGB", (2, 2)).save(out, kind, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    "comment",
    [
        b"ASCII\0\0\0" + JSON.encode(),
        b"UNICODE\0" + JSON.encode("utf-16-le"),
        b"UNICODE\0" + JSON.encode("utf-16-be"),
        bytes(8) + base64.b64encode(JSON.encode()),
        JSON.encode(),
        b"ASCII\0\0\0" + ",".join(map(str, JSON.encode())).encode(),
    ],
    ids="ascii wide big-endian base64 bare numbers".split(),
)
def test_the_comment_of_a_picture_is_a_card(kind: str, comment: bytes) -> None:
    assert read_card(picture(kind, comment), "f").document == CARD
    assert read_card(picture(kind, comment, within=False), "f").document == CARD


def test_a_charx_behind_a_jpeg() -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("card.json", JSON)
        archive.writestr("assets/a.png", b"x")
    assert read_card(picture("JPEG", None) + packed.getvalue(), "f").document == CARD


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_a_picture_without_a_card_is_called_so(kind: str) -> None:
    with pytest.raises(DataError, match=r"f: a \w+ without a card in it; cards are in PNG"):
        read_card(picture(kind, None), "f")


def test_whatever_is_cut_off_is_refused_in_a_line() -> None:
    for kind in ("JPEG", "WEBP"):
        whole = picture(kind, b"ASCII\0\0\0" + JSON.encode())
        for end in range(12, whole.index(JSON.encode()) + len(JSON), 7):
            with pytest.raises(DataError, match="f:"):
                read_card(whole[:end], "f")
