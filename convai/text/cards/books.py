"""Lorebooks: from cards (V2, V3) and files of their own (SillyTavern, Agnai, NovelAI, RisuAI), and to V3.

Sources: SPEC_V3.md (Lorebook Fields, Decorators); SillyTavern's world info (`public/scripts/world-info.js`),
whose further settings stand in an entry's `extensions` where a card has them. Read leniently: what is of a
wrong type counts as not given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from convai.core.character import Lorebook, LoreEntry, Role
from convai.core.errors import DataError
from convai.core.safe_text import one_line
from convai.text.cards.decorators import ROLES, conditions, decorated, keys_in, written

MAX_ENTRIES: Final = 5_000
MOST_KEYS: Final = 20_000
"""Keys of a book; entries beyond them are left out, and that is told as `unused`."""
MAX_CONTENT: Final = 100_000
MAX_SCAN: Final = 100
"""Turns that are searched at most."""
_LOGIC: Final[tuple[Literal["any", "not_all", "not_any", "all"], ...]] = ("any", "not_all", "not_any", "all")
"""SillyTavern's `selectiveLogic`, by its number."""
_AT_DEPTH: Final = 4
"""SillyTavern's `position` of entries at a depth."""


def read_book(value: object, where: str) -> Lorebook:
    """The lorebook that a JSON value is, in any of the formats. Raises DataError beginning with `where`."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: no lorebook; it is an object with entries")
    if _is_risus(value):
        value = {"entries": value["data"], "name": value.get("name")}
    inner = value.get("data") if value.get("spec") == "lorebook_v3" else value.get("character_book", value)
    book = inner if isinstance(inner, dict) else value
    if not isinstance(book.get("entries"), list | dict):
        raise DataError(f"{where}: no lorebook; it has no entries")
    return book_of(book)


def looks_like_book(value: object) -> bool:
    """Whether a JSON value is a lorebook and no card."""
    if not isinstance(value, dict):
        return False
    if value.get("spec") == "lorebook_v3" or _is_risus(value):
        return True
    return isinstance(value.get("entries"), list | dict) and not {"first_mes", "spec", "data"} & value.keys()


def _is_risus(value: Mapping[str, Any]) -> bool:
    """Whether it is RisuAI's export: `{"type": "risu", "data": [entries]}`."""
    return value.get("type") == "risu" and isinstance(value.get("data"), list)


def book_of(book: Mapping[str, Any]) -> Lorebook:
    """A lorebook from its object, lenient."""
    listed = book.get("entries")
    items = list(listed.values()) if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    entries = [
        entry_of(item)
        for item in items[:MAX_ENTRIES]
        if isinstance(item, dict) and item.get("mode") != "folder"  # RisuAI's, whose content is nothing
    ]
    own = _extensions(book)
    kept = _within_keys(entry for entry in entries if entry.content)
    unused = unused_settings(book)
    if len(kept) < sum(bool(entry.content) for entry in entries):
        unused.append(f"entries (behind the first {MOST_KEYS:,} keys)")
    return Lorebook(
        kept,
        name=one_line(_text(book.get("name")))[:100],
        scan_depth=int(min(max(_number(book.get("scan_depth"), 4), 0), MAX_SCAN)),
        budget=int(min(max(_number(book.get("token_budget"), 512), 0), 100_000)),
        recursive=_flag(book.get("recursive_scanning"), False),
        case_sensitive=_flag(own.get("case_sensitive"), False),
        whole_words=_flag(own.get("match_whole_words"), False),
        unused=tuple(unused),
    )


def _within_keys(entries: Iterable[LoreEntry]) -> tuple[LoreEntry, ...]:
    """As many entries as have MOST_KEYS together."""
    kept: list[LoreEntry] = []
    left = MOST_KEYS
    for entry in entries:
        all_keys = (entry.keys, entry.secondary_keys, entry.exclude_keys, entry.additional_keys)
        left -= sum(map(len, all_keys))
        if left < 0:
            break
        kept.append(entry)
    return tuple(kept)


def entry_of(item: Mapping[str, Any]) -> LoreEntry:
    """One entry, its decorators taken out of its content."""
    own = {**item, **_extensions(item)}
    logic = int(_number(own.get("selectiveLogic"), 0))
    keys = keys_in(_first(item, "keys", "key", "keywords"))
    secondary = keys_in(_first(item, "secondary_keys", "keysecondary", "secondkey"))
    text = _text(_first(item, "content", "entry", "text"))[:MAX_CONTENT]
    content, decorators = decorated(text)
    disabled = _flag(item.get("disable"), False)
    order = _number(_first(item, "insertion_order", "order", "weight", "insertorder"), 100)
    values: dict[str, Any] = {
        "content": content,
        "keys": keys,
        "secondary_keys": secondary,
        "name": one_line(_text(_first(item, "name", "comment", "displayName")))[:100],
        "enabled": _flag(item.get("enabled"), True) and not disabled,
        "selective": _flag(item.get("selective"), False) and bool(secondary),
        "constant": _flag(_first(item, "constant", "forceActivation", "alwaysActive"), False),
        "use_regex": _flag(_first(own, "use_regex", "useRegex"), False),
        "order": order,
        "priority": _number(item.get("priority"), order),
        "position": _position(item, own),
        "depth": _depth(item, own),
        "role": role_of(own.get("role")),
        "scan_depth": _count(_first(own, "scan_depth", "scanDepth")),
        "case_sensitive": _maybe(_first(own, "case_sensitive", "caseSensitive")),
        "whole_words": _maybe(_first(own, "match_whole_words", "matchWholeWords")),
        "probability": _probability(own),
        "logic": _LOGIC[logic] if 0 <= logic < len(_LOGIC) else "any",
        "prevent_recursion": _flag(_first(own, "prevent_recursion", "preventRecursion"), False),
        "exclude_recursion": _flag(_first(own, "exclude_recursion", "excludeRecursion"), False),
    }
    return LoreEntry(**values | conditions(decorators))


_USED: Final = frozenset(
    "keys key keywords secondary_keys keysecondary secondkey content entry text name comment displayName "
    "enabled disable selective constant forceActivation alwaysActive use_regex useRegex insertion_order "
    "order weight insertorder priority position depth role scan_depth scanDepth case_sensitive caseSensitive "
    "match_whole_words matchWholeWords probability useProbability selectiveLogic prevent_recursion "
    "preventRecursion exclude_recursion excludeRecursion extensions mode".split()
)
"""Settings of an entry that are used, in any of the formats."""
_IDLE: Final = frozenset(
    "id uid index displayIndex display_index addMemo groupWeight group_weight characterFilter decorators "
    "lastUpdatedAt category hidden bookVersion risu_case_sensitive loreCache".split()
)
"""Those that say nothing of what is shown, or something only beside another that is told."""
_OF_BOOK: Final = frozenset("name scan_depth token_budget recursive_scanning entries extensions".split())


def role_of(value: object) -> Role:
    """A role by its name or SillyTavern's number; the system's for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(ROLES):
        return ROLES[value]
    return next((role for role in ROLES if role == value), "system")


def unused_settings(book: Mapping[str, Any]) -> list[str]:
    """Names of what a lorebook says that is not used: `description`, `entries.sticky`."""
    names = {name for name, value in book.items() if value and name not in _OF_BOOK}
    listed = book.get("entries")
    items = list(listed.values()) if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    for item in items[:MAX_ENTRIES]:
        if isinstance(item, dict):
            told = {**item, **_extensions(item)}
            names |= {
                f"entries.{name}" for name, value in told.items() if value and name not in _USED | _IDLE
            }
    return sorted(names)


def book_json(book: Lorebook) -> dict[str, Any]:
    """The lorebook as version 3 of the cards has it, SillyTavern's settings in `extensions`."""
    return {
        "name": book.name,
        "scan_depth": book.scan_depth,
        "token_budget": book.budget,
        "recursive_scanning": book.recursive,
        "extensions": {"case_sensitive": book.case_sensitive, "match_whole_words": book.whole_words},
        "entries": [_entry_json(number, entry) for number, entry in enumerate(book.entries)],
    }


def _entry_json(number: int, entry: LoreEntry) -> dict[str, Any]:
    extensions: dict[str, Any] = {
        "selectiveLogic": _LOGIC.index(entry.logic),
        "probability": entry.probability,
        "useProbability": entry.probability < 100,
        "prevent_recursion": entry.prevent_recursion,
        "exclude_recursion": entry.exclude_recursion,
    }
    if entry.depth is not None:
        extensions |= {"position": _AT_DEPTH, "depth": entry.depth, "role": ROLES.index(entry.role)}
    if entry.scan_depth is not None:
        extensions["scan_depth"] = entry.scan_depth
    if entry.whole_words is not None:
        extensions["match_whole_words"] = entry.whole_words
    made = {
        "keys": list(entry.keys),
        "secondary_keys": list(entry.secondary_keys),
        "content": "".join(f"@@{line}\n" for line in written(entry)) + entry.content,
        "extensions": extensions,
        "enabled": entry.enabled,
        "insertion_order": entry.order,
        "priority": entry.priority,
        "use_regex": entry.use_regex,
        "constant": entry.constant,
        "selective": entry.selective,
        "position": entry.position,
        "name": entry.name,
        "id": number,
    }
    return made if entry.case_sensitive is None else {**made, "case_sensitive": entry.case_sensitive}


# -- single fields --------------------------------------------------------------------------------------


def _extensions(item: Mapping[str, Any]) -> Mapping[str, Any]:
    own = item.get("extensions")
    return own if isinstance(own, dict) else {}


def _first(item: Mapping[str, Any], *names: str) -> object:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object, default: float) -> float:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
    return float(value) if sound and isinstance(value, int | float) else default


def _count(value: object) -> int | None:
    number = _number(value, -1)
    return int(min(number, MAX_SCAN)) if number >= 0 else None


def _flag(value: object, default: bool) -> bool:
    return value if isinstance(value, bool) else default


def _maybe(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _position(item: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    stated = str(item.get("position")).removesuffix("_defs")
    if stated in ("before_char", "after_char"):
        return stated
    return "before_char" if own.get("position") == 0 else "after_char"


def _depth(item: Mapping[str, Any], own: Mapping[str, Any]) -> int | None:
    if own.get("position") != _AT_DEPTH:
        return None
    return int(min(max(_number(own.get("depth"), 4), 0), 1_000))


def _probability(own: Mapping[str, Any]) -> float:
    if own.get("useProbability") is False:
        return 100.0
    return min(max(_number(own.get("probability"), 100), 0), 100)
