"""Which tokens of a vocabulary hold a text, or end one that others begin: the sequence breakers of DRY."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate

from convai.text.tokenizer import Tokenizer


class SequenceBreaks:
    """Where sequences end: at `tokens`, each of which holds a breaker, and where one comes to its end.

    As in llama.cpp a breaker is found however it is cut into tokens: `\\n` in `\\n\\n` and in ` .\\n`, a name
    of several tokens where the last of them has been said.
    """

    def __init__(
        self, tokens: frozenset[int] = frozenset(), longer: Sequence[str] = (), pieces: Sequence[str] = ()
    ) -> None:
        """`longer`: breakers that several tokens may spell together; `pieces`: the text of each token."""
        self.tokens = tokens
        self._longer, self._pieces = longer, pieces
        self._most = max(map(len, longer), default=0)

    def ended(self, said: Sequence[int]) -> bool:
        """Whether the last of the tokens `said` ends a sequence; it is not to be looked across."""
        if said[-1] in self.tokens:
            return True
        if not self._longer:
            return False
        text = last = self._pieces[said[-1]]
        for token in reversed(said[-self._most : -1]):
            if token < 0 or len(text) >= len(last) + self._most:
                break
            text = self._pieces[token] + text
        # it ends in the last token: not where a sequence ended already
        starts = ((text.rfind(breaker), breaker) for breaker in self._longer)
        return any(at >= 0 and at + len(one) > len(text) - len(last) for at, one in starts)


class TokenTexts:
    """The texts of a tokenizer's tokens, to look for breakers in."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._pieces = [tokenizer.piece(id) for id in range(tokenizer.vocab_size)]
        # one text, parted by what no text holds: a search in it is a search in all
        self._text = "".join(piece + "\udfff" for piece in self._pieces)
        self._starts = list(accumulate((len(piece) + 1 for piece in self._pieces), initial=0))
        self.breaks = lru_cache(maxsize=32)(self._breaks)

    def _breaks(self, texts: tuple[str, ...]) -> SequenceBreaks:
        """The breaks at `texts`, none of them empty."""
        tokens = frozenset(token for text in texts for token in self._holding(text))
        return SequenceBreaks(tokens, [text for text in texts if len(text) > 1], self._pieces)

    def _holding(self, text: str) -> Iterator[int]:
        """Tokens whose texts hold `text`."""
        at = self._text.find(text)
        while at >= 0:
            yield bisect_right(self._starts, at) - 1
            at = self._text.find(text, at + 1)
