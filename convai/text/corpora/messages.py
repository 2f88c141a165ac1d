"""Lists of messages, whatever their keys are called, as turns and a persona.

`role` and `content` (OpenAI), `from` and `value` (ShareGPT), `speaker` and `text` and the like. A system
message before the others is the agent's persona, a sentence or line each; one of weight 0 is no target. Texts
alone take turns, the user's first. Calls of tools, what they return, and parts that are no text are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object, dialog, kind, persona_from_text
from convai.text.corpora.roles import PERSONA_ROLES, TOOL_ROLES, sides

SPEAKER_KEYS: Final = ("role", "from", "speaker", "sender", "author", "user", "name")
TEXT_KEYS: Final = ("content", "value", "text", "message", "utterance", "mes", "body", "parts")
_PERSONA_KEYS: Final = (
    *("system", "systemprompt", "systeminstruction", "persona", "personality", "yourpersona", "botpersona"),
    *("agentpersona", "assistantpersona", "personab", "persona2"),
)
"""Where the agent's persona stands beside its turns; as all such names are compared, letters and digits."""
_PARTNER_KEYS: Final = (
    *("partnerpersona", "partnerspersona", "userpersona", "otherpersona", "personaa", "persona1"),
)
_TARGET_KEYS: Final = ("weight", "train", "training", "trainable", "loss", "loss_mask", "loss_weight")
_CALL_KEYS: Final = ("tool_calls", "function_call")
_CALL = re.compile(
    r"\s*(?:<think>.*?</think>\s*)?(?:<(tool_call|function_call)>.*?</\1>\s*)+", re.DOTALL | re.IGNORECASE
)
"""A reply that is a call of a tool and nothing else, as Hermes' models write it."""
_PARTS: Final = {
    "text": "",
    "input_text": "",
    "output_text": "",
    **dict.fromkeys(("image_url", "image", "input_image"), "picture"),
    **dict.fromkeys(("input_audio", "audio", "audio_url"), "recording"),
    **dict.fromkeys(("file", "input_file", "video", "video_url", "document"), "file"),
    **dict.fromkeys(("tool_use", "tool_result", "tool_call"), "tool message"),
    **dict.fromkeys(("reasoning", "thinking", "redacted_thinking"), "thought"),
}
"""What the parts of a message's content are called where they have no words, by their type."""
_EXAMPLE: Final = '{"role": "user", "content": "hi"}'
_PAIR_KEYS: Final = (
    ("human", "assistant"),
    ("user", "assistant"),
    ("input", "output"),
    ("question", "answer"),
    ("user", "bot"),
)


@dataclass(slots=True)
class Said:
    """What a list of messages says."""

    turns: list[Turn] = field(default_factory=list)
    persona: list[str] = field(default_factory=list)
    partner: list[str] = field(default_factory=list)

    def beside(self, entry: dict[str, Any], where: str) -> Said:
        """Itself, with the personas that stand beside its turns."""
        self.persona[:0] = _entry_persona(entry, _PERSONA_KEYS, where)
        self.partner[:0] = _entry_persona(entry, _PARTNER_KEYS, where)
        return self

    def dialog(self, where: str, **more: Any) -> Dialog:
        """A Dialog of the turns with the persona. Raises DataError beginning with `where`."""
        partner, persona = (
            Persona(tuple(check_text(sentence, where) for sentence in sentences))
            for sentences in (self.partner, self.persona)
        )
        return dialog(where, self.turns, (partner, persona), **more)


def is_message(value: object) -> bool:
    """Whether a JSON value is one turn of a dialogue: an object with a speaker and a text."""
    return isinstance(value, dict) and bool(_keys(value)) and not is_exchange(value)


def is_exchange(value: object) -> bool:
    """Whether a JSON value is a message of the user's and its reply: a pair of texts, or an object of two."""
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(text, str) for text in value)
    if not isinstance(value, dict) or "instruction" in value:  # that is an entry of its own
        return False
    return any(a in value and b in value for a, b in _PAIR_KEYS)


def _keys(value: dict[str, Any]) -> tuple[str, str] | None:
    """The names of the speaker and of the text in a message."""
    speaker = next((key for key in SPEAKER_KEYS if key in value), None)
    text = next((key for key in TEXT_KEYS if key in value), None)
    return (speaker, text) if speaker and text else None


def said(items: object, where: str, what: str, word: str = "message") -> Said:
    """The turns of a list of messages, of texts, or of exchanges.

    `what` is the list's name in its file, `word` that of one of its items. Raises DataError beginning with
    `where`.
    """
    messages = as_list(items, where, what)
    if messages and all(isinstance(item, str) for item in messages):
        turns = [Turn(i % 2, check_text(text, f"{where}, {word} {i + 1}")) for i, text in enumerate(messages)]
        return Said(turns)
    if messages and all(map(is_exchange, messages)):
        return _exchanges(messages, where, word)
    found = Said()
    names, places = list[str](), list[str]()
    spoken = list[tuple[str, bool]]()
    for i, item in enumerate(messages, 1):
        place = f"{where}, {word} {i}"
        message = as_object(item, place, _EXAMPLE)
        speaker, text = _keys(message) or (
            next((key for key in SPEAKER_KEYS if key in message), "role"),
            next((key for key in TEXT_KEYS if key in message), "content"),
        )
        if _is_tools(message) or (_wordless_parts(message.get(text)) and not _content(message[text], place)):
            continue
        name = _name(message.get(speaker), speaker, place)
        if name.lower() in PERSONA_ROLES:
            if spoken:
                raise DataError(f"{place}: a {name} message amid the turns; put the persona before them")
            found.persona.extend(persona_from_text(_content(message.get(text), place), place).sentences)
            continue
        names.append(name)
        places.append(place)
        spoken.append((check_text(_content(message.get(text), place), place), is_target(message, place)))
    for speaker_number, (words, target) in zip(_sides(names, places), spoken, strict=True):
        found.turns.append(Turn(speaker_number, words, target=target))
    return found


def _sides(names: Sequence[str], places: Sequence[str]) -> list[int]:
    if names and {*names} <= {"0", "1"}:
        return [int(name) for name in names]
    return sides(names, places)


def _name(value: object, key: str, where: str) -> str:
    if isinstance(value, dict):  # an author of a chat program's
        value = next((value[k] for k in ("role", "name", "nickname") if value.get(k)), value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value.strip()
    found = repr(value) if isinstance(value, str) else kind(value)
    raise DataError(f"{where}: {key!r} is {found}; use system, user or assistant")


def _exchanges(items: Sequence[Any], where: str, word: str) -> Said:
    found = Said()
    for i, item in enumerate(items, 1):
        place = f"{where}, {word} {i}"
        if isinstance(item, list):
            user, agent = item
        else:
            user, agent = next((item[a], item[b]) for a, b in _PAIR_KEYS if a in item and b in item)
            if item.get("system") and not found.turns:
                found.persona.extend(persona_from_text(item["system"], place).sentences)
        if user != "":  # the agent may speak first
            found.turns.append(Turn(USER, check_text(user, place)))
        found.turns.append(Turn(AGENT, check_text(agent, f"{place}, reply")))
    return found


def is_target(message: dict[str, Any], where: str) -> bool:
    """Whether a message is to be learnt: OpenAI's `weight`, axolotl's `train`, others' names for it (veRL's,
    LLaMA-Factory's), or torchtune's `masked`.
    """
    if message.get("masked") is True:
        return False
    for key in _TARGET_KEYS:
        value = message.get(key)
        if value is not None and value not in (0, 1):
            raise DataError(f"{where}: {key!r} is {str(value)[:20]!r}; use 1, or 0 for what is no target")
        if value is not None and not value:
            return False
    return True


def _content(content: object, where: str) -> object:
    """Text, or the joined text parts of OpenAI's `content`."""
    if isinstance(content, dict) and isinstance(content.get("parts"), list):  # ChatGPT's
        content = content["parts"]
    if not isinstance(content, list):
        return content
    parts = []
    for part in content:
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        known = _PARTS.get(str(part.get("type", "text"))) if isinstance(part, dict) else None
        if known == "" and "text" not in part:  # LLaMA-Factory's second version
            part = {**part, "text": part.get("value")}
        if known is None or (not known and not isinstance(part.get("text"), str)):
            raise DataError(f"{where}: content that is not text; keep only parts of type 'text'")
        if not known:
            parts.append(part["text"])
    return "\n".join(parts)


def is_wordless(part: dict[str, Any]) -> bool:
    """Whether a part of a message's content is a picture, a recording, a file, a call of a tool."""
    return bool(_PARTS.get(str(part.get("type"))))


def _wordless_parts(content: object) -> list[str]:
    """What there is beside text in a message's content, by its name."""
    if not isinstance(content, list):
        return []
    return [
        name for part in content if isinstance(part, dict) and (name := _PARTS.get(str(part.get("type"))))
    ]


def _is_tools(message: dict[str, Any]) -> bool:
    """Whether a message calls a tool without a word, or is what one returned."""
    calls = any(message.get(key) for key in _CALL_KEYS)
    words = next((message[key] for key in TEXT_KEYS if message.get(key)), None)
    if (calls and not words) or (isinstance(words, str) and _CALL.fullmatch(words)):
        return True
    name = next((message[key] for key in SPEAKER_KEYS if key in message), None)
    return isinstance(name, str) and name.strip().lower() in TOOL_ROLES


def wordless(value: object) -> Counter[str]:
    """What `said` leaves out of an entry's lists of messages, by its name in the singular."""
    found = Counter[str]()
    for items in [value, *value.values()] if isinstance(value, dict) else [value]:
        for message in items if isinstance(items, list) else []:
            if not isinstance(message, dict):
                continue
            if _is_tools(message):
                found["tool message"] += 1
            else:
                found.update(_wordless_parts(next((message[k] for k in TEXT_KEYS if k in message), None)))
    return found


def entry_name(entry: dict[str, Any], where: str) -> str:
    """The `id` of an entry, where it is text."""
    name = entry.get("id")
    return check_text(name, f"{where}, id") if isinstance(name, str) and name.strip() else ""


def _entry_persona(entry: dict[str, Any], keys: Sequence[str], where: str) -> list[str]:
    """The persona beside an entry's turns, under one of `keys` (in any spelling) or under several."""
    sentences: list[str] = []
    held = {re.sub(r"['’ _-]", "", name.lower()): item for name, item in entry.items()}
    for key in keys:
        value = held.get(key)
        if isinstance(value, list):
            for part in value:
                if isinstance(part, dict) and isinstance(part.get("text"), str):  # parts of a message
                    sentences += persona_from_text(part["text"], f"{where}, {key}").sentences
                else:
                    sentences.append(check_text(part, f"{where}, {key}"))
        elif value is not None:
            sentences += persona_from_text(value, f"{where}, {key}").sentences
    return sentences
