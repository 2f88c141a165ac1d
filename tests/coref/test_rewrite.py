"""Pronouns replaced in their case, at the beginning of sentences and within; what is left alone."""

from __future__ import annotations

import pytest

from convai.coref.document import Document, Sentence
from convai.coref.rewrite import replacements, rewritten


def document(*sentences: tuple[str, str]) -> tuple[Document, list[str], list[tuple[int, int, int]]]:
    """Of (words, tags), each a text; and the places of the words."""
    made = [Sentence(words.split(), None, tags=tags.split()) for words, tags in sentences]
    places = []
    for number, (words, _) in enumerate(sentences):
        at = 0
        for word in words.split():
            at = words.index(word, at)
            places.append((number, at, at + len(word)))
            at += len(word)
    return Document("d", 0, made), [words for words, _ in sentences], places


JOHN = ("John lost his hat .", "NNP VBD PRP$ NN .")


@pytest.mark.parametrize(
    ("sentence", "mention", "expected"),
    [
        (("He likes it .", "PRP VBZ PRP ."), 0, "John likes it ."),
        (("We like him .", "PRP VBP PRP ."), 2, "We like John ."),
        (("His dog barks .", "PRP$ NN VBZ ."), 0, "John's dog barks ."),
        (("It is his .", "PRP VBZ PRP ."), 2, "It is John's ."),
        (('" He left .', "'' PRP VBD ."), 1, '" John left .'),
        (("He hurt himself .", "PRP VBD PRP ."), 2, "He hurt himself ."),
        (("I know you .", "PRP VBP PRP ."), 0, "I know you ."),
    ],
)
def test_case_and_possession(sentence: tuple[str, str], mention: int, expected: str) -> None:
    made, texts, places = document(JOHN, sentence)
    changes = replacements(made, [[(0, 1), (5 + mention, 6 + mention)]])
    assert rewritten(texts, places, changes) == [JOHN[0], expected]


def test_her_is_possessive_where_its_tag_is() -> None:
    made, texts, places = document(
        ("My sister 's friend waved .", "PRP$ NN POS NN VBD ."),
        ("I saw her with her dog .", "PRP VBD PRP IN PRP$ NN ."),
    )
    changes = replacements(made, [[(0, 3), (8, 9), (10, 11)]])
    assert rewritten(texts, places, changes)[1] == "I saw my sister with my sister's dog ."


def test_an_indefinite_mention_is_definite_when_it_comes_again_and_plurals_take_an_apostrophe() -> None:
    made, texts, places = document(
        ("A man with dogs came .", "DT NN IN NNS VBD ."), ("He and their owner ate .", "PRP CC PRP$ NN VBD .")
    )
    changes = replacements(made, [[(0, 2), (6, 7)], [(3, 4), (8, 9)]])
    assert rewritten(texts, places, changes)[1] == "The man and dogs' owner ate ."


def test_a_name_is_preferred_and_pronouns_within_the_main_mention_stay() -> None:
    made, texts, places = document(
        ("She met a man and his wife .", "PRP VBD DT NN CC PRP$ NN ."), ("He is Ann .", "PRP VBZ NNP .")
    )
    changes = replacements(made, [[(0, 1), (10, 11)], [(2, 7), (5, 6)]])
    assert [c.span for c in changes] == [(0, 1)]
    assert rewritten(texts, places, changes)[0] == "Ann met a man and his wife ."


def test_pronouns_alone_change_nothing() -> None:
    made, _, _ = document(("He knows he won .", "PRP VBZ PRP VBD ."))
    assert replacements(made, [[(0, 1), (2, 3)]]) == []


def test_what_is_one_speakers_is_the_others_in_the_others_words() -> None:
    made, texts, places = document(("My sister waved .", "PRP$ NN VBD ."), ("I like her .", "PRP VBP PRP ."))
    made.sentences[0].speaker, made.sentences[1].speaker = "anna", "ben"
    assert rewritten(texts, places, replacements(made, [[(0, 2), (6, 7)]]))[1] == "I like your sister ."
    made.sentences[1].speaker = "anna"
    assert rewritten(texts, places, replacements(made, [[(0, 2), (6, 7)]]))[1] == "I like my sister ."
