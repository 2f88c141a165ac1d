"""ParlAI's text format as ConvAI2 uses it: numbered lines, persona lines, `partner<TAB>reply`.

Source: ParlAI, FbDialogTeacher and the convai2 task. A line numbered 1 begins a dialogue. After a second
and third tab there may be candidates, `c1|c2|...`, the reply among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import SILENCE, dialog, is_silence, merged, without_gold, wrong_replies
from convai.text.corpora.notes import Notes

PERSONA_LINES: Final = {"your persona:": AGENT, "partner's persona:": USER}
_NumberedLine = tuple[int, str, str]
"""Line in the file, its own number, the rest."""


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every episode."""
    for episode in _episodes(path):
        try:
            parsed = _dialog(path, episode)
        except DataError as error:
            notes.error(error)
        else:
            yield episode[0][0], parsed


def _episodes(path: Path) -> Iterator[list[_NumberedLine]]:
    episode: list[_NumberedLine] = []
    for line, text in lines(path):
        if not text.strip():
            continue
        number, _, rest = text.lstrip().partition(" ")
        if number == "1" and episode:
            yield episode
            episode = []
        episode.append((line, number, rest))
    if episode:
        yield episode


def _dialog(path: Path, episode: list[_NumberedLine]) -> Dialog:
    personas: tuple[list[str], list[str]] = ([], [])
    turns: list[Turn] = []
    for expected, (line, number, rest) in enumerate(episode, 1):
        where = f"{path}:{line}"
        if number != str(expected):
            raise DataError(
                f"{where}: expected line number {expected}, found {number[:20]!r}; number the lines of each "
                "dialogue from 1, with a blank after the number"
            )
        label, colon, _ = rest[:24].partition(":")
        speaker = PERSONA_LINES.get(label.lower() + colon)
        if speaker is not None and not turns and "\t" not in rest:
            personas[speaker].append(check_text(rest.partition(":")[2], f"{where}, persona"))
        else:
            _exchange(rest, where, turns, last=expected == len(episode))
    both = (Persona(tuple(personas[USER])), Persona(tuple(personas[AGENT])))
    return dialog(f"{path}:{episode[0][0]}", turns, both)


def _exchange(rest: str, where: str, turns: list[Turn], *, last: bool) -> None:
    said, *fields = rest.split("\t")
    if not fields and not last:
        raise DataError(f"{where}: no tab; write the partner's words, a tab, the reply")
    if len(fields) > 3:
        raise DataError(f"{where}: {len(fields)} tabs; write partner, reply, reward (or nothing), candidates")
    if not is_silence(said):
        turns.append(Turn(USER, check_text(said, f"{where}, before the tab")))
    if fields:
        reply = check_text(fields[0], f"{where}, reply after the tab")
        candidates = wrong_replies(fields[2].split("|"), where) if len(fields) == 3 else ()
        turns.append(Turn(AGENT, reply, without_gold(candidates, reply)))


def render(dialogs: Iterable[Dialog]) -> Iterator[str]:
    """Lines of the text format, `both` personas, the gold reply last among the candidates.

    Turns of one speaker in a row are joined, `__SILENCE__` stands for a partner who has not spoken yet,
    a last turn of the partner's gets a line without a reply. Raises DataError for a `|` in a candidate.
    """
    for n, d in enumerate(dialogs, 1):
        where = f"dialogue {n}"
        body = [
            f"{label} {check_text(sentence, f'{where}, persona')}"
            for label, speaker in PERSONA_LINES.items()
            for sentence in d.personas[speaker].sentences
        ]
        turns = merged(d.turns)
        if turns and turns[0].speaker == AGENT:
            turns.insert(0, Turn(USER, SILENCE))
        for i in range(0, len(turns), 2):
            if not all(turn.target for turn in turns[i : i + 2]):
                raise DataError(f"{where}: a turn of weight 0, which ParlAI text cannot hold; write jsonl")
            said = check_text(turns[i].text, f"{where}, turn {i + 1}")
            body.append(said + _reply(turns[i + 1], where) if i + 1 < len(turns) else said)
        yield from (f"{number} {line}\n" for number, line in enumerate(body, 1))


def _reply(turn: Turn, where: str) -> str:
    gold = check_text(turn.text, where)
    if not turn.distractors:
        return f"\t{gold}"
    candidates = [*(check_text(c, f"{where}, candidate") for c in turn.distractors), gold]
    if any("|" in candidate for candidate in candidates):
        raise DataError(f"{where}: a candidate has a '|', which ParlAI text cannot hold; write jsonl instead")
    return f"\t{gold}\t\t{'|'.join(candidates)}"
