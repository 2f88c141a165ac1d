"""The tokens of a reply as they are drawn, and its text as it is shown."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from convai.conversation.own_words import OwnWords, own_words
from convai.core.safe_text import OneLine, one_line
from convai.engine import Finished, Token
from convai.text.tokenizer import Tokenizer


class TokenLog:
    """The tokens of a reply so far, without their texts: a few bytes each, for thousands of them."""

    def __init__(self) -> None:
        self._candidates, self._ids, self._logprobs = array("H"), array("l"), array("d")
        self._alternatives: list[tuple[tuple[str, float], ...]] | None = None

    def append(self, token: Token) -> None:
        """One more."""
        if token.alternatives and self._alternatives is None:
            self._alternatives = [()] * len(self._ids)
        if self._alternatives is not None:
            self._alternatives.append(token.alternatives)
        self._candidates.append(token.candidate)
        self._ids.append(token.id)
        self._logprobs.append(token.logprob)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Token]:
        for place, id in enumerate(self._ids):
            others = () if self._alternatives is None else self._alternatives[place]
            yield Token(self._candidates[place], id, "", self._logprobs[place], others)


class BegunLine:
    """One candidate's text as it is shown: on one clean line, behind what it goes on from, its own words."""

    def __init__(
        self, tokenizer: Tokenizer, prefill: str, own: Sequence[str] = (), stops: Sequence[str] = ()
    ) -> None:
        """`own` and `stops`: in a group, see `convai.conversation.own_words`."""
        self._tokenizer, self._prefill = tokenizer, prefill
        self._own, self._stops = own, stops
        self._words = OwnWords(own, stops, prefill) if own else None
        self._line = OneLine()
        self._ids = tokenizer.encode(prefill) if prefill else []
        self._decoder = tokenizer.stream() if prefill else None
        self._skip = len(one_line(tokenizer.decode(self._ids)))
        if self._decoder is not None:
            # a blank in front of the next word shows only where the words before it are known
            for id in self._ids:
                self._behind(self._line.push(self._decoder.push(id)))

    def push(self, token: Token) -> str:
        """What a token adds."""
        text = token.text if self._decoder is None else self._decoder.push(token.id)
        if self._words is not None:
            text = self._words.push(text)
        return self._behind(self._line.push(text))

    def whole(self, end: Finished) -> str:
        """All of it."""
        if self._decoder is None:
            text = end.text
            return one_line(own_words(text, self._own, self._stops) if self._own else text)
        if self._own:
            again = BegunLine(self._tokenizer, self._prefill, self._own, self._stops)
            pieces = [again.push(Token(0, id, "", 0.0)) for id in end.ids]
            return self._prefill + "".join(pieces) + again._rest()
        text = one_line(self._tokenizer.decode([*self._ids, *end.ids]))
        skipped = len(one_line(self._tokenizer.decode(self._ids)))
        return self._prefill + text[skipped:]

    def _rest(self) -> str:
        """What was held back."""
        assert self._words is not None
        assert self._decoder is not None
        last = self._words.push(self._decoder.finish()) + self._words.end()
        return self._behind(self._line.push(last))

    def _behind(self, piece: str) -> str:
        """`piece` without what belongs to the beginning."""
        cut = min(self._skip, len(piece))
        self._skip -= cut
        return piece[cut:]
