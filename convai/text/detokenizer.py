"""Ids back to text, one at a time: never half a character, and the pieces add up to the whole."""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Self

from convai.text.textnorm import join_spaced

# Between two plain words no joining rule looks across the space, whatever follows.
_SAFE_CUT = re.compile(r"(?<=[a-z0-9]) (?=[a-z0-9]{2})")


@cache
def byte_of_char() -> dict[str, int]:
    """GPT-2's printable stand-in for each byte, inverted: 256 entries.

    Source: `bytes_to_unicode` of openai/gpt-2, encoder.py.
    """
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class StreamDecoder(ABC):
    """Text of a reply as its ids arrive. Spaces before the first character are dropped.

    `"".join([*map(push, ids), finish()])` is `Tokenizer.decode(ids)`. One stream decodes one reply.
    """

    def __init__(self) -> None:
        self._begun = False

    def behind_text(self) -> Self:
        """Keep spaces from now on, as behind the text of another stream. Returns the stream."""
        self._begun = True
        return self

    def push(self, id: int) -> str:
        """The text that this id makes certain; often empty. Special ids have no text."""
        return self._emit(self._advance(id))

    def finish(self) -> str:
        """What was still held back. Bytes of a character that never came to its end are dropped."""
        return self._emit(self._rest())

    def run(self, ids: Iterable[int]) -> str:
        """All at once: every id, then the rest."""
        return "".join([*map(self.push, ids), self.finish()])

    def _emit(self, text: str) -> str:
        if self._begun:
            return text
        text = text.lstrip(" ")
        self._begun = bool(text)
        return text

    @abstractmethod
    def _advance(self, id: int) -> str: ...

    @abstractmethod
    def _rest(self) -> str: ...


class ByteStream(StreamDecoder):
    """Byte-level tokens (GPT-2 and everything trained here).

    `pieces[id]` is the token's bytes. Bytes that are no UTF-8 are left out rather than shown as U+FFFD.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def _advance(self, id: int) -> str:
        return self._decoder.decode(self._pieces[id]) if 0 <= id < len(self._pieces) else ""

    def _rest(self) -> str:
        return self._decoder.decode(b"", final=True)


class WordStream(StreamDecoder):
    """Tokens that mark the end of a word with `</w>` (OpenAI GPT), which are split at punctuation.

    `pieces[id]` is the token with that mark as a space. Text is held back until no joining rule
    (`i ' m` to `i'm`, ` ,` to `,`) can change it any more: about one word.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__()
        self._pieces = pieces
        self._held = ""

    def _advance(self, id: int) -> str:
        if 0 <= id < len(self._pieces):
            self._held += self._pieces[id]
        cut = 0
        for match in _SAFE_CUT.finditer(self._held):
            cut = match.start()
        done, self._held = self._held[:cut], self._held[cut:]
        return join_spaced(done)

    def _rest(self) -> str:
        held, self._held = self._held, ""
        return join_spaced(held.rstrip(" "))
