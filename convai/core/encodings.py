"""In which encoding a text is that says nothing of it: UTF-8, UTF-16 without a mark, Windows-1252.

Windows-1252 (and Latin-1, of which it has all letters) cannot be told from its neighbours with certainty: it
is taken where what is not UTF-8 are letters and signs of Western European languages, where words have them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Final

UTF8: Final = "utf-8"
WESTERN: Final = "windows-1252"

_FEW: Final = 0.5
"""Letters with accents to plain ones above which a text is of another script."""
_HIGH = re.compile(rb"[\x80-\xff]")
_LETTERS = re.compile(rb"[A-Za-z]")
_SIGNS: Final = (
    b"\x80\x82\x84\x85\x8b\x91\x92\x93\x94\x95\x96\x97\x99\x9b"  # euro sign, quotes, dots, dashes
    b"\xa0\xa1\xa2\xa3\xa7\xa9\xaa\xab\xad\xae\xb0\xb2\xb3\xb4\xb7\xba\xbb\xbc\xbd\xbe\xbf"
)
_ACCENTED: Final = bytes([0x8A, 0x8C, 0x8E, 0x9A, 0x9C, 0x9E, 0x9F]) + bytes(
    byte for byte in range(0xC0, 0xFF) if byte not in (0xD7, 0xF7)
)
_KNOWN: Final = frozenset(_SIGNS + _ACCENTED)
_RUN = re.compile(rb"[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xd6\xd8-\xf6\xf8-\xfe]{3}")
"""More letters with accents in a row than these languages have."""
_WITHIN_WORDS = re.compile(
    rb"[A-Za-z][\xa1-\xa9\xab\xac\xae-\xb3\xb5\xb6\xb8\xb9\xbb-\xbf][a-z]|[\xb2\xb3\xb9\xbc-\xbe][a-z]"
)
"""Signs amid a word, raised digits before one: letters of another alphabet."""
_CUT = re.compile(rb"[a-z][\xc0-\xde](?![\xc0-\xdeA-Z])|\xc3[\x80-\xbf]|\xe2\x80")
"""A capital with an accent behind a small letter, or before a sign: what is left of damaged UTF-8."""


def utf16_without_mark(start: bytes) -> str:
    """`utf-16-le` or `utf-16-be` where every second byte at the beginning of a text is 0, else nothing."""
    pairs = len(start) // 2
    high, low = start[0 : 2 * pairs : 2].count(0), start[1 : 2 * pairs : 2].count(0)
    if pairs < 2 or (high and low) or max(high, low) <= 0.4 * pairs:
        return ""
    return "utf-16-le" if low else "utf-16-be"


def marked_utf16(start: bytes) -> str:
    """`utf-16` (or `utf-32`) where a text begins with its mark, else as `utf16_without_mark`."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return "utf-16" if start.startswith(marks) else utf16_without_mark(start)


def ends_lines_with_cr(start: bytes) -> bool:
    """Whether a text that begins so has the line ends of old Macintoshes, which are `\\r` alone."""
    return b"\r" in start[:-1] and b"\n" not in start


def encoding_of(lines: Iterable[bytes]) -> str:
    """UTF8, or WESTERN where no line has a character of UTF-8's own and what else there is fits."""
    plain = accented = others = 0
    for line in lines:
        if line.isascii():
            plain += len(_LETTERS.findall(line))
            continue
        if _is_utf8(line):
            return UTF8
        high = _HIGH.findall(line)
        if any(byte[0] not in _KNOWN for byte in high):
            return UTF8
        if any(unlike.search(line) for unlike in (_RUN, _WITHIN_WORDS, _CUT)):
            return UTF8
        others += 1
        plain += len(_LETTERS.findall(line))
        accented += sum(byte[0] in _ACCENTED for byte in high)
        if accented > 200 and accented > _FEW * plain:
            return UTF8
    return WESTERN if others and accented <= _FEW * plain else UTF8


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode(UTF8)
    except UnicodeDecodeError:
        return False
    return True
