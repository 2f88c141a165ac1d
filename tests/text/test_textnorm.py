from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given

from convai.text.textnorm import join_spaced, normalise, normalizer, spelling_normalizer
from tests.tokenizer_kinds import texts

SPACED = {
    "hi , how are you ? i ' m fine": "hi, how are you? i'm fine",
    "i 'm fine , let' s go .": "i'm fine, let's go.",
    "i don ' t know , i do n't care": "i don't know, i don't care",
    "i ca n't , i won ' t , i do n ' t": "i can't, i won't, i don't",
    "they ' re here ; we ' ve met , he ' ll come , it ' s on": "they're here; we've met, he'll come, it's on",
    "i m sure that s what they don t do , i ve seen": "i'm sure that's what they don't do, i've seen",
    "wow ! ! ! really ? ! well . . . ok": "wow!!! really?! well... ok",
    "i have two ( no , three ) dogs .": "i have two (no, three) dogs.",
    "two things : a dog ; a cat .": "two things: a dog; a cat.",
    "nice to meet you : )": "nice to meet you :)",
    # A quotation mark does not say whether it opens or closes, so it keeps its spaces.
    "i said `` yes '' .": 'i said " yes ".',
}


@pytest.mark.parametrize(("spaced", "natural"), SPACED.items())
def test_spaced_text_is_joined(spaced: str, natural: str) -> None:
    assert normalise(spaced) == natural


@pytest.mark.parametrize("natural", SPACED.values())
def test_typed_text_becomes_the_same(natural: str) -> None:
    typed = natural.replace("'", "\u2019").replace("...", "\u2026").replace(" ", "  ").capitalize()
    assert normalise(typed) == natural


@pytest.mark.parametrize(
    "text",
    [
        "i'm a nurse. what do you do?",
        "hi :) how are you :( i cried",
        "it costs .5 or 3.50 at example.com, i think",
        "the dogs' bowls and the '80s",
        "he said 'd' and 's'",
        'my "best" friend (not really)',
        "i more or less did, wit s and don to",
        "well-known, e.g. in 1,000 books; at 8:00!",
        "a <eos> b <speaker1>",
        "🙂 中文, ok?",
    ],
)
def test_natural_text_stays_as_it_is(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" \t\n", ""),
        ("\ta\u00a0\u2003b\r\n", "a b"),
        ("ÉTÉ", "été"),
        ("cafe\u0301", "café"),
        ("J\u030c", "\u01f0"),  # composes in lower case only
        ("＜eos＞", "＜eos＞"),  # NFKC would make the control token of it
        ("‘a’ ‚b` ´c′", "'a' 'b' 'c'"),
        ("“a” «b» ''c''", '"a" "b" "c"'),
        ("a–b—c−d", "a-b-c-d"),
        ("\ud800", "\ufffd"),
    ],
)
def test_characters(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(texts)
@example("a ' ' m")
@example("( : ) . ) '")
@example("x '' ' s n't")
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(texts)
def test_one_leading_space_and_no_other_white_space(text: str) -> None:
    plain = normalise(text)
    assert normalizer().normalize_str(text) == (" " + plain if plain else "")
    assert not plain.startswith(" ")
    assert not plain.endswith(" ")
    assert "  " not in plain


@given(texts)
def test_joining_leaves_canonical_text_alone(text: str) -> None:
    assert join_spaced(normalise(text)) == normalise(text)


def test_joining_keeps_case_and_quotes() -> None:
    assert join_spaced("Don ' t say “ No ” , ok ?") == "Don't say “ No ”, ok?"


def test_real_text_is_normalised_once_and_for_all(convai_data: Path) -> None:
    lines = (convai_data / "personachat" / "valid_self_original.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 1000
    for line in lines:
        once = normalise(line)
        assert normalise(once) == once
        assert not any(mark in once for mark in (" . ", " , ", " ? ", " ! ", " ' t ")), once


def test_spelling_alone_keeps_case_and_lines() -> None:
    spelling = spelling_normalizer()
    text = "Hi , Ann !\nI ' m   fine \u2014 and don t you\u2019 worry\u2026 ( so )"
    assert spelling.normalize_str(text) == "Hi, Ann!\nI'm fine - and don't you' worry... (so)"
    assert spelling.normalize_str(spelling.normalize_str(text)) == spelling.normalize_str(text)
