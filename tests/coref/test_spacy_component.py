"""`convai_coref` in spaCy: attributes, options, pipes, serialisation, displaCy, errors."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import spacy
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from convai.core.errors import ConvaiError, DataError, SettingsError
from convai.coref.resolver import ResolvedDocument
from convai.coref.spacy_component import NAME, dialogue, load_pipeline
from tests.coref.stand_in import StandIn

TEXT = "Anna likes her dog. He sleeps in Paris.  Anna likes Paris."


@pytest.fixture
def nlp(parser_folder: Path):
    pipeline = load_pipeline(parser_folder)
    pipeline.get_pipe(NAME)._resolver = StandIn()
    return pipeline


def test_clusters_mentions_and_scores(nlp) -> None:
    doc = nlp(TEXT)
    assert doc._.has_coref
    anna, paris = doc._.coref_clusters
    assert (anna.i, str(anna.main), [str(span) for span in anna.mentions]) == (
        0,
        "Anna",
        ["Anna", "her", "Anna"],
    )
    assert (paris.i, paris.main.start, [span.start for span in paris]) == (1, 8, [8, 13])
    assert str(paris) == "Paris: ['Paris', 'Paris']"
    assert doc[2:3]._.is_coref
    assert doc[2:3]._.coref_cluster == anna
    assert not doc[1:3]._.is_coref
    assert doc[1:3]._.coref_cluster is None
    assert [token.i for token in doc if token._.in_coref] == [0, 2, 8, 11, 13]
    assert doc[13]._.coref_clusters == [paris]
    assert doc[1]._.coref_clusters == []
    assert doc._.coref_scores[doc[2:3]] == {doc[2:3]: -1.0, doc[0:1]: 2.0}
    assert doc._.coref_resolved == "Anna likes Anna's dog. He sleeps in Paris.  Anna likes Paris."


def test_a_doc_of_nothing_or_of_blanks_has_no_clusters(nlp) -> None:
    for text in ("", "  \n ", "dog"):
        doc = nlp(text)
        assert not doc._.has_coref
        assert doc._.coref_clusters == []
        assert doc._.coref_scores == {}
        assert doc._.coref_resolved == text


def test_pipe_gives_what_one_by_one_gives(nlp) -> None:
    texts = [TEXT, "", "Anna likes Anna.", "dog"]
    for doc, text in zip(nlp.pipe(texts, batch_size=3), texts, strict=True):
        alone = nlp(text)
        assert doc.user_data == alone.user_data
        assert doc.text == text


def test_docs_can_be_written_and_copied(nlp) -> None:
    doc = nlp(TEXT)
    mains = [str(cluster.main) for cluster in doc._.coref_clusters]
    packed = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    [unpacked] = DocBin().from_bytes(packed).get_docs(nlp.vocab)
    for other in (Doc(nlp.vocab).from_bytes(doc.to_bytes()), unpacked, doc.copy()):
        assert [str(cluster.main) for cluster in other._.coref_clusters] == mains
        assert other[2:3]._.is_coref
        assert other._.coref_scores[other[2:3]] == {other[2:3]: -1.0, other[0:1]: 2.0}
        assert [span.label_ for span in other.spans["coref"]] == [span.label_ for span in doc.spans["coref"]]


def test_displacy_draws_the_mentions(nlp) -> None:
    html = displacy.render(nlp(TEXT), style="span", options={"spans_key": "coref"}, jupyter=False)
    assert html.count("Anna") >= 3
    assert "Paris" in html


def test_speakers_end_sentences_and_say_who_i_is(nlp) -> None:
    doc = dialogue(
        nlp, [("ann", "I see my cat."), ("bob", " I do see a dog"), ("ann", ""), ("ann", "my dog.")]
    )
    [cluster] = doc._.coref_clusters
    assert [span.start for span in cluster.mentions] == [0, 2, 10]
    assert [span.label_ for span in doc.spans["speakers"]] == ["ann", "bob", "ann"]
    assert doc[5].is_sent_start
    assert doc[10].is_sent_start
    with pytest.raises(ConvaiError, match="without a word"):
        dialogue(nlp, [("ann", " ")])


def test_a_pipeline_without_tagger_or_parser_is_told_so() -> None:
    blank = spacy.blank("en")
    blank.add_pipe(NAME)._resolver = StandIn()
    with pytest.raises(DataError, match=r"no tags or no parse \(TAG\); put a tagger before convai_coref"):
        blank("a dog")
    doc = Doc(blank.vocab, words=["a", "dog"], tags=["DT", "NN"])
    with pytest.raises(DataError, match="put a parser before convai_coref"):
        blank.get_pipe(NAME)(doc)


def test_options_are_those_of_the_resolver(parser_folder: Path) -> None:
    pipeline = load_pipeline(parser_folder, greedyness=2.0)
    with pytest.raises(SettingsError, match=r"greedyness=2\.0: use a number between 0 and 1"):
        pipeline("a dog")
    with pytest.raises(ValueError, match="greedines"):
        load_pipeline(parser_folder, greedines=0.5)


def test_what_comes_anew_replaces_what_was_found(nlp) -> None:
    doc = nlp(TEXT)
    assert doc[0]._.in_coref
    component = nlp.get_pipe(NAME)
    assert [str(cluster) for cluster in component(doc)._.coref_clusters] == [
        CLUSTER,
        "Paris: ['Paris', 'Paris']",
    ]
    component.resolver.read = lambda document: ResolvedDocument([[(8, 9), (10, 11)]])
    [cluster] = component(doc)._.coref_clusters
    assert [span.text for span in cluster] == ["Paris", "Anna"]
    assert not doc[0]._.in_coref
    assert doc._.coref_scores == {}


CLUSTER = "Anna: ['Anna', 'her', 'Anna']"


def texts(doc: Doc) -> list[tuple[str, list[str]]]:
    return [(str(cluster.main), [str(span) for span in cluster]) for cluster in doc._.coref_clusters]


def test_clusters_follow_when_tokens_are_merged_and_split(nlp) -> None:
    doc = nlp(TEXT)
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])  # Anna likes
        retokenizer.merge(doc[7:9])  # in Paris
    assert texts(doc) == [("Anna likes", ["Anna likes", "her", "Anna"]), ("in Paris", ["in Paris", "Paris"])]
    assert [span.text for span in doc.spans["coref"]] == ["Anna likes", "her", "in Paris", "Anna", "Paris"]
    assert doc[1]._.coref_clusters[0].i == 0
    assert not doc[2]._.in_coref
    assert doc._.coref_scores[doc[1:2]] == {doc[1:2]: -1.0, doc[0:1]: 2.0}
    for other in (doc.copy(), Doc(nlp.vocab).from_bytes(doc.to_bytes())):
        assert texts(other) == texts(doc)
        assert [str(span) for span in other.spans["coref"]] == [str(span) for span in doc.spans["coref"]]
    with doc.retokenize() as retokenizer:
        retokenizer.split(doc[0], ["Anna ", "likes"], heads=[(doc[0], 1), doc[1]])
    assert texts(doc)[0] == ("Anna ", ["Anna ", "her", "Anna"])
    assert displacy.render(doc, style="span", options={"spans_key": "coref"}, jupyter=False)


def test_mentions_that_became_one_token_are_one(nlp) -> None:
    doc = nlp("Anna likes her. Paris. Paris.")
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:3])
    assert texts(doc) == [("Paris", ["Paris", "Paris"])]
    assert doc._.coref_resolved == doc.text


def test_a_token_that_was_mentions_of_two_clusters_is_the_longer_ones(nlp) -> None:
    component = nlp.get_pipe(NAME)
    component.resolver.read = lambda document: ResolvedDocument([[(0, 2), (3, 5)], [(0, 1), (3, 4)]])
    doc = component(nlp("Anna Paris likes Anna Paris"))
    assert texts(doc) == [("Anna Paris", ["Anna Paris", "Anna Paris"]), ("Anna", ["Anna", "Anna"])]
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
        retokenizer.merge(doc[3:5])
    assert texts(doc) == [("Anna Paris", ["Anna Paris", "Anna Paris"])]


@pytest.mark.parametrize("merged", [False, True])
def test_docs_that_are_joined_keep_their_clusters(nlp, merged: bool) -> None:
    one, other = nlp(TEXT), nlp("Paris! Anna, Anna's Paris.")
    if merged:
        for doc in (one, other):
            with doc.retokenize() as retokenizer:
                retokenizer.merge(doc[1:3])
    for docs in ([one, other], [other, one], [one, one], [one, one.copy(), other, one]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            whole = Doc.from_docs(docs)
        assert whole is not None
        assert texts(whole) == [cluster for doc in docs for cluster in texts(doc)]
        assert len(whole.spans["coref"]) == sum(len(doc.spans["coref"]) for doc in docs)
        scores = [list(row.values()) for row in whole._.coref_scores.values()]
        assert scores == [list(row.values()) for doc in docs for row in doc._.coref_scores.values()]
    part = one[len(one) - 8 :].as_doc(copy_user_data=True)
    assert all(str(span) in ("Anna", "Paris") for cluster in part._.coref_clusters for span in cluster)


def test_speakers_are_theirs_when_a_component_merges_tokens_before(nlp) -> None:
    @Language.component("merge_first_two")
    def merge(doc: Doc) -> Doc:
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[0:2])
        return doc

    nlp.add_pipe("merge_first_two", before=NAME)
    doc = dialogue(nlp, [("ann", "I see my cat."), ("bob", "I do see a dog"), ("ann", "my dog.")])
    assert [(span.label_, span.text) for span in doc.spans["speakers"]] == [
        ("ann", "I see my cat."),
        ("bob", "I do see a dog"),
        ("ann", "my dog."),
    ]
    assert texts(doc) == [("my", ["my", "my"])]


def test_what_was_asked_for_leaves_a_doc_as_it_can_be_written(nlp) -> None:
    doc = nlp(TEXT)
    assert doc[0]._.in_coref
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        doc.to_bytes()


def test_pronouns_alone_are_not_written_for_each_other(nlp) -> None:
    text = "I see my cat."
    doc = dialogue(nlp, [("ann", text)])
    assert len(doc._.coref_clusters) == 1
    assert doc._.coref_resolved.strip() == text
