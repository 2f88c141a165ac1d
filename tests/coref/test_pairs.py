"""Features and scores in bulk equal those computed pair by pair in plain Python; the shape of pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convai.bench.baselines import plain_coref
from convai.bench.coref import PlainSide, heads_of
from convai.coref.model import tensors
from convai.coref.pairs import FEATURES, NUMBER_OF, Window, describe, make_pairs, summary
from convai.coref.reading import FeatureReader
from tests.coref.made_up import random_document, sentence, tiny_resolver


@pytest.mark.parametrize("seed", range(6))
def test_features_and_scores_equal_those_of_plain_python(seed: int) -> None:
    resolver = tiny_resolver()
    plain = PlainSide(resolver)
    document = random_document(seed, sentences=14)
    table, makers = plain.read(document)
    mentions = [make() for make in makers]
    pairs = make_pairs(table, 0, resolver.window)
    dense, cross = describe(table, pairs, resolver.unit[table.words[:, 0]])
    assert dense.shape == (len(FEATURES), len(pairs.later))

    words, tokens = plain.names, FeatureReader(resolver.words).read(document.sentences)[1]
    at = 0
    for i in range(len(table)):
        between = 0
        expected = list(plain_coref.antecedents(heads_of(table), i, *plain.window, words))
        assert pairs.earlier[pairs.offsets[i] : pairs.offsets[i + 1]].tolist() == expected
        for j in expected:
            features, crossed = plain_coref.compare(mentions[i], mentions[j], i - j, between, words)
            between += plain_coref.agrees(mentions[i], mentions[j], words)
            wrong = [
                name for name, a, b in zip(FEATURES, features, dense[:, at], strict=True) if abs(a - b) > 1e-6
            ]
            assert wrong == []
            assert crossed == cross[at]
            at += 1
    assert at == len(pairs.later) > 50

    model = resolver.model
    with torch.inference_mode():
        encoded = model.encode(*tensors(table), torch.from_numpy(tokens).long())
        scores = model.score_pairs(
            model.as_later(encoded),
            model.as_earlier(encoded),
            torch.from_numpy(pairs.later),
            torch.from_numpy(pairs.earlier),
            torch.from_numpy(dense),
            torch.from_numpy(cross).long(),
        )
        alone = model.score_alone(encoded, torch.from_numpy(summary(dense, pairs)))
    plain_scores, plain_alone = plain.score(table, makers)
    flat = [score for own in plain_scores for _, score in own]
    np.testing.assert_allclose(scores.numpy(), flat, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(alone.numpy(), plain_alone, rtol=1e-4, atol=1e-4)
    assert plain.score(table, makers, kept=True) == (plain_scores, plain_alone)
    assert plain.resolve(document) == resolver.resolve(document)


def test_pairs_look_back_over_the_window_and_to_the_same_head_beyond() -> None:
    table, _ = FeatureReader(tiny_resolver().words).read(random_document(3, sentences=40).sentences)
    window = Window(window=5, matching=2, reach=20)
    pairs = make_pairs(table, 0, window)
    distance = pairs.later - pairs.earlier
    assert distance.min() == 1
    beyond = distance > 5
    assert beyond.any()
    assert distance.max() <= 20
    same = table.lemma_key[pairs.later] == table.lemma_key[pairs.earlier]
    assert same[beyond].all()
    assert not same[~beyond].all()
    assert (np.diff(pairs.offsets) <= 7).all()


def test_rows_from_the_middle_on_have_the_pairs_that_they_have_in_the_whole() -> None:
    resolver = tiny_resolver()
    table, _ = FeatureReader(resolver.words).read(random_document(5, sentences=30).sentences)
    whole = make_pairs(table, 0, resolver.window)
    later = make_pairs(table, 40, resolver.window)
    begin = whole.offsets[40]
    assert later.later.tolist() == whole.later[begin:].tolist()
    assert later.earlier.tolist() == whole.earlier[begin:].tolist()
    vectors = resolver.unit[table.words[:, 0]]
    one, other = describe(table, whole, vectors), describe(table, later, vectors)
    np.testing.assert_allclose(one[0][:, begin:], other[0], atol=1e-6)
    assert one[1][begin:].tolist() == other[1].tolist()


def test_coordinated_verbs_share_their_subject() -> None:
    resolver = tiny_resolver()
    text = "The king told the woman and likes her , and the queen sees her with her dog"
    tags = "DT NN VBD DT NN CC VBZ PRP , CC DT NN VBZ PRP IN PRP$ NN"
    heads = "2 3 0 5 3 7 3 7 13 13 12 13 3 13 17 17 13"
    deps = "det nsubj root det obj cc conj obj punct cc det nsubj conj obj case nmod:poss obl"
    table, _ = FeatureReader(resolver.words).read([sentence(text, tags, heads, deps)])
    pairs = make_pairs(table, 0, resolver.window)
    dense, _ = describe(table, pairs, resolver.unit[table.words[:, 0]])
    heads_ = table.head.tolist()
    mates = {
        (heads_[i], heads_[j])
        for i, j, found in zip(pairs.later, pairs.earlier, dense[NUMBER_OF["clause mates"]], strict=True)
        if found
    }
    king, woman, her, queen, her_too, her_own, dog = 1, 4, 7, 11, 13, 15, 16
    assert {(woman, king), (her, king), (her_too, queen), (dog, queen)} <= mates
    assert not {(her, woman), (her_too, king), (her_own, queen), (her_own, king), (queen, king)} & mates
