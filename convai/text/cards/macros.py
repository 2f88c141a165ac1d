"""Macros of cards (`{{char}}`, `{{random:a,b}}`, `<USER>`): replaced once, bounded, the same every time.

Sources: SPEC_V3.md ("Curly Braced Syntaxes") and SillyTavern's documentation ("Macros"). What is drawn
(`random`, `pick`, `roll`) is drawn from the seed of the conversation and the text, so that a prompt stays
what it was and every door shows the same; for that reason `{{time}}` and `{{date}}` are those at which the
conversation began. Names that are put in are not looked at again, nested macros are replaced from the inside,
a few levels deep, and no text grows beyond MAX_RESULT.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from convai.text.cards.blanks import BLANK, MARKS, SILENT, settled, unknown
from convai.text.cards.first_person import USER_MARK, plain_form

MAX_RESULT: Final = 100_000
"""Characters of a text with its macros replaced; what is beyond is cut."""
MAX_LEVELS: Final = 8
"""Macros in one another that are replaced; what is deeper is left out."""
MAX_DICE: Final = 1_000
"""Of one throw."""
MOST_DICE: Final = 10_000
"""Of all throws in a text; later ones are left out."""
_MACRO: Final = re.compile(r"\{\{([^{}]{0,5000})\}\}|<(user|bot|char|charifnotgroup)>", re.IGNORECASE)
_TRIM: Final = re.compile(r"(?<!\s)\s*\{\{\s*trim\s*\}\}\s*", re.IGNORECASE)
_LOOSE: Final = re.compile(r"\{{1,2}\s*(user|char)\s*\}{1,2}", re.IGNORECASE)
"""A name's macro with a brace too few, which cards in the wild have."""
_YOURS: Final = re.compile(USER_MARK + r"['’]?s\b")
_OWNED: Final = re.compile(r"[\s\"“*_(\[]*\w")
_YOU_ARE: Final = re.compile(
    USER_MARK
    + r"['’]s(?=\s+(?:my|your|his|her|our|their|a|an|the|not|here|there|been|going|gone|about|in|on|at)\b)"
)
"""Where `{{user}}'s` is short for is: `{{user}}'s my apprentice`."""
_YOU_VERB: Final = re.compile(
    r"(?P<before>\b[a-z]+ )?"
    + USER_MARK
    + r"(?P<between>(?: (?:always|never|often|usually|sometimes|also|still|just|only|[a-z]+ly)){0,2})"
    + r" (?P<verb>[a-z]+(?:['’]t)?)\b",
    re.IGNORECASE,
)
_CALLED: Final = re.compile(
    r"(?:,\s*|\b(?P<word>hello|hi|hey|welcome|greetings|good (?:morning|evening|day))\s+)"
    + USER_MARK
    + r"(?=\s*(?:[.!?,~…\"”*]|$))",
    re.IGNORECASE,
)
_LABELLED: Final = re.compile(r"(?:^|[\n.!?;\[])[\s*_\"-]*[A-Z][\w /'’-]{0,40}[*_]*:\s[^\n.!?;]{0,500}\Z")
"""What stands before one of several values of a label: `Likes: tea, {{user}}`."""
_BEGINS: Final = re.compile(rf"(^|[\n.!?]\s+)([\"“*(\[]*){USER_MARK}(['’]?s\b)?")
_GIVING: Final = re.compile(
    r"(?:giv|hand|bring|brought|gav|show|tell|told|send|sent|offer|feed|mak|mad|buy|teach|cook|ow|pay|call|let)"
    r"(?:e?s|e?d|ing|e|)",
    re.IGNORECASE,
)
"""Verbs behind which the user is given something: what follows is no verb of theirs."""
_NO_VERBS: Final = frozenset(
    "as across always sometimes perhaps unless towards besides afterwards whereas minus upwards nowadays "
    "indoors outdoors downstairs upstairs backwards forwards its his hers theirs ours yours".split()
)
_PRONOUNS: Final = {
    "sub": ("they", "you"),
    "obj": ("them", "you"),
    "poss": ("their", "your"),
    "poss_p": ("theirs", "yours"),
    "ref": ("themselves", "yourself"),
}
"""JanitorAI's macros for the user's pronouns: of somebody with a name, and of the one who is talked to."""
_VERBS: Final = {
    "is": "are",
    "was": "were",
    "has": "have",
    "does": "do",
    "isn't": "aren't",
    "wasn't": "weren't",
    "hasn't": "haven't",
    "doesn't": "don't",
}
_DICE: Final = re.compile(r"(\d{0,4})d(\d{1,6})([+-]\d{1,6})?|(\d{1,6})", re.IGNORECASE)
_BRACES: Final = re.compile(r"[{}<>]")
_SHIFT: Final = re.compile(r"[+-]?\d{1,2}")
_FORMS: Final = {
    "time": "%H:%M",
    "date": "%d %B %Y",
    "weekday": "%A",
    "isotime": "%H:%M",
    "isodate": "%Y-%m-%d",
}
_ESCAPED: Final = "\0"
SOMEBODY: Final = "the user"
"""What the user is called in texts about the character, where nobody has said."""
YOU: Final = "you"
"""What the user is called in what is said to them, where nobody has said."""


@dataclass(slots=True)
class _Room:
    """What the macros of a text draw from, and how much more may come of them."""

    drawn: random.Random | None
    blank: list[str]
    left: int = MAX_RESULT
    dice: int = MOST_DICE


@dataclass(frozen=True, slots=True)
class Macros:
    """What macros stand for. `user` may be SOMEBODY or YOU; `fields`: other texts of the card by name.

    `seed`: of what is drawn; None draws nothing: of several texts the first stays, dice show their mean.
    `now`: when the conversation began; None leaves times out.
    """

    char: str
    user: str = SOMEBODY
    seed: int | None = 0
    now: datetime.datetime | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    original: str = ""
    group: str = ""
    """Names of all who are in a group; blank where there is none."""

    def replaced(self, text: str) -> str:
        """`text` with all its macros replaced; what needs a value that nobody knows goes (`settled`)."""
        return self.named(self.marked(text), begins=True)[:MAX_RESULT]

    def named(self, marked: str, *, begins: bool = False) -> str:
        """A marked text with the user in it (`addressed`)."""
        return addressed(marked, _BRACES.sub("", self.user), begins=begins)

    def marked(self, text: str) -> str:
        """`text` with all its macros replaced but the user's, for whom a USER_MARK stands (`addressed`)."""
        return settled(self._replaced(text, []))

    def missing(self, text: str) -> list[str]:
        """The macros in a text whose values nobody knows here, as they are written."""
        blank: list[str] = []
        self._replaced(text, blank)
        return list(dict.fromkeys(blank))

    def _replaced(self, text: str, blank: list[str]) -> str:
        """`text` with marks for what stands for nothing; whose values are missing is put into `blank`."""
        text = text[:MAX_RESULT].replace(USER_MARK, "").translate(MARKS)
        if "{" not in text and "<" not in text:
            return text
        text = _LOOSE.sub(r"{{\1}}", text)
        room = _Room(None if self.seed is None else _drawing(self.seed, text), blank)
        text = _TRIM.sub("", text)
        fields = self.fields
        for _ in range(MAX_LEVELS):
            before, room.left = text, MAX_RESULT
            text = _MACRO.sub(functools.partial(self._bounded, room, fields), text)[:MAX_RESULT]
            if text == before:
                break
            fields = {}  # once: a text that names itself would go on for ever
        return _MACRO.sub(BLANK, text)[:MAX_RESULT]

    def _bounded(self, room: _Room, fields: Mapping[str, str], match: re.Match[str]) -> str:
        """What stands for a macro, as much as there is room for."""
        text = self._macro(room, fields, match)[: room.left] if room.left else ""
        if text == BLANK:
            room.blank.append(match[0])
        room.left -= len(text)
        return text

    def _macro(self, room: _Room, fields: Mapping[str, str], match: re.Match[str]) -> str:
        if match[2] is not None:
            return self._name(match[2].lower())
        inner = match[1].strip()
        name, _, rest = inner.partition(":")
        name, rest = name.strip().lower(), rest.removeprefix(":")
        if not rest:  # `{{roll d6}}`
            name, _, rest = inner.partition(" ")
            name = name.lower().rstrip(":")
        if name in ("char", "user", "bot", "charifnotgroup", "group"):
            return self._name(name)
        if name in _PRONOUNS:
            return _PRONOUNS[name][self.user == YOU]
        if name in ("random", "pick"):
            options = _options(rest)
            if not options:
                return BLANK
            return options[0] if room.drawn is None else room.drawn.choice(options)
        if name == "roll":
            return _rolled(rest, room)
        if name == "reverse":
            return rest[::-1]
        if name == "newline":
            return "\n"
        if name == "original":
            return _BRACES.sub("", self.original) or SILENT
        if name in fields:
            return fields[name] or BLANK
        return self._time(name) or unknown(inner)

    def _name(self, name: str) -> str:
        if name in ("group", "charifnotgroup") and self.group:
            return _BRACES.sub("", self.group)
        return USER_MARK if name == "user" else _BRACES.sub("", self.char)

    def _time(self, name: str) -> str:
        now = self.now
        if now is None:
            return ""
        if name.startswith("time_utc"):
            shift = _SHIFT.fullmatch(name.removeprefix("time_utc"))
            hours = max(-14, min(int(shift[0]), 14)) if shift else 0
            zone = datetime.timezone(datetime.timedelta(hours=hours))
            return f"{now.astimezone(zone):%H:%M}"
        return now.strftime(_FORMS[name]) if name in _FORMS else ""


def addressed(text: str, user: str, *, begins: bool = False) -> str:
    """A marked text with the user's name in it. Where that is YOU, its verbs and possessives agree.

    `begins`: SOMEBODY and YOU begin a sentence with a capital letter.
    """
    if USER_MARK not in text:
        return text
    if user == YOU:
        text = _YOU_ARE.sub(f"{USER_MARK} are", text)
        text = _CALLED.sub(_not_called, text)
        text = _YOU_VERB.sub(_agreeing, text)
    if begins and user in (YOU, SOMEBODY):
        text = _BEGINS.sub(functools.partial(_beginning, user), text)
    if user == YOU:
        text = _YOURS.sub(lambda found: "your" if _OWNED.match(text, found.end()) else "yours", text)
    return text.replace(USER_MARK, user)


def _not_called(match: re.Match[str]) -> str:
    """Of `Hello, {{user}}!` without the user; one of several values is no call."""
    before = match.string[max(0, match.start() - 500) : match.start()]
    if not match["word"] and _LABELLED.search(before):
        return match[0]
    return match["word"] or ""


def _beginning(user: str, match: re.Match[str]) -> str:
    """The user at the beginning of a sentence."""
    named = "your" if user == YOU and match[3] else user + (match[3] or "")
    return f"{match[1]}{match[2]}{named[0].upper()}{named[1:]}"


def _agreeing(match: re.Match[str]) -> str:
    """Of `{{user}} often asks`: you often ask."""
    verb, before = match["verb"], match["before"] or ""
    lower = verb.lower().replace("’", "'")
    if lower in _VERBS:
        verb = _VERBS[lower]
    elif not lower.endswith(("ss", "us", "is")) and lower not in _NO_VERBS:
        if not _GIVING.fullmatch(before.strip()):
            verb = plain_form(verb)
    return f"{before}{USER_MARK}{match['between']} {verb}"


def _options(text: str) -> list[str]:
    """`a,b` or `a::b`; a comma behind a backslash is one."""
    text = text.removeprefix(":").replace("\\,", _ESCAPED)
    parts = text.split("::") if "::" in text else text.split(",")
    return [part.strip().replace(_ESCAPED, ",") for part in parts]


def _drawing(seed: int, text: str) -> random.Random:
    """What the macros of a text draw from: the same for the same text in the same conversation."""
    return random.Random(hashlib.blake2b(f"{seed}/{text}".encode("utf-8", "replace")).digest())


def _rolled(text: str, room: _Room) -> str:
    """The sum of dice as `2d6+1` names them, or one up to a number; blank beyond MOST_DICE."""
    found = _DICE.fullmatch(text.strip().lstrip(":").strip())
    if found is None:
        return BLANK
    count, sides, more = 1, max(int(found[4] or found[2]), 1), int(found[3] or 0)
    if not found[4]:
        count = min(int(found[1] or 1), MAX_DICE)
        room.dice -= count
    if room.dice < 0:
        return ""
    if room.drawn is None:
        return str(count * (sides + 1) // 2 + more)
    return str(sum(room.drawn.randint(1, sides) for _ in range(count)) + more)
