"""The model that travels with convai: the README's example, its size, and turn by turn."""

from __future__ import annotations

import json

import pytest

from convai.__main__ import main
from convai.core.resources import models_dir
from convai.coref.checkpoint import load_resolver
from convai.coref.parsing.load import load_parser
from convai.coref.parsing.parse import document_of_turns

pytest.importorskip("spacy")

TURNS = [
    ("anna", "My sister has a friend called John."),
    ("ben", "Really, tell me more about him?"),
    ("anna", "She thinks he is so funny!"),
]


def test_the_example_with_two_speakers(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["coref", "resolve", "--json", *(f"{speaker}: {text}" for speaker, text in TURNS)]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    mentions = [[m["text"] for m in cluster["mentions"]] for cluster in found["clusters"]]
    assert ["My sister", "She"] in mentions
    john = next(names for names in mentions if "he" in names)
    assert "him" in john
    assert john[0].endswith("John")
    assert not {"My", "me"} & {name for cluster in mentions for name in cluster}
    assert found["rewritten"][2].startswith("My sister thinks ")


def test_turn_by_turn_as_whole() -> None:
    resolver, nlp = load_resolver(), load_parser()
    turns = [
        (speaker, text)
        for _ in range(6)
        for speaker, text in (*TURNS, ("ben", "I like her and you do, too."))
    ]
    whole, _ = document_of_turns(nlp, turns)
    growing = resolver.begin()
    for turn in turns:
        growing.add(document_of_turns(nlp, [turn])[0].sentences)
    assert growing.clusters() == resolver.resolve(whole)
    assert resolver.resolve(whole)


def test_words_of_ones_own() -> None:
    nlp = load_parser()
    document, _ = document_of_turns(nlp, [(None, "Deepika gave Ravi a book. She thanked him.")])
    words = document.words()
    clusters = load_resolver(conv_dict={"Deepika": ["woman", "actress"], "Ravi": ["man"]}).resolve(document)
    named = [sorted(words[start] for start, _ in cluster) for cluster in clusters]
    assert ["Deepika", "She"] in named
    assert ["Ravi", "him"] in named


def test_it_is_small() -> None:
    folder = models_dir() / "coref-mini"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 16 * 2**20
