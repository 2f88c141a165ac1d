"""Hashtags as the words that they are made of: `#soblessed` → `so`, `blessed`.

Source: Norvig 2009 ("Natural Language Corpus Data", in Beautiful Data), word segmentation by a unigram model;
how frequent a word is comes from its place in the vocabulary (Zipf's law).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_LONGEST_TAG: Final = 40
_LONGEST_PART: Final = 18
_MOST_PARTS: Final = 5
_SHORT: Final = 2
"""Letters of the words that must be frequent to be a part: others that short are rarely words."""
_FREQUENT: Final = 300


def parts(tag: str, places: Mapping[str, int]) -> list[str]:
    """The words of a hashtag, `#` in front; `[tag]` itself where it cannot be cut into few known words.

    `places`: the number of each known word, the most frequent ones first.

    >>> parts("#sohappy", {"so": 0, "happy": 1, "ha": 500})
    ['so', 'happy']
    """
    letters = tag[1:]
    if not 1 <= len(letters) <= _LONGEST_TAG:
        return [tag]
    costs, cuts = [0.0, *[math.inf] * len(letters)], [0] * (len(letters) + 1)
    for end in range(1, len(letters) + 1):
        for start in range(max(0, end - _LONGEST_PART), end):
            cost = costs[start] + _cost(letters[start:end], places)
            if cost < costs[end]:
                costs[end], cuts[end] = cost, start
    if costs[-1] == math.inf:
        return [tag]
    found, end = [], len(letters)
    while end:
        found.append(letters[cuts[end] : end])
        end = cuts[end]
    return found[::-1] if len(found) <= _MOST_PARTS else [tag]


def _cost(word: str, places: Mapping[str, int]) -> float:
    """The negative logarithm of how frequent the word is, but for a constant; infinite if it is none."""
    place = places.get(word)
    if place is None or (len(word) <= _SHORT and place > _FREQUENT):
        return math.inf
    return math.log(place + 10) + 3
