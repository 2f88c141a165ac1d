"""A character that somebody wrote as a text, not in a card: W++, boostyle, a property list, Markdown.

Such texts are pasted where a persona is asked for. They are told by their marks; a text without any is a
persona as it stands.
"""

from __future__ import annotations

import re
from typing import Final

from convai.core.safe_text import one_line
from convai.text.cards.card import Card, new_card

MAX_WRITTEN: Final = 100_000
"""Characters of a text that may be one."""
_WPP: Final = re.compile(r"\b[A-Za-z][A-Za-z _-]{0,40}\(\s*\"[^\"()]{1,300}\"")
_WPP_NAME: Final = re.compile(r"\b(?:character|char|name)\s*\(\s*\"([^\"()]{1,60})\"", re.IGNORECASE)
_HEADING: Final = re.compile(
    r"\s*#{1,3}[ \t]+(?:(?:character|name)[ \t]*:[ \t]*)?([^\n#:]{1,60})", re.IGNORECASE
)
_ASSIGNED: Final = re.compile(r"^[ \t]*([^\W\d_][^\n=\"\[\]]{0,60})=[ \t]{0,5}\[[ \t]*\"", re.MULTILINE)
_PROPERTIES: Final = re.compile(r"\s*\[(?:[^\[\];:]{1,60};)?\s*[^\[\];:]{1,60}:[^\[\];]{1,2000};")
_FIRST_PROPERTY: Final = re.compile(r"\s*\[\s*([^\W\d_][^\[\];:]{0,60});")
_MACRO: Final = re.compile(r"\{\{\s*(?:char|user)\s*\}\}", re.IGNORECASE)
_NAME: Final = re.compile(r"\bname[ \t]*[:=][ \t]*\"?([^\W\d_][^\"()\n;,\[\]]{0,60})", re.IGNORECASE)


def written(text: str) -> Card | None:
    """The card of such a text, its name where it says one; None for any other text."""
    if len(text) > MAX_WRITTEN:
        return None
    heading = _HEADING.match(text)
    properties = _PROPERTIES.match(text)
    assigned = _ASSIGNED.search(text)
    if not (len(_WPP.findall(text)) > 1 or heading or properties or assigned or _MACRO.search(text)):
        return None
    said = _WPP_NAME.search(text) or _NAME.search(text)
    if said is None and properties:
        said = _FIRST_PROPERTY.match(text)
    name = (said or heading or assigned or [""] * 2)[1]
    return new_card(one_line(name).strip(" *_'\""), text)
