"""Slash commands about who is there: greetings, the user, the author's note, lorebooks, the context."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from convai.conversation.cast import NO_NOTE, Note
from convai.conversation.conversation import NOBODY
from convai.core.errors import ConvaiError, DataError
from convai.terminal.chat import Chat
from convai.text.cards import load_book
from convai.text.personas import partner_of

_BAR: Final = 30
"""Columns of the gauge."""


def greeting(chat: Chat, text: str) -> None:
    """`/greeting`: what the character may say first; `/greeting 2` starts over with the second."""
    session, screen = chat.session, chat.screen
    found = session.greetings
    if not found:
        raise ConvaiError("the character has no greeting")
    if not text:
        for number, one in enumerate(found, 1):
            screen.line(one, prefix=f"{number:>3}  ")
        return
    if not text.isdecimal() or not 1 <= int(text) <= len(found):
        raise ConvaiError(f"/greeting {text}: use 1 to {len(found)}")
    chat.begin()
    session.greet(int(text) - 1)
    chat.show_turns()


def user(chat: Chat, text: str) -> None:
    """`/user Bob: i am a smith.`: who the user is, kept for other chats; `/user Bob`: one that is kept;
    `/user drop Bob`: not any more; `/user off`: nobody in particular.
    """
    session, screen, yous = chat.session, chat.screen, chat.yous
    word, _, rest = text.partition(" ")
    if text == "off":
        session.conversation.partner = NOBODY
    elif word == "drop" and rest.strip():
        if yous is None or not yous.drop(rest.strip()):
            raise ConvaiError(f"nobody is kept as {rest.strip()[:100]}; /user lists who is")
        screen.note(f"{rest.strip()} is not kept any more")
        return
    elif text:
        found = yous.called(text) if yous is not None else None
        partner = found or partner_of(os.path.expanduser(text), "/user")
        session.conversation.partner = partner
        if yous is not None and found is None:
            yous.keep(partner)
    elif yous is not None:
        for one in yous.all():
            screen.line(" ".join(one.sentences), "dim", prefix=f"  /user {one.name}  ")
    partner = session.conversation.partner
    if not partner.name and not partner:
        screen.note("nobody in particular; say /user Bob: i am a smith.")
        return
    screen.line(f"You are {partner.name or 'somebody'}{' who says:' if partner else '.'}")
    for sentence in partner.sentences:
        screen.line(sentence, "bold", prefix="  ")


def note(chat: Chat, text: str) -> None:
    """`/note It rains.`, `/note 2 It rains.` at a depth of 2 turns, `/note off`."""
    session, screen = chat.session, chat.screen
    number, _, rest = text.partition(" ")
    if text == "off":
        session.conversation.note = NO_NOTE
    elif number.isdecimal() and rest.strip():
        session.conversation.note = Note(rest.strip(), int(number[:6]))
    elif text:
        session.conversation.note = Note(text)
    if session.conversation.note:
        screen.line(
            session.conversation.note.text,
            prefix=f"note, about {session.conversation.note.depth} turns back: ",
        )
    else:
        screen.note("no note; say /note It rains.")


def lore(chat: Chat, text: str) -> None:
    """`/lore FILE`: one more lorebook; `/lore off`: none but the character's own."""
    session, screen = chat.session, chat.screen
    if text == "off":
        session.conversation.books = ()
    elif text:
        path = Path(text).expanduser()
        book = load_book(path)
        if not book:
            raise DataError(f"{path}: the lorebook has no entries that say something")
        session.conversation.books = (*session.conversation.books, book)
        if book.unused:
            screen.note(f"{path.name}: not used: {', '.join(book.unused)}")
    own = session.character.book if session.character is not None else None
    whose = "the character's own"
    for one in (own, *session.conversation.books):
        if one:
            screen.line(f"{one.name or 'a lorebook'}: {len(one.entries)} entries, {whose}")
        whose = "added"
    if not own and not session.conversation.books:
        screen.note("no lorebook; name a file: /lore world.json")


def context(chat: Chat, _text: str) -> None:
    """`/context`: what the context of the last reply went to."""
    screen = chat.screen
    account = chat.session.explain().account
    parts = {**account.tokens, "reply (kept)": account.reply, "free": account.free}
    screen.line(f"The context has {account.positions:,} tokens.", "bold")
    for part, tokens in parts.items():
        bar = "#" * round(_BAR * tokens / max(account.positions, 1))
        screen.line(f"{tokens:>6,}  {bar}", prefix=f"  {part:<14}")
    for one in account.insertions:
        if one.why:
            screen.line(f"{_short(one.text)}  [{one.why}]", prefix=f"  {one.kind:<14}")
    for one in account.missing:
        screen.line(_short(one.text), prefix=f"  no room: {one.kind} ")
    if account.examples_left_out:
        screen.note(f"no room for {account.examples_left_out} of the example dialogues")
    if account.left_out:
        screen.note(f"no room for {account.left_out} of the older turns")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."
