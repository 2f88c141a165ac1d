"""Turn by turn as whole; settings; words defined on the fly; decisions that stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from convai.core.errors import DataError, SettingsError
from convai.coref.document import Document, Sentence, crossing_spans
from convai.coref.features import MentionTable
from convai.coref.lexicon import Gender, Life
from convai.coref.linking import Clusters
from convai.coref.pairs import make_pairs
from convai.coref.reading import FeatureReader
from convai.coref.resolver import ResolveSettings, stretches
from tests.coref.made_up import random_document, random_sentence, sentence, tiny_resolver


@pytest.mark.parametrize("seed", range(5))
def test_a_conversation_turn_by_turn_has_the_clusters_of_the_whole(seed: int) -> None:
    resolver = tiny_resolver(seed)
    document = random_document(seed, sentences=60)
    whole = resolver.resolve(document)
    assert len(whole) > 2
    growing = resolver.begin()
    linked: dict[tuple[int, int], tuple[int, int]] = {}
    for number, one in enumerate(document.sentences):
        links = growing.add([one])
        begin = document.starts()[number]
        assert all(link.mention[0] >= begin for link in links)  # nothing older is revised
        linked.update((link.mention, link.antecedent) for link in links)
    assert growing.clusters() == whole
    cluster_of = {span: k for k, cluster in enumerate(whole) for span in cluster}
    assert set(linked) | set(linked.values()) == set(cluster_of)
    assert all(cluster_of[a] == cluster_of[b] for a, b in linked.items())


def test_the_window_alone_is_kept_and_searched() -> None:
    resolver = tiny_resolver()
    growing = resolver.begin()
    seen = []
    for turn in range(60):
        growing.add(random_document(turn, sentences=2).sentences)
        assert growing._table is not None
        seen.append(len(growing._table))
    assert max(seen) == resolver.window.reach
    assert len(growing._earlier) == resolver.window.reach


def test_clusters_are_disjoint_and_in_the_order_of_the_text() -> None:
    for seed in range(8):
        clusters = tiny_resolver(seed).resolve(random_document(seed, sentences=30))
        spans = [span for cluster in clusters for span in cluster]
        assert len(set(spans)) == len(spans)
        assert all(len(cluster) > 1 and cluster == sorted(cluster) for cluster in clusters)
        assert clusters == sorted(clusters)


@pytest.mark.parametrize("seed", range(6))
def test_mentions_of_one_cluster_never_cross(seed: int) -> None:
    resolver = tiny_resolver(seed, ResolveSettings(greedyness=0.99))
    for number in range(8):
        document = random_document(100 * seed + number, sentences=30)
        found = resolver.resolve(document)
        assert found
        for cluster in found:
            assert crossing_spans([cluster]) == []


def test_true_scores_give_the_true_clusters() -> None:
    """With an oracle's scores linking rebuilds any partition that does not contradict itself."""
    document = random_document(4, sentences=25, speakers=(None,))
    resolver = tiny_resolver()
    table, _ = FeatureReader(resolver.words).read(document.sentences)
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 6, len(table)) * 4 + table.gender
    spans = list(zip(table.start.tolist(), table.end.tolist(), strict=True))
    for i, span in enumerate(spans):
        if crossing_spans([[spans[j] for j in np.flatnonzero(gold[:i] == gold[i])] + [span]]):
            gold[i] = 1000 + i  # what crosses another is not the same
    pairs = make_pairs(table, 0, replace(resolver.window, window=len(table)))
    same = gold[pairs.later] == gold[pairs.earlier]
    clusters = Clusters()
    clusters.add(table, 0, pairs, np.where(same, 1, -1).astype(np.float32), np.zeros(len(table), np.float32))
    expected = [[spans[i] for i in np.flatnonzero(gold == g)] for g in np.unique(gold)]
    assert sorted(clusters.found) == sorted(c for c in expected if len(c) > 1)


def test_a_cluster_takes_nobody_of_the_other_gender_and_no_other_speakers_i() -> None:
    tags, deps = "PRP VBZ PRP", "nsubj root obj"
    document = Document(
        "chat",
        0,
        [
            sentence("he sees her", tags, "2 0 2", deps, "a"),
            sentence("i likes you", tags, "2 0 2", deps, "a"),
            sentence("i likes you", tags, "2 0 2", deps, "b"),
            sentence("he sees her", tags, "2 0 2", deps, "a"),
        ],
    )
    table, _ = FeatureReader(tiny_resolver().words).read(document.sentences)
    pairs = make_pairs(table, 0, tiny_resolver().window)
    clusters = Clusters()
    clusters.add(table, 0, pairs, np.ones(len(pairs.later), np.float32), np.zeros(len(table), np.float32))
    of = {span: k for k, cluster in enumerate(clusters.found) for span in cluster}
    he, her, my_i, your_you, your_i = (0, 1), (2, 3), (3, 4), (5, 6), (6, 7)
    assert of[he] == of[9, 10] != of[her] == of[11, 12]
    assert of.get(my_i) != of.get(your_i)
    assert of.get(my_i) != of.get(your_you)


def test_i_is_nobody_who_is_spoken_of_but_the_speaker_by_name() -> None:
    tags, deps = "NNP VBZ NNP", "nsubj root obj"
    made = [
        sentence("anna sees john", tags, "2 0 2", deps, "john"),
        sentence("i likes you", "PRP VBZ PRP", "2 0 2", deps, "anna"),
    ]
    table, _ = FeatureReader(tiny_resolver().words).read(made)
    pairs = make_pairs(table, 0, tiny_resolver().window)
    for antecedent, linked in ((0, True), (1, False)):
        clusters = Clusters()
        right = (pairs.later == 2) & (pairs.earlier == antecedent)
        scores = np.where(right, 1, -1).astype(np.float32)
        clusters.add(table, 0, pairs, scores, np.zeros(len(table), np.float32))
        assert bool(clusters.found) == linked
    # "you" of anna is john, who spoke before her
    clusters = Clusters()
    scores = np.where((pairs.later == 3) & (pairs.earlier == 1), 1, -1).astype(np.float32)
    clusters.add(table, 0, pairs, scores, np.zeros(len(table), np.float32))
    assert clusters.found == [[(2, 3), (5, 6)]]


def test_greedyness_decides_how_many_are_linked() -> None:
    document = random_document(2, sentences=40)
    linked = [
        sum(map(len, tiny_resolver(settings=ResolveSettings(greedyness=g)).resolve(document)))
        for g in (1e-9, 0.5, 1 - 1e-9)
    ]
    assert linked[0] < linked[1] < linked[2]


def test_max_dist_limits_how_far_is_looked_back() -> None:
    settings = ResolveSettings(max_dist=2, max_dist_match=2, store_scores=True)
    reading = tiny_resolver(settings=settings).read(random_document(2, sentences=20))
    assert all(len(row) <= 3 for row in reading.scores.values())
    assert max(len(row) for row in reading.scores.values()) == 3


def test_scores_that_are_kept_explain_the_links() -> None:
    resolver = tiny_resolver(settings=ResolveSettings(store_scores=True))
    document = random_document(6, sentences=20)
    growing = resolver.begin()
    links = [link for part in stretches(document.sentences, 20) for link in growing.add(part)]
    assert links
    for link in links:
        row = growing.scores[link.mention]
        assert row[link.antecedent] > row[None]
    assert tiny_resolver().read(document).scores == {}


def test_the_blacklist_leaves_speakers_alone() -> None:
    document = random_document(8, sentences=40)
    resolver = tiny_resolver(settings=ResolveSettings(blacklist=True))
    words = document.words()
    named = {words[s] for c in resolver.resolve(document) for s, e in c if e == s + 1}
    assert named
    assert not named & {"i", "you", "we", "my", "your"}
    assert {words[s] for c in tiny_resolver().resolve(document) for s, e in c if e == s + 1} & {"i", "you"}


def test_words_are_defined_on_the_fly() -> None:
    plain = tiny_resolver()
    assert "deepika" not in plain.words
    resolver = tiny_resolver(conv_dict={"Deepika": ["woman", "queen"], "rex": ["king"]})
    row = resolver.words.row("DEEPIKA")
    known = resolver.words.known(["woman", "queen"])
    np.testing.assert_allclose(
        resolver.model.vectors[row].numpy(), resolver.model.vectors[known].mean(dim=0).numpy(), rtol=1e-6
    )
    assert resolver.words.row("rex") == row + 1
    table, _ = FeatureReader(resolver.words, resolver.said).read(
        [sentence("Deepika sees rex", "NNP VBZ NNP", "2 0 2", "nsubj root obj")]
    )
    assert table.gender.tolist() == [Gender.FEMALE, Gender.MALE]
    assert table.life.tolist() == [Life.PERSON, Life.PERSON]
    assert resolver.resolve(random_document(1, sentences=30)) == plain.resolve(
        random_document(1, sentences=30)
    )
    known_too = tiny_resolver(conv_dict={"doctor": ["woman"]})
    assert known_too.words.row("doctor") == plain.words.row("doctor")
    assert known_too.said["doctor"].gender == Gender.FEMALE
    with pytest.raises(SettingsError, match="'x'"):
        tiny_resolver(conv_dict={"x": ["zzz"]})


def test_nothing_and_what_has_no_parse() -> None:
    assert tiny_resolver().resolve(Document("empty", 0, [])) == []
    assert tiny_resolver().resolve(Document("one", 0, [sentence("and", "CC", "0", "root")])) == []
    with pytest.raises(DataError, match="without a parse"):
        tiny_resolver().resolve(Document("raw", 0, [Sentence(["He", "left"])]))


@pytest.mark.parametrize(
    ("name", "value"), [("greedyness", 0.0), ("greedyness", 1.5), ("max_dist", 0), ("max_dist_match", -3)]
)
def test_settings_out_of_their_range(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        ResolveSettings(**{name: value})


def test_what_a_table_joins_and_cuts() -> None:
    import random

    reader = FeatureReader(tiny_resolver().words)
    rng = random.Random(1)
    parts = [reader.read([random_sentence(rng, "a") for _ in range(4)])[0] for _ in range(2)]
    both = MentionTable.joined(*parts)
    assert len(both) == len(parts[0]) + len(parts[1])
    assert both.rows(len(parts[0])).text_key.tolist() == parts[1].text_key.tolist()
    assert (np.diff(both.start) >= 0).all()
