from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import DataError
from convai.evaluation.baselines import TfidfRanker, constant_reply, measure
from convai.evaluation.metrics import f1
from convai.evaluation.ngram_lm import ReplyModel

TRAIN = [
    "hello , how are you ?",
    "i am a nurse , and you ?",
    "i like to paint boats .",
    "do you like to swim ?",
    "i am fine , how are you ?",
    "my sister is a nurse .",
]


# TF-IDF


def test_what_fits_persona_and_last_turn_is_best() -> None:
    ranker = TfidfRanker(TRAIN)
    candidates = ["i paint boats .", "i am a nurse .", "how are you ?"]
    assert ranker.scores(["i like boats."], [], candidates)[0] == max(
        ranker.scores(["i like boats."], [], candidates)
    )
    asked = ranker.scores(["i like boats."], ["boats , paint !", "is your sister a nurse ?"], candidates)
    assert asked[1] == max(asked)
    both = ranker.scores([], ["boats , paint !", "who is a nurse ?"], candidates, turns=2)
    assert both[0] > 0 < both[1]
    assert ranker.scores([], ["boats , paint !", "who is a nurse ?"], candidates)[0] == 0
    assert ranker.scores([], ["paint"], candidates, turns=0) == [0, 0, 0]


def test_rare_words_weigh_more() -> None:
    ranker = TfidfRanker(TRAIN)
    common, rare = ranker.scores(["you paint"], [], ["you", "paint"])
    assert 0 < common < rare


def test_a_word_of_every_text_says_nothing() -> None:
    ranker = TfidfRanker(["so one", "so two"])
    assert ranker.scores(["so"], [], ["so"]) == [0]


def test_spelling_and_punctuation_do_not_matter() -> None:
    ranker = TfidfRanker(TRAIN)
    plain, spaced = ranker.scores(["Boats!"], [], ["I paint BOATS.", "i paint boats . . ."])
    assert plain == spaced > 0
    assert ranker.scores(["?"], ["!"], ["?", ""]) == [0, 0]


texts = st.lists(st.sampled_from("i you paint boats nurse swim zebra ?".split()), max_size=6).map(" ".join)


@given(texts, texts, st.lists(texts, min_size=1, max_size=5))
def test_scores_are_cosines_and_ignore_the_order_of_candidates(persona, last, candidates) -> None:  # type: ignore[no-untyped-def]
    ranker = TfidfRanker(TRAIN)
    scores = ranker.scores([persona], [last], candidates)
    assert all(0 <= score <= 1 + 1e-9 for score in scores)
    assert ranker.scores([persona], [last], candidates[::-1]) == scores[::-1]
    own = ranker.scores([persona], [last], [f"{persona} {last}"])[0]
    assert own == pytest.approx(1) or own == 0


# the constant reply


def mean_f1(guess: str, replies: list[str]) -> float:
    return sum(f1(guess, [reply]) for reply in replies) / len(replies)


def test_the_constant_reply_beats_its_neighbours() -> None:
    guess = constant_reply(TRAIN)
    best = mean_f1(guess, TRAIN)
    words = guess.split()
    vocabulary = {word for text in TRAIN for word in text.split()}
    assert all(mean_f1(f"{guess} {word}", TRAIN) <= best + 1e-12 for word in vocabulary)
    prefixes = [mean_f1(" ".join(words[:n]), TRAIN) for n in range(1, len(words) + 1)]
    assert prefixes == sorted(prefixes), "each word was added because it helped"
    assert prefixes[0] == max(mean_f1(word, TRAIN) for word in vocabulary)


def test_a_word_may_be_taken_twice() -> None:
    assert constant_reply(["no no no", "no no no !"]) == "no no no"


@given(st.lists(texts, min_size=1, max_size=5).filter(lambda ts: any(t.strip(" ?") for t in ts)))
def test_its_score_is_what_was_maximised(replies: list[str]) -> None:
    guess = constant_reply(replies)
    vocabulary = {word for text in replies for word in text.split()}
    assert mean_f1(guess, replies) >= max(mean_f1(word, replies) for word in vocabulary) - 1e-12


def test_the_constant_reply_is_no_longer_than_asked() -> None:
    assert len(constant_reply(TRAIN, longest=2).split()) == 2


# all of them


def conversation(*lines: str, persona: str = "", distractors: tuple[str, ...] = ()) -> Dialog:
    turns = tuple(
        Turn(speaker, text, distractors if speaker == AGENT else ())
        for speaker, text in zip(itertools.cycle((USER, AGENT)), lines, strict=False)
    )
    return Dialog(turns, (Persona(), Persona.parse(persona)))


VALID = [
    conversation("hi", "i paint boats", persona="i like boats.", distractors=("how are you ?", "a nurse")),
    conversation("what are you ?", "hello", persona="i swim.", distractors=("i swim .",)),
]


def test_measure() -> None:
    train = [conversation(*TRAIN)]
    found = measure(VALID, train, orders=(1, 2))
    assert set(found) == {"tfidf_hits@1", "1-gram_word_ppl", "2-gram_word_ppl", "constant_f1"}
    assert found["tfidf_hits@1"] == 0.5
    replies = ["i paint boats", "hello"]
    assert found["2-gram_word_ppl"] == ReplyModel(TRAIN, 2).word_ppl(replies)
    assert found["constant_f1"] == pytest.approx(mean_f1(constant_reply(TRAIN), replies))
    assert measure(VALID, train, orders=(1, 2)) == found


def test_without_distractors_there_is_nothing_to_rank() -> None:
    found = measure([conversation("hi", "hello")], [conversation(*TRAIN)])
    assert "tfidf_hits@1" not in found
    assert "3-gram_word_ppl" in found


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TfidfRanker([]), "TF-IDF ranker: no training text"),
        (lambda: constant_reply([]), "constant reply: no training text"),
        (lambda: constant_reply(["?", "the"]), "constant reply: no training text"),
        (lambda: measure(VALID, []), "no training text"),
        (lambda: measure([conversation("only one turn")], [conversation(*TRAIN)]), "no replies of the agent"),
    ],
)
def test_nothing_to_learn_from_or_to_measure(call, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=words):
        call()
