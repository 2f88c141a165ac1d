"""How replies are drawn, shown and changed: `/settings`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import field_docs, from_text, unknown_setting
from convai.terminal.why import value_text

if TYPE_CHECKING:
    from convai.terminal.chat import Chat

_FIELDS: Final = [field.name for field in dataclasses.fields(DecodingConfig)]
_HISTORY: Final = "max_history"
SETTINGS: Final = [*_FIELDS, _HISTORY]
"""What can be set, by name."""
_DOC: Final = "Exchanges of the conversation that the model is shown; none: all that fits."


def settings_command(chat: Chat, text: str) -> None:
    """Show all settings, or one of them, or change it. Raises SettingsError."""
    session, screen = chat.session, chat.screen
    if not text:
        _list_settings(chat)
        return
    name, _, value = text.replace("=", " ", 1).partition(" ")
    name, value = name.replace("-", "_"), value.strip()
    before = _setting(chat, name)
    if not value:
        screen.line(f"{value_text(before)}  {_doc(name)}", prefix=f"{name}  ")
        return
    if name == _HISTORY:
        session.max_history = _exchanges(value)
    else:
        session.decoding = from_text(session.decoding, name, value)
    screen.note(
        f"{name} {value_text(_setting(chat, name))}, it was {value_text(before)}; from the next reply on"
    )


def _list_settings(chat: Chat) -> None:
    shipped = {**dataclasses.asdict(chat.session.agent.decoding), _HISTORY: chat.session.agent.max_history}
    for name in SETTINGS:
        value = _setting(chat, name)
        mark = " " if value == shipped[name] else "*"
        chat.screen.line(_doc(name), "dim", prefix=f"{mark} {name:<21} {value_text(value):<6} ")
    chat.screen.note("/settings top_p 0.8 changes one; * marks those that are not the model's own")


def _setting(chat: Chat, name: str) -> object:
    if name == _HISTORY:
        return chat.session.max_history
    if name not in _FIELDS:
        raise unknown_setting(name, SETTINGS)
    return getattr(chat.session.decoding, name)


def _exchanges(text: str) -> int | None:
    if text.lower() == "none":
        return None
    if not text.isdecimal():
        raise SettingsError(f"{_HISTORY}={text!r}: use a number of exchanges, 0 or more, or none")
    return int(text)


def _doc(name: str) -> str:
    return _DOC if name == _HISTORY else field_docs(DecodingConfig).get(name, "")
