"""Text to ids and back: train, load and save tokenizers; typed text never becomes a control id."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from convai.core.errors import CheckpointError, SettingsError
from convai.text.chat_files import GENERATION_FILE, ChatFiles, generation_config, read_chat_files
from convai.text.detokenizer import StreamDecoder, byte_of_char
from convai.text.frames import AUTO, TEMPLATE, Frame
from convai.text.template_frame import template_frame
from convai.text.textnorm import normalizer, spelling_normalizer, without_surrogates
from convai.text.tokenizer_files import read_backend, replace_file, write_folder
from convai.text.tokenizer_spec import stream_maker, strict_spec, unknown_id

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
    """A Hugging Face tokenizer, and the frame in which its model is shown a dialogue.

    Control tokens exist as ids only: `encode` reads any text, `"<eos>"` and `"<|im_start|>"` included, as
    ordinary tokens. Immutable, safe to share between threads; a pickled copy (a data loader's worker) is as
    strict.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        chat: ChatFiles | None = None,
        where: str = "tokenizer",
        shared: bool = True,
    ) -> None:
        """Wrap a copy of `backend`, in the frame of `chat`'s template, or else in the blog post's.

        `where` (the folder it came from) begins error messages. Where `backend` is not `shared` with anybody
        it may be taken itself: a copy is made by writing and reading it.

        Raises CheckpointError where a control token of the frame is missing or could be typed, for a template
        of no use, and for a kind of tokenizer that is not byte-level (GPT-2), word-end marked (OpenAI GPT) or
        SentencePiece's BPE.
        """
        spec, strict = strict_spec(backend, SPECIAL_TOKENS if chat is None else (), where)
        self.chat = chat
        """The template and what belongs to it; None in the blog post's frame."""
        whole = strict and not shared
        self._backend = backend if whole else tokenizers.Tokenizer.from_str(json.dumps(spec))
        # Added tokens are matched inside texts, whatever add_special_tokens says, unless this is set.
        self._backend.encode_special_tokens = True
        vocab = self._backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values()) + 1
        """Rows that a model's embedding needs: the highest id plus one."""
        self.unk_id = unknown_id(spec, vocab)
        """What text gives for characters outside the vocabulary; None where every byte has a token."""
        special = (vocab[token["content"]] for token in spec["added_tokens"] if token["special"])
        self.special_ids = frozenset(special) - {self.unk_id}
        """Control ids: no text ever encodes to one of them."""
        self.hidden_ids = self.special_ids | ({self.unk_id} if self.unk_id is not None else frozenset())
        """Ids without text: `special_ids` and `unk_id`. A sampler leaves them out, except the frame's
        ends."""
        self.frame = self._blog(vocab) if chat is None else self._template(chat, where)
        """How a dialogue is written."""
        self.eos_id, self.pad_id = self.frame.end_id, self.frame.pad_id
        self.speaker1_id, self.speaker2_id = self.frame.segments
        self.bos_id = vocab.get(BOS if chat is None else chat.control.get("bos_token", ""), self.eos_id)
        self._new_stream = stream_maker(spec, vocab, self.hidden_ids, where)

    def _blog(self, vocab: Mapping[str, int]) -> Frame:
        bos, eos, user, agent, pad = (vocab[token] for token in SPECIAL_TOKENS)
        return Frame.blog(bos_id=bos, eos_id=eos, speakers=(user, agent), pad_id=pad)

    def _template(self, chat: ChatFiles, where: str) -> Frame:
        return template_frame(
            chat,
            encode_template=self._encode_template,
            encode_text=self.encode,
            control=self.special_ids,
            where=where,
        )

    def _encode_template(self, text: str) -> list[int]:
        """Ids of a template's own text, control tokens recognised."""
        self._backend.encode_special_tokens = False
        try:
            return self._backend.encode(text, add_special_tokens=False).ids
        finally:
            self._backend.encode_special_tokens = True

    def __reduce__(self) -> tuple[Callable[..., Tokenizer], tuple[str, ChatFiles | None]]:
        # The library's own pickle forgets encode_special_tokens.
        return Tokenizer.from_json, (self.to_json(), self.chat)

    # -- text to ids and back

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical tokenizer.json, in hex: part of the key of every cache of ids."""
        canonical = json.dumps(json.loads(self.to_json()), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

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

    def control_name(self, id: int) -> str:
        """How a control token is written (`<eos>`); empty for a token of text."""
        return (self._backend.id_to_token(id) or "") if id in self.special_ids else ""

    def stream(self) -> StreamDecoder:
        """A decoder for one reply: `push(id)` for each id, then `finish()`."""
        return self._new_stream()

    # -- files

    def to_json(self) -> str:
        """The contents of tokenizer.json."""
        return self._backend.to_str()

    @classmethod
    def from_json(cls, text: str, chat: ChatFiles | None = None) -> Tokenizer:
        """The inverse of `to_json`. Raises CheckpointError as the constructor does."""
        return cls(tokenizers.Tokenizer.from_str(text), chat=chat, shared=False)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and tokenizer_config.json, each whole or not at all.

        With a chat template the ends of its replies too, as generation_config.json.

        transformers' AutoTokenizer reads them and gives the same ids; in the blog's frame for text that
        spells a special token too (`split_special_tokens`, which would tear a template's rendering apart).
        Raises OSError.
        """
        config: dict[str, Any] = {
            # The general class: GPT2Tokenizer and OpenAIGPTTokenizer would put their own rules in place.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
        }
        if self.chat is None:
            config |= {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
            config |= {"additional_special_tokens": [SPEAKER1, SPEAKER2], "split_special_tokens": True}
        else:
            config |= {**self.chat.control, "chat_template": self.chat.template}
        if self.unk_id is not None:
            config["unk_token"] = self._backend.id_to_token(self.unk_id)
        write_folder(Path(folder), self.to_json(), config)
        if self.chat is not None:
            ends = generation_config(self.frame.stop_ids, bos_id=self.bos_id, pad_id=self.pad_id)
            replace_file(Path(folder) / GENERATION_FILE, ends)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a model's folder.

        It is in the blog post's frame where it has the five special tokens of a model tuned for dialogue,
        else in that of its chat template.

        Raises CheckpointError when files are missing, cut short or damaged, and for a model that has neither.
        """
        backend = read_backend(Path(folder))
        chat = None if not _missing(backend) else read_chat_files(Path(folder))
        return cls(backend, chat=chat, where=os.fspath(folder), shared=False)

    @classmethod
    def load_pretrained(cls, folder: str | os.PathLike[str], frame: str = AUTO) -> tuple[Tokenizer, int]:
        """The tokenizer of a base that is to be tuned, and how many special tokens were added.

        `frame`: BLOG, TEMPLATE or AUTO, which is what the folder has, and BLOG where it has neither. For BLOG
        missing tokens take the next free ids in the order of SPECIAL_TOKENS: the model needs as many new
        rows. With a template a tokenizer without rules of its own gets those of spelling (`textnorm`): text
        that data sets spaced out is read as a person would write it. Raises CheckpointError when files are
        missing, cut short or damaged, or there is no template to be used.
        """
        backend = read_backend(Path(folder))
        missing = _missing(backend)
        chat = None
        if frame == TEMPLATE or (frame == AUTO and missing):
            chat = read_chat_files(Path(folder))
        if chat is not None:
            if backend.normalizer is None:
                backend.normalizer = spelling_normalizer()
            return cls(backend, chat=chat, where=os.fspath(folder), shared=False), 0
        if frame == TEMPLATE:
            raise CheckpointError(f"{folder}: the base has no chat template; use --frame blog")
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


def _missing(backend: tokenizers.Tokenizer) -> list[str]:
    return [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
