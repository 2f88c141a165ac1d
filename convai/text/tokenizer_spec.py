"""What a tokenizer.json says: its control tokens, made strict, and how its ids become text again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import tokenizers

from convai.core.errors import CheckpointError
from convai.text.detokenizer import ByteStream, StreamDecoder, WordStream, byte_of_char

_KINDS: Final = "use a GPT-2, OpenAI GPT, Llama or Gemma model (BPE)"
_BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")
"""SentencePiece's token of a byte that no other token holds."""
_SPACE: Final = "▁"
"""SentencePiece's stand-in for a blank."""


def strict_spec(
    backend: tokenizers.Tokenizer, needed: Sequence[str], where: str
) -> tuple[dict[str, Any], bool]:
    """tokenizer.json of `backend` as an object, its control tokens marked special, and nothing cut or padded;
    and whether `backend` is so already.

    Control tokens are those `needed`; without any (a chat template's tokenizer), all that were added and can
    be seen: added tokens are looked for inside texts, and one that people may type must not be found there.
    Such a one that the merges could spell all the same is ordinary text.

    Raises CheckpointError where a token `needed` is missing or could be typed, and for models that are no
    BPE.
    """
    missing = [token for token in needed if backend.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"{where}: the tokenizer has no {' '.join(missing)} and no chat template, so the model was not "
            f"tuned for dialogue; tune it first: convai train DATA --model {where} --out DIR"
        )
    if needed:
        backend = tokenizers.Tokenizer.from_str(backend.to_str())
        backend.add_special_tokens(list(needed))  # those that are plain vocabulary so far
    spec: dict[str, Any] = json.loads(backend.to_str())
    strict = not needed and spec["truncation"] is None and spec["padding"] is None
    spec["truncation"] = spec["padding"] = None
    model = spec["model"]
    if model["type"] != "BPE":
        raise CheckpointError(f"{where}: a {model['type']} tokenizer; {_KINDS}")
    merged = {left + right for left, right in model["merges"]}
    for token in spec["added_tokens"]:
        text = token["content"]
        whole = model["ignore_merges"] and text in model["vocab"]
        typed = text in merged or whole
        if text in needed and (typed or text == model["unk_token"]):
            raise CheckpointError(f"{where}: typed text can become {text}; train another tokenizer")
        special = token["special"]
        if text in needed:
            special = True
        elif not needed and text != model["unk_token"]:
            special = not typed and bool(text.strip(f" \t\r\n{_SPACE}"))
        strict = strict and special == token["special"]
        token["special"] = special
    return spec, strict


def unknown_id(spec: dict[str, Any], vocab: Mapping[str, int]) -> int | None:
    """The id of characters outside the vocabulary; None where every byte has a token."""
    if _decoder_step(spec, "ByteLevel") and vocab.keys() >= byte_of_char().keys():
        return None
    if spec["model"]["byte_fallback"] and all(f"<0x{byte:02X}>" in vocab for byte in range(256)):
        return None
    return vocab.get(spec["model"]["unk_token"])


def stream_maker(
    spec: dict[str, Any], vocab: Mapping[str, int], hidden: frozenset[int], where: str
) -> Callable[[], StreamDecoder]:
    """What decodes the ids of this tokenizer, with the text of every id looked up once."""
    tokens = [""] * (max(vocab.values()) + 1)
    for token, id in vocab.items():
        tokens[id] = "" if id in hidden else token
    if _decoder_step(spec, "ByteLevel"):
        pieces = [_bytes(token) for token in tokens]
        return lambda: ByteStream(pieces)
    if _decoder_step(spec, "ByteFallback"):
        pieces = [_fallback_bytes(token) for token in tokens]
        return lambda: ByteStream(pieces)
    if step := _decoder_step(spec, "BPEDecoder"):
        words = [token.replace(step["suffix"], " ") for token in tokens]
        return lambda: WordStream(words)
    raise CheckpointError(f"{where}: neither byte-level nor </w> tokens; {_KINDS}")


def _decoder_step(spec: dict[str, Any], kind: str) -> dict[str, Any] | None:
    decoder = spec["decoder"] or {"type": "none"}
    return next((step for step in decoder.get("decoders", [decoder]) if step["type"] == kind), None)


def _bytes(token: str) -> bytes:
    table = byte_of_char()
    try:
        return bytes(map(table.__getitem__, token))
    except KeyError:
        return token.encode()  # added as text, not as bytes in disguise


def _fallback_bytes(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(_SPACE, " ").encode()
