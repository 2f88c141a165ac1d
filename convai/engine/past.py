"""What was said, for the penalties and DRY: kept up to date a token at a time (no torch in it)."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Final

from convai.core.settings import DecodingConfig
from convai.core.token_texts import biases_of, breakers_of, check_bias
from convai.decoding import Past
from convai.text.segments import NOBODY, Prompt
from convai.text.sequence_breaks import SequenceBreaks, TokenTexts
from convai.text.tokenizer import Tokenizer

LONGEST_MATCH: Final = 50
"""Tokens of a repeated sequence that count: with more the penalty overflows (the author's bound)."""
_CONTROL: Final = -1
"""A control token of the prompt, which is no word of anybody."""


class Dry:
    """Don't Repeat Yourself: which tokens would go on with what was there before, and how long that is.

    A token that would repeat what followed an earlier `n` last tokens loses
    `multiplier * base ** (n - allowed_length)`, where `n` is at least `allowed_length`; of several sequences
    the longest counts. None reaches across a sequence breaker or a control token, and neither is penalised.
    Source: text-generation-webui's DRYLogitsProcessor (pull request 5677), and llama.cpp for breakers of
    several tokens. A token costs as much as there are equals of it before.
    """

    def __init__(self, config: DecodingConfig, breaks: SequenceBreaks) -> None:
        self._multiplier, self._base = config.dry_multiplier, config.dry_base
        self._allowed, self._range = config.dry_allowed_length, config.dry_penalty_last_n
        self._breaks = breaks
        self._said: list[int] = []
        self._places: dict[int, list[int]] = {}  # token → where it was said
        self._matched: dict[int, int] = {}  # place → how many tokens up to there are the last ones

    def push(self, token: int) -> None:
        """The text goes on with `token`."""
        self._said.append(token)
        if token == _CONTROL or self._breaks.ended(self._said):
            self._matched = {}
            if token == _CONTROL or token in self._breaks.tokens:
                return  # never the end of a match
        else:
            before = self._matched
            self._matched = {
                place: min(before.get(place - 1, 0) + 1, LONGEST_MATCH)
                for place in self._places.get(token, ())
            }
        self._places.setdefault(token, []).append(len(self._said) - 1)

    def penalties(self) -> dict[int, float]:
        """What each token loses that may come next."""
        start = 0 if self._range < 0 else max(len(self._said) - self._range, 0)
        longest: dict[int, int] = {}
        for place, length in self._matched.items():
            follower = self._said[place + 1]
            if place < start or follower == _CONTROL or follower in self._breaks.tokens:
                continue
            length = min(length, place - start + 1)
            if length >= max(self._allowed, longest.get(follower, 0)):
                longest[follower] = length
        return {
            token: self._multiplier * self._base ** (length - self._allowed)
            for token, length in longest.items()
        }

    def copy(self) -> Dry:
        """Another in the same state: a beam that forks, or a candidate."""
        twin = copy(self)
        twin._said = list(self._said)
        twin._places = {token: list(places) for token, places in self._places.items()}
        return twin


class ReplyPast:
    """What a reply's next token depends on beside the model: bias, what was said and would be repeated."""

    def __init__(
        self, config: DecodingConfig, bias: Mapping[int, float], said: Sequence[int], dry: Dry | None
    ) -> None:
        """`said`: the words of the prompt; `dry` has read the prompt."""
        self._bias, self._dry = bias, dry
        window = config.repeat_last_n
        penalised = config.repetition_penalty != 1 or config.frequency_penalty or config.presence_penalty
        self._counted: deque[int] | None = None
        if penalised and window != 0:
            # the reply alone has no window: it is never as long
            self._counted = deque(said if window else (), None if window is None or window < 0 else window)
        self._seen = Counter(self._counted or ())

    def push(self, token: int) -> None:
        """The reply goes on with `token`."""
        counted = self._counted
        if counted is not None:
            if len(counted) == counted.maxlen:
                self._seen[counted[0]] -= 1
                if not self._seen[counted[0]]:
                    del self._seen[counted[0]]
            counted.append(token)
            self._seen[token] += 1
        if self._dry is not None:
            self._dry.push(token)

    def now(self, chance: float = 0.0) -> Past:
        """For the next token; `chance` is XTC's number."""
        return Past(self._seen, self._bias, {} if self._dry is None else self._dry.penalties(), chance)

    def copy(self) -> ReplyPast:
        """Another in the same state: a beam that forks, or a candidate."""
        twin = copy(self)
        twin._counted = copy(self._counted)
        twin._seen = self._seen.copy()
        twin._dry = None if self._dry is None else self._dry.copy()
        return twin


class Pasts:
    """Makes the past of requests. The vocabulary is read when DRY is first asked for."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._vocabulary: TokenTexts | None = None

    def of(self, config: DecodingConfig, prompt: Prompt) -> ReplyPast | None:
        """The past of a reply to `prompt`; None where nothing of it matters but for XTC.

        Raises SettingsError for a bias of a token that the tokenizer does not have.
        """
        penalised = config.repetition_penalty != 1 or config.frequency_penalty or config.presence_penalty
        dries = config.dry_multiplier > 0 and config.dry_penalty_last_n != 0
        if not (penalised or dries or config.logit_bias):
            return None
        marked = [
            id if turn != NOBODY else _CONTROL for id, turn in zip(prompt.ids, prompt.turn, strict=True)
        ]
        dry = None
        if dries:
            if self._vocabulary is None:
                self._vocabulary = TokenTexts(self._tokenizer)
            dry = Dry(config, self._vocabulary.breaks(breakers_of(config.dry_sequence_breakers)))
            for id in marked:
                dry.push(id)
        return ReplyPast(config, self._bias(config.logit_bias), [id for id in marked if id >= 0], dry)

    def _bias(self, text: str) -> dict[int, float]:
        """What is added to each token's logit; several amounts for one add up."""
        check_bias(text, self._tokenizer.vocab_size)
        found: dict[int, float] = {}
        for token, amount in biases_of(text):
            ids = [token] if isinstance(token, int) else dict.fromkeys(self._tokenizer.encode(token))
            for id in ids:
                found[id] = found.get(id, 0.0) + amount
        return found
