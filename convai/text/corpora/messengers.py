"""Exports of messengers as text: WhatsApp's, with a date, a time and a name before every message.

Media, calls and notices have no words and are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from convai.core.dialog import Dialog
from convai.core.text_files import lines
from convai.text.corpora.notes import Notes
from convai.text.corpora.posts import NOTICE, WORDLESS, Post, agent_among, dialogs_of, runs

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


def is_whatsapp(first_lines: Sequence[str]) -> bool:
    """Whether a text begins as an export of WhatsApp's: a date, a time, and mostly a name and a colon."""
    stamped = [_STAMP.match(_plain(text)) for text in first_lines[:20]]
    return bool(stamped) and stamped[0] is not None and sum(map(bool, stamped)) * 2 > len(stamped)


def _plain(text: str) -> str:
    """The text with plain blanks, and without the marks that say in which direction it runs."""
    return text.replace("\u202f", " ").replace("\u00a0", " ").translate(_MARKS)


def parse_whatsapp(path: Path, notes: Notes) -> Iterator[tuple[int, Dialog]]:
    """Line and dialogue for every run of messages without a long silence."""
    posts = list(_whatsapp(path, notes))
    return dialogs_of(path, runs(posts), agent_among(posts), notes)


def _whatsapp(path: Path, notes: Notes) -> Iterator[Post]:
    """The messages that have words; lines without a stamp go on with the one above."""
    stamps: list[tuple[int, re.Match[str], str]] = []
    for number, raw in lines(path):
        text = _plain(raw)
        stamp = _STAMP.match(text)
        if stamp:
            stamps.append((number, stamp, text[stamp.end() :]))
        elif stamps and text.strip():
            line, stamp, said = stamps[-1]
            stamps[-1] = (line, stamp, f"{said}\n{text}")
    day_first = _day_comes_first([stamp for _, stamp, _ in stamps])
    for number, stamp, said in stamps:
        sender = _SENDER.match(said)
        if sender is None:  # somebody joined, a key changed
            notes.omit(NOTICE)
            continue
        words = _EDITED.sub("", sender["text"].strip())
        if not words or _NO_WORDS.fullmatch(words):
            notes.omit(WORDLESS)
        else:
            yield Post(number, sender["name"].strip().lstrip("~ "), words, _moment(stamp, day_first))


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
