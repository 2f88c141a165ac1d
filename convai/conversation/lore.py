"""Which entries of a lorebook a conversation calls, and where they go so that little is computed anew.

As SPEC_V3.md says what calls an entry. Where it differs is where entries stand: a constant one is in the
system block (or at its depth, said again now and then); any other stands before the message that called it
(or at its depth from there), and stays there, since the beginning of the prompt would otherwise change with
every entry. What is called again is added once in a block of turns.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from convai.conversation.conversation import Place
from convai.conversation.lore_keys import Patience, has
from convai.core.character import Lorebook, LoreEntry
from convai.core.dialog import AGENT, Turn
from convai.text.insertions import BLOCK, Insertion, repeated

LORE: Final = "lore"
MAX_ROUNDS: Final = 10
"""How often what entries say is searched for keys of others."""
_HIDDEN: Final = re.compile(r"\{\{\s*hidden_key\s*:([^{}]{0,500})\}\}", re.IGNORECASE)
_lock: Final = threading.Lock()
_MOST_KNOWN: Final = 20_000
_MOST_BOOKS: Final = 64
_known: Final[OrderedDict[int, tuple[Lorebook, dict[Any, list[Called]]]]] = OrderedDict()
"""What turns have called, by the identity of the book, which is kept here so that nothing else has it."""

Resolve = Callable[[str], str]
"""Macros of a text replaced."""


@dataclass(frozen=True, slots=True)
class Called:
    """An entry that was called, and by what."""

    number: int
    entry: LoreEntry
    why: str


def constant_lore(books: Sequence[Lorebook], resolve: Resolve, size: Callable[[str], int]) -> list[Insertion]:
    """Entries that are always there, in the system block, within the budget."""
    found = []
    for book in books:
        always = [
            Called(number, entry, "constant")
            for number, entry in enumerate(book.entries)
            if _is_fixed(entry) and entry.depth is None
        ]
        for one in _within(book, always, resolve, size):
            ahead = one.entry.position == "before_char"
            found.append(Insertion(resolve(one.entry.content), None, LORE, ahead=ahead, why=_named(one)))
    return found


def called_lore(
    books: Sequence[Lorebook],
    place: Place,
    resolve: Resolve,
    size: Callable[[str], int],
    *,
    seed: int = 0,
    greeting: int | None = None,
) -> list[Insertion]:
    """What the turns before a reply have called, each where it was called."""
    found: list[tuple[int, float, Insertion]] = []
    patience = Patience()
    for book in books:
        found += _called(book, place, resolve, size, seed, greeting, patience)
    return [insertion for _, _, insertion in sorted(found, key=lambda one: one[:2])]


def _called(
    book: Lorebook,
    place: Place,
    resolve: Resolve,
    size: Callable[[str], int],
    seed: int,
    greeting: int | None,
    patience: Patience,
) -> list[tuple[int, float, Insertion]]:
    turns, number = place.turns, place.number
    earlier = number - len(turns)
    found: list[tuple[int, float, Insertion]] = []
    for entry in book.entries:
        if _is_fixed(entry) and entry.depth is not None:
            text = resolve(entry.content)
            why = f"constant{_of(entry)}"
            notes = repeated(text, entry.depth, LORE, turns, number, why, entry.role)
            found += [(number - (one.depth or 0), entry.order, one) for one in notes]
    known, reach = _memory(book), _deepest(book)
    remembers = any(entry.after_match for entry in book.entries)
    said = earlier // 2
    block, there = -1, set[int]()
    matched: set[int] = set()
    for at, turn in enumerate(turns, earlier):
        if turn.speaker == AGENT:
            said += 1
            continue
        if at // BLOCK != block:
            block, there = at // BLOCK, set()
        window = turns[max(at - earlier + 1 - reach, 0) : at - earlier + 1]
        held = (window, at, said, seed, greeting, frozenset(matched) if remembers else None)
        called = known.get(held)
        if called is None:
            called = _activated(book, window, resolve, said, matched, seed, at, greeting, patience)
            if len(known) >= _MOST_KNOWN:
                known.clear()
            known[held] = called
        matched |= {one.number for one in called}
        for one in _within(book, called, resolve, size):
            if one.number in there:
                continue
            there.add(one.number)
            text = resolve(_HIDDEN.sub("", one.entry.content)).strip()
            # as deep as the entry wants to be from here, and there it stays
            depth = number - at - 1 + (1 if one.entry.depth is None else one.entry.depth)
            if text:
                why = f"{one.why} in turn {at + 1}{_of(one.entry)}"
                role = one.entry.role if one.entry.depth is not None else "system"
                new = Insertion(text, depth, LORE, True, why=why, role=role)
                found.append((number - depth, one.entry.order, new))
    return found


def _memory(book: Lorebook) -> dict[Any, list[Called]]:
    with _lock:
        if id(book) not in _known:
            _known[id(book)] = (book, {})
            if len(_known) > _MOST_BOOKS:
                _known.popitem(last=False)
        _known.move_to_end(id(book))
        return _known[id(book)][1]


def _activated(
    book: Lorebook,
    turns: Sequence[Turn],
    resolve: Resolve,
    said: int,
    matched: set[int],
    seed: int,
    at: int,
    greeting: int | None,
    patience: Patience,
) -> list[Called]:
    """Entries that the last turn calls; `said`: the agent's turns so far; `matched`: called before."""
    found: dict[int, Called] = {}
    texts: Sequence[str] = [turn.text for turn in turns]
    for round in range(MAX_ROUNDS if book.recursive else 1):
        new: list[Called] = []
        for number, entry in enumerate(book.entries):
            if number in found or _is_fixed(entry) or not entry.enabled or entry.activate is False:
                continue
            if not _may(entry, number, said, matched, greeting) or (round and entry.exclude_recursion):
                continue
            if entry.after_match == "keep" and number in matched:
                new.append(Called(number, entry, "called before"))
                continue
            depth = book.scan_depth if entry.scan_depth is None else entry.scan_depth
            window = texts if round else texts[-depth:] if depth else ()
            why = _why(book, entry, window, patience)
            if why and _drawn(seed, number, at) < entry.probability:
                new.append(Called(number, entry, why if not round else f"{why}, said by another entry"))
        found |= {one.number: one for one in new}
        texts = [
            resolve(one.entry.content) + " " + " ".join(_HIDDEN.findall(one.entry.content))
            for one in new
            if not one.entry.prevent_recursion
        ]
        if not round and book.recursive:
            texts += [
                resolve(entry.content)
                for entry in book.entries
                if _is_fixed(entry) and not entry.prevent_recursion
            ]
        if not texts:
            break
    return list(found.values())


def _deepest(book: Lorebook) -> int:
    return max(1, book.scan_depth, *(entry.scan_depth or 0 for entry in book.entries))


def _is_fixed(entry: LoreEntry) -> bool:
    """Whether it is there from the first turn to the last."""
    if (
        not entry.enabled
        or entry.activate is False
        or entry.after
        or entry.every
        or entry.greeting is not None
    ):
        return False
    held = entry.exclude_keys or entry.additional_keys or entry.probability < 100
    return (bool(entry.activate) or (entry.constant and not entry.use_regex)) and not held


def _may(entry: LoreEntry, number: int, said: int, matched: set[int], greeting: int | None) -> bool:
    """Whether its conditions on turns hold."""
    if entry.greeting is not None and greeting is not None and entry.greeting != greeting:
        return False
    if said < entry.after or (entry.every and said % entry.every):
        return False
    return not (entry.after_match == "stop" and number in matched)


def _why(book: Lorebook, entry: LoreEntry, texts: Sequence[str], patience: Patience) -> str:
    """The key that calls the entry; empty where none does."""

    def there(keys: Sequence[str]) -> list[bool]:
        return [has(book, entry, key, texts, patience) for key in keys]

    if entry.exclude_keys and any(there(entry.exclude_keys)):
        return ""
    if entry.additional_keys and not any(there(entry.additional_keys)):
        return ""
    if entry.activate or (entry.constant and not entry.use_regex):
        return "constant"
    key = next((key for key in entry.keys if has(book, entry, key, texts, patience)), None)
    if key is None:
        return ""
    if entry.selective and entry.secondary_keys and not entry.use_regex:
        second = there(entry.secondary_keys)
        sound = {
            "any": any(second),
            "all": all(second),
            "not_any": not any(second),
            "not_all": not all(second),
        }[entry.logic]
        if not sound:
            return ""
    return f"“{key}”"


def _within(
    book: Lorebook, called: Sequence[Called], resolve: Resolve, size: Callable[[str], int]
) -> list[Called]:
    """Those that the budget holds, the most important first, in the order in which they are shown."""
    room = book.budget
    kept = []
    for one in sorted(called, key=lambda one: (-one.entry.priority, one.number)):
        tokens = size(resolve(one.entry.content))
        if tokens <= room:
            room -= tokens
            kept.append(one)
    return sorted(kept, key=lambda one: (one.entry.order, one.number))


def _drawn(seed: int, number: int, at: int) -> float:
    """A number from 0 to 100 that is the same whenever it is asked for."""
    digest = hashlib.blake2b(f"{seed}/{number}/{at}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * 100


def _named(one: Called) -> str:
    return one.why + _of(one.entry)


def _of(entry: LoreEntry) -> str:
    return f" ({entry.name})" if entry.name else ""
