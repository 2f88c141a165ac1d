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


def replaced(
    words: Sequence[str], blanks: Sequence[str], clusters: Sequence[Cluster], mains: Sequence[Span]
) -> str:
    """The text with every mention but the main one replaced by the main one's words, as NeuralCoref has it.

    `blanks`: what follows each word. Of mentions within each other the outermost is replaced.
    """
    of: dict[Span, Span] = {
        span: main for cluster, main in zip(clusters, mains, strict=True) for span in cluster
    }
    others = [span for span, main in of.items() if span != main]
    # a mention that holds its own main mention would be said twice over
    kept = outermost(span for span in others if not (span[0] <= of[span][0] and of[span][1] <= span[1]))
    parts: list[str] = []
    at = 0
    for start, end in kept:
        parts += [word + blank for word, blank in zip(words[at:start], blanks[at:start], strict=True)]
        first, last = of[start, end]
        main = "".join(w + b for w, b in zip(words[first:last], blanks[first:last], strict=True))
        parts.append(main.strip() + blanks[end - 1])
        at = end
    parts += [word + blank for word, blank in zip(words[at:], blanks[at:], strict=True)]
    return "".join(parts)
