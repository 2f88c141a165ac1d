"""Plays and screenplays: who speaks stands on a line of its own (`ROMEO.`, `          BOB`, `First Farmer:`)
or before the speech (`TOM. Gladly.`, `Tom (sits): Gladly.`), and what happens between the speeches.

Scene headings stand between dialogues; stage directions and descriptions are nobody's words: they are left
out and counted. In each dialogue the first to speak is the user, the second the agent and everybody else a
partner too; where the second has left the scene, another dialogue begins. `parse` reads what `is_play` says
yes to, and with `--format play` anything: lines before somebody speaks are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes
from convai.text.corpora.plain_text import is_between, is_persona
from convai.text.corpora.posts import Post, dialogs_of
from convai.text.corpora.roles import ROLES

_ABSENT: Final = 8
"""Speeches of others behind which somebody who does not speak has left."""
_LOOKED_AT: Final = 1000
_NAME: Final = r"\s*[_*@]{0,2}(?P<name>[^\W\d_][\w .'’&#/-]{0,39}?)[_*]{0,2}"
_DIRECTION: Final = r"(?P<direction>(?:[,\s_*]*(?:\([^()\n]{0,80}\)|\[[^\[\]\n]{0,80}\]))*)[\s_*^]*"
_BEHIND: Final = r"[_*]{0,2}(?:\s*[-–—])?\s+(?P<words>\S.*)"
_STYLES: Final = {
    "alone": re.compile(rf"{_NAME}{_DIRECTION}(?P<mark>[.:]?)[_*]{{0,2}}\s*(?P<words>)"),
    "point": re.compile(rf"{_NAME}{_DIRECTION}\.{_BEHIND}"),
    "colon": re.compile(rf"{_NAME}{_DIRECTION}(?P<mark>:){_BEHIND}"),
}
"""Where a name may stand: on a line of its own, before a full stop (in capitals), before a colon."""
_ALONE_CHARS: Final = 120
_SCENE = re.compile(
    r"[\W_]*(?:\d{1,4}[A-Z]?[.)]?\s+)?(?:(?:INT|EXT|EST|I/E)\b[./ ]|(?:ACT|SCENE|Act|Scene)\s+(?:[IVXLC\d]+|"
    r"[Tt]he\b|[Oo]ne|[Tt]wo|[Tt]hree|ONE|TWO|THREE|FIRST|SECOND)\b|PROLOGUE|EPILOGUE|CURTAIN\b|THE END\b|"
    r"FADE (?:IN|OUT)\b|[A-Z ]{2,20} TO:)"
)
"""A heading of a scene or an act, or a cut: whoever spoke before speaks with others behind it."""
_ENTERS = re.compile(r"[_*]{0,2}(?:Re-enter|Enter|Exit|Exeunt|Curtain|Flourish|Alarum)s?\b")
_OPEN = re.compile(r"[_*]{0,2}\[[^\]]*")
_WHOLE = re.compile(r"[_*]{0,2}(?:\([^()]*\)|\[[^\[\]]*\])[.]?[_*]{0,2}")
_WITHIN = re.compile(r"_?\[[^\[\]]{0,500}\]_?|_\([^()]{0,500}\)_|\(_[^()]{0,500}_\)")
_AT_AN_END = re.compile(r"(?:^\([^()]{0,200}\)|(?<=[.!?…])\s*\([^()]{0,200}\)$)")
_ITALICS = re.compile(r"(?<!\w)_([^_\n]{1,500})_(?!\w)")
_BULLET = re.compile(r"\s*[-*+•]\s")
_EXCLAIMED: Final = frozenset(
    "hello hi hey ok okay yes no yeah yep nope thanks what why who how lol haha wow bye please oh ah well i "
    "sure really stop help note warning".split()
)
"""What people write in capitals who are no heads of speeches."""


@dataclass(frozen=True, slots=True)
class _Head:
    """Who speaks, the words behind it in its line, and what stands behind the name: a mark, a direction."""

    name: str
    words: str = ""
    marked: bool = False
    directed: bool = False


def _head(line: str, style: str) -> _Head | None:
    """The head that a line is, or begins with."""
    if _SCENE.match(line) or (style == "alone" and len(line) > _ALONE_CHARS):
        return None
    pattern = _STYLES[style]
    match = pattern.fullmatch(line.rstrip())
    if match is None:
        return None
    name = match["name"]
    capital = name == name.upper() and len(name) > 1
    mark = "." if style == "point" else match["mark"]
    if not capital and (mark != ":" or name[0] != name[0].upper()):
        return None
    if len(name.split()) > 5 or name.lower() in _EXCLAIMED or name.lower() in ROLES:
        return None
    return _Head(name.casefold(), match["words"], bool(mark), bool(match["direction"]))


def _heads(every: Sequence[str], style: str) -> dict[int, _Head]:
    """The heads behind which something is said, by the number of their lines from 0 on."""
    heads = {i: head for i, line in enumerate(every) if (head := _head(line, style))}
    if style != "alone":
        return heads
    following = [*every[1:], ""]
    return {
        i: head
        for i, head in heads.items()
        if following[i].strip() and i + 1 not in heads and not _BULLET.match(following[i])
    }


def is_play(text: str) -> bool:
    """Whether a text begins as a play, in any of the styles."""
    every = text.split("\n")[:_LOOKED_AT]
    return any(_fits(every, _heads(every, style), style) for style in _STYLES)


def _fits(every: Sequence[str], heads: Mapping[int, _Head], style: str) -> bool:
    """Whether lines are a play of this style: two speak or more, somebody again.

    Names in capitals alone count only where a scene's heading stands too, or where most stand further in than
    what is said: others write in capitals as well. Names before a colon are plain text's, unless something
    happens (a scene, a direction) or turns of several lines stand between blank ones.
    """
    names = Counter(head.name for head in heads.values())
    if len(heads) < 3 or max(names.values()) < 2 or not 2 <= len(names) <= 0.8 * len(heads):
        return False
    if any(map(is_persona, every)):
        return False
    scenes = any(map(_SCENE.match, every))
    said = [line for line in every if line.strip() and not _SCENE.match(line) and not _WHOLE.fullmatch(line)]
    if style == "colon" and len(heads) < len(said):  # an interview: blank lines between answers of several
        after_blank = sum(not i or not every[i - 1].strip() for i in heads)
        if after_blank >= len(heads) - 1 and len(heads) > 0.2 * len(said):
            return True
    if style != "alone":
        happens = scenes or any(head.directed for head in heads.values()) or any(map(_WHOLE.fullmatch, every))
        return len(heads) > 0.6 * len(said) and (style == "point" or happens)
    marked = sum(head.marked or head.directed for head in heads.values())
    indented = sum(_indent(every[i]) > _indent(every[i + 1]) for i in heads)
    return (scenes or 2 * max(marked, indented) > len(heads)) and len(heads) > 0.1 * len(said)


def _indent(line: str) -> int:
    spaced = line.expandtabs()
    return len(spaced) - len(spaced.lstrip())


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every scene, or part of one, in which two people speak."""
    numbered = [(number, text.rstrip("\r\n")) for number, text in lines(path)]
    every = [text for _, text in numbered]
    styles = {style: _heads(every, style) for style in _STYLES}
    style = next((style for style, heads in styles.items() if _fits(every[:_LOOKED_AT], heads, style)), "")
    heads = styles[style or max(styles, key=lambda one: len(styles[one]))]
    for scene in _scenes(numbered, heads, notes):
        spoken = [Post(post.line, post.name, _spoken(post.text, notes)) for post in scene]
        words = [post for post in spoken if post.text]
        notes.omit("speech without words", len(spoken) - len(words))
        for part in _parts(words):
            agent = next((post.name for post in part if post.name != part[0].name), "")
            yield from dialogs_of(path, [part], agent, notes)


def _scenes(
    numbered: Sequence[tuple[int, str]], heads: Mapping[int, _Head], notes: Notes
) -> Iterator[list[Post]]:
    """The speeches of each scene, their directions still in them."""
    film = 2 * sum(head.marked for head in heads.values()) < len(heads)  # a blank line ends a speech
    after_blank = sum(i > 0 and not numbered[i - 1][1].strip() for i in heads)
    divided = 2 * after_blank < len(heads)  # a blank line ends a dialogue
    scene = list[Post]()
    behind_blank = within = False
    for i, (number, text) in enumerate(numbered):
        line = text.strip()
        if within or not line:
            within = within and bool(line) and "]" not in line
            behind_blank = behind_blank or not line
        elif _SCENE.match(line) or is_between(line):
            yield scene
            scene = []
        elif head := heads.get(i):
            if divided and behind_blank:
                yield scene
                scene = []
            scene.append(Post(number, head.name, head.words))
            behind_blank = False
            notes.omit("stage direction", head.directed)
        elif _WHOLE.fullmatch(line) or _ENTERS.match(line):
            notes.omit("stage direction")
        elif _OPEN.fullmatch(line):
            notes.omit("stage direction")
            within = True
        elif scene and not (film and behind_blank):
            last = scene[-1]
            scene[-1] = Post(last.line, last.name, f"{last.text} {line}".strip())
        else:
            notes.omit("line of description")
    yield scene


def _spoken(text: str, notes: Notes) -> str:
    """A speech without its directions and marks of italics."""
    for pattern in (_WITHIN, _AT_AN_END):
        text, number = pattern.subn(" ", text)
        notes.omit("stage direction", number)
    return " ".join(_ITALICS.sub(r"\1", text).split())


def _parts(scene: Sequence[Post]) -> Iterator[list[Post]]:
    """A scene cut behind the last words of who answers in it, where others go on without that one."""
    start = 0
    while start < len(scene):
        answers = next((post.name for post in scene[start:] if post.name != scene[start].name), "")
        end, absent = start, 0
        for i in range(start, len(scene)):
            absent = 0 if scene[i].name == answers else absent + 1
            end = i + 1 if not absent else end
            if absent > _ABSENT and end > start:
                break
        else:
            end = len(scene)
        yield list(scene[start:end])
        start = end
