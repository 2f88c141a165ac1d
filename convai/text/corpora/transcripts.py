"""A whole dialogue in one text: in the marks of a chat template, `### Human: ...`, `User 1: ...` a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, persona_from_text
from convai.text.corpora.json_entries import dialogs
from convai.text.corpora.messages import Said, entry_name
from convai.text.corpora.notes import Notes
from convai.text.corpora.roles import PERSONA_ROLES, ROLES, sides
from convai.text.corpora.shapes import lowered

TEMPLATES: Final = {
    "<|im_start|>": re.compile(
        r"<\|im_start\|>\s*(\w+)\n?(.*?)(?=<\|im_end\|>|<\|im_start\|>|\Z)", re.DOTALL
    ),
    "<|start_header_id|>": re.compile(
        r"<\|start_header_id\|>\s*(\w+)\s*<\|end_header_id\|>"
        r"(.*?)(?=<\|eot_id\|>|<\|end_of_text\|>|<\|start_header_id\|>|\Z)",
        re.DOTALL,
    ),
    "<start_of_turn>": re.compile(
        r"<start_of_turn>\s*(\w+)\n?(.*?)(?=<end_of_turn>|<start_of_turn>|\Z)", re.DOTALL
    ),
    "<|start|>": re.compile(
        r"<\|start\|>\s*(\w+)(?:<\|channel\|>\s*final\s*)?<\|message\|>"
        r"(.*?)(?=<\|end\|>|<\|return\|>|<\|start\|>|\Z)",
        re.DOTALL,
    ),
    "<|START_OF_TURN_TOKEN|>": re.compile(
        r"<\|START_OF_TURN_TOKEN\|>\s*<\|(\w+?)_TOKEN\|>"
        r"(.*?)(?=<\|END_OF_TURN_TOKEN\|>|<\|START_OF_TURN_TOKEN\|>|\Z)",
        re.DOTALL,
    ),
    "<｜User｜>": re.compile(r"<｜(User|Assistant)｜>(.*?)(?=<｜|\Z)", re.DOTALL),
    "<|user|>": re.compile(
        r"<\|(user|assistant|model|system)\|>(.*?)"
        r"(?=<\|end\|>|<\|endoftext\|>|</s>|<\|(?:user|assistant|model|system)\|>|\Z)",
        re.DOTALL,
    ),
}
"""By what tells them: ChatML, and the templates of Llama 3, Gemma, gpt-oss (what is said in its final
channel), Command R, DeepSeek, and of Phi, Zephyr and Pygmalion's Metharme."""
_BEGINS: Final = re.compile(r"(?:\s|<\|?[^<>]{1,40}>|<｜[^<>]{1,40}>)*")
"""What a template has before its first turn that nobody says: `<s>`, `<bos>`, `<|begin_of_text|>`."""
_VICUNA = re.compile(r"(?:^|(?<=\s)|(?<=</s>))(USER|ASSISTANT):")
_SYS = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_ALPACA: Final = "Below is an instruction"
_HEADED = re.compile(r"(?:^|\n)\s*#{2,4}\s*(\w[\w ]{0,30}?)\s*:", re.MULTILINE)
_INLINE = re.compile(r"###\s*(Human|User|Assistant|Instruction|Input|Response|System)\s*:")
_INST = re.compile(r"\[INST\](.*?)\[/INST\](.*?)(?=<s>|</s>|\[INST\]|\Z)", re.DOTALL)
_NAMED = re.compile(r"^[ \t]*(#?[^\W\d_][\w .'-]{0,39}?#?)[ \t]*:(?=\s|$)", re.MULTILINE)
_QUESTIONS: Final = {"question", "answer", "q", "a"}
_ENDING = re.compile(
    r"(?<!\s)\s*(?:<\|(?:im_end|eot_id|end_of_text|endoftext|end)\|>|<end_of_turn>|</s>)\s*\Z"
)
_TOKENS = re.compile(r"</?s>|<\|[\w ]{1,40}\|>|<(?:bos|eos|start_of_turn|end_of_turn)>|\[/?INST\]")
_LONGEST: Final = 10_000_000


def has_speakers(text: str) -> bool:
    """Whether a text is a dialogue with marks for who speaks: two turns or more, one at its beginning."""
    pieces = _pieces(text)
    return len(pieces) > 1


def is_asked(text: str) -> bool:
    """Whether a text is one turn, and ends with the name of who is to answer: `Human: hi Assistant:`."""
    pieces = _pieces(f"{text} .")
    names = {name.lower() for name, _ in pieces}
    return len(pieces) == 2 and pieces[1][1].strip() == "." and names <= ROLES.keys() | _QUESTIONS


def without_end(text: str) -> str:
    """A reply without the mark that a chat template has behind it."""
    return _ENDING.sub("", text)


def _pieces(text: str) -> list[tuple[str, str]]:
    """(name, words) of each turn, or nothing where the text has no marks."""
    text = text[:_LONGEST]
    for mark, template in TEMPLATES.items():
        if mark in text:
            turns = list(template.finditer(text))
            start = _BEGINS.match(text)
            before = text[start.end() if start else 0 : turns[0].start()] if turns else ""
            pairs = [("system", before), *((turn[1], turn[2]) for turn in turns)]
            return [(name, words) for name, words in pairs if words.strip()]
    if "[INST]" in text:
        return [
            piece
            for asked, reply in _INST.findall(text)
            for piece in (("system", _system(asked)), ("user", _SYS.sub("", asked)), ("assistant", reply))
            if piece[1].strip()
        ]
    if len(list(_VICUNA.finditer(text))) > 1:
        before, *rest = _VICUNA.split(text)
        pairs = [("system", before), *zip(rest[::2], rest[1::2], strict=True)]
        return [(name, said) for name, words in pairs if (said := words.replace("</s>", "")).strip()]
    if text.startswith(_ALPACA) and "###" in text:
        text = text[text.index("###") :]
    for pattern in (_INLINE, _HEADED, _NAMED):
        marks = list(pattern.finditer(text))
        if len(marks) > 1 and not text[: marks[0].start()].strip():
            ends = [mark.start() for mark in marks[1:]] + [len(text)]
            return [
                (mark[1], said)
                for mark, end in zip(marks, ends, strict=True)
                if (said := text[mark.end() : end].replace("</s>", "")).strip()
            ]
    return []


def _system(asked: str) -> str:
    """What Llama 2's template has for a system message in the first thing asked."""
    found = _SYS.match(asked)
    return found[1] if found else ""


def transcript(text: str, where: str) -> Said:
    """The turns of a text with marks for who speaks. Raises DataError beginning with `where`."""
    found = Said()
    spoken = list[tuple[str, str]]()
    for name, words in _pieces(text):
        if name.lower() in PERSONA_ROLES and not spoken:
            found.persona.extend(persona_from_text(words, where).sentences)
        else:
            spoken.append((name, words))
    if not spoken:
        raise DataError(f"{where}: no turns in the text; begin each with a name and a colon")
    places = [f"{where}, turn {i}" for i in range(1, len(spoken) + 1)]
    speakers = sides([name for name, _ in spoken], places, written=True)
    for speaker, (_, words), place in zip(speakers, spoken, places, strict=True):
        found.turns.append(Turn(speaker, check_text(words, place)))
    return found


def parse_json(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every `{"text": ...}` that holds a transcript."""
    return dialogs(path, notes, _dialog)


def _dialog(value: Any, where: str) -> Dialog:
    entry = lowered(as_object(value, where, '{"text": "### Human: hi ### Assistant: hello"}'))
    if "segments" in entry:
        return _of_segments(entry["segments"], where).beside(entry, where).dialog(where)
    text = entry.get("text")
    if not isinstance(text, str) or not has_speakers(text):
        raise DataError(f"{where}: 'text' does not say who speaks; running text goes to convai train --text")
    found = transcript(text, where)
    return found.beside(entry, where).dialog(where, id=entry_name(entry, where))


def _of_segments(given: object, where: str) -> Said:
    """axolotl's: a text in pieces with a `label`, which is true for what is learnt.

    Where no template's marks say who speaks, that is the agent, and the rest the user.
    """
    pieces = [
        (check_text(piece.get("text"), f"{where}, segment {i}"), bool(piece.get("label")))
        for i, item in enumerate(as_list(given, where, "segments"), 1)
        for piece in [as_object(item, f"{where}, segment {i}", '{"label": true, "text": "hello"}')]
        if not isinstance(piece.get("text"), str) or _TOKENS.sub("", piece["text"]).strip()
    ]
    joined = "\n".join(text for text, _ in pieces)
    if has_speakers(joined):
        found = transcript(joined, where)
        learnt = " ".join(_TOKENS.sub(" ", text) for text, label in pieces if label)
        learnt = " ".join(learnt.split())
        found.turns = [
            replace(turn, target=turn.speaker == USER or turn.text in learnt) for turn in found.turns
        ]
        return found
    found = Said()
    for label, run in groupby(pieces, key=lambda piece: piece[1]):
        words = " ".join(_TOKENS.sub(" ", text) for text, _ in run)
        found.turns.append(Turn(AGENT if label else USER, check_text(words, where)))
    return found
