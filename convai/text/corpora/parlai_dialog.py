"""ParlAI's dialog format: `text:hi<TAB>labels:hello<TAB>episode_done:True`, an exchange a line.

Source: ParlAI, ParlAIDialogTeacher. `\\n` in a text is a line end: lines of a text that are persona lines
are the persona. `label_candidates` are split at `|`, the gold reply among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import dialog, is_silence, without_gold, wrong_replies
from convai.text.corpora.notes import Notes
from convai.text.corpora.parlai_text import PERSONA_LINES

FIELDS: Final = frozenset(
    {"text", "labels", "eval_labels", "label_candidates", "episode_done", "reward", "id", "image"}
)


def is_parlai_dialog(line: str) -> bool:
    """Whether a line begins with a field of the format and has another one, or an end."""
    return "text" in (fields := _fields(line)) and len(fields) > 1


def _fields(line: str) -> dict[str, str]:
    found = {}
    for part in line.split("\t"):
        name, colon, value = part.partition(":")
        if colon and name.strip() in FIELDS:
            found[name.strip()] = value
    return found


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every episode."""
    episode: list[tuple[int, dict[str, str]]] = []

    def whole() -> Iterator[tuple[int, Dialog]]:
        try:
            yield episode[0][0], _dialog(path, episode)
        except DataError as error:
            notes.error(error)

    for line, text in lines(path):
        if not text.strip():
            continue
        fields = _fields(text)
        if not fields:
            notes.error(DataError(f"{path}:{line}: no field such as 'text:'; write text:hi<TAB>labels:hello"))
            continue
        episode.append((line, fields))
        if fields.get("episode_done", "").strip().lower() in ("true", "1"):
            yield from whole()
            episode = []
    if episode:
        yield from whole()


def _dialog(path: Path, episode: list[tuple[int, dict[str, str]]]) -> Dialog:
    personas: tuple[list[str], list[str]] = ([], [])
    turns: list[Turn] = []
    for line, fields in episode:
        where = f"{path}:{line}"
        said = []
        for part in fields.get("text", "").replace("\\n", "\n").split("\n"):
            label, colon, rest = part.strip().partition(":")
            speaker = PERSONA_LINES.get(label.lower() + colon)
            if speaker is not None:
                personas[speaker].append(check_text(rest, f"{where}, persona"))
            elif part.strip():
                said.append(part)
        words = " ".join(said)
        if words and not is_silence(words):
            turns.append(Turn(USER, check_text(words, f"{where}, text")))
        reply = fields.get("labels") or fields.get("eval_labels") or ""
        if reply.strip():
            gold, *others = reply.split("|")  # several labels are as right as the first
            text = check_text(gold, f"{where}, labels")
            offered = wrong_replies(fields.get("label_candidates", "").split("|"), where)
            right = {check_text(other, where) for other in others if other.strip()}
            wrong = tuple(c for c in without_gold(offered, text) if c not in right)
            turns.append(Turn(AGENT, text, wrong))
    both = (Persona(tuple(personas[USER])), Persona(tuple(personas[AGENT])))
    return dialog(f"{path}:{episode[0][0]}", turns, both)
