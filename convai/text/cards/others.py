"""Character files of other programs under the names of the cards: Pygmalion, text-generation-webui, Agnai ...

Sources: the JSON of PygmalionAI's Gradio interface (`char_name`, `char_persona`, ...);
text-generation-webui's `characters/*.yaml` (`name`, `context`, `greeting`); Agnai's export (`kind`,
`persona.attributes`, `sampleChat`, ...); character.ai's (`definition`, also within `character`); JanitorAI's
and Chub's (`first_message`, Chub's API within `node.definition`); Backyard AI's (`aiPersona`, ...); RisuAI's
own. Fields that nobody knows are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from convai.core.errors import DataError

MAX_YAML: Final = 2**20
"""Bytes of a YAML file; a character is some thousands."""
_NAMES: Final = {
    "char_name": "name",
    "char_persona": "description",
    "context": "description",
    "char_greeting": "first_mes",
    "greeting": "first_mes",
    "world_scenario": "scenario",
    "example_dialogue": "mes_example",
}
_CHUB: Final = {
    "first_message": "first_mes",
    "example_dialogs": "mes_example",
    "example_dialogues": "mes_example",
    "description": "creator_notes",
    "personality": "description",
    "tavern_personality": "personality",
}
"""Chub and JanitorAI: `personality` says who it is, `description` is the page that people see."""
_BACKYARD: Final = {
    "aiDisplayName": "nickname",
    "aiName": "name",
    "aiPersona": "description",
    "basePrompt": "system_prompt",
    "customDialogue": "mes_example",
    "firstMessage": "first_mes",
}
_RISU: Final = {"desc": "description", "firstMessage": "first_mes", "exampleMessage": "mes_example"}
_PERCHANCE: Final = {"roleInstruction": "description", "reminderMessage": "post_history_instructions"}
_BACKYARD_MACRO: Final = re.compile(r"#?\{(character|user)\}")
_AGNAI: Final = {
    "greeting": "first_mes",
    "sampleChat": "mes_example",
    "systemPrompt": "system_prompt",
    "postHistoryInstructions": "post_history_instructions",
    "alternateGreetings": "alternate_greetings",
    "characterBook": "character_book",
    "characterVersion": "character_version",
    "description": "creator_notes",
}


def renamed(value: dict[str, Any]) -> dict[str, Any]:
    """The file's object as a card: one of version 1, or of 2 for Agnai's; others stay as they are."""
    if stored := _only_stored(value):
        value = {"addCharacter": stored}
    if "spec" in value or isinstance(value.get("data"), dict):
        return value
    held = value.get("info")
    if isinstance(held, dict) and isinstance(held.get("character"), dict):  # a history of CAI Tools'
        value = held
    inner = value.get("character")
    if isinstance(inner, dict) and "definition" in inner:
        value = {**{key: item for key, item in value.items() if key != "character"}, **inner}
    if isinstance(value.get("definition"), str):
        value = _defined(value)
    if isinstance(value.get("persona"), dict) and ("sampleChat" in value or "attributes" in value["persona"]):
        return _agnai(value)
    node = value.get("node")
    if isinstance(node, dict) and isinstance(node.get("definition"), dict):
        value = node["definition"]
    if "first_message" in value and "personality" in value:
        return {_CHUB.get(key, key): item for key, item in value.items()}
    if isinstance(inner, dict) and "aiPersona" in inner:
        return _backyard(inner)
    if "desc" in value and ("firstMessage" in value or "exampleMessage" in value):
        return {_RISU.get(key, key): item for key, item in value.items()}
    value = _of_programs(value)
    if not any(old in value for old in _NAMES):
        return value
    return {_NAMES.get(key, key): text for key, text in value.items()}


def _defined(value: dict[str, Any]) -> dict[str, Any]:
    """character.ai's: the definition is prose and example dialogues, as a description may be."""
    parts = [value.get("description"), value["definition"]]
    described = "\n".join(part for part in parts if isinstance(part, str) and part.strip())
    name = value.get("name") or value.get("participant__name")
    kept = {key: item for key, item in value.items() if key not in ("definition", "participant__name")}
    return {**kept, "name": name, "description": described}


def _of_programs(value: dict[str, Any]) -> dict[str, Any]:
    """A model of Open WebUI's, a character of Perchance's, `persona` beside a name: as a card."""
    params, added = value.get("params"), value.get("addCharacter")
    if isinstance(params, dict) and isinstance(params.get("system"), str) and "name" in value:
        return {"name": value["name"], "system_prompt": params["system"]}
    if isinstance(added, dict) and "roleInstruction" in added:
        named = {_PERCHANCE.get(str(key), str(key)): item for key, item in added.items()}
        return {**named, **_greeting(named.pop("initialMessages", None))}
    if isinstance(value.get("persona"), str) and "name" in value and not value.get("description"):
        names = {"persona": "description", "dialogue": "mes_example"}
        return {names.get(key, key): item for key, item in value.items() if key != "description"}
    return value


def _greeting(messages: Any) -> dict[str, Any]:
    """What a character says first, and what else stands before a chat of Perchance's, as it was given."""
    if not isinstance(messages, list) or not messages:
        return {}
    first, *rest = messages
    if not isinstance(first, dict) or first.get("author") != "ai":
        return {"initialMessages": messages}
    return {"first_mes": first.get("content"), **({"initialMessages": rest} if rest else {})}


def _only_stored(value: dict[str, Any]) -> Any:
    """The character in an export of all that Perchance keeps, where it is the only one."""
    stored = value.get("data") if value.get("formatName") == "dexie" else None
    tables = stored.get("data") if isinstance(stored, dict) else None
    found = [
        row
        for table in (tables if isinstance(tables, list) else [])
        if isinstance(table, dict) and table.get("tableName") == "characters"
        for row in (table["rows"] if isinstance(table.get("rows"), list) else [])
    ]
    return found[0] if len(found) == 1 else None


def _backyard(value: dict[str, Any]) -> dict[str, Any]:
    """Backyard AI's (Faraday's): its macros have one brace, its greeting may begin as a dialogue's line."""
    names = {"character": "{{char}}", "user": "{{user}}"}
    named = {
        _BACKYARD.get(key, key): _BACKYARD_MACRO.sub(lambda macro: names[macro[1]], item)
        if isinstance(item, str)
        else item
        for key, item in value.items()
    }
    if isinstance(greeting := named.get("first_mes"), str):
        named["first_mes"] = re.sub(r"^\s*\{\{char\}\}:\s*", "", greeting)
    return named


def _agnai(value: dict[str, Any]) -> dict[str, Any]:
    """Agnai's: the persona is a text, or attributes with lists of values; its description is for people."""
    persona = value["persona"]
    data = {_AGNAI.get(key, key): item for key, item in value.items() if key not in ("persona", "kind")}
    data["description"] = _attributes(persona.get("attributes"))
    note = data.pop("insert", None)  # a text at a depth, which others have among their extensions
    if isinstance(note, Mapping) and note.get("prompt"):
        own = data.get("extensions")
        data["extensions"] = {**(own if isinstance(own, dict) else {}), "depth_prompt": dict(note)}
    return {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}


def _attributes(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return ""
    lines = []
    for name, items in value.items():
        texts = [item for item in (items if isinstance(items, list) else [items]) if isinstance(item, str)]
        text = ", ".join(texts)
        if text:
            lines.append(text if name == "text" else f"{name}: {text}")
    return "\n".join(lines)


def from_yaml(text: str, where: str) -> Any:
    """What a YAML text says. Raises DataError for what is none, or too large, or repeats itself by name."""
    if len(text) > MAX_YAML:
        raise DataError(f"{where}: over {MAX_YAML // 2**20} MiB of YAML; is this a character?")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or "no YAML"
        raise DataError(f"{where}{line}: malformed YAML ({reason}); is this a character?") from None
    except (RecursionError, ValueError):
        raise DataError(f"{where}: malformed YAML; is this a character?") from None


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain data, without aliases: a few lines of them unfold to gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases are not read", problem_mark=self.peek_event().start_mark
            )
        return super().compose_node(parent, index)
