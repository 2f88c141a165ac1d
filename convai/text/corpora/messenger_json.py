"""Exports of messengers as JSON: Telegram, Facebook and Instagram, Discord, Slack, Signal.

Pictures, calls and notices have no words; they are left out and counted. Telegram and Facebook name a private
chat after the partner, Signal calls the one who exports `Me`: so there the other one is the agent; in
Discord a bot is, where there is one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.text.corpora.building import as_list, as_object
from convai.text.corpora.json_entries import entries
from convai.text.corpora.notes import Notes
from convai.text.corpora.posts import NOTICE, WORDLESS, Post, agent_among, dialogs_of, moment, runs
from convai.text.corpora.program_shapes import is_slack

_Chat = tuple[list[Post], str]
"""The messages of a chat, oldest first, and who is the agent."""
_Read = Callable[[Any, str, int, Notes], _Chat]


def _parser(read: _Read) -> Callable[[Path, Notes], Iterator[tuple[int, Dialog]]]:
    """A parser of files whose entries are chats each."""

    def parse(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
        for entry in entries(path, notes):
            try:
                posts, agent = read(entry.value, entry.where, entry.line, notes)
            except DataError as error:
                notes.error(error)
                continue
            yield from dialogs_of(path, runs(posts), agent, notes)

    return parse


def _post(line: int, name: object, words: str, at: object, notes: Notes) -> Iterator[Post]:
    """The message, unless it has no words or nobody wrote it."""
    if not isinstance(name, str) or not name.strip():
        notes.omit(NOTICE)  # somebody who has deleted their account, too
    elif not words.strip():
        notes.omit(WORDLESS)
    else:
        yield Post(line, name.strip(), words.strip(), moment(at))


def _messages(chat: Any, where: str, example: str) -> Iterator[dict[str, Any]]:
    items = chat if isinstance(chat, list) else as_object(chat, where, example).get("messages")
    for i, item in enumerate(as_list(items, where, "messages"), 1):
        yield as_object(item, f"{where}, message {i}", example)


def _in_time(posts: list[Post]) -> list[Post]:
    """Oldest first; as they are where one has no time."""
    times = [post.at for post in posts if post.at is not None]
    if len(times) < len(posts):
        return posts
    return [post for _, post in sorted(zip(times, posts, strict=True), key=lambda pair: pair[0])]


# -- Telegram ------------------------------------------------------------------------------------------


def _telegram(chat: Any, where: str, line: int, notes: Notes) -> _Chat:
    posts = list[Post]()
    for message in _messages(chat, where, '{"from": "Ann", "text": "hi"}'):
        if message.get("type", "message") != "message":
            notes.omit(NOTICE)
        else:
            posts += _post(line, message.get("from"), _words(message.get("text")), message.get("date"), notes)
    name = chat.get("name")
    private = chat.get("type") == "personal_chat" and isinstance(name, str)
    return posts, agent_among(posts, name if private else "")


def _words(text: object) -> str:
    """Telegram's text: a string, or a list of strings and of objects with one."""
    if isinstance(text, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in text]
        return "".join(part for part in parts if isinstance(part, str))
    return text if isinstance(text, str) else ""


# -- Facebook and Instagram ----------------------------------------------------------------------------

_META_NOTICE: Final = re.compile(
    r"reacted \S+ to your message\s?|liked a message|.{1,60} sent an? (?:attachment|photo|video|link)\.?|"
    r"you are now connected on messenger\.?|.{0,60}missed (?:a|your) (?:video )?call\.?|.{0,60}called you\.?|"
    r"you unsent a message\.?|.{1,60} unsent a message\.?",
    re.IGNORECASE,
)


def mended(text: object) -> str:
    """A text of Facebook's, which writes each byte of UTF-8 as a character of Latin-1: `Ã©` for `é`."""
    if not isinstance(text, str):
        return ""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:  # written rightly
        return text


def _facebook(chat: Any, where: str, line: int, notes: Notes) -> _Chat:
    posts = list[Post]()
    for message in _messages(chat, where, '{"sender_name": "Ann", "content": "hi"}'):
        words = mended(message.get("content", message.get("text")))
        if message.get("is_unsent") or message.get("isUnsent") or "call_duration" in message:
            notes.omit(WORDLESS)
        elif _META_NOTICE.fullmatch(words.strip()):
            notes.omit(NOTICE)
        else:
            name = mended(message.get("sender_name", message.get("senderName")))
            posts += _post(line, name, words, message.get("timestamp_ms", message.get("timestamp")), notes)
    title = mended(chat.get("title")) or re.sub(r"_\d+$", "", mended(chat.get("threadName")))
    private = len(chat.get("participants") or ()) <= 2
    posts = _in_time(posts)
    return posts, agent_among(posts, title if private else "")


# -- Discord -------------------------------------------------------------------------------------------


def _discord(chat: Any, where: str, line: int, notes: Notes) -> _Chat:
    posts, bots = list[Post](), dict[str, None]()
    for message in _messages(chat, where, '{"author": {"name": "Ann"}, "content": "hi"}'):
        author = message.get("author")
        author = author if isinstance(author, dict) else {"name": author}
        name = author.get("nickname") or author.get("name")
        if message.get("type", "Default") not in ("Default", "Reply", 0, 19):
            notes.omit(NOTICE)
            continue
        found = list(_post(line, name, str(message.get("content") or ""), message.get("timestamp"), notes))
        posts += found
        if author.get("isBot") and found:
            bots[found[0].name] = None
    posts = _in_time(posts)
    return posts, next(iter(bots)) if len(bots) == 1 else agent_among(posts)


# -- Slack ---------------------------------------------------------------------------------------------

_LINK = re.compile(r"<(?:[^<>|]+\|)?([^<>|]*)>")


def parse_slack(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages of a file, which is a channel's day or more."""
    messages = list[tuple[int, dict[str, Any]]]()
    for entry in entries(path, notes):
        value = [entry.value] if is_slack(entry.value) else entry.value
        try:
            held = _messages(value, entry.where, '{"user": "U1", "text": "hi", "ts": "1700000000.0"}')
            messages += ((entry.line, message) for message in held)
        except DataError as error:
            notes.error(error)
    posts = _in_time(_slack(messages, notes))
    yield from dialogs_of(path, runs(posts), agent_among(posts), notes)


def _slack(messages: list[tuple[int, dict[str, Any]]], notes: Notes) -> list[Post]:
    names = {str(message.get("user")): _slack_name(message) for _, message in messages if message.get("user")}
    posts = list[Post]()
    for line, message in messages:
        if message.get("subtype", "bot_message") not in ("bot_message", "me_message", "thread_broadcast"):
            notes.omit(NOTICE)
            continue
        words = message.get("text")
        plain = _LINK.sub(lambda link: _linked(link[1], names), words) if isinstance(words, str) else ""
        posts += _post(line, _slack_name(message), html.unescape(plain), message.get("ts"), notes)
    return posts


def _linked(text: str, names: dict[str, str]) -> str:
    """What a link of Slack's shows: the name of who is meant, or its label or address."""
    if text[:1] == "@":
        return "@" + names.get(text[1:], text[1:])
    return text


def _slack_name(message: dict[str, Any]) -> str:
    profile = message.get("user_profile")
    profile = profile if isinstance(profile, dict) else {}
    found = (profile.get("display_name"), profile.get("real_name"), profile.get("name"))
    names = [*found, message.get("username"), message.get("user"), message.get("bot_id")]
    return next((name for name in names if isinstance(name, str) and name.strip()), "")


# -- Signal --------------------------------------------------------------------------------------------


def parse_signal(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages of a file: one chat, a message a line or in a list."""
    posts = list[Post]()
    for entry in entries(path, notes):
        try:
            for message in entry.value if isinstance(entry.value, list) else [entry.value]:
                said = as_object(message, entry.where, '{"sender": "Me", "body": "hi"}')
                body = said.get("body")
                words = body if isinstance(body, str) else ""
                posts += _post(entry.line, said.get("sender"), words, said.get("date"), notes)
        except DataError as error:
            notes.error(error)
    posts = _in_time(posts)
    owner = "Me" if any(post.name == "Me" for post in posts) else agent_among(posts)
    yield from dialogs_of(path, runs(posts), owner, notes)


parse_telegram = _parser(_telegram)
parse_facebook = _parser(_facebook)
parse_discord = _parser(_discord)
