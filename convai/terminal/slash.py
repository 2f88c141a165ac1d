"""The commands of a chat in the terminal: `/why`, `/undo` and the rest."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.conversation.mood import MoodPreference
from convai.core.character import Character
from convai.core.dialog import AGENT, USER
from convai.core.errors import ConvaiError, DataError, SettingsError
from convai.core.settings_values import nearest
from convai.terminal import casting
from convai.terminal.decoding import SETTINGS, settings_command
from convai.terminal.group import SPEAK_USAGES, group_command, show_group, speak_command
from convai.terminal.group import USAGES as GROUP_USAGES
from convai.terminal.group import WORDS as GROUP_WORDS
from convai.terminal.memory import USAGES as MEMORY_USAGES
from convai.terminal.memory import WORDS as MEMORY_WORDS
from convai.terminal.memory import memory_command
from convai.terminal.screen import TIE
from convai.terminal.why import show_explanation
from convai.text.cards import is_card_file
from convai.text.corpora.building import persona_from_text
from convai.text.corpora.personas import read_personas
from convai.text.personas import characters_of

if TYPE_CHECKING:
    from convai.terminal.chat import Chat


@dataclass(frozen=True, slots=True)
class Command:
    """`run(chat, rest of the line)`; `usages` are its lines of /help."""

    run: Callable[[Chat, str], None]
    usages: tuple[tuple[str, str], ...]
    takes_text: bool = False


def execute(chat: Chat, line: str) -> None:
    """Do what `line`, which begins with a slash, says. Raises ConvaiError where that cannot be done."""
    name, _, rest = line[1:].strip().partition(" ")
    command = COMMANDS.get(name.lower())
    if command is None:
        close = nearest(name.lower(), COMMANDS)
        advice = f"did you mean /{close}?" if close else "/help lists the commands"
        raise ConvaiError(f"there is no command /{name[:40]}; {advice}")
    if rest.strip() and not command.takes_text:
        raise ConvaiError(f"/{name} takes nothing behind it")
    command.run(chat, rest.strip())


def complete(line: str, word: str) -> list[str]:
    """What the last `word` of `line` may become: a command, a setting, a file."""
    name, blank, _ = line.lstrip().partition(" ")
    if not name.startswith("/"):
        return []
    if not blank:
        return [f"/{command} " for command in COMMANDS if f"/{command}".startswith(word)]
    first = line.lstrip()[len(name) :].strip() == word
    options: list[str] = []
    if name == "/settings" and first:
        options = SETTINGS
    elif name == "/persona" and first:
        options = ["shuffle", "set"]
    elif name == "/memory" and first:
        options = list(MEMORY_WORDS)
    elif name == "/group" and first:
        options = list(GROUP_WORDS)
    found = [f"{option} " for option in options if option.startswith(word)]
    is_file = line.lstrip().startswith("/group add ") and not first
    if (name in ("/save", "/load", "/persona", "/lore") and first) or is_file:
        paths = sorted(glob.glob(glob.escape(os.path.expanduser(word)) + "*"))
        found += [path + "/" if os.path.isdir(path) else path for path in paths]
    return found


# -- the commands ----------------------------------------------------------------------------------


def _persona(chat: Chat, text: str) -> None:
    what, _, rest = text.partition(" ")
    if not text:
        chat.show_persona()
        return
    if what == "set":
        character = Character.of_persona(persona_from_text(rest, "/persona set"))
    elif text == "shuffle":
        character = Character.of_persona(chat.deck.draw(but=chat.session.persona))
    elif os.path.exists(path := os.path.expanduser(text)):
        if is_card_file(Path(path)):
            (character,) = characters_of(path, "/persona")
        else:
            chat.deck.take(read_personas(path))
            character = Character.of_persona(chat.deck.draw(but=chat.session.persona))
    else:
        raise DataError(f"there is no file {text}; say /persona set i am a nurse. i have two dogs.")
    chat.session.set_character(character)
    chat.begin()
    chat.show_persona()
    chat.screen.note("a new persona: the conversation starts over")
    if chat.session.greet():
        chat.show_turns()


def _reset(chat: Chat, _text: str) -> None:
    chat.begin()
    chat.screen.note("the conversation starts over")
    if chat.session.greet():
        chat.show_turns()


def _regenerate(chat: Chat, text: str) -> None:
    prefill = _before(chat, text) if text else ""
    chat.show_reply(chat.session.regenerate(prefill), prefill)


def _before(chat: Chat, word: str) -> str:
    """What the last reply says before a word of it, where a reply is to begin as it does."""
    turns = chat.session.turns
    last = turns[-1].text if turns and turns[-1].speaker == AGENT else ""
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", last, re.IGNORECASE)
    if found is None:
        raise ConvaiError(f"the last reply does not say {word[:40]!r}; name a word of it")
    return last[: found.start()].strip()


def _suggest(chat: Chat, text: str) -> None:
    for line in chat.session.suggest(hint=text):
        chat.screen.line(line, prefix="  ")


def _undo(chat: Chat, _text: str) -> None:
    taken = chat.session.undo()
    said = next(turn.text for turn in taken if turn.speaker == USER)
    chat.screen.note(f"taken back: {said}")


def _save(chat: Chat, text: str) -> None:
    path = _file(text, "/save")
    chat.session.save(path)
    chat.screen.note(f"{len(chat.session.turns)} turns saved in {path}")


def _load(chat: Chat, text: str) -> None:
    path = _file(text, "/load")
    chat.session.load(path)
    if chat.memory is not None:
        chat.memory.begin()
    chat.show_persona()
    if chat.session.group:
        show_group(chat)
    chat.show_turns()


def _file(text: str, command: str) -> Path:
    if not text:
        raise ConvaiError(f"name a file: {command} chat.jsonl")
    return Path(text).expanduser()


def _why(chat: Chat, _text: str) -> None:
    show_explanation(chat.screen, chat.session.explain())


def _mood(chat: Chat, text: str) -> None:
    if chat.mood is None:
        raise ConvaiError("moods are read in 'convai chat' only")
    if not text:
        _show_mood(chat)
        return
    name, _, weight = text.partition(" ")
    if name == "off":
        chat.session.preference = None
        chat.screen.note("replies are chosen by the next-sentence head alone")
        return
    try:
        pull = float(weight or 1)
    except ValueError:
        raise SettingsError(f"weight={weight!r}: use a number, as in /mood {name} 2") from None
    chat.session.preference = MoodPreference(chat.mood, name, pull)
    several = chat.session.decoding.candidates > 1
    advice = "" if several else "; there must be several candidates: /settings candidates 5"
    chat.screen.note(f"replies that sound like {name} are preferred from now on{advice}")


def _show_mood(chat: Chat) -> None:
    """The last message and the last reply: emoji, emotions, and which words weighed most."""
    assert chat.mood is not None
    turns = chat.session.turns
    if not turns:
        raise ConvaiError("nothing was said yet")
    for turn in turns[-2:]:
        read = chat.mood.of(turn.text)
        chat.screen.line(turn.text, "dim", prefix="you  " if turn.speaker == USER else "bot  ")
        best = sorted(read.emotions.items(), key=lambda pair: -pair[1])[:3]
        emoji = "  ".join(f"{one}{TIE}{p:.0%}" for one, p in read.emoji)
        emotions = ", ".join(f"{label}{TIE}{p:.0%}" for label, p in best)
        weights = sorted(zip(read.words, read.attention, strict=True), key=lambda pair: -pair[1])[:5]
        words = ", ".join(f"{word}{TIE}{share:.0%}" for word, share in weights)
        for what, shown in (("emoji", emoji), ("emotions", emotions), ("words", words)):
            if shown:
                chat.screen.line(shown, prefix=f"     {what:<9} ")


def _coref(chat: Chat, _text: str) -> None:
    """Each person or thing that was named more than once, with its mentions and who said them."""
    if chat.links is None:
        raise ConvaiError("coreference is read in 'convai chat' only")
    turns = chat.session.turns
    if not turns:
        raise ConvaiError("nothing was said yet")
    found = chat.links.of(turns)
    for link in found:
        said = (
            f"{'you' if turns[turn].speaker == USER else 'bot'}{TIE}{turn + 1}:{TIE}{turns[turn].text[a:b]}"
            for turn, a, b in link.mentions
        )
        chat.screen.line(", ".join(said), prefix=f"{link.main}  ")
    if not found:
        chat.screen.note("nobody and nothing was named twice")


def _help(chat: Chat, _text: str) -> None:
    for command in COMMANDS.values():
        for usage, text in command.usages:
            chat.screen.line(text, prefix=f"  {usage:<24} ")
    chat.screen.line(
        "Ctrl-C stops a reply, Tab completes, //x says a message that begins with /.", prefix="  "
    )


def _quit(chat: Chat, _text: str) -> None:
    chat.over = True


COMMANDS: Final[dict[str, Command]] = {
    "persona": Command(
        _persona,
        (
            ("/persona", "who you are talking with"),
            ("/persona shuffle", "talk with somebody else, in a new conversation"),
            ("/persona set I ski. ...", "the same, with sentences of your own"),
            ("/persona FILE", "the same, from a file: a card, or a sentence a line"),
        ),
        takes_text=True,
    ),
    "greeting": Command(
        casting.greeting,
        (
            ("/greeting", "what the character may say first"),
            ("/greeting 2", "start over with the second of these"),
        ),
        takes_text=True,
    ),
    "user": Command(
        casting.user,
        (
            ("/user Bob: i am a smith.", "who you are: it is known to the character; /user off"),
            ("/user Bob", "who you were before; /user lists all, /user drop Bob"),
        ),
        takes_text=True,
    ),
    "note": Command(
        casting.note,
        (("/note 2 It rains.", "what the model is to read about 2 turns back; /note off"),),
        takes_text=True,
    ),
    "lore": Command(
        casting.lore,
        (("/lore FILE", "a lorebook: what it says of words is added when they fall; /lore off"),),
        takes_text=True,
    ),
    "group": Command(group_command, GROUP_USAGES, takes_text=True),
    "speak": Command(speak_command, SPEAK_USAGES, takes_text=True),
    "context": Command(casting.context, (("/context", "what the context of the last reply went to"),)),
    "reset": Command(_reset, (("/reset", "start over with the same persona"),)),
    "regenerate": Command(
        _regenerate,
        (
            ("/regenerate", "another reply to your last message"),
            ("/regenerate WORD", "one that begins as the last one did, up to this word of it"),
        ),
        takes_text=True,
    ),
    "suggest": Command(
        _suggest,
        (("/suggest I think", "what you might say, beginning so; /suggest: anything"),),
        takes_text=True,
    ),
    "undo": Command(_undo, (("/undo", "take back your last message and its reply"),)),
    "why": Command(_why, (("/why", "the last reply: exact input, candidates, scores"),)),
    "mood": Command(
        _mood,
        (
            ("/mood", "emoji and emotions of the last message and reply"),
            ("/mood joy", "prefer candidates that sound like it; /mood off"),
        ),
        takes_text=True,
    ),
    "coref": Command(_coref, (("/coref", "who and what is meant by which words of the conversation"),)),
    "memory": Command(memory_command, MEMORY_USAGES, takes_text=True),
    "settings": Command(
        settings_command,
        (
            ("/settings", "how replies are drawn"),
            ("/settings top_p 0.8", "change one of them"),
        ),
        takes_text=True,
    ),
    "save": Command(
        _save, (("/save FILE", "write the conversation and its settings to a file"),), takes_text=True
    ),
    "load": Command(_load, (("/load FILE", "go on with a saved conversation"),), takes_text=True),
    "help": Command(_help, (("/help", "this list"),)),
    "quit": Command(_quit, (("/quit", "leave; Ctrl-D does so, too"),)),
}
