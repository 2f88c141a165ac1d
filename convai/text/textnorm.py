"""One spelling for text: the rules that make typed text and PERSONA-CHAT's spaced text the same.

People type `Hi, how are you? I’m fine`; PERSONA-CHAT writes `hi , how are you ? i ' m fine`. Tokenizers
trained here read both as `hi, how are you? i'm fine`. The rules are made of `tokenizers` normalizers and
travel inside tokenizer.json, so that stock transformers gives the same ids; nothing here is a second
implementation in Python. They are few, look only a word around themselves, and are idempotent.

The form is NFC, never NFKC: a compatibility form would turn full-width look-alikes into `<eos>`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from tokenizers import Regex, normalizers

_CHARACTERS: Final = (
    ("[\u2018\u2019\u201a\u201b\u2032\u02bc`\u00b4]", "'"),
    # two single quotes are how LaTeX and the Penn Treebank write a double one
    ("[\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb]|''", '"'),
    ("[\u2010-\u2015\u2212]", "-"),
    ("\u2026", "..."),
)
_BLANKS: Final = ((r"\s+", " "),)

_LOST_APOSTROPHES: Final = (
    # PERSONA-CHAT lost some apostrophes altogether: `i m`, `that s`, `don t`. What follows the space is
    # looked at first: it is rare, and looking behind every space of a text is slow.
    r" (?=(?:m|ve|ll|d|s|t)\b)(?:"
    r"(?<=\bi )(?=[mvld])"
    r"|(?<=\b(?:it|he) |\b(?:that|what|she|who|there) )(?=s)"
    r"|(?<=\b(?:don|can|won|didn|doesn|isn|aren|wasn|haven|hasn|couldn|wouldn) )(?=t)"
    r")",
    "'",
)

_JOINTS: Final = (
    # i ' m, i 'm, let' s -> i'm, let's; not before a closing quote, where it is a letter in quotes
    (r"(?<=\w) ?' ?(?=(?:m|s|d|ll|re|ve)\b(?!'))|(?<=n) ?' ?(?=t\b(?!'))", "'"),
    # do n't, ca n't
    (r"(?<=\w) (?=n't\b)", ""),
    # ( so ) -> (so), : ) -> :), but the space after the smiley :( stays
    (r"(?<![:;-]\()(?<=\() | (?=\))", ""),
    # a run of punctuation that ends there joins the word before; .5 and :) do not
    (r""" (?=[.,!?]+(?:[ "')\]]|$)|[:;](?: (?!\()|$))""", ""),
)


_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """`text` with U+FFFD for lone surrogates, which are no text and which `tokenizers` refuses."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _replace(rules: tuple[tuple[str, str], ...]) -> list[normalizers.Normalizer]:
    return [normalizers.Replace(Regex(pattern), content) for pattern, content in rules]


def _canonical() -> list[normalizers.Normalizer]:
    # Lower-casing comes before NFC: a capital with a combining mark may compose only in lower case.
    return [
        normalizers.Lowercase(),
        normalizers.NFC(),
        *_replace((*_CHARACTERS, *_BLANKS)),
        normalizers.Strip(),
        *_replace((_LOST_APOSTROPHES, *_JOINTS)),
    ]


def normalizer() -> normalizers.Normalizer:
    """The canonical form with one leading space, so that a word has the same token everywhere."""
    return normalizers.Sequence([*_canonical(), normalizers.Prepend(" ")])


def spelling_normalizer() -> normalizers.Normalizer:
    """The rules of spelling alone, for a pretrained tokenizer that knows capitals and lines.

    Its model read ordinary text: `i ' m fine , thanks` is noise to it, `I'm fine, thanks` is not.
    """
    return normalizers.Sequence(
        [normalizers.NFC(), *_replace((*_CHARACTERS, ("[ \\t\u00a0]+", " "), _LOST_APOSTROPHES, *_JOINTS))]
    )


@cache
def _canonical_form() -> normalizers.Normalizer:
    return normalizers.Sequence(_canonical())


@cache
def _joined_form() -> normalizers.Normalizer:
    return normalizers.Sequence(_replace(_JOINTS))


def normalise(text: str) -> str:
    """The canonical form of `text`, as a person would write it, without the leading space.

    >>> normalise("Hi , how are you ? I ' m fine .")
    "hi, how are you? i'm fine."
    """
    return _canonical_form().normalize_str(without_surrogates(text))


def join_spaced(text: str) -> str:
    """Only the joining rules: what a tokenizer that splits at punctuation (GPT) needs after decoding.

    >>> join_spaced("don ' t worry , i ' ll wait .")
    "don't worry, i'll wait."
    """
    return _joined_form().normalize_str(without_surrogates(text))
