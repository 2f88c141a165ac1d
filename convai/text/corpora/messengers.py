"""Exports of messengers: WhatsApp's text, Telegram's JSON.

A silence of six hours begins another dialogue. Who speaks second in the file is the agent, in all of it, and
everybody else the user's side; Telegram names a private chat after the partner, so there the other one is the
agent. Media, calls and notices have no words and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, USER, Dialog, Turn, check_text
from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.text.corpora.building import as_list, as_object, dialog
from convai.text.corpora.json_entries import entries
from convai.text.corpora.notes import Notes

SILENCE: Final = timedelta(hours=6)

_MARKS: Final = str.maketrans("", "", "\u200e\u200f\u202a\u202c\u202f\u00a0\ufeff")
_STAMP = re.compile(
    r"\[?(?P<a>\d{1,4})(?:[./-]|년 )(?P<b>\d{1,2})(?:[./-]|월 )(?P<c>\d{1,4})일?[,،]?\s+"
    r"(?:(?:um|à|às|a las|alle|at|klo|kl\.|kl) )?(?P<before>오전|오후|上午|下午|午前|午後)?\s?"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?\s?(?P<half>[aApP]\.?\s?[mM]\.?|[صم])?"
    r"(?:\]\s?|\s[-–]\s|,\s(?=[^:]{1,40} : ))"
)
_SENDER = re.compile(r"(?P<name>[^:\"“„«]{1,80}?):\s(?P<text>.*)", re.DOTALL)
_NO_WORDS = re.compile(
    r"<[^<>]{1,40}>|(?:this message was|you) deleted (?:this message)?\.?|missed (?:voice|video) call.*|"
    r"(?:messages and calls|nachrichten und anrufe) (?:are|sind) (?:end-to-end|ende-zu-ende).*|"
    r"diese nachricht wurde gelöscht\.?|du hast diese nachricht gelöscht\.?|"
    r"ce message a été supprimé\.?|vous avez supprimé ce message\.?|"
    r"(?:se eliminó|eliminaste) este mensaje\.?|mensagem apagada|esta mensagem foi apagada\.?|"
    r"você apagou esta mensagem\.?|questo messaggio è stato eliminato\.?|hai eliminato questo messaggio\.?|"
    r"dit bericht is verwijderd\.?|u hebt dit bericht verwijderd\.?|"
    r"(?:bild|video|audio|sticker|gif|dokument|kontaktkarte) weggelassen|"
    r"(?:image|vidéo|audio|sticker|gif|document) absente?|"
    r"(?:imagen|video|vídeo|audio|sticker|gif|documento|imagem|figurinha|áudio) (?:omitid|ocultad)[oa]|"
    r"(?:immagine|video|audio|sticker|gif|documento) omess[oa]|"
    r"null|(?:image|video|audio|sticker|gif|document|contact card) omitted|"
    r"\S+ \((?:file attached|datei angehängt|fichier joint|archivo adjunto|arquivo anexado|file allegato)\)",
    re.IGNORECASE,
)
_EDITED = re.compile(
    r"\s*<(?:this message was edited|diese nachricht wurde bearbeitet)[^<>]*>$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Post:
    line: int
    name: str
    text: str
    at: datetime | None


# -- WhatsApp ------------------------------------------------------------------------------------------


def is_whatsapp(first_lines: Sequence[str]) -> bool:
    """Whether a text begins as an export of WhatsApp's: a date, a time, and mostly a name and a colon."""
    stamped = [_STAMP.match(text.translate(_MARKS)) for text in first_lines[:20]]
    return bool(stamped) and stamped[0] is not None and sum(map(bool, stamped)) * 2 > len(stamped)


def parse_whatsapp(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages without a long silence."""
    return _dialogs(path, list(_whatsapp(path)), notes)


def _whatsapp(path: Path) -> Iterator[_Post]:
    """The messages that have words; lines without a stamp go on with the one above."""
    stamps: list[tuple[int, re.Match[str], str]] = []
    for number, raw in lines(path):
        text = raw.replace("\u202f", " ").replace("\u00a0", " ").translate(_MARKS)
        stamp = _STAMP.match(text)
        if stamp:
            stamps.append((number, stamp, text[stamp.end() :]))
        elif stamps and text.strip():
            line, stamp, said = stamps[-1]
            stamps[-1] = (line, stamp, f"{said}\n{text}")
    day_first = _day_comes_first([stamp for _, stamp, _ in stamps])
    for number, stamp, said in stamps:
        sender = _SENDER.match(said)
        if sender is None:  # a notice: somebody joined, a key changed
            continue
        words = _EDITED.sub("", sender["text"].strip())
        if words and not _NO_WORDS.fullmatch(words):
            yield _Post(number, sender["name"].strip().lstrip("~ "), words, _moment(stamp, day_first))


def _day_comes_first(stamps: Iterable[re.Match[str]]) -> bool:
    """Whether dates are day, month, year; told from numbers above twelve, as the whole file has one order."""
    second = [int(stamp["b"]) for stamp in stamps]
    return not any(number > 12 for number in second)


def _moment(stamp: re.Match[str], day_first: bool) -> datetime | None:
    a, b, c = int(stamp["a"]), int(stamp["b"]), int(stamp["c"])
    if len(stamp["a"]) == 4:
        year, month, day = a, b, c
    else:
        year, (day, month) = c, (a, b) if day_first else (b, a)
    hour = int(stamp["hour"])
    half = (stamp["half"] or stamp["before"] or "").lower()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") or half in ("م", "오후", "下午", "午後") else 0)
    try:
        return datetime(year + (2000 if year < 100 else 0), month, day, hour, int(stamp["minute"]))
    except ValueError:
        return None


# -- Telegram ------------------------------------------------------------------------------------------


def parse_telegram(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages without a long silence, in every chat of an export."""
    for entry in entries(path, notes):
        try:
            chat = as_object(entry.value, entry.where, '{"name": "Ann", "messages": [...]}')
            posts = list(_telegram(chat, entry.where, entry.line))
        except DataError as error:
            notes.error(error)
            continue
        name = chat.get("name")
        partner = name if chat.get("type") == "personal_chat" and isinstance(name, str) else ""
        yield from _dialogs(path, posts, notes, partner)


def _telegram(chat: dict[str, Any], where: str, line: int) -> Iterator[_Post]:
    for i, item in enumerate(as_list(chat.get("messages"), where, "messages"), 1):
        message = as_object(item, f"{where}, message {i}", '{"from": "Ann", "text": "hi"}')
        words = _words(message.get("text"))
        sender = message.get("from")
        if message.get("type", "message") != "message" or not words or not isinstance(sender, str):
            continue  # a notice, a picture, somebody who has deleted their account
        yield _Post(line, sender, words, _iso(message.get("date")))


def _words(text: object) -> str:
    """Telegram's text: a string, or a list of strings and of objects with one."""
    if isinstance(text, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in text]
        return "".join(part for part in parts if isinstance(part, str)).strip()
    return text.strip() if isinstance(text, str) else ""


def _iso(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value)).replace(tzinfo=None)
    except ValueError:
        return None


# -- both ----------------------------------------------------------------------------------------------


def _dialogs(
    path: Path, posts: Sequence[_Post], notes: Notes, partner: str = ""
) -> Iterator[tuple[int, Dialog]]:
    names = list(dict.fromkeys(post.name for post in posts))
    others = [name for name in names if name != partner] if partner in names else names[1:]
    agent = others[0] if others else None
    for run in _runs(posts):
        where = f"{path}:{run[0].line}"
        try:
            turns = [
                Turn(AGENT if post.name == agent else USER, check_text(post.text, f"{path}:{post.line}"))
                for post in run
            ]
            if len(turns) > 1:  # a message that nobody answered is no dialogue
                yield run[0].line, dialog(where, turns)
        except DataError as error:
            notes.error(error)


def _runs(posts: Sequence[_Post]) -> Iterator[list[_Post]]:
    """Messages with no long silence between two of them."""
    run: list[_Post] = []
    for post in posts:
        last = run[-1].at if run else None
        if last is not None and post.at is not None and post.at - last > SILENCE:
            yield run
            run = []
        run.append(post)
    if run:
        yield run
