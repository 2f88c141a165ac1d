"""Tables of instructions and answers, an exchange each: Alpaca, prompt and completion, preferences.

`{"instruction", "input", "output", "history": [[..., ...]]}`, `{"prompt", "completion"}`, `{"question",
"answer"}`, as JSON or as rows of a table. `{"prompt", "chosen", "rejected"}` gives the chosen reply and the
rejected one as a wrong one beside it; a reply with `label: false` is no target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_object
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.messages import Said, entry_name, is_message, said
from convai.text.corpora.notes import Notes
from convai.text.corpora.shapes import ANSWER_KEYS, LIST_KEYS, PREFERENCE_KEYS, QUESTION_KEYS, lowered
from convai.text.corpora.transcripts import has_speakers, is_asked, transcript, without_end

_EXAMPLE: Final = '{"prompt": "hi", "completion": "hello"}'
_PREFERENCE: Final = '{"prompt": "hi", "chosen": "hello", "rejected": "go away"}'
_BEHIND: Final = {"instruction": ("input", "context"), "question": ("context",)}
"""What stands behind what is asked: the text that it is about."""
_LABELS: Final = ("label", "kto_tag")


def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every exchange."""
    return dialogs(path, notes, exchange)


def parse_preferences(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every pair of a chosen and a rejected reply."""
    return dialogs(path, notes, _preference)


def exchange(value: Any, where: str) -> Dialog:
    """A dialogue from an instruction and its answer. Raises DataError beginning with `where`."""
    entry = lowered(as_object(value, where, _EXAMPLE))
    found = _asked(entry, where)
    answer = next((key for key in ANSWER_KEYS if entry.get(key) not in (None, "")), None)
    if answer is None and len(found.turns) > 1 and found.turns[-1].speaker == AGENT:
        return found.dialog(where, id=entry_name(entry, where))  # all of it stands in what is asked
    if answer is None:
        raise DataError(f"{where}: no answer ({', '.join(ANSWER_KEYS[:4])}); write it like {_EXAMPLE}")
    found.turns += _ranked(entry[answer], f"{where}, {answer}")
    label = next((entry[key] for key in _LABELS if isinstance(entry.get(key), bool)), True)
    if not label:
        found.turns[-1] = replace(found.turns[-1], target=False)
    return found.dialog(where, id=entry_name(entry, where))


def _ranked(value: Any, where: str) -> list[Turn]:
    """The turns that end with a reply; of a list of texts the first is it, the others are worse ones."""
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        return _replies(value, where)
    gold, *worse = dict.fromkeys(check_text(text, where) for text in value)
    return [Turn(AGENT, gold, tuple(worse))]


def _preference(value: Any, where: str) -> Dialog:
    entry = lowered(as_object(value, where, _PREFERENCE))
    pairs = (pair for pair in PREFERENCE_KEYS if any(key in entry for key in pair))
    better, worse = next(pairs, PREFERENCE_KEYS[0])
    for key in (better, worse):
        if key not in entry:
            raise DataError(f"{where}: no '{key}'; write it like {_PREFERENCE}")
    asked = entry.get("input")
    if isinstance(asked, dict) and "messages" in asked:  # OpenAI's own
        entry = {**entry, **asked, "input": None}
    found = _asked(entry, where)
    chosen = _replies(entry[better], f"{where}, {better}")
    if found.turns and chosen[: len(found.turns)] == found.turns:
        chosen = chosen[len(found.turns) :]  # the whole conversation once more
    found.turns += chosen
    if not found.turns or found.turns[-1].speaker != AGENT:
        raise DataError(f"{where}, {better}: it does not end with a reply; write it like {_PREFERENCE}")
    gold = found.turns[-1]
    wrong = dict.fromkeys(_wrong(entry[worse], f"{where}, {worse}"))
    wrong.pop(gold.text, None)
    found.turns[-1] = replace(gold, distractors=tuple(wrong))
    return found.dialog(where, id=entry_name(entry, where))


def _wrong(value: Any, where: str) -> list[str]:
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return [check_text(text, where) for text in value]
    return [_replies(value, where)[-1].text]


def _asked(entry: Mapping[str, Any], where: str) -> Said:
    """What comes before the reply: persona, history, and what is asked."""
    found = Said().beside(dict(entry), where)
    for key in ("conversations", "messages", *LIST_KEYS):
        if isinstance(entry.get(key), list) and entry[key]:
            earlier = said(entry[key], f"{where}, {key}", key, "turn")
            found.persona += earlier.persona
            found.turns += earlier.turns
    question = next((key for key in QUESTION_KEYS if entry.get(key) not in (None, "")), None)
    if question is None:
        return found
    value = entry[question]
    place = f"{where}, {question}"
    if isinstance(value, str) and not has_speakers(value) and not is_asked(value):
        text = check_text(value, place)
        for key in _BEHIND.get(question, ()):
            more = entry.get(key)
            if isinstance(more, str) and more.strip():
                text = f"{text} {check_text(more, f'{where}, {key}')}"
        found.turns.append(Turn(USER, text))
        return found
    if isinstance(value, str):
        asked = transcript(value, place)
    else:
        asked = said([value] if is_message(value) else value, where, question)
    found.persona += asked.persona
    found.turns += asked.turns
    return found


def _replies(value: Any, where: str) -> list[Turn]:
    """The turns that end with a reply: a text, a message, a list of messages, or a transcript."""
    if is_message(value):
        value = [value]
    if isinstance(value, list):
        found = said(value, where, where.rpartition(", ")[2])
        if not found.turns:
            raise DataError(f"{where}: no reply in it; write it like {_EXAMPLE}")
        return found.turns
    if isinstance(value, str) and has_speakers(value):
        return transcript(value, where).turns
    return [Turn(AGENT, check_text(without_end(value) if isinstance(value, str) else value, where))]
