"""Chunks of a PNG: what is written is read, what is damaged or a bomb is refused, the rest stays."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convai.core.errors import DataError
from convai.text.cards import png

IMAGE = png.plain_image(3, 2, (10, 200, 30))


def texts(data: bytes) -> list[tuple[str, bytes]]:
    found = (png.text_of(chunk, "f") for chunk in png.chunks(data, "f"))
    return [(text.keyword, text.data) for text in found if text is not None]


def with_chunk(kind: bytes, data: bytes) -> bytes:
    end = png.Chunk(b"IEND", b"").encoded()
    return IMAGE.removesuffix(end) + png.Chunk(kind, data).encoded() + end


def test_the_plain_image_is_one_that_others_read() -> None:
    with Image.open(BytesIO(IMAGE)) as image:
        image.load()
        assert image.size == (3, 2)
        assert image.getpixel((2, 1)) == (10, 200, 30)


@given(st.dictionaries(st.text("abcXYZ ", min_size=1, max_size=20), st.binary(max_size=50), max_size=3))
def test_texts_that_are_put_in_are_read_again(put: dict[str, bytes]) -> None:
    data = png.with_texts(IMAGE, put, (), "f")
    assert texts(data) == [(keyword.lower(), text) for keyword, text in put.items()]
    assert [c.kind for c in png.chunks(data, "f")] == [b"IHDR", b"IDAT", *[b"tEXt"] * len(put), b"IEND"]


def test_what_others_wrote_is_read_and_what_we_write_others_read() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Plain", "one")
    info.add_text("Packed", "two " * 100, zip=True)
    info.add_itxt("Wide", "dr\u00e9i", "de", "Weit")
    info.add_itxt("Both", "vier " * 100, zip=True)
    out = BytesIO()
    Image.new("RGB", (2, 2)).save(out, "PNG", pnginfo=info)
    assert dict(texts(out.getvalue())) == {
        "plain": b"one",
        "packed": b"two " * 100,
        "wide": "dr\u00e9i".encode(),
        "both": b"vier " * 100,
    }
    with Image.open(BytesIO(png.with_texts(out.getvalue(), {"plain": b"new"}, ("wide",), "f"))) as image:
        image.load()
        assert image.info["plain"] == "new"
        assert "Plain" not in image.info
        assert "Wide" not in image.info
        assert image.info["Packed"] == "two " * 100


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no PNG image"),
        (b"\x89PNG\r\n\x1a", "no PNG image"),
        (png.SIGNATURE, "cut short at byte 8"),
        (IMAGE[:-1], "cut short"),
        (IMAGE[:40], "cut short"),
        (png.SIGNATURE + struct.pack(">I4s", 2**31 - 1, b"tEXt") + b"x" * 100, "cut short"),
        (png.SIGNATURE + b"\0\0\0\0\0\1\2\3" + b"x" * 100, "damaged at byte 8"),
        (png.SIGNATURE + png.Chunk(b"zzZz", b"").encoded() * 100_001, "over 100,000 chunks"),
    ],
)
def test_what_is_no_whole_image(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        list(png.chunks(data, "f"))


def test_a_wrong_check_sum_is_told() -> None:
    data = bytearray(with_chunk(b"tEXt", b"chara\0abc"))
    data[data.index(b"abc")] ^= 1
    assert [c.sound for c in png.chunks(bytes(data), "f")] == [True, True, False, True]
    with pytest.raises(DataError, match="check sum"):
        png.with_texts(bytes(data), {}, (), "f")


@pytest.mark.parametrize("head", [b"zTXt", b"iTXt"])
def test_a_bomb_is_not_unpacked(head: bytes) -> None:
    bomb = zlib.compress(b"\0" * (64 * 2**20), 9)
    body = b"chara\0\0" + bomb if head == b"zTXt" else b"chara\0\1\0\0\0" + bomb
    assert len(body) < 2**17
    with pytest.raises(DataError, match="over 16 MiB"):
        texts(with_chunk(head, body))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"tEXt", b"no separator"),
        (b"tEXt", b"k" * 80 + b"\0text"),
        (b"zTXt", b"chara\0\0no zlib"),
        (b"zTXt", b"chara\0\0" + zlib.compress(b"cut short")[:-3]),
        (b"zTXt", b"chara\0"),
        (b"iTXt", b"chara\0\0\0"),
        (b"iTXt", b"chara\0"),
    ],
)
def test_a_text_that_makes_no_sense_is_none(kind: bytes, body: bytes) -> None:
    assert texts(with_chunk(kind, body)) == []


@given(st.binary(max_size=200), st.integers(0, len(IMAGE)), st.integers(0, 20))
def test_damage_is_refused_never_a_crash(junk: bytes, at: int, cut: int) -> None:
    data = IMAGE[:at] + junk + IMAGE[at + cut :]
    try:
        texts(data)
    except DataError as error:
        line = str(error)
        assert line.startswith("f: ")
