"""What a reply was made of, shown in the terminal: `/why`."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from convai.core.safe_text import visible
from convai.core.settings import DecodingConfig
from convai.terminal.screen import TIE, Screen

if TYPE_CHECKING:
    from convai.conversation.explain import Explanation, InputToken


def show_explanation(screen: Screen, explained: Explanation) -> None:
    """The input of the last reply, how probable its tokens were, its candidates and its settings."""
    screen.line("Input of the last reply: position, segment, tokens with | between them.", "bold")
    part = ""
    for group in _groups(explained.rows):
        first = group[0]
        shown = first.part if first.part != part else ""
        part = first.part
        tokens = "|".join(map(_token, group))
        screen.line(tokens, prefix=f"{shown:<8} {first.position:>4}  {first.segment:<10}  ")
    if explained.left_out:
        screen.note(f"{explained.left_out} older turns are not shown to the model any more; see max_history")
    drawn = [row for row in explained.rows if row.logprob is not None]
    if drawn:
        screen.line("How probable each token of the reply was to the model:", "bold")
        shares = (f"{_token(row).strip() or '_'}{TIE}{_percent(row.logprob)}" for row in drawn)
        screen.line(" | ".join(shares), prefix="  ")
    _candidates(screen, explained)
    screen.line("It was drawn with:", "bold")
    names = (field.name for field in dataclasses.fields(DecodingConfig))
    used = (f"{name}{TIE}{value_text(getattr(explained.decoding, name))}" for name in names)
    screen.line(", ".join(used), "dim", prefix="  ")


def _token(row: InputToken) -> str:
    """A token's text with control characters spelt out, and a mark for a part of a character."""
    spelt = (char if visible(char) else f"\\x{ord(char):02x}" for char in row.text)
    return "".join(spelt) or "\N{REPLACEMENT CHARACTER}"


def _groups(rows: tuple[InputToken, ...]) -> list[list[InputToken]]:
    """Rows of one sentence, or one turn, together; <bos> stands alone."""
    groups: list[list[InputToken]] = []
    for i, row in enumerate(rows):
        same = i > 1 and (row.part, row.item) == (rows[i - 1].part, rows[i - 1].item)
        if same:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _percent(logprob: float | None) -> str:
    share = math.exp(logprob or 0.0)
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}" if share >= 0.001 else "<0.1%"


def _candidates(screen: Screen, explained: Explanation) -> None:
    if explained.chosen is None:
        screen.note("this reply was stopped: it has no score")
        return
    screen.line("Candidates: score of the next-sentence head (higher is better), log-probability.", "bold")
    order = sorted(range(len(explained.candidates)), key=lambda i: -explained.candidates[i].score)
    for i in order:
        one = explained.candidates[i]
        mark = "*" if i == explained.chosen else " "
        screen.line(one.text, prefix=f"{mark} {one.score:>8.3f} {one.logprob:>8.2f}  ")


def value_text(value: object) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == "" else str(value)
