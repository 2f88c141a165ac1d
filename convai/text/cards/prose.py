"""Persona sentences from the text of a card: placeholders, the ways cards are written, bounds.

Cards in the wild are prose, lists, Markdown, W++ (`Age("25")`) or property lists (`[Age: 25; Likes: tea]`).
Every pattern here is linear in the length of the text.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Final

from convai.core.safe_text import one_line
from convai.text.cards.macros import SOMEBODY, YOU, Macros, addressed

MAX_TEXT: Final = 100_000
"""Characters of a field that are looked at."""
_MOST_DEPTH: Final = 10
MAX_SENTENCE: Final = 200
"""Characters of a sentence; a longer one is cut between two words."""
_CHAR_MARK: Final = "\x01"
"""Where the character's name stands until all macros are replaced."""
_SAID: Final = re.compile(
    r"\s*(?:(?:\{\{(?:user|char|random_user_\d{1,3})\}\}|<(?:user|bot|char|start)>)\s*(?::|$)"
    r"|END_OF_DIALOG(?:UE)?\s*$)",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"\s*END_OF_DIALOG(?:UE)?\s*$", re.IGNORECASE)
_SAID_CHARS: Final = 64
_LISTED: Final = re.compile(r"\[([^\[\]=\"]{1,80})=((?:\s*\"[^\"\[\]]{1,200}\",?){1,50})\s*\]")
_ASSIGNED: Final = re.compile(
    r"^([^\n=\[\]\"]{1,80})=[ \t]{0,5}\[((?:\s*\"[^\"\[\]\n]{1,200}\",?){1,50})\s*\]", re.MULTILINE
)
"""Boostyle's `Ann's traits = ["kind", "brave"]`."""
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|<!--[^<>]{0,500}-->")
_FIELD: Final = re.compile(r"<([A-Za-z][\w -]{0,30})>\s{0,20}([^<>]{1,2000})</\1>")
"""What a card in XML says of one matter: `<age>30</age>`."""
_INLINE: Final = frozenset("a b i u s q em del ins sub sup mark span font strong small big".split())
_HTML: Final = _INLINE | frozenset(
    "p br hr code pre center div body html table tr th td ul ol li h1 h2 h3 h4 h5 h6 blockquote "
    "start user bot char think".split()
)
_WPP: Final = re.compile(r"([A-Za-z][A-Za-z /_-]{0,40})\s?\(\s?(\"[^()]{1,1000})\)")
_CALL: Final = re.compile(r"([A-Za-z][A-Za-z /_-]{0,30})\(([^()\n]{2,2000})\)")
_ATTRIBUTES: Final = re.compile(r"(?:[^:;.!?]{1,40}:[^:;.!?]{1,200};\s*){2}")
"""Two attributes in one line, and what follows: `Age: 31; Job: baker; ...`."""
_OPEN: Final = re.compile(r"(\[[^\[\]\n]{0,2000}),[ \t]*\n\s*(?=[a-z])")
"""A list in brackets that goes on in the next line."""
_LINK: Final = re.compile(r"!?\[([^\[\]]{0,200})\]\([^()\s]{0,500}\)")
_PICTURE: Final = re.compile(r"!\[[^\[\]]{0,200}\]\([^()\s]{0,500}\)|<img\b[^<>]{0,500}>", re.IGNORECASE)
_BULLET: Final = re.compile(r"(?:[-*+•·>#]+|\d{1,3}[.)])\s+")
_EMPHASIS: Final = re.compile(r"[*_~`|]{1,3}")
_BRACKETS: Final = re.compile(r"[\[\]{}]")
_HEAD: Final = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+(?P<title>[^\n]{1,60}?)[ \t]*:?|[*_]{0,3}(?P<label>[^\W\d_][^\n:.!?#]{0,40}):)"
    r"[ \t*_]*\n"
    r"(?P<items>(?:[ \t]*\n)?(?:[ \t]*[-*+•·][ \t]+[^\n:.!?]{1,60}(?:\n|\Z)){1,30})"
    r"(?![ \t]*[-*+•·][ \t])",
    re.MULTILINE,
)
"""A heading, or a label, with a list of short items below it."""
_END: Final = re.compile(r"(?<=[.!?])[\"')”]?\s+")
_ABBREVIATED: Final = re.compile(r"(?:^|\s)(?:Dr|Mr|Mrs|Ms|St|Prof|Jr|Sr|vs|e\.g|i\.e|approx|[A-Z])\.$")
_SIGNS: Final = ("So", "Mn", "Cf")
"""Categories of what is drawn rather than written, of its variants and joiners."""
_LETTER: Final = re.compile(r"[^\W\d_]")


def without_pictures(text: str) -> str:
    """What is said without the pictures in it, which nothing here shows: `![a](https://...)`, `<img ...>`."""
    return _PICTURE.sub("", text)


def without_examples(text: str, *names: str) -> tuple[str, int]:
    """A field without its lines of dialogue (`{{user}}: hi`), which nobody is; and how many these were."""
    kept, said = split_examples(text, *names)
    return kept, len(said.split("\n")) if said else 0


def split_examples(text: str, *names: str) -> tuple[str, str]:
    """A field without its lines of dialogue, and those lines; among them the character, too, has its name."""
    people = {"you", "user", *(name.strip().lower() for name in names)}
    kept: list[str] = []
    said: list[str] = []
    block: list[tuple[bool, str]] = []  # from the first of its lines of dialogue on
    for line in text.split("\n"):
        spoken = bool(_SAID.match(line[:_SAID_CHARS]))
        if block and not spoken:
            name, colon, _ = line[:_SAID_CHARS].partition(":")
            spoken = bool(colon) and name.strip().lower() in people
        if spoken or block:
            block.append((spoken, line))
        else:
            kept.append(line)
        if _ENDS.match(line):  # all of it was said, lines without a name too
            said.extend(line for _, line in block)
            block = []
    said.extend(line for spoken, line in block if spoken)
    kept.extend(line for spoken, line in block if not spoken)
    return "\n".join(kept), "\n".join(said)


def resolved(text: str, char: str, user: str) -> str:
    """`text` with `{{char}}`, `{{user}}` and their like replaced; what is put in is not looked at again.

    Nothing is drawn: of several texts the first stays, dice show their mean.
    """
    user = YOU if user.lower() == YOU else user
    return addressed(marked(text, char, user), user)


def marked(text: str, char: str, user: str = SOMEBODY) -> str:
    """`text` likewise, with a USER_MARK where the user stands."""
    macros = Macros(_CHAR_MARK, user, seed=None)
    return macros.marked(text.replace(_CHAR_MARK, "")).replace(_CHAR_MARK, char)  # a name is no macro


def missing(text: str) -> list[str]:
    """The macros in a field whose values nobody knows, as they are written."""
    return Macros("", seed=None).missing(text)


def sentences(text: str) -> list[str]:
    """The sentences of a field, each on one line, without markup; empty ones are left out."""
    text = html.unescape(
        _TAG.sub(_untagged, _FIELD.sub(_labelled, _LINK.sub(r"\1", _attributes(text[:MAX_TEXT]))))
    )
    text = _OPEN.sub(r"\1, ", _LISTED.sub(_attribute, _ASSIGNED.sub(_attribute, text)))
    text = _WPP.sub(_property, text).replace("\r\n", "\n").replace("\r", "\n")
    text = _HEAD.sub(_gathered, text)
    return [sentence for line in text.split("\n") for sentence in _of_line(line)]


def _labelled(field: re.Match[str]) -> str:
    """`age: 30` of `<age>30</age>`; sentences stand for themselves, and what HTML marks as it is."""
    name, said = field[1], field[2].strip()
    if name.lower() in _HTML or not said:
        return field[0]
    sentences_in = "\n" in said or _END.search(f"{said} ")
    return f"\n{said}\n" if sentences_in else f"\n{name.replace('_', ' ')}: {said}\n"


def _untagged(tag: re.Match[str]) -> str:
    """What stands for a tag: nothing within a line, else a blank."""
    return "" if tag[0].strip("</>").partition(" ")[0].lower() in _INLINE else " "


def _attributes(text: str) -> str:
    """A field that is an object of JSON as lines `name: value`; any other as it is."""
    if not text.lstrip().startswith("{") or text.lstrip().startswith("{{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return "\n".join(_lines_of(value)) if isinstance(value, dict) else text


def _lines_of(value: dict[str, Any], depth: int = 0) -> Iterator[str]:
    for name, item in value.items():
        if isinstance(item, dict) and depth < _MOST_DEPTH:
            yield from _lines_of(item, depth + 1)
            continue
        texts = [
            str(one)
            for one in (item if isinstance(item, list) else [item])
            if isinstance(one, str | int | float)
        ]
        if texts:
            yield f"{name.replace('_', ' ')}: {', '.join(texts)}"


def _attribute(match: re.Match[str]) -> str:
    """Ali:Chat's `[Ann's traits= "kind", "brave"]` → a line `Ann's traits: kind, brave`."""
    values = [part.strip() for part in match[2].split('"')[1::2]]
    return f"\n{match[1].strip()}: {', '.join(value for value in values if value)}\n"


def _property(match: re.Match[str]) -> str:
    """`Likes("tea" + "cake")` → a line `Likes: tea, cake`."""
    values = [part.strip().strip('"').strip() for part in match[2].split("+")]
    return f"\n{match[1].strip()}: {', '.join(value for value in values if value)}\n"


def _gathered(match: re.Match[str]) -> str:
    """`## Likes`, `- tea`, `- cake` → a line `Likes: tea, cake`."""
    items = [_BULLET.sub("", line.strip(), count=1).strip(" ,;") for line in match["items"].split("\n")]
    return f"{match['title'] or match['label']}: {', '.join(item for item in items if item)}\n"


def _of_line(line: str) -> Iterator[str]:
    line = _without_signs(line)
    listed = (line.startswith("[") and ";" in line) or bool(_ATTRIBUTES.match(line))
    line = _BULLET.sub("", line, count=1) if _BULLET.match(line) else line
    if call := _CALL.fullmatch(line):  # `likes(tea, cake)`
        line = f"{call[1].strip()}: {call[2]}"
    line = _BRACKETS.sub(" ", _EMPHASIS.sub("", line))
    for part in line.split(";") if listed else [line]:
        for piece in _joined(_END.split(part)):
            clean = one_line(piece).strip(" ,;:+-=\"'“”")
            if len(_LETTER.findall(clean)) >= 2:
                yield clean if clean[-1] in ".!?" else clean + "."


def _without_signs(line: str) -> str:
    """The line without the pictures and frames around it: emoji, boxes."""
    start, end = 0, len(line)
    while start < end and (line[start].isspace() or unicodedata.category(line[start]) in _SIGNS):
        start += 1
    while end > start and (line[end - 1].isspace() or unicodedata.category(line[end - 1]) in _SIGNS):
        end -= 1
    return line[start:end]


def _joined(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces, but those that end with an abbreviation together with the next."""
    held = ""
    for piece in pieces:
        held = f"{held} {piece}" if held else piece
        if len(held) > MAX_SENTENCE or not _ABBREVIATED.search(held[-12:]):
            yield held
            held = ""
    if held:
        yield held


def shortened(sentence: str) -> str:
    """The sentence, or as many of its words as MAX_SENTENCE holds."""
    if len(sentence) <= MAX_SENTENCE:
        return sentence
    head = sentence[: MAX_SENTENCE - 3]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:") + "..."
