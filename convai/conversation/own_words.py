"""A reply in a group, cleaned: without its speaker's name in front, and up to where it speaks for another.

A model that has read "Bob: hello" writes "Ann: hi. Bob: hello": the first name is shown already, and Bob has
a turn of his own. Another's name counts at the begin of a line, or of a sentence, with a colon behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LINE: Final = "\n"
_BEFORE: Final = (_LINE, ". ", "! ", "? ", "… ", '" ', "” ", "* ", ") ")
"""What another's name follows, where somebody else begins to speak."""
_USER: Final = ("User", "You")
"""What a model calls the user, whatever their name."""


def stops_of(others: Sequence[str], user: str = "") -> tuple[str, ...]:
    """The texts at which a reply speaks for another; a reply begins as a line does."""
    names = dict.fromkeys((*others, *(name.split()[0] for name in others if name.split()), user, *_USER))
    return tuple(f"{before}{name}:" for name in names if name for before in _BEFORE)


class OwnWords:
    """What of a text that arrives in pieces are its speaker's own words.

    What may become a name is held back; however the text is cut, the pieces add up to how `own_words` of it
    begins. `over`: somebody else is spoken for, and nothing follows.
    """

    def __init__(self, own: Sequence[str], stops: Sequence[str], before: str = "") -> None:
        """`own`: what the speaker is called; `stops`: see `stops_of`; `before`: what was said already."""
        self._own = [] if before else [f"{name}:".lower() for name in own if name]
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._text = before[-self._longest :] if before else _LINE
        self._sent = len(self._text)
        self.over = False

    def push(self, text: str) -> str:
        """What the next piece adds."""
        if self.over:
            return ""
        self._text += text
        if self._own and not self._begun():
            return ""
        start = max(self._sent - self._longest, 0)
        ends = [
            (at + len(stop), at, stop) for stop in self._stops if (at := self._text.find(stop, start)) >= 0
        ]
        if ends:
            self.over = True
            _, at, stop = min(ends)
            ready = at + len(stop.partition(" ")[0].partition(_LINE)[0])
            return self._send(ready)
        return self._send(len(self._text) - self._held())

    def end(self) -> str:
        """What was held back, at the end of the text."""
        return "" if self.over else self._send(len(self._text))

    def _send(self, until: int) -> str:
        ready = self._text[self._sent : until]
        self._sent = max(self._sent, until)
        return ready

    def _begun(self) -> bool:
        """Whether it is known where the words begin; the speaker's own name before them is gone then."""
        said = self._text[self._sent :].lstrip()
        while name := next((name for name in self._own if said.lower().startswith(name)), ""):
            said = said[len(name) :].lstrip()
        self._text = self._text[: self._sent] + said
        if any(name.startswith(said.lower()) for name in self._own):
            return False
        self._own = []
        return True

    def _held(self) -> int:
        """Characters at the end that may be the begin of a stop."""
        return max((_overlap(self._text, stop) for stop in self._stops), default=0)


def own_words(text: str, own: Sequence[str], stops: Sequence[str], before: str = "") -> str:
    """All of a text at once."""
    words = OwnWords(own, stops, before)
    return words.push(text) + words.end()


def _overlap(text: str, stop: str) -> int:
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
