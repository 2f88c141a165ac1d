"""Slash commands of a group: who is in it, who comes, leaves, is muted, and who speaks next."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from convai.core.errors import ConvaiError
from convai.text.personas import characters_of

if TYPE_CHECKING:
    from convai.terminal.chat import Chat

USAGES: Final = (
    ("/group", "who is in the conversation, and who speaks next"),
    ("/group add CARD", "one more character comes in"),
    ("/group remove Ann", "one leaves; /group mute Ann, /group unmute Ann"),
    ("/group order turn", "who answers: talk (as talkative as they are), turn, chosen"),
    ("/group cards join", "everybody's card in the prompt; swap: the speaker's alone"),
)
SPEAK_USAGES: Final = (("/speak Ann", "let one of the group speak; /speak: whoever is next"),)
WORDS: Final = ("add", "remove", "mute", "unmute", "order", "cards")


def group_command(chat: Chat, text: str) -> None:
    """Carry out `/group` with the `text` behind it. Raises ConvaiError where that cannot be done."""
    what, _, rest = text.partition(" ")
    rest, screen, members = rest.strip(), chat.screen, chat.session.members()
    if what and not rest:
        raise ConvaiError(f"/group {what[:20]}: say /group add CARD, /group remove Ann; /help lists all")
    match what:
        case "":
            pass
        case "add":
            for character in characters_of(os.path.expanduser(rest), "/group add"):
                screen.note(f"{members.join(character)} is there, too")
        case "remove" | "mute" | "unmute" | "order" | "cards" if not chat.session.group:
            raise ConvaiError("there is no group yet; say /group add CARD")
        case "remove":
            screen.note(f"{members.leave(rest)} has left")
        case "mute":
            screen.note(f"{members.mute(rest)} speaks only when you say /speak")
        case "unmute":
            screen.note(f"{members.mute(rest, False)} speaks again")
        case "order":
            members.order(rest)
        case "cards":
            members.cards(rest)
        case _:
            raise ConvaiError(f"there is no /group {what[:20]}; there are {', '.join(WORDS)}")
    show_group(chat)


def show_group(chat: Chat) -> None:
    """Who is there."""
    group, screen = chat.session.group, chat.screen
    if not group:
        screen.note("no group; /group add CARD lets another character in")
        return
    for one in group.here:
        mark = ", muted" if one.muted else ""
        screen.line(f"talkative {one.talkativeness:g}{mark}", prefix=f"  {one.name:<20} ")
    answers = {
        "talk": "whom you name answers, and others as they are talkative",
        "turn": "whom you name answers, or the next one",
        "chosen": "whom you name answers, or /speak NAME lets one",
    }
    shown = "everybody's card is shown" if group.cards == "join" else "the speaker's card is shown alone"
    screen.note(f"{answers[group.order]}; {shown}")


def speak_command(chat: Chat, text: str) -> None:
    """`/speak Ann`: she says something; `/speak`: whoever is next."""
    chat.show_reply(chat.session.speak(text))
