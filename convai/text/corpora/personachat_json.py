"""PERSONA-CHAT as JSON, as transfer-learning-conv-ai publishes it: personality, utterances, candidates.

Source: huggingface/transfer-learning-conv-ai, example_entry.py. The last candidate is the gold reply; a
history has every turn before it, the partner's first. A file is `{"train": [...], "valid": [...]}`, a list
of entries, or entries one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import (
    SILENCE,
    as_list,
    as_object,
    dialog,
    is_silence,
    merged,
    sentences,
    wrong_replies,
)
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.json_text import dump
from convai.text.corpora.notes import Notes
from convai.text.corpora.splits import SPLITS, split_of

_EXAMPLE: Final = '{"personality": [...], "utterances": [{"candidates": [...], "history": [...]}]}'


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every entry; `labels["split"]` says which section it was in."""
    return dialogs(path, notes, _dialog)


def _dialog(value: object, where: str) -> Dialog:
    entry = as_object(value, where, _EXAMPLE)
    if "utterances" not in entry:
        raise DataError(f"{where}: no 'utterances'; write it like {_EXAMPLE}")
    persona = sentences(entry.get("personality") or [], where)
    steps = [
        _utterance(item, f"{where}, utterance {i}")
        for i, item in enumerate(as_list(entry["utterances"], where, "utterances"), 1)
    ]
    if not steps:
        raise DataError(f"{where}: 'utterances' is empty; remove the entry or add what was said")
    history, candidates = steps[-1]
    said = [*history, candidates[-1]]
    wrong: dict[int, tuple[str, ...]] = {}
    for i, (earlier, offered) in enumerate(steps, 1):
        place = f"{where}, utterance {i}"
        _check_prefix(earlier, offered[-1], said, place)
        wrong[len(earlier)] = wrong_replies(offered[:-1], place)
    turns = []
    for at, text in enumerate(said):
        speaker = AGENT if (len(said) - at) % 2 else USER  # counted from the last reply, the agent's
        if speaker == USER and is_silence(text):
            continue
        turns.append(Turn(speaker, check_text(text, f"{where}, turn {at + 1}"), wrong.get(at, ())))
    return dialog(where, turns, (Persona(), Persona(persona)))


def _utterance(value: object, where: str) -> tuple[list[Any], list[Any]]:
    """(history, candidates); the texts in them are not looked at yet."""
    step = as_object(value, where, '{"candidates": [...], "history": [...]}')
    history = as_list(step.get("history"), where, "history")
    candidates = as_list(step.get("candidates"), where, "candidates")
    if not candidates:
        raise DataError(f"{where}: 'candidates' is empty; put the reply that was given last in it")
    return history, candidates


def _check_prefix(history: list[Any], gold: Any, said: list[Any], where: str) -> None:
    length = len(history)
    if length >= len(said) or history != said[:length] or gold != said[length]:
        raise DataError(
            f"{where}: its history and last candidate are not how the last utterance's history begins; "
            "an entry is one conversation, each history with all turns before its reply"
        )
    if (len(said) - 1 - length) % 2:
        raise DataError(
            f"{where}: a history of {length} turns makes the partner's words the agent's; "
            "partner and agent take turns, so lengths go up by two"
        )


def render(dialogs: Iterable[Dialog]) -> Iterator[str]:
    """Chunks of a JSON file: sections when every dialogue has `labels["split"]`, else a list.

    What the format cannot hold is left out: the partner's persona, a last turn of the partner's; turns
    of one speaker in a row are joined. Raises DataError for a dialogue without an agent's reply.
    """
    kept = list(dialogs)
    splits = {split_of(d) for d in kept}
    if kept and splits <= set(SPLITS):
        yield "{\n"
        for i, name in enumerate(name for name in SPLITS if name in splits):
            yield f'{"," if i else ""}"{name}": '
            yield from _list([(n, d) for n, d in enumerate(kept, 1) if split_of(d) == name])
        yield "}\n"
    else:
        yield from _list(list(enumerate(kept, 1)))


def _list(dialogs: list[tuple[int, Dialog]]) -> Iterator[str]:
    yield "["
    for i, (number, d) in enumerate(dialogs):
        yield (",\n" if i else "\n") + dump(_entry(d, f"dialogue {number}"), f"dialogue {number}")
    yield "\n]\n"


def _entry(d: Dialog, where: str) -> dict[str, Any]:
    turns = merged(d.turns)
    if turns and turns[0].speaker == AGENT:
        turns.insert(0, Turn(USER, SILENCE))
    texts = [check_text(turn.text, f"{where}, turn {i}") for i, turn in enumerate(turns, 1)]
    utterances = [
        {"candidates": [*turn.distractors, texts[i]], "history": texts[:i]}
        for i, turn in enumerate(turns)
        if turn.speaker == AGENT and turn.target
    ]
    if not utterances:
        raise DataError(f"{where}: no reply of the agent's, so PERSONA-CHAT JSON cannot hold it; remove it")
    return {"personality": list(d.persona.sentences), "utterances": utterances}
