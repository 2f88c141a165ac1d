"""Negation: "i am not happy" is no joy. What a denied word brings is taken away; its opposite gets a part.

A network of this size goes by the words it finds. Whether it has read a "not" is asked of itself: where a
text and the same text without its negations look alike, it has not. Then the text is read without the denied
words, and what they had brought is turned round, by the factor that VADER uses for negated words (Hutto &
Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text"), whose
exceptions ("never so") are kept too. What opposes what is from Plutchik's wheel, as far as labels go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from convai.emotion.text import UNKNOWN

FACTOR: Final = 0.74
"""How much of a denied emotion its opposite gets."""
BROUGHT: Final = 0.2
"""Least probability that the denied words must have brought."""
SCOPE: Final = 5
"""Words behind a negation that it denies at most."""
NEUTRAL: Final = "neutral"
OPPOSITES: Final[Mapping[str, str]] = {
    "admiration": "disapproval", "approval": "disapproval", "love": "disapproval", "joy": "sadness",
    "amusement": "annoyance", "excitement": "disappointment", "optimism": "disappointment",
    "pride": "disappointment", "gratitude": "disappointment", "relief": "nervousness",
    "disapproval": "approval", "annoyance": "approval", "disgust": "approval", "disappointment": "approval",
    "anger": "approval", "fear": NEUTRAL, "nervousness": NEUTRAL, "sadness": NEUTRAL, "grief": NEUTRAL,
    "remorse": NEUTRAL, "embarrassment": NEUTRAL,
}  # fmt: skip
"""Emotion → what its denial suggests; of other emotions nothing is left but their absence."""

_NEGATORS: Final = frozenset(
    "not no never none nothing nobody neither nor without hardly barely scarcely dont doesnt didnt isnt "
    "arent wasnt werent havent hasnt hadnt aint don't doesn't didn't isn't aren't wasn't weren't haven't "
    "hasn't hadn't ain't".split()
)
"""Not "can't" and "won't": what cannot be is not denied to be felt ("can't wait", "can't stop loving")."""
_ENDS: Final = frozenset(
    "but and or because cause though although when while if unless until since so that which who what just "
    "than lol lmao lmfao rofl haha hahaha hehe omg wow ugh thanks please".split()
)
"""Words that end what a negation denies, as punctuation does."""
_NOTHING: Final = frozenset(
    "only just merely simply to doubt problem wonder matter matters worries deal idea".split()
)
"""Behind a negation: nothing is denied ("not only happy", "no doubt", "doesn't matter")."""
_SO: Final = frozenset("so this such that more".split())
"""Behind "never": it strengthens ("never been so sad")."""
_ASKED: Final = frozenset("i you he she it we they this that there anyone anybody everyone".split())
"""Behind "isn't": a question that expects a yes ("isn't it lovely")."""


class Readings(NamedTuple):
    """A text with negations, read in two more ways."""

    affirmed: list[str]
    """Without the negations."""
    bare: list[str]
    """With an unknown word for the denied ones, too."""


def readings(words: Sequence[str]) -> Readings | None:
    """The two ways, of words as `emotion.text` splits them; None for a text that denies nothing.

    >>> readings("i am not happy at all .".split())
    Readings(affirmed=['i', 'am', 'happy', 'at', 'all', '.'], bare=['i', 'am', 'CUSTOM_UNKNOWN', '.'])
    >>> readings("not only happy".split())
    """
    negations: set[int] = set()
    denied: set[int] = set()
    for k, word in enumerate(words):
        if word not in _NEGATORS:
            continue
        scope = _scope(words, k)
        if scope and not _strengthens(words, k, scope):
            negations.add(k)
            denied.update(scope)
    if not negations:
        return None
    affirmed = [word for i, word in enumerate(words) if i not in negations]
    bare = [
        UNKNOWN if i in denied else word
        for i, word in enumerate(words)
        if i not in negations and not (i in denied and i - 1 in denied)
    ]
    return Readings(affirmed, bare)


def _scope(words: Sequence[str], k: int) -> list[int]:
    scope: list[int] = []
    for i in range(k + 1, min(len(words), k + 1 + SCOPE)):
        if words[i] in _ENDS or not any(c.isalnum() for c in words[i]) or words[i] in _NEGATORS:
            break
        if words[i] == "thank" and scope:  # "no more updates thank you"
            break
        scope.append(i)
    return scope


def _strengthens(words: Sequence[str], k: int, scope: Sequence[int]) -> bool:
    """Whether this negation denies nothing: an exception of grammar, or a fixed expression."""
    word, behind = words[k], words[k + 1]
    near = {words[i] for i in scope[:3]}
    beyond = words[scope[-1] + 1] if scope[-1] + 1 < len(words) else ""
    if behind in _NOTHING or near & {"only", "doubt"}:
        return True
    if word == "never" and (near & _SO or (beyond in _SO and len(scope) < 3)):
        return True
    begins = k == 0 or not any(c.isalnum() for c in words[k - 1]) or words[k - 1] in ("so", "why", "please")
    if begins and word in ("don't", "dont"):  # "don't worry": asked for, not denied
        return True
    return begins and word not in ("not", "no", "never") and behind in _ASKED


def turned(
    said: Mapping[str, float], affirmed: Mapping[str, float], bare: Mapping[str, float]
) -> dict[str, float] | None:
    """The probabilities of labels with the negation read, from those of the text and its two other readings.

    None where nothing is to be done: the network has read it, or what is denied is no emotion.
    """
    best, denied = (max(chances, key=chances.__getitem__) for chances in (said, affirmed))
    opposite = OPPOSITES.get(best)
    if best != denied and opposite != OPPOSITES.get(denied):
        return None
    if best == NEUTRAL or opposite is None or affirmed[denied] - bare[denied] < BROUGHT:
        return None
    # what the negation itself says, as far as it was read, stays; but "don't hate" opposes nothing twice
    stays = {
        label
        for label in bare
        if said[label] > affirmed[label] and (opposite == NEUTRAL or OPPOSITES.get(label) != opposite)
    }
    found = {label: max(p, said[label]) if label in stays else p for label, p in bare.items()}
    found[best] = min(found[best], bare[best])
    if opposite in found:
        found[opposite] = max(found[opposite], FACTOR * affirmed[denied])
        if opposite != NEUTRAL and NEUTRAL in found:
            found[NEUTRAL] = min(found[NEUTRAL], said[NEUTRAL])
    return found
