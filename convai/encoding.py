"""Dialogues to ids: text goes through the tokenizer here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from convai.dialog import Dialog, Persona, Turn
from convai.segments import EncodedDialog, EncodedTurn


class TextEncoder(Protocol):
    """What is needed of a tokenizer: plain text to ids, never a control id."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


def encode_persona(tokenizer: TextEncoder, persona: Persona) -> list[list[int]]:
    """Ids of each persona sentence."""
    return tokenizer.encode_batch(list(persona.sentences))


def encode_turns(tokenizer: TextEncoder, turns: Sequence[Turn]) -> list[EncodedTurn]:
    """Ids of each turn and of its distractors."""
    texts = [text for turn in turns for text in (turn.text, *turn.distractors)]
    ids = iter(tokenizer.encode_batch(texts))
    encoded = []
    for turn in turns:
        gold = next(ids)
        encoded.append(EncodedTurn(turn.speaker, gold, tuple(next(ids) for _ in turn.distractors)))
    return encoded


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
