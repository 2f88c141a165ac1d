"""Tokenizer files on disk: reading the layouts people have (ours, GPT-2's, OpenAI GPT's), writing ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from convai.core.errors import CheckpointError
from convai.core.files import atomic_write

TOKENIZER_FILE: Final = "tokenizer.json"
CONFIG_FILE: Final = "tokenizer_config.json"
VOCAB_FILE: Final = "vocab.json"
MERGES_FILE: Final = "merges.txt"
ADDED_FILE: Final = "added_tokens.json"

WORD_END: Final = "</w>"
"""OpenAI GPT's mark at the end of a word."""
GPT2_END: Final = "<|endoftext|>"
GPT_UNKNOWN: Final = "<unk>"


def read_backend(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder: tokenizer.json, or else vocab.json with merges.txt.

    The second layout is what `gpt2` and `openai-gpt` were published with; the marks on word ends tell
    which. Tokens of added_tokens.json keep their ids.

    Raises CheckpointError when files are missing, cut short or damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give a model folder")
    path = folder / TOKENIZER_FILE
    if path.is_file():
        text = read_text(path)
        backend = _from_json(text, path)
    elif (folder / VOCAB_FILE).is_file():
        backend = _from_vocab(folder)
    else:
        raise CheckpointError(
            f"{path}: missing; copy the tokenizer there ({TOKENIZER_FILE}, or {VOCAB_FILE} and {MERGES_FILE})"
        )
    _add_recorded(backend, folder)
    return backend


def write_folder(folder: Path, tokenizer_json: str, config: dict[str, Any]) -> None:
    """Write tokenizer.json and tokenizer_config.json, each whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / CONFIG_FILE, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    replace_file(folder / TOKENIZER_FILE, tokenizer_json)


def replace_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises OSError."""
    atomic_write(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))


def read_text(path: Path) -> str:
    """A text file of a tokenizer. Raises CheckpointError."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not a text file; copy it again") from None
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; make it readable") from None


def parse_object(text: str, path: Path) -> dict[str, Any]:
    """A JSON object of a tokenizer. Raises CheckpointError, naming the line."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise CheckpointError(f"{path}:{line}: cut short or damaged JSON; copy the file again") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object; copy the file again")
    return values


def _from_json(text: str, path: Path) -> Tokenizer:
    model = parse_object(text, path).get("model")
    if isinstance(model, dict) and model.get("continuing_subword_prefix"):
        # No GPT has one, and where it does not fit the merges the library panics instead of raising.
        raise CheckpointError(
            f"{path}: tokens with a continuing_subword_prefix; use a GPT-2 or OpenAI GPT model"
        )
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: not a tokenizer ({reason}); copy the file again") from None


def _from_vocab(folder: Path) -> Tokenizer:
    path = folder / VOCAB_FILE
    vocab = parse_object(read_text(path), path)
    if not all(type(id) is int and id >= 0 for id in vocab.values()) or len(set(vocab.values())) < len(vocab):
        raise CheckpointError(f"{path}: expected one token id for each token; copy the file again")
    merges = _read_merges(folder / MERGES_FILE)
    words = any(token.endswith(WORD_END) for token in vocab)
    try:
        model = models.BPE(
            vocab=vocab,
            merges=merges,
            end_of_word_suffix=WORD_END if words else "",
            unk_token=GPT_UNKNOWN if words and GPT_UNKNOWN in vocab else None,
        )
    except Exception as error:  # a merge of tokens that are not in the vocabulary
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{folder / MERGES_FILE}: does not belong to {VOCAB_FILE} ({reason}); copy both again"
        ) from None
    backend = Tokenizer(model)
    if words:  # as in transformers' OpenAIGPTTokenizer
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.BPEDecoder(suffix=WORD_END)
    else:  # as in transformers' GPT2Tokenizer
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=_prefix_space(folder))
        backend.decoder = decoders.ByteLevel()
        if GPT2_END in vocab:
            backend.add_special_tokens([GPT2_END])
    return backend


def _prefix_space(folder: Path) -> bool:
    path = folder / CONFIG_FILE
    return path.is_file() and bool(parse_object(read_text(path), path).get("add_prefix_space", False))


def _read_merges(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: missing; copy it from where {VOCAB_FILE} came from")
    merges = []
    # Only "\n" ends a line here: a token may hold a character that splitlines() takes for a line end.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#version"):
            continue
        left, _, right = line.partition(" ")
        if not left or not right or " " in right:
            raise CheckpointError(f"{path}:{number}: expected two tokens (cut short?); copy the file again")
        merges.append((left, right))
    return merges


def _add_recorded(backend: Tokenizer, folder: Path) -> None:
    """Add what added_tokens.json lists: how slow tokenizers kept the tokens added for fine-tuning."""
    path = folder / ADDED_FILE
    if not path.is_file():
        return
    recorded = parse_object(read_text(path), path)
    if not all(type(id) is int for id in recorded.values()):
        raise CheckpointError(f"{path}: expected a token id for each token; copy the file again")
    for token, id in sorted(recorded.items(), key=lambda item: item[1]):
        if backend.token_to_id(token) is None:
            backend.add_tokens([AddedToken(token, normalized=False)])
        if (actual := backend.token_to_id(token)) != id:
            raise CheckpointError(
                f"{path}: {token} has id {id} here and {actual} after the vocabulary; "
                "the files belong to different models, copy them again"
            )
