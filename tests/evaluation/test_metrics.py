from __future__ import annotations

import math
import string
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convai.core.errors import DataError, SettingsError
from convai.evaluation.metrics import (
    Mean,
    Repetition,
    bits_per_byte,
    distinct_n,
    f1,
    hits_at_k,
    normalize_answer,
    perplexity,
    repetition_across_turns,
)

vocabulary = ["i", "you", "like", "cats", "dogs", "a", "the", "an", ".", ",", "Fish!"]
words = st.lists(st.sampled_from(vocabulary), max_size=12)
texts = words.map(" ".join)


# hits@k


def test_hits_at_k_by_hand() -> None:
    scores = [[0.1, 0.9, 0.3], [0.5, 0.4, 0.3], [1.0, 2.0, 3.0]]
    gold = [1, 1, 0]
    assert hits_at_k(scores, gold) == 1 / 3
    assert hits_at_k(scores, gold, k=2) == 2 / 3
    assert hits_at_k(scores, gold, k=3) == 1
    assert hits_at_k(scores, gold, k=99) == 1


def test_a_tie_counts_against_the_gold() -> None:
    assert hits_at_k([[1.0, 1.0]], [0]) == 0
    assert hits_at_k([[1.0, 1.0]], [1]) == 0
    assert hits_at_k([[1.0, 1.0, 1.0]], [0], k=2) == 0
    assert hits_at_k([[1.0, 1.0, 1.0]], [0], k=3) == 1


def test_not_a_number_never_wins() -> None:
    assert hits_at_k([[math.nan, 1.0]], [0]) == 0
    assert hits_at_k([[math.nan]], [0]) == 0
    assert hits_at_k([[math.nan, 1.0]], [1]) == 0


@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=8),
    st.permutations(range(3)),
    st.randoms(use_true_random=False),
)
def test_hits_do_not_depend_on_the_order_of_candidates(rows, order, rng) -> None:  # type: ignore[no-untyped-def]
    gold = [rng.randrange(3) for _ in rows]
    moved = [[row[i] for i in order] for row in rows]
    moved_gold = [order.index(g) for g in gold]
    values = [hits_at_k(rows, gold, k) for k in (1, 2, 3)]
    assert values == [hits_at_k(moved, moved_gold, k) for k in (1, 2, 3)]
    assert values == sorted(values)
    assert values[-1] == 1


@pytest.mark.parametrize(
    ("scores", "gold", "k", "error", "words"),
    [
        ([], [], 1, DataError, "no examples"),
        ([[1.0]], [0, 0], 1, DataError, "1 rows of scores but 2"),
        ([[1.0]], [1], 1, DataError, "example 0 has 1 candidates"),
        ([[1.0]], [-1], 1, DataError, "gold index -1"),
        ([[1.0]], [0], 0, SettingsError, "k=0"),
    ],
)
def test_hits_errors(scores, gold, k, error, words) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=words):
        hits_at_k(scores, gold, k)


# likelihoods


def test_perplexity_by_hand() -> None:
    assert perplexity(3 * math.log(20), 3) == pytest.approx(20)
    assert perplexity(0.0, 5) == 1
    assert perplexity(1e9, 1) == math.inf
    assert math.isnan(perplexity(math.nan, 1))


def test_bits_per_byte_by_hand() -> None:
    # a uniform choice among 256 bytes is 8 bits each
    assert bits_per_byte(10 * math.log(256), 10) == pytest.approx(8)


@pytest.mark.parametrize("measure", [perplexity, bits_per_byte])
@pytest.mark.parametrize("count", [0, -1])
def test_nothing_predicted_is_an_error(measure, count) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="nothing was predicted"):
        measure(1.0, count)


# F1


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The cat, a dog and an owl!", "cat dog and owl"),
        ("i'm  FINE.\tthanks", "i m fine thanks"),
        ("theatre another anthem", "theatre another anthem"),
        ("a-an_the", ""),
        ("semi;colon:[x]{y}\\z^`~|", "semi colon x y z"),
        ("caf\u00e9 \u2019", "caf\u00e9 \u2019"),
        ("", ""),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalize_answer(text) == normal


@given(st.text())
def test_normal_form_has_no_punctuation_and_is_idempotent(text: str) -> None:
    normal = normalize_answer(text)
    assert not set(normal) & set(string.punctuation)
    assert normalize_answer(normal) == normal == " ".join(normal.split())
    assert not {"a", "an", "the"} & set(normal.split())


def test_f1_by_hand() -> None:
    # guess: 4 words, answer: 3 words, 2 in common: p = 1/2, r = 2/3
    assert f1("i like my cat", ["i like dogs."]) == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    # counts matter: "no no" and "no" share one
    assert f1("no no", ["no"]) == pytest.approx(2 / 3)
    assert f1("yes", ["no", "maybe yes", "yes!"]) == 1
    assert f1("yes", ["no"]) == 0
    assert f1("yes", []) == 0
    assert f1("the", ["the"]) == 0


def _reference_f1(guess: str, answer: str) -> float:
    """Precision and recall spelt out."""
    left, right = normalize_answer(guess).split(), normalize_answer(answer).split()
    same = sum(min(count, right.count(word)) for word, count in Counter(left).items())
    if not same:
        return 0.0
    precision, recall = same / len(left), same / len(right)
    return 2 * precision * recall / (precision + recall)


@given(texts, texts)
def test_f1_is_symmetric_and_bounded(guess: str, answer: str) -> None:
    value = f1(guess, [answer])
    assert value == f1(answer, [guess])
    assert 0 <= value <= 1
    assert value == pytest.approx(_reference_f1(guess, answer))


@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_f1_takes_the_best_answer(guess: str, answers: list[str]) -> None:
    assert f1(guess, answers) == max(f1(guess, [answer]) for answer in answers)
    assert f1(guess, answers) == f1(guess, answers[::-1])


@given(texts)
def test_f1_of_itself(text: str) -> None:
    assume(normalize_answer(text))
    assert f1(text, [text]) == 1


# distinct-n


def test_distinct_by_hand() -> None:
    replies = ["I like cats", "i like dogs"]
    assert distinct_n(replies, 1) == 4 / 6
    # i-like, like-cats, i-like, like-dogs: nothing crosses from one reply to the next
    assert distinct_n(replies, 2) == 3 / 4
    assert distinct_n(replies, 4) == 0
    assert distinct_n([], 1) == 0
    with pytest.raises(SettingsError, match="n=0"):
        distinct_n(replies, 0)


@given(st.lists(texts, max_size=5), st.integers(1, 3), st.randoms(use_true_random=False))
def test_distinct_is_bounded_and_ignores_order(replies, n, rng) -> None:  # type: ignore[no-untyped-def]
    value = distinct_n(replies, n)
    assert 0 <= value <= 1
    shuffled = replies[:]
    rng.shuffle(shuffled)
    assert distinct_n(shuffled, n) == value
    # saying everything twice halves it
    assert distinct_n(replies * 2, n) == pytest.approx(value / 2)


# repetition across turns


def test_repetition_by_hand() -> None:
    found = repetition_across_turns(
        [
            "Do you have any pets?",  # 2 4-grams of its own
            "i have two big dogs",  # 2
            "do you have any pets",  # 2, both said before, as is the reply
            "so do you have any cats",  # 3, one of them said before: do you have any
        ]
    )
    assert found == Repetition(repeated_replies=1, replies=4, repeated_ngrams=3, ngrams=9)
    assert found.reply_share == 1 / 4
    assert found.ngram_share == 3 / 9


def test_a_repetition_inside_a_reply_is_not_across_turns() -> None:
    assert repetition_across_turns(["one two three four one two three four"]).repeated_ngrams == 0


def test_replies_of_punctuation_are_compared_as_written() -> None:
    assert repetition_across_turns(["!", "?", "! "]).repeated_replies == 1


def test_repetition_of_nothing() -> None:
    nothing = repetition_across_turns([])
    assert nothing == Repetition()
    assert nothing.reply_share == nothing.ngram_share == 0


@given(st.lists(texts, max_size=5), st.lists(texts, max_size=5))
def test_conversations_add_up(first: list[str], second: list[str]) -> None:
    total = repetition_across_turns(first) + repetition_across_turns(second)
    assert total.replies == len(first) + len(second)
    assert 0 <= total.reply_share <= 1
    assert 0 <= total.ngram_share <= 1
    # joined into one conversation there is at least as much to repeat
    joined = repetition_across_turns(first + second)
    assert joined.repeated_replies >= total.repeated_replies
    assert joined.repeated_ngrams >= total.repeated_ngrams
    assert joined.ngrams == total.ngrams


# mean


def test_mean() -> None:
    mean = Mean()
    assert mean.value == 0
    mean.add(1.0)
    mean.add(4.0, weight=2)
    assert mean.value == 3
