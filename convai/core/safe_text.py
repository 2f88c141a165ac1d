"""Text made safe to show and to keep: no control characters; on one line, piece by piece, or on several."""

from __future__ import annotations

import re
from typing import Final

# Everything that steers a terminal instead of being shown: C0 and C1 controls (an escape sequence begins
# with one), overrides of the writing direction (a line could show other words than it holds), and lone
# surrogates, which no encoding can write.
_STEERING: Final = "\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNSHOWN: Final = re.compile(f"[{_STEERING}\u2028\u2029]")
# The same less white space, which one_line turns into blanks.
_UNSPACED: Final = re.compile(f"(?!\\s)[{_STEERING}]")
_GAP: Final = re.compile("\n{3,}")


def visible(text: str) -> str:
    """`text` without any character that a terminal obeys: line ends and tabs, too."""
    return _UNSHOWN.sub("", text)


def visible_lines(text: str) -> str:
    """`visible`, line by line: line ends stay."""
    return "\n".join(map(visible, text.split("\n")))


def readable(text: str) -> str:
    """`text` without control characters, its line ends and tabs kept; empty where only blanks are left."""
    clean = _UNSPACED.sub("", text)
    return "" if clean.isspace() else clean


def one_line(text: str) -> str:
    """`text` as one clean line: control characters dropped, white space collapsed.

    What comes out, unless it is empty, passes `convai.core.dialog.check_text` unchanged.
    """
    return OneLine().push(text)


def kept_lines(text: str) -> str:
    """`text` with its lines kept: each a clean one (`one_line`), at most one blank one between two.

    What comes out, unless it is empty, passes `convai.core.dialog.check_lines` unchanged.
    """
    if len(found := text.splitlines()) < 2:
        return one_line(text)
    return _GAP.sub("\n\n", "\n".join(map(one_line, found))).strip("\n")


class OneLine:
    """`one_line` of a text that arrives in pieces: the pieces returned add up to the line.

    White space is held back until something follows it.
    """

    def __init__(self) -> None:
        self._begun = False
        self._gap = False

    def push(self, text: str) -> str:
        """What the next piece adds to the line; often empty."""
        text = _UNSPACED.sub("", text)
        words = text.split()
        if not words:
            self._gap |= bool(text)
            return ""
        before = " " if self._begun and (self._gap or text[0].isspace()) else ""
        self._begun, self._gap = True, text[-1].isspace()
        return before + " ".join(words)
