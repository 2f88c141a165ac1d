"""Persona, Turn, Dialog and the history window: the words everything else is built from.

Speakers are numbered: 0 is the partner (the user, `<speaker1>`), 1 is the agent (`<speaker2>`).
The speaker is stored with every turn and never computed from a turn's place in the list, so a window
that starts anywhere, or a person who writes twice in a row, stays correctly attributed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from convai.core.errors import DataError
from convai.core.safe_text import kept_lines

USER: Final = 0
AGENT: Final = 1

MAX_UTTERANCE_CHARS: Final = 100_000
"""Longer utterances are refused as damaged input (a 10 MB line is a broken file, not a remark)."""

_SESSION: Final = re.compile(r"(.+)-session([0-9]+)")
_UNDECODED = re.compile("[\udc80-\udcff]")
_NOT_TEXT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Persona:
    """Who somebody is, in a few sentences. An empty persona is legal."""

    sentences: tuple[str, ...] = ()
    name: str = ""

    def __bool__(self) -> bool:
        return bool(self.sentences)

    @classmethod
    def parse(cls, text: str, *, name: str = "") -> Persona:
        """Split free text into sentences, at line ends and after `.`, `!` or `?`.

        >>> Persona.parse("i am a nurse. i have two dogs.").sentences
        ('i am a nurse.', 'i have two dogs.')
        """
        parts = (" ".join(part.split()) for part in _SENTENCE_END.split(text))
        return cls(tuple(part for part in parts if part), name)


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. `distractors` are wrong replies from the corpus, when it brings any.

    One that is no `target` is read as part of the history and never learnt from or measured. `added`: lines
    that nobody says, which stand before it in the prompt (a memory's, for example). `name`: who of the
    agent's side said it, where there are several (a group).
    """

    speaker: int
    text: str
    distractors: tuple[str, ...] = ()
    target: bool = field(default=True, kw_only=True)
    added: tuple[str, ...] = field(default=(), kw_only=True)
    name: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Dialog:
    """A conversation: `personas[s]` belongs to speaker `s` (0 user, 1 agent), then the turns."""

    turns: tuple[Turn, ...] = ()
    personas: tuple[Persona, Persona] = (Persona(), Persona())
    id: str = ""
    source: str = ""
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def session(self) -> tuple[str, int] | None:
        """Who talk and for which time, where the id says so as in Multi-Session Chat: "NAME-session2"."""
        named = _SESSION.fullmatch(self.id)
        return (named[1], int(named[2])) if named else None

    @property
    def persona(self) -> Persona:
        """The agent's persona, the only one that a model is given."""
        return self.personas[AGENT]

    def swapped(self) -> Dialog:
        """The same conversation seen from the other chair: the user becomes the agent."""
        turns = tuple(replace(t, speaker=AGENT if t.speaker == USER else USER) for t in self.turns)
        return replace(self, turns=turns, personas=(self.personas[AGENT], self.personas[USER]))

    def replies(self) -> Iterable[tuple[int, Turn]]:
        """Index and turn of every agent reply that answers something said before it, and is a target."""
        return ((i, t) for i, t in enumerate(self.turns) if i and t.speaker == AGENT and t.target)


def history_window(turns: Sequence[Turn], max_history: int | None) -> Sequence[Turn]:
    """The last `2 * max_history + 1` turns: that many exchanges and the utterance to be answered.

    Source: `--max_history` of transfer-learning-conv-ai. `None` keeps everything.
    """
    if max_history is None:
        return turns
    keep = 2 * max_history + 1
    return turns[-keep:] if len(turns) > keep else turns


def check_text(text: object, where: str) -> str:
    """`text` as one clean line, or a DataError that begins with `where` (a file:line or a field).

    Raises DataError when it is not a string, is blank, is over MAX_UTTERANCE_CHARS long, or holds
    control characters other than white space (binary junk).
    """
    if not isinstance(text, str):
        raise DataError(f"{where}: expected text, found {type(text).__name__}; put it in quotes")
    if len(text) > MAX_UTTERANCE_CHARS:
        raise DataError(
            f"{where}: {len(text):,} characters in one utterance (at most {MAX_UTTERANCE_CHARS:,}); "
            "split it into turns"
        )
    clean = " ".join(text.split())
    if not clean:
        raise DataError(f"{where}: empty text; remove it or write what was said")
    if damaged := _UNDECODED.search(clean):  # kept by `text_files.damaged_kept`
        raise DataError(
            f"{where}: not UTF-8 (byte 0x{ord(damaged[0]) - 0xDC00:02x}); write the word anew, or name the "
            "file's encoding where a command has --encoding"
        )
    if _NOT_TEXT.search(clean):
        raise DataError(f"{where}: control characters in the text; is this a text file in UTF-8?")
    return clean


def check_lines(text: object, where: str) -> str:
    """`check_text` for what is shown as it was written: its lines are kept (`safe_text.kept_lines`)."""
    clean = check_text(text, where)
    return kept_lines(text) if isinstance(text, str) and len(text.splitlines()) > 1 else clean
