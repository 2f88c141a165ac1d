"""What a reply is not to say again: the speaker's earlier words, but for those it was given.

A ban on repeated n-grams forbids the second true answer along with the second empty phrase, and what is
drawn in its place contradicts the first. So the words of the persona and of the partner stay free.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from convai.text.prompt import TextEncoder

_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")


def banned_runs(turns: Iterable[Sequence[int]], free: Iterable[Sequence[int]], n: int) -> list[list[int]]:
    """The turns cut into the runs whose n-grams are banned.

    An n-gram is free where its last two tokens (of n = 1: its token) stand next to each other in one of
    `free`. The runs hold the other n-grams, each in its order, and none beside them.
    """
    if n < 1:
        return [list(ids) for ids in turns]
    width = min(n, 2)
    given = {tuple(ids[i : i + width]) for ids in free for i in range(len(ids) - width + 1)}
    runs = []
    for ids in turns:
        begin = None
        for end in range(n, len(ids) + 1):
            if tuple(ids[end - width : end]) not in given:
                begin = end - n if begin is None else begin
            elif begin is not None:
                runs.append(list(ids[begin : end - 1]))
                begin = None
        if begin is not None:
            runs.append(list(ids[begin:]))
    return runs


def not_again(
    encoder: TextEncoder,
    own: Sequence[str],
    *,
    persona: Iterable[str],
    partner: Iterable[str],
    n: int,
) -> list[list[int]]:
    """Ids of what the speaker, who said `own`, is not to say again (`no_repeat_own_ngram` of n).

    Free is what stands in the `persona` (any text given to the speaker before the turns), and what the
    `partner` stated; what the partner asked is not. Both also in small letters.
    """
    said = encoder.encode_batch(list(own))
    if n < 1 or not said:
        return said
    texts = [*persona, *(sentence for text in partner for sentence in _stated(text))]
    small = [text.lower() for text in texts if text.lower() != text]
    return banned_runs(said, encoder.encode_batch([*texts, *small]), n)


def _stated(text: str) -> Iterator[str]:
    """The sentences of a text that are no questions."""
    return (sentence for sentence in _SENTENCE.split(text) if sentence and not sentence.endswith("?"))
