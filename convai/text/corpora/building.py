"""Checked pieces of a Dialog (sentences, wrong replies, speakers), with errors that name the place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError

SILENCE: Final = "__SILENCE__"
"""What the partner 'says' in PERSONA-CHAT and ParlAI files where the agent speaks first."""

NO_PERSONAS: Final = (Persona(), Persona())


def is_silence(text: object) -> bool:
    """Whether a turn only stands for 'nothing was said' (the JSON form has blanks: `__ SILENCE __`)."""
    return isinstance(text, str) and len(text) < 32 and text.replace(" ", "") == SILENCE


def dialog(
    where: str,
    turns: Sequence[Turn],
    personas: tuple[Persona, Persona] = NO_PERSONAS,
    *,
    id: str = "",
    source: str = "",
    labels: Mapping[str, Any] | None = None,
) -> Dialog:
    """A Dialog of at least two turns, or a DataError that begins with `where`."""
    if len(turns) < 2:
        found = "one turn" if turns else "no turns"
        raise DataError(f"{where}: a dialogue with {found}; it needs something said and a reply")
    return Dialog(tuple(turns), personas, id, source, labels or {})


def as_list(value: object, where: str, what: str) -> list[Any]:
    """`value` if it is a list, else a DataError: `where: 'what' is ...`."""
    if not isinstance(value, list):
        raise DataError(f"{where}: '{what}' is {kind(value)}; make it a list")
    return value


def as_object(value: object, where: str, example: str) -> dict[str, Any]:
    """`value` if it is a JSON object, else a DataError that shows what is expected."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object, found {kind(value)}; write it like {example}")
    return value


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def sentences(value: object, where: str) -> tuple[str, ...]:
    """Persona sentences from a list of texts. Raises DataError when it is no list or one is not text."""
    items = as_list(value, where, "persona")
    return tuple(check_text(item, f"{where}, persona sentence {i}") for i, item in enumerate(items, 1))


def persona_from_text(value: object, where: str) -> Persona:
    """A persona from free text, a sentence or line each; blank text is the empty persona."""
    if isinstance(value, str) and not value.strip():
        return Persona()
    check_text(value, f"{where}, persona")
    return Persona.parse(str(value))


def wrong_replies(value: object, where: str) -> tuple[str, ...]:
    """Distractors from a list of texts; blank ones carry nothing and are left out."""
    items = as_list(value, where, "candidates")
    return tuple(
        check_text(item, f"{where}, candidate {i}")
        for i, item in enumerate(items, 1)
        if not (isinstance(item, str) and not item.strip())
    )


def without_gold(candidates: Sequence[str], gold: str) -> tuple[str, ...]:
    """The candidates less one that equals the gold reply, the last such one."""
    rest = list(candidates)
    for i in range(len(rest) - 1, -1, -1):
        if rest[i] == gold:
            del rest[i]
            break
    return tuple(rest)


def two_sides(speakers: Sequence[int]) -> tuple[int, int]:
    """Which numbers are (user, agent) in a conversation of any number of speakers.

    0 and 1 stay what they are. With any other number about, the first to speak is the user, the second
    the agent, and everybody else is a partner of the agent too.
    """
    if all(speaker in (USER, AGENT) for speaker in speakers):
        return USER, AGENT
    order = list(dict.fromkeys(speakers))
    return order[0], order[1] if len(order) > 1 else -1


def merged(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of one speaker in a row joined by a blank, for formats where speakers alternate."""
    out: list[Turn] = []
    for turn in turns:
        if out and out[-1].speaker == turn.speaker:
            last = out[-1]
            text = f"{last.text} {turn.text}"
            wrong = last.distractors or turn.distractors
            out[-1] = Turn(turn.speaker, text, wrong, target=last.target and turn.target)
        else:
            out.append(turn)
    return out
