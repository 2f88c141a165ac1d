"""No n-gram twice: which tokens would repeat one, kept up to date a token at a time (no torch)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig


class NgramBan:
    """The tokens that would complete an n-gram already seen, after the last `n - 1` tokens.

    `history` holds token sequences whose n-grams count as seen (none crosses from one into the next). With
    `learn`, the n-grams of the growing reply are seen as well: with an empty history that is Paulus et al.
    2017, section 2.5, as transformers' NoRepeatNGramLogitsProcessor. `n` of 0 bans nothing.

    A token costs one dictionary entry, however long the reply and however large the vocabulary.
    """

    def __init__(self, n: int, history: Iterable[Sequence[int]] = (), *, learn: bool = True) -> None:
        """Raises SettingsError when `n` is negative."""
        if n < 0:
            raise SettingsError(f"n-gram length {n}: use 0 (off) or more")
        self.n = n
        self._learn = learn
        # last n - 1 tokens -> what followed them (a dict, for its order)
        self._seen: dict[tuple[int, ...], dict[int, None]] = {}
        self._tail: tuple[int, ...] = ()
        if n:
            for tokens in history:
                for i in range(len(tokens) - n + 1):
                    self._add(tuple(tokens[i : i + n - 1]), tokens[i + n - 1])

    def _add(self, context: tuple[int, ...], token: int) -> None:
        self._seen.setdefault(context, {})[token] = None

    def push(self, token: int) -> None:
        """The reply goes on with `token`."""
        if not self.n:
            return
        full = len(self._tail) == self.n - 1
        if full and self._learn:
            self._add(self._tail, token)
        self._tail = (*self._tail, token)[1 if full else 0 :]

    def banned(self) -> list[int]:
        """Tokens that may not come next, each once."""
        if not self.n or len(self._tail) < self.n - 1:
            return []
        return list(self._seen.get(self._tail, ()))

    def copy(self) -> NgramBan:
        """An independent ban in the same state: a beam that forks."""
        twin = NgramBan(self.n, learn=self._learn)
        twin._seen = self._seen
        if self._learn:
            twin._seen = {context: dict(tokens) for context, tokens in self._seen.items()}
        twin._tail = self._tail
        return twin


class ReplyBans:
    """Both bans of a reply: against itself, and against the agent's own earlier turns."""

    def __init__(self, config: DecodingConfig, own_turns: Sequence[Sequence[int]] = ()) -> None:
        """`own_turns` are the ids of the agent's earlier turns in this conversation, no control tokens."""
        self._bans = (
            NgramBan(config.no_repeat_ngram),
            # only what earlier turns hold: repeating inside the reply is the other ban's affair
            NgramBan(config.no_repeat_own_ngram, own_turns, learn=False),
        )

    def push(self, token: int) -> None:
        """The reply goes on with `token`."""
        for ban in self._bans:
            ban.push(token)

    def banned(self) -> list[int]:
        """Tokens that may not come next, each once."""
        inside, earlier = (ban.banned() for ban in self._bans)
        return list(dict.fromkeys(inside + earlier)) if earlier else inside

    def copy(self) -> ReplyBans:
        """Independent bans in the same state: a beam that forks."""
        twin = object.__new__(ReplyBans)
        twin._bans = (self._bans[0].copy(), self._bans[1].copy())
        return twin
