"""Dialogues to ids: text goes through the tokenizer here, and nowhere else."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from convai.core.dialog import Dialog, Persona, Turn
from convai.text.insertions import Additions, Insertion
from convai.text.segments import EncodedDialog, EncodedTurn

KNOWN_TEXTS: Final = 4096
"""Texts that are remembered."""
KNOWN_CHARACTERS: Final = 300
"""The longest of them."""


class TextEncoder(Protocol):
    """What is needed of a tokenizer: plain text to ids, never a control id."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


class SingleEncoder(Protocol):
    """A tokenizer that takes one text."""

    def encode(self, text: str) -> list[int]: ...


class KnownTexts:
    """A tokenizer for chats: it remembers short texts, since every turn asks for those before it again.

    One after another, too: `encode_batch` of the tokenizer's own wakes a thread for every core, which takes
    longer than the few sentences of a turn. Safe to share between threads.
    """

    def __init__(self, tokenizer: SingleEncoder) -> None:
        self._encode = tokenizer.encode
        # arrays: a list of numbers takes ten times as much
        self._known = functools.lru_cache(KNOWN_TEXTS)(lambda text: array("l", tokenizer.encode(text)))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of every text."""
        return [
            self._known(text).tolist() if len(text) <= KNOWN_CHARACTERS else self._encode(text)
            for text in texts
        ]


def encode_persona(tokenizer: TextEncoder, persona: Persona) -> list[list[int]]:
    """Ids of each persona sentence."""
    return tokenizer.encode_batch(list(persona.sentences))


def encode_turns(tokenizer: TextEncoder, turns: Sequence[Turn]) -> list[EncodedTurn]:
    """Ids of each turn, of its distractors, and of the lines that stand before it."""
    texts = [text for turn in turns for text in (turn.text, *turn.distractors, *turn.added)]
    ids = iter(tokenizer.encode_batch(texts))
    encoded = []
    for turn in turns:
        gold = next(ids)
        wrong = tuple(next(ids) for _ in turn.distractors)
        added = tuple(next(ids) for _ in turn.added)
        encoded.append(EncodedTurn(turn.speaker, gold, wrong, turn.target, added))
    return encoded


def encode_additions(
    tokenizer: TextEncoder, additions: Additions
) -> tuple[list[tuple[Insertion, list[int]]], list[list[EncodedTurn]]]:
    """Ids of each insertion, and of each example dialogue."""
    ids = tokenizer.encode_batch([insertion.text for insertion in additions.insertions])
    examples = [encode_turns(tokenizer, dialogue) for dialogue in additions.examples]
    return list(zip(additions.insertions, ids, strict=True)), examples


def encode_dialogs(
    tokenizer: TextEncoder, dialogs: Iterable[Dialog], chunk: int = 512
) -> Iterable[EncodedDialog]:
    """Encode many dialogues, `chunk` at a time (one call of the tokenizer for all their texts)."""
    pending: list[Dialog] = []
    for dialog in dialogs:
        pending.append(dialog)
        if len(pending) == chunk:
            yield from _encode_chunk(tokenizer, pending)
            pending = []
    yield from _encode_chunk(tokenizer, pending)


def _encode_chunk(tokenizer: TextEncoder, dialogs: list[Dialog]) -> Iterable[EncodedDialog]:
    if not dialogs:
        return
    personas = [Turn(1, s) for d in dialogs for s in d.persona.sentences]
    turns = [t for d in dialogs for t in d.turns]
    sentences = iter(encode_turns(tokenizer, personas))
    encoded = iter(encode_turns(tokenizer, turns))
    for dialog in dialogs:
        persona = [next(sentences).ids for _ in dialog.persona.sentences]
        yield EncodedDialog(persona, [next(encoded) for _ in dialog.turns])
