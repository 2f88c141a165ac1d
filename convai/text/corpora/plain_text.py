"""Plain text: a turn a line, a blank line, a rule or a heading between dialogues, names if you like.

`persona:` lines before the turns are the agent's (`partner's persona:` the user's). If every turn of a
dialogue has a prefix (`user:`, `agent:`, or two names), it says who speaks: the first name to appear is
the user, the second the agent, any other a partner too. Else speakers alternate, the user first. Bullets and
numbers that stand before every turn are no words; where some lines begin with `>`, these are the user's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import dialog
from convai.text.corpora.notes import Notes
from convai.text.corpora.roles import ROLES, sides_of_people

_PERSONA: Final = {
    "persona": AGENT,
    "your persona": AGENT,
    "agent's persona": AGENT,
    "partner's persona": USER,
    "user's persona": USER,
}
_PREFIX = re.compile(
    r"\s*(?:[\u2600-\u27bf\U0001f1e6-\U0001faff][\ufe0f\u200d]*\s?){0,3}"  # a picture beside the name
    r"\*{0,2}(#?[^\W\d_][\w .'’\"()&-]{0,39}?#?)\s*\*{0,2}(?:[:>]\*{0,2}(?:\s|$)|：\*{0,2})"
)
_COUNTED = re.compile(r"(?:turn|line|message|utterance)\s*#?\d+\s*\((.+)\)", re.IGNORECASE)
"""A name with the turn's number before it: `Turn 3 (User): hi`."""
_QUESTION = re.compile(r"\s*([QA])\s?(\d{1,4})[.):]\s+", re.IGNORECASE)
"""`Q1. hi`, `A1. hello`: a question and its answer."""
_LOOSE = re.compile(
    r"\s*(?:\[([^\W\d_][\w .'’-]{0,39}?)\]:?|\(([^\W\d_][\w .'’-]{0,39}?)\):?"
    r"|([^\W\d_][\w.'’]{0,39})\s+[-–—])\s+"
)
"""Other marks of who speaks, where all turns have them: `[ann] hi`, `(ann) hi`, `ann - hi`."""
_BARE = re.compile(r"\s*(?:#{1,6}\s+)?\W{0,3}([^\W\d_]{2,12}?)\W{0,3}\s*")
_PREFIX_CHARS: Final = 64
_BETWEEN = re.compile(
    r"\s*(?:[-=*_~#+]{3,}|(?:[-=*_~#] ){2,}[-=*_~#]|<\|end_?of_?text\|>|</?s>|[#=\[(-]*\s*"
    r"(?:dialog(?:ue)?|conversation|chat|episode|session)\s*(?:#|no\.?|number)?\s*\d{1,7}\s*[\])=#:.-]*)\s*",
    re.IGNORECASE,
)
"""A line between two dialogues that is not blank: a rule, the end of a document, a heading with a number."""
_QUOTED = re.compile(r"\s*>{1,3}\s+(?=\S)")
"""Before what the user said, where the agent's turns have nothing before them."""
_ANSWERED = re.compile(r"\s*<{1,3}\s+(?=\S)")
"""Before the agent's turns, where the user's have `>`."""
_BULLET = re.compile(r"\s*[-*+•–—]\s+(?=\S)")
_NUMBER = re.compile(r"\s*(\d{1,5})[.):]\s+(?=\S)")
_BETWEEN_CHARS: Final = 80

_Line = tuple[int, str]


def blocks(path: Path) -> Iterator[list[_Line]]:
    """Runs of lines that are not blank, each line with its number."""
    return _blocks(lines(path))


def parse_text(text: str, where: str) -> Dialog:
    """The one dialogue in a text. Raises DataError, beginning with `where` and the line, for all else."""
    found = list(_blocks(enumerate(text.removeprefix("\ufeff").split("\n"), 1)))
    if len(found) != 1:
        number = found[1][0][0] if found else 1
        problem = "a second dialogue behind a blank line; one is expected" if found else "no dialogue in it"
        raise DataError(f"{where}:{number}: {problem}")
    return _dialog(where, found[0])


def _blocks(numbered: Iterable[_Line]) -> Iterator[list[_Line]]:
    block: list[_Line] = []
    for line, text in numbered:
        if text.strip() and not is_between(text):
            block.append((line, text))
        elif block:
            yield block
            block = []
    if block:
        yield block


def is_between(line: str) -> bool:
    """Whether a line is a rule, or a heading with a number, between two dialogues."""
    return len(line) < _BETWEEN_CHARS and bool(_BETWEEN.fullmatch(line))


def is_persona(line: str) -> bool:
    """Whether a line says who somebody is (`persona: i bake.`)."""
    return _prefix(line)[0] in _PERSONA


def _without_marks(block: list[_Line]) -> list[_Line]:
    """The lines without the bullets, or the numbers from 1 on, that stand before all of them."""
    bullets = [_BULLET.match(text) for _, text in block]
    numbers = [_NUMBER.match(text) for _, text in block]
    counted = [int(number[1]) if number else 0 for number in numbers] == list(range(1, len(block) + 1))
    marks = bullets if all(bullets) else numbers if counted else []
    if len(block) < 2 or not marks:
        return block
    return [(line, text[mark.end() :]) for (line, text), mark in zip(block, marks, strict=True) if mark]


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every block."""
    found = list(blocks(path))
    if len(found) > 1 and all(len(block) == 1 and _prefix(block[0][1])[0] for block in found):
        found = [[block[0] for block in found]]  # a blank line between any two turns, as texts are pasted
    if is_headed(text for block in found for _, text in block):
        found = [_under_heads(block) for block in _blocks(_ruled(path))]
    elif paragraphs := _in_paragraphs(found):
        found = [paragraphs]
    for block in found:
        try:
            parsed = _dialog(path, block)
        except DataError as error:
            notes.error(error)
        else:
            yield block[0][0], parsed


def _in_paragraphs(found: list[list[_Line]]) -> list[_Line]:
    """The turns of a dialogue that has a blank line between them, and within some: `Human: hi`, then
    `Assistant: hello` and paragraphs behind it. Nothing where two turns stand on lines that touch.
    """
    turns = list[_Line]()
    sides = list[int]()
    for block in found:
        names = [name if (name := _prefix(text)[0]) in ROLES else "" for _, text in block]
        if any(names[1:]) or not (names[0] or turns):
            return []
        words = " ".join(text.strip() for _, text in block)
        if names[0]:
            turns.append((block[0][0], words))
            sides.append(ROLES[names[0]])
        else:
            turns[-1] = (turns[-1][0], f"{turns[-1][1]} {words}")
    return turns if len(set(sides)) == 2 else []


def is_headed(texts: Iterable[str]) -> bool:
    """Whether who speaks stands on a line before each turn: `**User**`, `### Assistant`, `Bot:`."""
    heads = [_head(text) for text in texts]
    return bool(heads) and bool(heads[0]) and len({ROLES[head] for head in heads if head}) == 2


def _head(text: str) -> str:
    """The role that is all that stands in a line, or an empty text."""
    match = _BARE.fullmatch(text) if len(text) < _PREFIX_CHARS else None
    return match[1].lower() if match and match[1].lower() in ROLES else ""


def _ruled(path: Path) -> Iterator[_Line]:
    """The lines that are not blank: only a rule stands between dialogues."""
    return ((line, text) for line, text in lines(path) if text.strip())


def _under_heads(block: list[_Line]) -> list[_Line]:
    """A line a turn, who speaks before it, of turns of several lines under heads."""
    turns = list[tuple[int, str, list[str]]]()
    for line, text in block:
        if head := _head(text):
            turns.append((line, head, []))
        elif turns:
            turns[-1][2].append(text.strip())
        else:
            turns.append((line, "", [text]))
    return [(line, f"{head}: {' '.join(words)}" if head else words[0]) for line, head, words in turns]


def _prefix(text: str) -> tuple[str, str]:
    """(the name before a colon in lower case or '', what follows)."""
    if asked := _QUESTION.match(text):
        return asked[1].lower(), text[asked.end() :]
    match = _PREFIX.match(text[:_PREFIX_CHARS])
    if not match:
        return "", text
    counted = _COUNTED.fullmatch(match[1])
    return (counted[1] if counted else match[1]).lower(), text[match.end() :]


def _dialog(path: Path | str, block: list[_Line]) -> Dialog:
    personas: tuple[list[str], list[str]] = ([], [])
    said: list[_Line] = []
    for line, text in _without_marks(block):
        name, rest = _prefix(text)
        if name in _PERSONA and not said:
            personas[_PERSONA[name]].append(check_text(rest, f"{path}:{line}, persona"))
        else:
            said.append((line, text))
    speakers, texts = _speakers(path, said)
    turns = [
        Turn(speaker, check_text(text, f"{path}:{line}"))
        for speaker, (line, _), text in zip(speakers, said, texts, strict=True)
    ]
    both = (Persona(tuple(personas[USER])), Persona(tuple(personas[AGENT])))
    return dialog(f"{path}:{block[0][0]}", turns, both)


def _speakers(path: Path | str, said: list[_Line]) -> tuple[list[int], list[str]]:
    """Who says each line, and the line without its prefix."""
    split = [_prefix(text) for _, text in said]
    if not any(name for name, _ in split) and (loose := _loosely([text for _, text in said])):
        split = loose
    names = [name for name, _ in split]
    roles = [name in ROLES for name in names]
    if all(names):
        rest = [text for _, text in split]
        if all(roles):
            return [ROLES[name] for name in names], rest
        if not any(roles):
            return sides_of_people(names), rest
        known = {ROLES[name] for name in names if name in ROLES}
        if len(known) == 1 and len({*names} - ROLES.keys()) == 1:  # `you:` and `bot:`, `Human:` and a name
            [side] = known
            return [ROLES.get(name, 1 - side) for name in names], rest
    if any(roles):
        odd = roles.index(False)
        raise DataError(
            f"{path}:{said[odd][0]}: no 'user:' or 'agent:' before this turn, though other turns of the "
            "dialogue have one; give every turn one, or none"
        )
    often = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    if len(often) > 1 and sum(name in often for name in names) * 2 > len(names):
        odd = next(i for i, name in enumerate(names) if name not in often)
        raise DataError(
            f"{path}:{said[odd][0]}: nobody's name before this turn, though {often[0]!r} and {often[1]!r} "
            "speak in the dialogue; give every turn one, or none"
        )
    texts = [text for _, text in said]
    quoted = [bool(_QUOTED.match(text)) for text in texts]
    if quoted[:1] == [True] and not all(quoted) and sum(quoted) > 1:  # what the agent answers to
        said_back = all(_ANSWERED.match(text) for text, one in zip(texts, quoted, strict=True) if not one)
        texts = [_ANSWERED.sub("", text) for text in texts] if said_back else texts
        return [USER if one else AGENT for one in quoted], [_QUOTED.sub("", text) for text in texts]
    return [i % 2 for i in range(len(said))], texts


def _loosely(texts: list[str]) -> list[tuple[str, str]]:
    """The names in loose marks and what follows; nothing where one has none, or nobody speaks twice."""
    found = [_LOOSE.match(text[:_PREFIX_CHARS]) for text in texts]
    names = ["" if match is None else (match[1] or match[2] or match[3]).lower() for match in found]
    people = set(names)
    if not all(names) or len(people) < 2 or (len(people) == len(names) and not people <= ROLES.keys()):
        return []
    return [
        (name, text[match.end() :]) for name, text, match in zip(names, texts, found, strict=True) if match
    ]
