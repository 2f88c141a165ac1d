from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import NoRepeatNGramLogitsProcessor

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.engine.bans import NgramBan, ReplyBans

tokens = st.lists(st.integers(0, 4), max_size=25)


@given(tokens, st.integers(1, 4))
def test_as_transformers(reply: list[int], n: int) -> None:
    ban = NgramBan(n)
    for length in range(1, len(reply) + 1):
        ban.push(reply[length - 1])
        theirs = NoRepeatNGramLogitsProcessor(n)(torch.tensor([reply[:length]]), torch.zeros(1, 5))
        assert sorted(ban.banned()) == theirs[0].isinf().nonzero()[:, 0].tolist()


@given(st.lists(tokens, max_size=3), tokens, st.integers(1, 4), st.booleans())
def test_as_the_definition(history: list[list[int]], reply: list[int], n: int, learn: bool) -> None:
    def ngrams(text: list[int]) -> set[tuple[int, ...]]:
        return {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}

    ban = NgramBan(n, history, learn=learn)
    known = set().union(*map(ngrams, history))
    for length in range(len(reply) + 1):
        so_far = reply[:length]
        seen = known | (ngrams(so_far) if learn else set())
        expected = [
            t for t in range(5) if len(so_far) >= n - 1 and tuple([*so_far, t][len(so_far) + 1 - n :]) in seen
        ]
        assert sorted(ban.banned()) == expected
        if length < len(reply):
            ban.push(reply[length])


def test_off() -> None:
    ban = NgramBan(0, [[1, 1, 1]])
    ban.push(1)
    assert ban.banned() == []
    with pytest.raises(SettingsError, match="-1"):
        NgramBan(-1)


def test_copies_are_independent() -> None:
    ban = NgramBan(2)
    for token in (1, 2, 1):
        ban.push(token)
    twin = ban.copy()
    assert twin.banned() == ban.banned() == [2]
    ban.push(3)
    ban.push(1)
    assert sorted(ban.banned()) == [2, 3]
    assert twin.banned() == [2]


def test_own_turns_and_the_reply_are_banned_by_their_own_lengths() -> None:
    config = DecodingConfig(no_repeat_ngram=2, no_repeat_own_ngram=3)
    bans = ReplyBans(config, own_turns=[[1, 2, 3], [1, 2, 4]])
    assert bans.banned() == []
    bans.push(1)
    bans.push(2)
    assert sorted(bans.banned()) == [3, 4]
    twin = bans.copy()
    bans.push(1)  # 1 2 was said in this reply
    assert bans.banned() == [2]
    assert sorted(twin.banned()) == [3, 4]


def test_a_token_banned_twice_is_named_once() -> None:
    bans = ReplyBans(DecodingConfig(no_repeat_ngram=2, no_repeat_own_ngram=2), own_turns=[[1, 2]])
    for token in (1, 2, 1):
        bans.push(token)
    assert bans.banned() == [2]


def test_the_ban_on_own_turns_does_not_forbid_repeating_inside_a_reply() -> None:
    bans = ReplyBans(DecodingConfig(no_repeat_ngram=0, no_repeat_own_ngram=2), own_turns=[[8, 9]])
    for token in (1, 2, 1):
        bans.push(token)
    assert bans.banned() == []
    bans.push(8)
    assert bans.banned() == [9]
