"""Whether a text has a key of a lorebook: words, or a regular expression, within bounds of time and memory.

Whoever writes a lorebook is not whoever runs the server: an expression may neither take its thread for long,
nor its memory when its counted repetitions are written out.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import regex

from convai.core.character import Lorebook, LoreEntry

REGEX_SECONDS: Final = 0.05
"""What one search with a key that is a regular expression may take; one that takes longer is given up."""
ALL_SECONDS: Final = 1.0
"""What all such searches for one reply may take; what is left then is not searched for."""
MAX_STEPS: Final = 100_000
"""Steps of a regular expression, its counted repetitions written out."""
_MAX_TEXT: Final = 20_000
"""Characters of a text that are searched."""
_MOST_GIVEN_UP: Final = 10_000
_SLASHED: Final = re.compile(r"/(.+)/([a-z]*)", re.DOTALL)
_PART: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(\d+)(?:,(\d*))?\}|.", re.DOTALL)
_logger: Final = logging.getLogger(__name__)
_given_up: Final[dict[str, None]] = {}


@dataclass(slots=True)
class Patience:
    """The seconds that regular expressions may still take for a reply."""

    left: float = ALL_SECONDS

    def spend(self, seconds: float, book: Lorebook) -> None:
        """So many of them are over."""
        if self.left > 0 >= self.left - seconds:
            _logger.warning(
                "the regular expressions of the lorebook %s take too long together; the later ones are left "
                "out of this reply; simplify them",
                book.name or "without a name",
            )
        self.left -= seconds


def has(book: Lorebook, entry: LoreEntry, key: str, texts: Sequence[str], patience: Patience) -> bool:
    """Whether one of the texts has a key of an entry."""
    cased = book.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
    whole = book.whole_words if entry.whole_words is None else entry.whole_words
    is_regex = entry.use_regex or _SLASHED.fullmatch(key) is not None
    if not is_regex:
        return any(has_key(key, text[:_MAX_TEXT], False, cased, whole) for text in texts)
    if patience.left <= 0:
        return False
    begun = time.monotonic()
    found = any(has_key(key, text[:_MAX_TEXT], True, cased, whole) for text in texts)
    patience.spend(time.monotonic() - begun, book)
    return found


@functools.lru_cache(maxsize=65_536)
def has_key(key: str, text: str, is_regex: bool, case_sensitive: bool, whole_words: bool) -> bool:
    """Whether a text has a key. A key like `/ab+/i` is a regular expression, whatever is said of it.

    A regular expression that is none, is too large, or takes more than REGEX_SECONDS, matches nothing.
    """
    slashed = _SLASHED.fullmatch(key)
    if slashed or is_regex:
        pattern, letters = (slashed[1], slashed[2]) if slashed else (key, "" if case_sensitive else "i")
        return _regex_has(pattern, letters, text)
    if not case_sensitive:
        key, text = key.casefold(), _folded(text)
    if whole_words and key in text:
        return re.search(rf"(?<!\w){re.escape(key)}(?!\w)", text) is not None
    return key in text


@functools.lru_cache(maxsize=512)
def _folded(text: str) -> str:
    return text.casefold()


def _regex_has(pattern: str, letters: str, text: str) -> bool:
    if pattern in _given_up:
        return False
    compiled = _compiled(pattern, letters)
    if compiled is None:
        return False
    try:
        return compiled.search(text, timeout=REGEX_SECONDS) is not None
    except TimeoutError:
        if len(_given_up) >= _MOST_GIVEN_UP:
            _given_up.pop(next(iter(_given_up)))
        _given_up[pattern] = None
        _logger.warning(
            "the key /%s/ of a lorebook takes too long and is left out; simplify it", pattern[:100]
        )
        return False


@functools.lru_cache(maxsize=4_096)
def _compiled(pattern: str, letters: str) -> regex.Pattern[str] | None:
    if steps(pattern) > MAX_STEPS:
        _logger.warning(
            "the key /%s/ of a lorebook repeats too much and is left out; simplify it", pattern[:100]
        )
        return None
    flags = sum({"i": regex.I, "m": regex.M, "s": regex.S}.get(letter, 0) for letter in {*letters})
    try:
        return regex.compile(pattern, flags)
    except (regex.error, RecursionError, OverflowError, ValueError):
        _logger.warning(
            "the key /%s/ of a lorebook is no regular expression; it matches nothing", pattern[:100]
        )
        return None


def steps(pattern: str) -> int:
    """About how many steps a pattern has, its counted repetitions written out: 6 of `(ab){3}`."""
    sizes, last = [0], 0
    for part in _PART.finditer(pattern):
        if part[1]:
            most = int((part[2] or part[1])[:9])
            sizes[-1] += last * (most - 1)
            last *= most
        elif part[0] == "(":
            sizes.append(0)
        elif part[0] == ")" and len(sizes) > 1:
            last = sizes.pop()
            sizes[-1] += last
        else:
            last = 1
            sizes[-1] += 1
    return sum(sizes)
