"""What a data set's makers left in dialogues: "(user 1)", "[user 2's name]", a model's "<think> ..."."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from convai.core.dialog import Dialog

_ROLE: Final = r"(?:user|speaker|person) ?[12]"
_LABEL: Final = re.compile(rf"^\s*[(\[]?{_ROLE}[)\]]?\s*[:,-]\s+", re.IGNORECASE)
_ASIDE: Final = re.compile(rf"\s*[(\[]{_ROLE}[)\]]", re.IGNORECASE)
_HIDDEN: Final = (
    *("PHONE", "EMAIL", "MAIL", "URL", "LINK", "ADDRESS", "DATE", "TIME", "NUMBER", "NUM", "PERSON", "PER"),
    *("LOC", "LOCATION", "ORG", "NAME", "USER", "USERNAME", "REDACTED", "REMOVED", "PII", "SSN", "IP"),
)
_LEFT: Final = re.compile(
    rf"[(\[{{<]{{1,2}}\s*(?:insert )?(?:(?:your|the|my|his|her|first|last|{_ROLE}(?:'s)?)[ _]?)*"
    rf"(?:name|city|town|country|age|job|hobby|company|school|user|char|character|phone number"
    rf"|e-?mail address)(?: here)?\s*[)\]}}>]{{1,2}}"
    rf"|\b{_ROLE}\b|</?think(?:ing)?>"
    r"|[(\[{<]insert [^)\]}>]{1,40}[)\]}>]|(?<!\w)_{3,}(?!\w)|(?<!\w)@user\b",
    re.IGNORECASE,
)
_MASKED: Final = re.compile(r"[\[<{](?:[A-Z]{1,20}_)?(?:" + "|".join(_HIDDEN) + r")(?:_?\d{1,3})?[\]>}]")
"""What stands for what was hidden: in capitals, since "[name]" of small letters is a word to write."""
_BARE: Final = re.compile(
    r"(?<!\w)(?:%[A-Z][A-Z_]{2,20}%|\$\{?(?:NAME|USER|CITY|PERSON|LOCATION)\b\}?"
    r"|(?:PERSON|NAME|LOCATION|USER|CITY)_\d{1,3}\b)"
)
"""The same without brackets: `%CITY%`, `$NAME`, `PERSON_1`."""
_THOUGHT: Final = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.IGNORECASE | re.DOTALL)


def placeholder(text: str) -> str:
    """The first placeholder in a text, or an empty text.

    >>> placeholder("Hi, I'm (user 2's name).")
    "(user 2's name)"
    >>> placeholder("my name (it is long) is Ann")
    ''
    """
    match = _LEFT.search(text) or _MASKED.search(text) or _BARE.search(text)
    return match[0] if match else ""


def first_placeholder(dialog: Dialog) -> str:
    """The first placeholder in what is said, or in a persona; an empty text where there is none."""
    texts = [turn.text for turn in dialog.turns]
    texts += [sentence for persona in dialog.personas for sentence in persona.sentences]
    return next(filter(None, map(placeholder, texts)), "")


def cleaned(dialog: Dialog) -> Dialog | None:
    """The dialogue without what only names a speaker; None where a placeholder stands for a word.

    "User 1: hi" and "I like (user 1) tea" lose the role, a reply its reasoning; of "I'm (user 1's name)"
    nothing can be made.
    """
    turns = tuple(replace(turn, text=_without_roles(turn.text)) for turn in dialog.turns)
    personas = tuple(
        replace(persona, sentences=tuple(filter(None, map(_without_roles, persona.sentences))))
        for persona in dialog.personas
    )
    texts = [turn.text for turn in turns] + [s for persona in personas for s in persona.sentences]
    if any(not text or placeholder(text) for text in texts):
        return None
    return replace(dialog, turns=turns, personas=(personas[0], personas[1]))


def _without_roles(text: str) -> str:
    return " ".join(_ASIDE.sub("", _LABEL.sub("", _THOUGHT.sub(" ", text))).split())
