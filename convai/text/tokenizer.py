"""Text to ids and back: train, load and save tokenizers; typed text never becomes a control id."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from convai.core.errors import CheckpointError, SettingsError
from convai.text.detokenizer import ByteStream, StreamDecoder, WordStream, byte_of_char
from convai.text.textnorm import normalizer, without_surrogates
from convai.text.tokenizer_files import read_backend, write_folder

BOS: Final = "<bos>"
EOS: Final = "<eos>"
SPEAKER1: Final = "<speaker1>"
SPEAKER2: Final = "<speaker2>"
PAD: Final = "<pad>"
SPECIAL_TOKENS: Final = (BOS, EOS, SPEAKER1, SPEAKER2, PAD)
"""The blog post's five, in the order in which they take the last five ids."""

MIN_VOCAB_SIZE: Final = 256 + len(SPECIAL_TOKENS)

# GPT-2's pre-tokenisation, with numbers in groups of at most two digits: ages and decades are tokens, and
# a number never seen is spelt from parts that were. Source: openai/gpt-2, encoder.py.
_WORDS: Final = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class Tokenizer:
    """A Hugging Face tokenizer with the five special tokens of a dialogue model.

    Control tokens exist as ids only: `encode` reads any text, `"<eos>"` included, as ordinary tokens.
    Immutable, safe to share between threads; a pickled copy (a data loader's worker) is as strict.
    """

    def __init__(self, backend: tokenizers.Tokenizer, *, where: str = "tokenizer") -> None:
        """Wrap a copy of `backend`; `where` (the folder it came from) begins error messages.

        Raises CheckpointError where one of the five special tokens is missing or could be typed, and for
        a kind of tokenizer that is not byte-level (GPT-2) or word-end marked (OpenAI GPT) BPE.
        """
        spec = _strict_spec(backend, where)
        self._backend = tokenizers.Tokenizer.from_str(json.dumps(spec))
        # Added tokens are matched inside texts, whatever add_special_tokens says, unless this is set.
        self._backend.encode_special_tokens = True
        vocab = self._backend.get_vocab(with_added_tokens=True)
        self.bos_id, self.eos_id, self.speaker1_id, self.speaker2_id, self.pad_id = (
            vocab[token] for token in SPECIAL_TOKENS
        )
        self.vocab_size = max(vocab.values()) + 1
        """Rows that a model's embedding needs: the highest id plus one."""
        self.unk_id = _unknown_id(spec, vocab)
        """What text gives for characters outside the vocabulary; None where every byte has a token."""
        special = (vocab[token["content"]] for token in spec["added_tokens"] if token["special"])
        self.special_ids = frozenset(special) - {self.unk_id}
        """Control ids: no text ever encodes to one of them."""
        self.hidden_ids = self.special_ids | ({self.unk_id} if self.unk_id is not None else frozenset())
        """Ids without text: `special_ids` and `unk_id`. A sampler leaves them out, except `eos_id`."""
        self._new_stream = _stream_maker(spec, vocab, self.hidden_ids, where)
        canonical = json.dumps(json.loads(self.to_json()), sort_keys=True, separators=(",", ":"))
        self.fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
        """SHA-256 of the canonical tokenizer.json, in hex: part of the key of every cache of ids."""

    def __reduce__(self) -> tuple[Callable[[str], Tokenizer], tuple[str]]:
        # The library's own pickle forgets encode_special_tokens.
        return Tokenizer.from_json, (self.to_json(),)

    # -- text to ids and back

    def speaker_id(self, speaker: int) -> int:
        """The token id of a speaker: `<speaker1>` for 0 (the user), `<speaker2>` for 1 (the agent)."""
        if speaker not in (0, 1):
            raise ValueError(f"speaker is 0 or 1, not {speaker!r}")
        return self.speaker2_id if speaker else self.speaker1_id

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, never a control id. Lone surrogates, which are no text, count as U+FFFD."""
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        except TypeError:
            return self._backend.encode(without_surrogates(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of every text, on as many cores as the library may use (RAYON_NUM_THREADS)."""
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            clean = [without_surrogates(text) for text in texts]
            encodings = self._backend.encode_batch_fast(clean, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, without special tokens, leading spaces and bytes that are no UTF-8."""
        return self.stream().run(ids)

    def piece(self, id: int) -> str:
        """Text of one token as it goes on a text: a blank in front of it is kept."""
        return self.stream().behind_text().run([id])

    def stream(self) -> StreamDecoder:
        """A decoder for one reply: `push(id)` for each id, then `finish()`."""
        return self._new_stream()

    # -- files

    def to_json(self) -> str:
        """The contents of tokenizer.json."""
        return self._backend.to_str()

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The inverse of `to_json`. Raises CheckpointError for a tokenizer without the special tokens."""
        return cls(tokenizers.Tokenizer.from_str(text))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and tokenizer_config.json, each whole or not at all.

        transformers' AutoTokenizer reads them and gives the same ids, for text that spells a special
        token too (`split_special_tokens`). Raises OSError.
        """
        config: dict[str, Any] = {
            # The general class: GPT2Tokenizer and OpenAIGPTTokenizer would put their own rules in place.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "additional_special_tokens": [SPEAKER1, SPEAKER2],
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,
        }
        if self.unk_id is not None:
            config["unk_token"] = self._backend.id_to_token(self.unk_id)
        write_folder(Path(folder), self.to_json(), config)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a dialogue model's folder.

        Raises CheckpointError when files are missing, cut short or damaged, and for a model that was
        never tuned for dialogue (its tokenizer lacks the special tokens).
        """
        return cls(read_backend(Path(folder)), where=os.fspath(folder))

    @classmethod
    def load_pretrained(cls, folder: str | os.PathLike[str]) -> tuple[Tokenizer, int]:
        """The tokenizer of any GPT-2 or OpenAI GPT folder, and how many special tokens were added.

        Missing ones take the next free ids in the order of SPECIAL_TOKENS: the model needs as many new
        rows. Raises CheckpointError when files are missing, cut short or damaged.
        """
        backend = read_backend(Path(folder))
        missing = [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
        _add_at_end(backend, missing, os.fspath(folder))
        return cls(backend, where=os.fspath(folder)), len(missing)

    # -- new ones

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, *, min_frequency: int = 2, show_progress: bool = False
    ) -> Tokenizer:
        """Byte-level BPE on the canonical form of `texts` (see convai.text.textnorm).

        `vocab_size` counts the 256 bytes and the five special tokens; the result is smaller when the
        texts have too few pairs that occur `min_frequency` times. The same texts give the same tokenizer.
        Source: Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2.

        Raises SettingsError for a vocabulary too small for the bytes and special tokens.
        """
        if vocab_size < MIN_VOCAB_SIZE:
            raise SettingsError(
                f"vocab_size={vocab_size}: use {MIN_VOCAB_SIZE} (256 bytes, 5 special tokens) or more"
            )
        backend = tokenizers.Tokenizer(models.BPE())
        backend.normalizer = normalizer()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        # The second step takes the leading space away again for those who decode with transformers.
        backend.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS),
            min_frequency=min_frequency,
            show_progress=show_progress,
            initial_alphabet=sorted(byte_of_char()),
        )
        backend.train_from_iterator(map(without_surrogates, texts), trainer)
        _add_at_end(backend, SPECIAL_TOKENS, "tokenizer")
        return cls(backend)

    @classmethod
    def byte_level(cls) -> Tokenizer:
        """A token a byte, its id the byte, and the special tokens 256 to 260. No rules on the text."""
        backend = tokenizers.Tokenizer(models.BPE(vocab=byte_of_char(), merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        _add_at_end(backend, SPECIAL_TOKENS, "tokenizer")
        return cls(backend)


def _add_at_end(backend: tokenizers.Tokenizer, tokens: Sequence[str], where: str) -> None:
    """Add special tokens behind the highest id. Raises CheckpointError where ids below it are free."""
    end = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    backend.add_special_tokens(list(tokens))
    if [backend.token_to_id(token) for token in tokens] != list(range(end, end + len(tokens))):
        raise CheckpointError(f"{where}: the vocabulary's ids have gaps; copy the tokenizer's files again")


def _strict_spec(backend: tokenizers.Tokenizer, where: str) -> dict[str, Any]:
    """tokenizer.json of `backend` as an object, with the five marked special, and nothing cut or padded."""
    missing = [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
    if missing:
        raise CheckpointError(
            f"{where}: the tokenizer has no {' '.join(missing)}, so the model was not tuned for dialogue; "
            f"tune it first: convai train DATA --model {where} --out DIR"
        )
    backend = tokenizers.Tokenizer.from_str(backend.to_str())
    backend.add_special_tokens(list(SPECIAL_TOKENS))  # those that are plain vocabulary so far
    spec: dict[str, Any] = json.loads(backend.to_str())
    for token in spec["added_tokens"]:
        token["special"] = token["special"] or token["content"] in SPECIAL_TOKENS
    spec["truncation"] = spec["padding"] = None

    model = spec["model"]
    if model["type"] != "BPE":
        raise CheckpointError(f"{where}: a {model['type']} tokenizer; use a GPT-2 or OpenAI GPT model (BPE)")
    merged = {left + right for left, right in model["merges"]}
    for token in SPECIAL_TOKENS:
        ignores = model["ignore_merges"] and token in model["vocab"]
        if token in merged or ignores or token == model["unk_token"]:
            raise CheckpointError(f"{where}: typed text can become {token}; train another tokenizer")
    return spec


def _unknown_id(spec: dict[str, Any], vocab: dict[str, int]) -> int | None:
    if _decoder_step(spec, "ByteLevel") and vocab.keys() >= byte_of_char().keys():
        return None
    return vocab.get(spec["model"]["unk_token"])


def _decoder_step(spec: dict[str, Any], kind: str) -> dict[str, Any] | None:
    decoder = spec["decoder"] or {"type": "none"}
    return next((step for step in decoder.get("decoders", [decoder]) if step["type"] == kind), None)


def _stream_maker(
    spec: dict[str, Any], vocab: dict[str, int], hidden: frozenset[int], where: str
) -> Callable[[], StreamDecoder]:
    """What decodes the ids of this tokenizer, with the text of every id looked up once."""
    tokens = [""] * (max(vocab.values()) + 1)
    for token, id in vocab.items():
        tokens[id] = "" if id in hidden else token
    if _decoder_step(spec, "ByteLevel"):
        pieces = [_bytes(token) for token in tokens]
        return lambda: ByteStream(pieces)
    if step := _decoder_step(spec, "BPEDecoder"):
        words = [token.replace(step["suffix"], " ") for token in tokens]
        return lambda: WordStream(words)
    raise CheckpointError(f"{where}: neither byte-level nor </w> tokens; use a GPT-2 or OpenAI GPT model")


def _bytes(token: str) -> bytes:
    table = byte_of_char()
    if all(char in table for char in token):
        return bytes(table[char] for char in token)
    return token.encode()  # added as text, not as bytes in disguise
