"""`/memory`: what the bot knows of the one who types, shown, corrected and forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from convai.conversation.memory.facts import Fact
from convai.conversation.memory.listening import MemoryLearner
from convai.core.errors import ConvaiError

if TYPE_CHECKING:
    from convai.terminal.chat import Chat

USAGES: Final = (
    ("/memory", "what the bot knows of you (~ said in passing); /memory history shows what was corrected"),
    ("/memory add I ski.", "tell it something"),
    ("/memory edit 3 I row.", "word a fact anew"),
    ("/memory forget 3", "forget a fact for good; /memory forget all"),
    ("/memory back 3", "undo a correction, by its number in the history"),
    ("/memory off", "neither learn nor recall; /memory on"),
)
WORDS: Final = ("history", "add", "edit", "forget", "back", "on", "off")


def memory_command(chat: Chat, text: str) -> None:
    """Carry out `/memory` with the `text` behind it. Raises ConvaiError where that cannot be done."""
    listener = chat.memory
    if listener is None:
        raise ConvaiError("this chat has no memory; start 'convai chat' with --memory on")
    memory, owner, screen = listener.memory, listener.owner, chat.screen
    chat.show_news()
    what, _, rest = text.partition(" ")
    rest = rest.strip()
    match what:
        case "" | "history" if not rest:
            _show(chat, listener, history=what == "history")
        case "add" if rest:
            learnt = memory.add(owner, rest, "/memory add")
            gone = " ".join(fact.text for fact in learnt.replaced)
            screen.note(
                "remembered" + (f"; no longer: {gone}" if gone else "") if learnt else "that is known"
            )
        case "edit" if rest.partition(" ")[2]:
            number, _, anew = rest.partition(" ")
            fact = _numbered(memory.facts(owner), number)
            memory.edit(owner, fact.id, anew, "/memory edit")
            screen.note(f"it was: {fact.text}")
        case "forget" if rest == "all":
            screen.note(f"forgotten: {memory.forget_all(owner)} facts")
        case "forget" if rest:
            screen.note(f"forgotten: {memory.forget(owner, _numbered(memory.facts(owner), rest).id).text}")
        case "back" if rest:
            fact = _numbered(memory.facts(owner, history=True), rest)
            screen.note(f"holds again: {memory.bring_back(owner, fact.id).text}")
        case "on" | "off" if not rest:
            memory.enable(owner, what == "on")
            said = "remembered" if what == "on" else "neither remembered nor recalled"
            screen.note(f"what you tell is {said} from now on")
        case _:
            raise ConvaiError("say /memory, or /memory " + ", ".join(WORDS) + "; /help shows how")


def _show(chat: Chat, listener: MemoryLearner, history: bool) -> None:
    memory, owner = listener.memory, listener.owner
    facts = memory.facts(owner, history=history)
    for number, fact in enumerate(facts, 1):
        mark = "x" if not fact.current else "~" if fact.aside else " "
        chat.screen.line(fact.text, "" if fact.current else "dim", prefix=f"{mark}{number:>4}  ")
    if not memory.enabled(owner):
        chat.screen.note("the memory is off: nothing is learnt or recalled; /memory on")
    elif not facts:
        chat.screen.note("nothing yet: tell something about yourself")


def _numbered(facts: Sequence[Fact], number: str) -> Fact:
    """The fact with that number in the list, counted from 1. Raises ConvaiError."""
    if number.isdecimal() and 1 <= int(number) <= len(facts):
        return facts[int(number) - 1]
    raise ConvaiError(f"there is no fact number {number[:20]!r}; /memory lists them")
