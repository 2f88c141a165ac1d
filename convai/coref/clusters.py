"""The text with the mentions of each cluster replaced by the one that stands for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from convai.coref.document import Cluster, Span

_PRONOUNS: Final = ("PRP", "PRP$", "WP", "WP$", "DT", "WDT", "EX")


def only_pronouns(tags: Sequence[str]) -> bool:
    """Whether words with these tags name nobody."""
    return all(tag in _PRONOUNS for tag in tags)


def outermost(spans: Iterable[Span]) -> list[Span]:
    """The spans that lie in no other and cross none before them, in the order of the text."""
    found: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


_ENDINGS: Final = ("'s", "’s", "'", "’")
_POSSESSIVE: Final = frozenset(("his", "its", "their", "hers", "theirs"))
"""Possessive whatever a parser says; "her" is where its tag says so."""
_DETERMINERS: Final = frozenset("a an the my your his her its our their this that these those some".split())


def replaced(
    words: Sequence[str],
    blanks: Sequence[str],
    tags: Sequence[str],
    clusters: Sequence[Cluster],
    mains: Sequence[Span],
) -> str:
    """The text with every mention but the main one replaced by the main one's words, as NeuralCoref has it.

    Unlike there "his car" becomes "Tom's car", and capitals are those of the place. `blanks`: what follows
    each word, `tags`: the Penn Treebank's. Of mentions within each other the outermost is replaced. One that
    says what the main one says, and more, stays: words would be lost ("Donald wish" of a parser that errs).
    """
    of: dict[Span, Span] = {
        span: main for cluster, main in zip(clusters, mains, strict=True) for span in cluster
    }
    others = [span for span, main in of.items() if span != main]
    kept = outermost(span for span in others if not _says_more(words, span, of[span]))
    parts: list[str] = []
    at = 0
    for start, end in kept:
        parts += [word + blank for word, blank in zip(words[at:start], blanks[at:start], strict=True)]
        first, last = of[start, end]
        if last - first > 1 and words[last - 1] in _ENDINGS:
            last -= 1
        main = "".join(w + b for w, b in zip(words[first:last], blanks[first:last], strict=True)).strip()
        if words[start][:1].isupper():
            main = main[:1].upper() + main[1:]
        elif words[first].lower() in _DETERMINERS and start > 0:
            main = main[:1].lower() + main[1:]
        if words[end - 1] in _ENDINGS or (end - start == 1 and _is_possessive(words[start], tags[start])):
            main += "'" if tags[last - 1] in ("NNS", "NNPS") and main.endswith("s") else "'s"
        parts.append(main + blanks[end - 1])
        at = end
    parts += [word + blank for word, blank in zip(words[at:], blanks[at:], strict=True)]
    return "".join(parts)


def _is_possessive(word: str, tag: str) -> bool:
    return tag in ("PRP$", "WP$") or word.lower() in _POSSESSIVE


def _says_more(words: Sequence[str], span: Span, main: Span) -> bool:
    """Whether a mention holds the main one, or has all its words one behind the other, and further ones."""
    if span[0] <= main[0] and main[1] <= span[1]:
        return True
    said = [word.lower() for word in words[span[0] : span[1]]]
    wanted = [word.lower() for word in words[main[0] : main[1]]]
    places = range(len(said) - len(wanted) + 1)
    return len(said) > len(wanted) and any(said[i : i + len(wanted)] == wanted for i in places)
