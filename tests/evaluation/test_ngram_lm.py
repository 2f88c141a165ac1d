from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError, SettingsError
from convai.evaluation.ngram_lm import BEGIN, END, NgramModel, ReplyModel, split_words

LETTERS = "abc"


def uniform(symbol: str) -> float:
    return math.inf if symbol == END else math.log(len(LETTERS))


sequences = st.lists(st.text(LETTERS, max_size=7), min_size=1, max_size=25)


@given(sequences, st.integers(1, 4), st.text(LETTERS + "z", max_size=4), st.booleans())
def test_probabilities_add_up_to_one(texts: list[str], order: int, context: str, begin: bool) -> None:
    model = NgramModel(texts, order, uniform)
    padded = ((BEGIN,) if begin else ()) + tuple(context)
    total = math.fsum(math.exp(-model.symbol_nll(padded, symbol)) for symbol in [*LETTERS, END])
    assert total == pytest.approx(1)


@given(sequences, st.integers(1, 3))
def test_all_sequences_of_a_length_add_up_too(texts: list[str], order: int) -> None:
    model = NgramModel(texts, order, uniform)
    ended = math.fsum(
        math.exp(-model.nll(text)) for n in range(4) for text in itertools.product(LETTERS, repeat=n)
    )
    # those that go on after three letters: their first three, without the end
    going = 0.0
    for text in itertools.product(LETTERS, repeat=4):
        padded = (BEGIN, *text)
        nll = sum(model.symbol_nll(padded[max(0, i + 1 - order) : i], padded[i]) for i in range(1, 5))
        going += math.exp(-nll)
    assert ended + going == pytest.approx(1)


def test_a_unigram_by_hand() -> None:
    model = NgramModel(["a", "a", "b"], 1, uniform)
    # counts a 2, b 1, END 3; y = 1/3: discounts 1/3, 1, and 3, which is held below 3 to leave END something
    aside = 1 / 3 + 1 + 2.9
    assert math.exp(-model.symbol_nll((), "a")) == pytest.approx((2 - 1) / 6 + aside / 6 / 3)
    assert math.exp(-model.symbol_nll((), "b")) == pytest.approx((1 - 1 / 3) / 6 + aside / 6 / 3)
    assert math.exp(-model.symbol_nll((), "c")) == pytest.approx(aside / 6 / 3)
    assert math.exp(-model.symbol_nll((), END)) == pytest.approx(0.1 / 6)
    assert model.nll("ab") == pytest.approx(sum(model.symbol_nll((), s) for s in ["a", "b", END]))


def test_a_bigram_backs_off_to_how_many_contexts_a_symbol_follows() -> None:
    model = NgramModel(["ab", "cb", "cb", "cb"], 2, uniform)
    # Occurrences (BEGIN a) 1, (BEGIN c) 3, (a b) 1, (c b) 3, (b END) 4; no n-gram occurs twice, so the
    # discounts are 0.5, 0.75 and 0.75. Before a and c there is only BEGIN, before b a and c, before END b.
    contexts = 1 + 1 + 2 + 1
    unigram_aside = (0.5 + 0.5 + 0.75 + 0.5) / contexts
    a = (1 - 0.5) / contexts + unigram_aside / 3
    b = (2 - 0.75) / contexts + unigram_aside / 3
    assert math.exp(-model.symbol_nll(("z",), "b")) == pytest.approx(b)
    assert math.exp(-model.symbol_nll(("c",), "b")) == pytest.approx((3 - 0.75) / 3 + 0.75 / 3 * b)
    assert math.exp(-model.symbol_nll((BEGIN,), "a")) == pytest.approx((1 - 0.5) / 4 + (0.5 + 0.75) / 4 * a)


def test_context_helps() -> None:
    texts = ["abc", "cab", "bca"] * 5
    perplexities = [sum(NgramModel(texts, order, uniform).nll(t) for t in texts) for order in (1, 2, 3)]
    assert perplexities[0] > perplexities[1] > perplexities[2]


def test_words_of_a_text() -> None:
    assert split_words("Hi , I ' m fine -- and you?!") == [
        "hi",
        ",",
        "i'm",
        "fine",
        "-",
        "-",
        "and",
        "you",
        "?",
        "!",
    ]
    assert split_words(" \n\t ") == []


@given(st.text())
def test_no_word_is_a_begin_or_an_end(text: str) -> None:
    for word in split_words(text):
        assert word not in (BEGIN, END)
        assert END not in word


REPLIES = [
    "i have two dogs and a cat .",
    "do you have any pets ?",
    "i work in a bakery , i love bread .",
    "what do you do for a living ?",
    "i love my two cats .",
]


def test_word_perplexity_is_over_white_space_words_and_pays_for_the_end() -> None:
    model = ReplyModel(REPLIES)
    first, second = "Do you love bread?", "i ' m a dog ."
    expected = math.exp((model.nll(first) + model.nll(second)) / (4 + 6))
    assert model.word_ppl([first, second]) == pytest.approx(expected)
    # the same words spelt the training's way
    assert model.nll(first) == model.nll("do you love bread ?")


def test_familiar_text_is_likelier() -> None:
    unigram, trigram = ReplyModel(REPLIES, 1), ReplyModel(REPLIES, 3)
    assert trigram.word_ppl(REPLIES) < unigram.word_ppl(REPLIES)
    assert trigram.word_ppl(["do you have two dogs ?"]) < trigram.word_ppl(["dogs have do ? you two"])


def test_a_new_word_is_spelt_and_a_longer_or_stranger_one_costs_more() -> None:
    model = ReplyModel(REPLIES, 1)
    known, new, longer, strange = (model.nll(word) for word in ["dogs", "dot", "dotdotdot", "ж"])
    assert known < new < longer < math.inf
    # a character that no training word has costs about as much as picking it out of Unicode
    assert math.log(0x110000) < strange < 3 * math.log(0x110000)


def test_new_words_share_what_is_set_aside_for_them() -> None:
    """All new words of one or two training letters together stay below what is left beside the known ones."""
    model = ReplyModel(REPLIES, 1)
    letters = sorted({letter for text in REPLIES for word in split_words(text) for letter in word})
    known = {word for text in REPLIES for word in split_words(text)}
    end = model.nll("")
    new = math.fsum(
        math.exp(end - model.nll(word))
        for n in (1, 2)
        for word in map("".join, itertools.product([c for c in letters if c.isalpha()], repeat=n))
        if word not in known
    )
    old = math.fsum(math.exp(end - model.nll(word)) for word in known) + math.exp(-end)
    assert new > 0
    assert old + new < 1


def test_a_word_too_long_for_a_float_has_a_finite_price() -> None:
    model = ReplyModel(REPLIES)
    short, long = model.nll("q" * 3000), model.nll("q" * 6000)
    assert 700 < short < long < math.inf
    assert model.word_ppl(["q" * 6000]) == math.inf  # past what a float holds


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_no_training_text(texts: list[str]) -> None:
    with pytest.raises(DataError, match="no training text"):
        ReplyModel(texts)


def test_order_out_of_range() -> None:
    with pytest.raises(SettingsError, match="order 0"):
        NgramModel(["a"], 0, uniform)


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="nothing was predicted"):
        ReplyModel(REPLIES).word_ppl([])
