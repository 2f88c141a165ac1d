"""The tokenizer of a GGUF file, rebuilt as tokenizer.json, tokenizer_config.json and generation_config.json.

A GGUF file holds a vocabulary, merges and the *name* of the rules that cut text before them
(`tokenizer.ggml.pre`); the rules themselves are llama.cpp's (src/llama-vocab.cpp) and, in transformers, each
model's own tokenizer.json. Those here are the latter's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from convai.core.errors import CheckpointError
from convai.model.gguf.container import GGUF

# llama.cpp's kinds of tokens (tokenizer.ggml.token_type)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# Source: the pre_tokenizer of Llama 3's and of Qwen 2's tokenizer.json.
_LLAMA3_WORDS: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_WORDS: Final = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")

_ENDS_OF_TURN: Final = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>")
"""Control tokens that end a turn in chat templates; generation stops at them, as in llama.cpp."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """How byte-level BPE cuts text into words before the merges."""

    words: Callable[[], pre_tokenizers.PreTokenizer]
    composed: bool = False
    """Text is put into Unicode's composed form (NFC) first."""
    whole_words: bool = False
    """A word that is in the vocabulary is taken whole, whatever the merges say."""


def _gpt2_words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def _smollm_words() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _split_by(pattern: str) -> Callable[[], pre_tokenizers.PreTokenizer]:
    return lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_RULES: Final = {
    "gpt-2": _Rules(_gpt2_words),
    "smollm": _Rules(_smollm_words),
    "llama-bpe": _Rules(_split_by(_LLAMA3_WORDS), whole_words=True),
    "qwen2": _Rules(_split_by(_QWEN2_WORDS), composed=True),
}


def read_tokenizer(file: GGUF) -> Tokenizer:
    """The tokenizer that `file` describes; the ids are the file's.

    Raises CheckpointError for a kind of tokenizer that is not supported, and for lists that do not fit.
    """
    tokens = _list(file, "tokens", str)
    if len(set(tokens)) < len(tokens):
        raise CheckpointError(f"{file.path}: two tokens of the vocabulary are the same; copy it again")
    kind = file.metadata.get("tokenizer.ggml.model")
    if kind == "gpt2":
        backend = _byte_level(file, tokens)
    elif kind == "llama" and file.architecture.startswith("gemma"):
        backend = _gemma(file, tokens)
    else:
        raise CheckpointError(
            f"{file.path}: tokenizer {kind!r} of {file.architecture} is not supported; use a model with "
            "byte-level BPE ('gpt2') or Gemma's"
        )
    kinds = _list(file, "token_type", int) if "tokenizer.ggml.token_type" in file.metadata else []
    _add(backend, tokens, kinds)
    bos = file.metadata.get("tokenizer.ggml.bos_token_id")
    if file.metadata.get("tokenizer.ggml.add_bos_token") and bos is not None:
        begin = _token(file, tokens, "bos_token_id")
        backend.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, bos)]
        )
    return backend


def rules_of(backend: Tokenizer) -> str | None:
    """The name (`tokenizer.ggml.pre`) of the rules by which `backend` cuts text, if they have one."""
    for name, rules in _RULES.items():
        model = models.BPE(ignore_merges=rules.whole_words)
        if _cutting(backend) == _cutting(_with_rules(Tokenizer(model), rules)):
            return name
    return None


def is_gemma(backend: Tokenizer) -> bool:
    """Whether `backend` is of Gemma's kind, which llama.cpp finds again from the order of the tokens."""
    spec, blanks = json.loads(backend.to_str()), json.loads(_with_blanks(Tokenizer(models.BPE())).to_str())
    model = spec["model"]
    if any(spec[part] != blanks[part] for part in ("normalizer", "pre_tokenizer", "decoder")):
        return False
    made = [model["vocab"]["".join(merge)] for merge in model.get("merges", ())]
    return bool(model.get("byte_fallback") and model.get("fuse_unk")) and made == sorted(made)


def _cutting(backend: Tokenizer) -> Any:
    """What of tokenizer.json decides how text is cut. `trim_offsets` moves offsets only, no ids."""
    spec = json.loads(backend.to_str())
    steps = spec["pre_tokenizer"] or {}
    for step in steps.get("pretokenizers", [steps]):
        step.pop("trim_offsets", None)
    return steps, bool(spec["model"].get("ignore_merges"))


def tokenizer_files(file: GGUF) -> dict[str, str]:
    """File name -> contents of what transformers needs beside config.json and the weights.

    Raises CheckpointError as `read_tokenizer` does.
    """
    backend = read_tokenizer(file)
    tokens = _list(file, "tokens", str)
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, key in _SPECIAL.items():
        if f"tokenizer.ggml.{key}" in file.metadata:
            config[name] = _token(file, tokens, key)
    config["clean_up_tokenization_spaces"] = False
    if isinstance(length := file.metadata.get(f"{file.architecture}.context_length"), int):
        config["model_max_length"] = length
    if isinstance(template := file.metadata.get("tokenizer.chat_template"), str):
        config["chat_template"] = template
    return {
        "tokenizer.json": backend.to_str(),
        "tokenizer_config.json": _json(config),
        "generation_config.json": _json(_generation(file, tokens)),
    }


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def _generation(file: GGUF, tokens: list[str]) -> dict[str, Any]:
    """What transformers' `generate` begins with and stops at."""
    values: dict[str, Any] = {}
    for name, key in (("bos_token_id", "bos_token_id"), ("pad_token_id", "padding_token_id")):
        if isinstance(id := file.metadata.get(f"tokenizer.ggml.{key}"), int):
            values[name] = id
    ends = [file.metadata.get(f"tokenizer.ggml.{key}") for key in ("eos_token_id", "eot_token_id")]
    ends += [tokens.index(token) for token in _ENDS_OF_TURN if token in tokens]
    stops = list(dict.fromkeys(id for id in ends if isinstance(id, int)))
    if stops:
        values["eos_token_id"] = stops[0] if len(stops) == 1 else stops
    return values


_SPECIAL: Final = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def _list(file: GGUF, key: str, kind: type) -> list[Any]:
    """A list of the tokenizer's metadata. Raises CheckpointError where it is missing or something else."""
    values = file.metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise CheckpointError(f"{file.path}: has no tokenizer.ggml.{key}; take a complete GGUF file")
    return values


def _token(file: GGUF, tokens: list[str], key: str) -> str:
    id = file.metadata[f"tokenizer.ggml.{key}"]
    if type(id) is not int or not 0 <= id < len(tokens):
        raise CheckpointError(
            f"{file.path}: tokenizer.ggml.{key} is {id!r} of {len(tokens):,} tokens; copy it again"
        )
    return tokens[id]


def _byte_level(file: GGUF, tokens: list[str]) -> Tokenizer:
    """GPT-2's kind: every byte is a token, bytes are spelt as printable characters."""
    name = file.metadata.get("tokenizer.ggml.pre", "gpt-2")  # a key that older files lack
    if name not in _RULES or (
        name == "gpt-2" and file.architecture != "gpt2" and "tokenizer.ggml.pre" not in file.metadata
    ):
        raise CheckpointError(
            f"{file.path}: text rules {name!r} (tokenizer.ggml.pre) are not supported; use a model with "
            f"one of {', '.join(_RULES)}"
        )
    rules = _RULES[name]
    merges = [tuple(merge.split(" ")) for merge in _list(file, "merges", str)]
    return _with_rules(_bpe(file, tokens, merges, ignore_merges=rules.whole_words), rules)


def _with_rules(backend: Tokenizer, rules: _Rules) -> Tokenizer:
    if rules.composed:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = rules.words()
    backend.decoder = decoders.ByteLevel()
    return backend


def _gemma(file: GGUF, tokens: list[str]) -> Tokenizer:
    """Gemma's kind: SentencePiece's BPE with bytes for what it does not know, and blanks as `▁`.

    The file lists no merges. They are every pair of tokens that makes a token, in the order of what they
    make; Source: transformers, tokenization_utils_base.py (`generate_merges`).
    """
    spelt = ["▁" * len(token) if token.strip(" ") == "" else token for token in tokens]
    place = {token: id for id, token in enumerate(spelt)}
    merges = []
    for token in spelt:
        pairs = [(token[:at], token[at:]) for at in range(1, len(token))]
        merges += sorted(
            (pair for pair in pairs if pair[0] in place and pair[1] in place),
            key=lambda pair: (place[pair[0]], place[pair[1]]),
        )
    unknown = _token(file, tokens, "unknown_token_id")
    return _with_blanks(_bpe(file, spelt, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))


def _with_blanks(backend: Tokenizer) -> Tokenizer:
    """What Gemma's kind does before and after its merges."""
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return backend


def _bpe(file: GGUF, tokens: list[str], merges: list[Any], **options: Any) -> Tokenizer:
    vocab = {token: id for id, token in enumerate(tokens)}
    try:
        return Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
    except Exception as error:  # the library raises plain Exception: a merge of unknown tokens
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{file.path}: merges that do not fit the vocabulary ({reason}); copy it again"
        ) from None


def _add(backend: Tokenizer, tokens: list[str], kinds: list[int]) -> None:
    """Mark what is matched whole: control tokens, and those that the model's maker added (`<think>`).

    One that the vocabulary spells otherwise (blanks, in Gemma's) would get an id beyond the model's.
    """
    for content, kind in zip(tokens, kinds, strict=False):
        if backend.token_to_id(content) is None:
            continue
        if kind in (CONTROL, UNKNOWN):
            backend.add_special_tokens([AddedToken(content, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            backend.add_tokens([AddedToken(content, normalized=False)])
