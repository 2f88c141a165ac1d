"""Texts of cards whose macros stand for nothing: what needs the missing value goes, the rest stays whole.

`She is {{getvar::age}}, and lives in Ghent.` cannot say how old she is, and "She is , and lives in Ghent."
would be what the model reads. So the clause that needs the value is left out, and where
that is what the sentence is about, the sentence. A note (`{{// ...}}`) has no value that could be missing:
it leaves no trace.
"""

from __future__ import annotations

import re
from typing import Final

BLANK: Final = "\ue001"
"""Stands for a value that nobody knows."""
SILENT: Final = "\ue002"
"""Stands for what says nothing by its nature: a note, a setting."""
MARKS: Final = str.maketrans("", "", BLANK + SILENT)
"""For `str.translate`: a text without either mark."""
_SAYS_NOTHING: Final = re.compile(
    r"//|[#/]|(?:comment|note|hidden_?key|noop|trim|original|banned|bias|if|else|"
    r"(?:set|add|delete|flush)(?:global|chat|default|temp)?var)\b",
    re.IGNORECASE,
)
_GONE: Final = re.compile(
    rf"(?:(?<=\s)|^){SILENT}+[ \t]*|(?<![ \t])[ \t]+{SILENT}+(?=[.,;:!?])|{SILENT}", re.MULTILINE
)
_DEFAULT: Final = re.compile(r"get(?:global)?var\s*::[^:]*::(.*\S.*)", re.IGNORECASE | re.DOTALL)
"""A variable, and what stands for it where nobody has set it."""
_SENTENCES: Final = re.compile(r"(\n|;[ \t]*|(?<=[.!?…])[ \t]+|(?<=[.!?…][\"”'’)\]*_])[ \t]+)")
_ASIDE: Final = re.compile(
    rf"(?<![ \t])[ \t]*(?:\([^()\n]*{BLANK}[^()\n]*\)|\[[^\[\]\n]*{BLANK}[^\[\]\n]*\])"
)
_OPTION: Final = re.compile(
    rf"(?<!\s)\s*\+\s*\"[^\"\n]*{BLANK}[^\"\n]*\"|\"[^\"\n]*{BLANK}[^\"\n]*\"\s*\+\s*"
    rf"|\w[\w /-]{{0,40}}\(\"[^\"()\n]*{BLANK}[^\"()\n]*\"\)|[\w/-]{{1,40}}\({BLANK}\)"
)
"""One of several values of W++ (`Likes("tea" + "...")`), or an attribute with its only one."""
_CLAUSE: Final = re.compile(r"([,—–][ \t]*)")
_SUBJECT: Final = re.compile(
    r"(?:(?:and|but|so|while)[ \t]+)?((?:he|she|they|it|i|you|we|there)\b|[A-Z\x01\ue000])",
)
"""What stands at the beginning of a clause that can be a sentence by itself."""
_WHO: Final = re.compile(r"[ \t]*(\S[^,:\n]{0,60}?)[ \t]+(?:am|is|are|was|were|has|have|had)\b")
"""Who a sentence is about, before a verb that any card has."""
_GOES_ON: Final = re.compile(r"(?:and|but)[ \t]+(?=[a-z])")
_CONTENT: Final = re.compile(r"[^\W_]")
_ENDS: Final = re.compile(r"[.!?…]+[\"”'’)\]*_]*\Z")


def unknown(inner: str) -> str:
    """What stands for a macro without a meaning here. Prose in braces is prose: `{{Name: Ann, aged 30}}`."""
    if _SAYS_NOTHING.match(inner):
        return SILENT
    if default := _DEFAULT.fullmatch(inner):
        return default[1].strip()
    name, colon, rest = inner.partition(":")
    if " " in name.strip() or (colon and rest.startswith(" ") and " " in rest.strip()):
        return inner
    return BLANK


def settled(text: str) -> str:
    """The text without its marks, and without what needs the values that are missing."""
    if SILENT in text:
        text = _GONE.sub("", text)
    if BLANK not in text:
        return text
    pieces = [*_SENTENCES.split(_ASIDE.sub("", _OPTION.sub("", text))), ""]
    kept = list[str]()
    for sentence, between in zip(pieces[::2], pieces[1::2], strict=True):
        whole = _kept(sentence) if BLANK in sentence else sentence
        if whole or not sentence or between == "\n":
            kept.append(whole + between)
        elif not between and kept:
            kept[-1] = kept[-1].rstrip(" \t")
            if kept[-1].endswith(";"):
                end = _ENDS.search(sentence)
                kept[-1] = kept[-1][:-1] + (end[0] if end else "")
    return "".join(kept)


def _kept(sentence: str) -> str:
    """What a sentence still says."""
    end = _ENDS.search(sentence)
    body, end_marks = (sentence[: end.start()], end[0]) if end else (sentence, "")
    first, *rest = _CLAUSE.split(body)
    clauses = [("", first), *zip(rest[::2], rest[1::2], strict=True)]
    label, colon, value = first.partition(":")
    if colon and BLANK not in label and BLANK in value and len(clauses) > 1:  # `Likes: tea, cake`
        clauses[0] = ("", f"{label}:")
        kept = [words for _, words in clauses[1:] if BLANK not in words]
        return f"{label}: {', '.join(kept)}{end_marks}" if kept else ""
    kept_clauses = [(mark, words) for mark, words in clauses if BLANK not in words]
    if not any(_CONTENT.search(words) for _, words in kept_clauses):
        return ""
    if BLANK in first:  # the subject has gone with it, unless the next clause has its own
        words = kept_clauses[0][1]
        who, goes_on = _WHO.match(first), _GOES_ON.match(words)
        if begins := _SUBJECT.match(words):
            words = words[begins.start(1) :]
        elif who and goes_on and BLANK not in who[1]:
            words = f"{who[1]} {words[goes_on.end() :]}"
        else:
            return ""
        kept_clauses[0] = ("", words[0].upper() + words[1:])
    return "".join(mark + words for mark, words in kept_clauses).rstrip(" \t,—–") + end_marks
