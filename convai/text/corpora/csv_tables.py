"""Tables of dialogues: a dialogue, an exchange or a turn a row, between commas, semicolons or tabs.

What a table holds is told from the names of its columns:
- a chat in a cell, a turn a line (or a transcript, a list, turns with marks), personas in columns beside it:
  `Persona` and `chat`, Synthetic-Persona-Chat's `user 1 personas` and `Best Generated Conversation`;
- a turn a row, with the name of its conversation and of its speaker, as EmpatheticDialogues has it;
- an exchange a row: `prompt` and `completion`, `question` and `answer`, ...
- a message a row that names the one before it, as OpenAssistant's tables have it.

A first line `sep=;`, as spreadsheets write it, is passed over.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import dialog, persona_from_text
from convai.text.corpora.columns import KNOWN, OPTION, known_names, not_there
from convai.text.corpora.exchanges import exchange
from convai.text.corpora.marked_text import divided, mark_of
from convai.text.corpora.messages import Said, said
from convai.text.corpora.notes import Notes
from convai.text.corpora.oasst import trees
from convai.text.corpora.program_shapes import OASST_ROW
from convai.text.corpora.roles import sides, sides_of_people
from convai.text.corpora.shapes import ANSWER_KEYS, QUESTION_KEYS
from convai.text.corpora.splits import SPLIT_KEYS, own_split
from convai.text.corpora.table_rows import Row, cells_of, is_separator, rows_of
from convai.text.corpora.transcripts import has_speakers, transcript

DELIMITERS: Final = ",;\t|"
_CHATS: Final = (
    *("chat", "best generated conversation", "conversation", "dialogue", "dialog", "transcript"),
    *("messages", "conversations"),
)
_PERSONAS: Final = {
    "persona": AGENT,
    "personality": AGENT,
    "user 2 personas": AGENT,
    "user 2 persona": AGENT,
    "user 1 personas": USER,
    "user 1 persona": USER,
}
_BESIDE_CHATS: Final = {"", *SPLIT_KEYS, "act", "emotion", "topic", "summary"}
"""Columns beside a chat in published tables: DailyDialog's, SAMSum's."""
_CONVERSATIONS: Final = (
    "conv_id",
    "conversation_id",
    "conversationid",
    "dialog_id",
    "dialogue_id",
    "dialogueid",
    "chat_id",
    "thread_id",
    "session_id",
)
_SPEAKERS: Final = ("speaker_idx", "speaker", "role", "author", "sender", "from", "name")
_ORDER: Final = (
    "turn",
    "turn_id",
    "turn_idx",
    "turn_index",
    "utterance_idx",
    "utterance_index",
    "message_index",
)
"""Columns with a turn's number in its conversation."""
_TEXTS: Final = ("utterance", "text", "message", "content", "body")
_NO_TURNS: Final = {"rating", "stars", "score", "title", "subject", "label"}
"""Columns of reviews, posts and letters, which have an author and a text, too."""
_LABELS: Final = {"context": "emotion", "emotion": "emotion", "prompt": "situation"}
"""Columns of EmpatheticDialogues that say something about a whole conversation."""
_CANDIDATES: Final = "candidates"

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_ARRAY = re.compile(rf"\s*\[\s*(?:{_QUOTED.pattern})(?:\s+(?:{_QUOTED.pattern}))+\s*\]\s*", re.DOTALL)
"""Texts in brackets with nothing between them but blanks, as numpy prints them: DailyDialog's tables."""


def kind_of(header: Sequence[str]) -> str:
    """What a table with these columns has in a row: a `chat`, `turn`, `exchange`, `tree`, or nothing."""
    names = {name.strip().lower() for name in header}
    if names >= OASST_ROW:
        return "tree"
    if _named(names, _SPEAKERS) and _named(names, _TEXTS) and not names & _NO_TURNS:
        if _named(names, _CONVERSATIONS) or names & {"speaker", "role", "sender", "author"}:
            return "turn"
    if _named(names, _CHATS) and (len(names) == 1 or names & {*_PERSONAS, *_BESIDE_CHATS}):
        return "chat"
    if _named(names, QUESTION_KEYS) and _named(names, ANSWER_KEYS):
        return "exchange"
    return ""


def _named(names: Any, wanted: Sequence[str]) -> str:
    return next((name for name in wanted if name in names), "")


def header_of(line: str) -> tuple[list[str], str]:
    """The column names in a first line, and what is between them; none where it heads no dialogues."""
    for delimiter in DELIMITERS:
        try:
            header = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        header = known_names(header)
        if kind_of(header):
            return header, delimiter
    return [], ""


def columns_of(line: str) -> list[str]:
    """The cells of a first line that heads no dialogues, between whatever divides it into the most."""
    found = list[list[str]]()
    for delimiter in DELIMITERS:
        try:
            found.append(known_names(next(csv.reader([line], delimiter=delimiter), [])))
        except csv.Error:
            continue
    return max(found, key=len, default=[line])


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every row, or every conversation of a turn a row."""
    first = next((text for _, text in lines(path) if text.strip() and not is_separator(text)), "")
    header, delimiter = header_of(first)
    if not header:
        found = ", ".join(repr(name[:30]) for name in columns_of(first[:4096])[:8])
        raise DataError(
            f"{path}:1: no columns that hold dialogues (found {found}); say which is which, as in {OPTION} "
            f"({', '.join(KNOWN)})"
        )
    if missing := not_there(header):
        raise DataError(
            f"{path}:1: no column {missing[0]!r}, which --column names (found "
            f"{', '.join(repr(name[:30]) for name in header[:8])})"
        )
    names = [name.strip().lower() for name in header]
    kind = kind_of(header)
    quoted = "utterance_idx" not in names  # EmpatheticDialogues' are commas that are called _comma_
    rows = rows_of(path, delimiter, notes, quoted=quoted)
    next(rows, None)
    if (
        not quoted and names[-1] != _CANDIDATES
    ):  # its valid and test parts have a column more than their header
        names.append(_CANDIDATES)
        rows = ((line, [*row, ""] if len(row) + 1 == len(names) else row) for line, row in rows)
    if kind == "tree":
        yield from _trees(path, names, rows, notes)
        return
    if kind == "turn":
        yield from _conversations(path, names, rows, notes)
        return
    for line, row in rows:
        where = f"{path}:{line}"
        try:
            cells = cells_of(names, row, where)
            parsed = _chat(cells, where) if kind == "chat" else exchange(cells, where)
        except DataError as error:
            notes.error(error)
        else:
            yield line, _with_split(parsed, cells)


def _with_split(found: Dialog, cells: Mapping[str, str]) -> Dialog:
    split = own_split(cells)
    return Dialog(found.turns, found.personas, found.id, found.source, {"split": split}) if split else found


# -- a chat a row ---------------------------------------------------------------------------------------


def _chat(cells: Mapping[str, str], where: str) -> Dialog:
    personas = [Persona(), Persona()]
    for name, speaker in _PERSONAS.items():
        if name in cells:
            personas[speaker] = persona_from_text(cells[name], where)
    found = _turns(cells[_named(cells, _CHATS)], where)
    agent = Persona((*personas[AGENT].sentences, *found.persona), personas[AGENT].name)
    return dialog(where, found.turns, (personas[USER], agent))


def _turns(cell: str, where: str) -> Said:
    """The turns in a cell: a transcript, a list, turns with marks, or a turn a line."""
    if cell.lstrip().startswith("["):
        if _ARRAY.fullmatch(cell):
            return said([_literal(text) for text in _QUOTED.findall(cell)], where, "chat", "turn")
        for read in (json.loads, ast.literal_eval):
            try:
                items = read(cell.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                continue  # no list after all
            return said(items, where, "chat", "turn")
    if has_speakers(cell):
        return transcript(cell, where)
    if mark_of(cell):
        texts = divided(cell)
    else:
        texts = cell.strip().split("\n") if cell.strip() else []
    return Said(
        [Turn(i % 2, check_text(text, f"{where}, chat line {i + 1}")) for i, text in enumerate(texts)]
    )


def _literal(quoted: str) -> Any:
    """The text in quotes as Python reads it; as it stands where it is no literal."""
    try:
        return ast.literal_eval(quoted)
    except (ValueError, SyntaxError):
        return quoted[1:-1]


# -- a message of a tree a row --------------------------------------------------------------------------


def _trees(
    path: Path, names: Sequence[str], rows: Iterator[Row], notes: Notes
) -> Iterator[tuple[int, Dialog]]:
    held = list[tuple[int, dict[str, Any]]]()
    for line, row in rows:
        try:
            held.append((line, dict(cells_of(names, row, f"{path}:{line}"))))
        except DataError as error:
            notes.error(error)
    yield from trees(path, held, notes)


# -- a turn a row ---------------------------------------------------------------------------------------


def _conversations(
    path: Path, names: Sequence[str], rows: Iterator[Row], notes: Notes
) -> Iterator[tuple[int, Dialog]]:
    """Neighbouring rows of one conversation; a name that comes again later is another one."""
    key = _named(names, _CONVERSATIONS)
    if not key and "id" in names:  # of the conversation, where two rows have the same one
        held = list(rows)
        at = names.index("id")
        ids = [row[at] for _, row in held if len(row) > at]
        rows = iter(held)
        key = "id" if len(set(ids)) < len(ids) else ""
    at = names.index(key) if key else len(names)
    last, group = "", list[tuple[int, dict[str, str]]]()
    problem: DataError | None = None  # one bad row makes a bad dialogue, not one that lacks a turn
    for line, row in rows:
        name = row[at] if at < len(row) else last
        if (group or problem) and name != last:
            yield from _conversation(path, key, group, notes, problem)
            group, problem = [], None
        last = name
        try:
            group.append((line, cells_of(names, row, f"{path}:{line}")))
        except DataError as error:
            problem = problem or error
    if group or problem:
        yield from _conversation(path, key, group, notes, problem)


def _in_order(group: list[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str]]]:
    """The turns of a conversation by their numbers, where a column has one for each of them."""
    order = _named(group[0][1], _ORDER)
    numbers = [cells[order].strip() for _, cells in group] if order else []
    if not numbers or not all(map(str.isdecimal, numbers)) or len(set(numbers)) < len(numbers):
        return group
    return sorted(group, key=lambda row: int(row[1][order]))


def _conversation(
    path: Path, key: str, group: list[tuple[int, dict[str, str]]], notes: Notes, problem: DataError | None
) -> Iterator[tuple[int, Dialog]]:
    if problem is not None:
        notes.error(problem)
        return
    group = _in_order(group)
    line, first = group[0]
    speaker, text = _named(first, _SPEAKERS), _named(first, _TEXTS)
    places = [f"{path}:{number}" for number, _ in group]
    try:
        names = [cells[speaker].strip() for _, cells in group]
        # a number only tells people apart: EmpatheticDialogues' are those of the whole collection
        who = sides_of_people(names) if speaker == "speaker_idx" else sides(names, places)
        turns = [
            Turn(
                side, check_text(cells[text].replace("_comma_", ","), place), _distractors(side, cells, text)
            )
            for side, (_, cells), place in zip(who, group, places, strict=True)
        ]
        labels = {
            label: check_text(first[name].replace("_comma_", ","), places[0])
            for name, label in _LABELS.items()
            if "utterance_idx" in first and first.get(name, "").strip()
        }
        split = own_split(first)
        labels |= {"split": split} if split else {}
        name = check_text(first[key], places[0]) if key else ""
        found = dialog(places[0], turns, id=name, labels=labels)
    except DataError as error:
        notes.error(error)
    else:
        yield line, found


def _distractors(side: int, cells: Mapping[str, str], text: str) -> tuple[str, ...]:
    """What EmpatheticDialogues has beside a reply, the reply itself and repeats left out."""
    if side != AGENT or "utterance_idx" not in cells:
        return ()
    given = (" ".join(one.split()) for one in cells.get(_CANDIDATES, "").split("|"))
    found = dict.fromkeys(one.replace("_comma_", ",").replace("_pipe_", "|") for one in given if one)
    found.pop(" ".join(cells[text].replace("_comma_", ",").split()), None)
    return tuple(found)
