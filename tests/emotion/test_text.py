"""Words of informal text, as torchMoji splits it; a defined answer to anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.emotion.text import MAX_WORDS, SPECIAL, split, tokens
from tests.linear import is_linear


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the published behaviour of the tokenizer: cut on blanks here, compared as they stand
        ("200K words!", "200 K words !"),
        ("i\U0001f496you to the \u2605's", "i \U0001f496 you to the \u2605 ' s"),
        ("~<3~ <333 :-) >:-(", "~ <3 ~ <333 :-) >:-("),
        ("\u266b\u2665\u2764", "\u266b \u2665 \u2764"),
        ("www.sample.com http://endless.horse", "www.sample.com http://endless.horse"),
        ("#99_percent. the#99%", "#99_percent . the #99 %"),
        ("@99_percent latte-express@mit.ed", "@99_percent latte-express@mit.ed"),
        ("518)528-0252", "518 ) 528 - 0252"),
        ("2:00pm 9/14/16 1,000 $517.87", "2 : 00 pm 9 / 14 / 16 1 , 000 $ 517 . 87"),
        ("5162f f5162 1202o-east 120'/5", "5162 f f 5162 1202 o-east 120 ' / 5"),
        ("don''t don'tcha no?!?!; no??!!..", "don '' t don'tcha no ? ! ? ! ; no ?? !! .."),
        ("a.m. .s.u !!i..n__", "a.m. . s . u !! i .. n __"),
        ("lv(<3)w(3>)u Mr.!", "lv ( <3 ) w ( 3 > ) u Mr. !"),
        ("--> -> <- <--", "-- > - > < - < --"),
        ("##hello @@you (@person)", "# #hello @ @you ( @person )"),
        (":'( ;P =))) o_o x_x -_- ^_^ (: );", ":'( ;P =))) o_o x_x -_- ^_^ (: );"),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert list(tokens(text)) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sooooo HAPPY!!!!!", "soo happy !!"),
        ("wooohoooo", "woohooo"),  # as in torchMoji's vocabulary
        ("hi @You and me@home.org", "hi CUSTOM_AT and CUSTOM_AT"),
        ("see https://a.b/c?d=e www.x.y", "see CUSTOM_URL CUSTOM_URL"),
        ("24/7 \u0663 \uff11\uff12", "CUSTOM_NUMBER / CUSTOM_NUMBER CUSTOM_NUMBER CUSTOM_NUMBER"),
        ("a\nb\\nc<br>d\r\ne", "a CUSTOM_BREAK b CUSTOM_BREAK c CUSTOM_BREAK d CUSTOM_BREAK CUSTOM_BREAK e"),
        ("\u201cdon\u2019t\u201d \u2026 \u2014 \u203c \uff28i", '" don\'t " .. -- !! hi'),
        ("\u2764\ufe0f \U0001f44d\U0001f3fd", "\u2764 \U0001f44d \U0001f3fd"),
        ("caf\u00e9 \u4f60\u597d \u0645\u0631\u062d", "caf \u00e9 \u4f60 \u597d \u0645 \u0631 \u062d"),
        ("CUSTOM_URL custom_mask", "custom_url custom_mask"),
        ("\U0001d402\U0001d414\U0001d412\U0001d413\U0001d40e\U0001d40c_MASK", "custom_mask"),
        ("a\ud800b", "a \ufffd b"),
        ("\n hi \n", "hi"),
        ("1" * 5000, "CUSTOM_NUMBER"),
    ],
)
def test_words(text: str, expected: str) -> None:
    assert split(text) == expected.split()


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000", "\ufe0f"])
def test_texts_without_words(text: str) -> None:
    assert split(text) == []


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from("@#:)(-'<3.ow\\n "), max_size=60))
def test_any_text_gives_words_without_blanks(text: str) -> None:
    words = split(text)
    assert len(words) <= MAX_WORDS
    for word in words:
        assert word
        assert not any(char.isspace() for char in word)
        assert word in SPECIAL or word == word.lower()
        assert not any(0xD800 <= ord(char) < 0xE000 for char in word)
    assert split(text, 2) == words[:2]


@pytest.mark.parametrize(
    "part",
    ["a+", "a.", "<", "a", "@a", "#", " ", "\n", "\u00e9", "1", "www.", "a_", "a'", "a@a-", "aab", ":,"],
)
def test_a_hundred_thousand_characters_take_a_moment(part: str) -> None:
    text = part * (100_000 // len(part))
    assert len(split(text)) <= MAX_WORDS
    assert is_linear(split, text)
