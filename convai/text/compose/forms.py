"""Files of forms: parts in square brackets, lists under a colon, a form a line; and how a form is filled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from convai.core.errors import DataError

Parts = dict[str, dict[str, list[str]]]
"""Part → list → forms; forms that stand directly under a part are its list ""."""

_FIELD: Final = re.compile(r"\{(a )?([A-Za-z]+[0-9]?)\}")
_SILENT: Final = re.compile(r"(?i)(hour|honest|heir)")
_SOUNDS_YOU: Final = re.compile(r"(?i)(uni[^n]|use|usu|eu|one|ukulele|ufo)")


def read_parts(path: Path) -> Parts:
    """The forms in a file. Raises DataError for a form that stands under nothing."""
    parts: Parts = {}
    lists: dict[str, list[str]] | None = None
    forms: list[str] | None = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            forms = []
            lists = parts[line[1:-1]] = {"": forms}
        elif lists is not None and re.fullmatch("[a-z]+:", line):
            forms = lists[line[:-1]] = []
        elif forms is not None:
            forms.append(line)
        else:
            raise DataError(f"{path}:{number}: no [part] before this form; write one above it")
    return parts


def with_article(noun: str) -> str:
    """The noun after "a" or "an".

    >>> with_article("owl"), with_article("unicycle"), with_article("hour")
    ('an owl', 'a unicycle', 'an hour')
    """
    if re.match(r"(8|11\b|18\b)", noun):
        return f"an {noun}"
    vowel = (noun[:1].lower() in "aeiou" and not _SOUNDS_YOU.match(noun)) or _SILENT.match(noun)
    return f"{'an' if vowel else 'a'} {noun}"


def fill(form: str, values: Mapping[str, str]) -> str:
    """The form with every `{field}` replaced; `{a field}` with its article, `{Field}` with a capital.

    Raises KeyError for a field without a value.
    """

    def value(match: re.Match[str]) -> str:
        name = match[2]
        if name not in values and name[0].isupper():
            text = values[name[0].lower() + name[1:]]
            return text[:1].upper() + text[1:]
        return with_article(values[name]) if match[1] else values[name]

    return _FIELD.sub(value, form)


def fields(form: str) -> set[str]:
    """The names of a form's fields, as `fill` looks them up."""
    return {match[2][0].lower() + match[2][1:] for match in _FIELD.finditer(form)}


def uncapitalised(text: str) -> str:
    """The text with a small first letter, as within a sentence ("I" stays)."""
    return text if re.match(r"I\b", text) else text[:1].lower() + text[1:]


def sentences(text: str) -> str:
    """The text with single spaces and a capital at the beginning of every sentence."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"([.!?])[.,]", r"\1", text.replace("...", "\u2026")).replace("\u2026", "...")
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def listed(clauses: list[str]) -> str:
    """The clauses as one: "a, b, and c".

    >>> listed(["you like tea", "you sing"])
    'you like tea and you sing'
    """
    if len(clauses) == 1:
        return clauses[0]
    return ", ".join(clauses[:-1]) + (", and " if len(clauses) > 2 else " and ") + clauses[-1]
