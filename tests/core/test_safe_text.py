"""Nothing that a terminal obeys is left in a text, and pieces add up to the line of the whole."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import check_lines, check_text
from convai.core.safe_text import OneLine, kept_lines, one_line, visible

anything = st.text(st.characters(codec=None) | st.sampled_from(" \t\n\x1b\x9b\u202e\x7f\x85\u2028\ud800"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("\x9b2Jx", "2Jx"),
        ("a\rb\nc\td", "abcd"),
        ("\u202eabc\u2066", "abc"),
        ("caf\u00e9 \U0001f469\u200d\U0001f680", "caf\u00e9 \U0001f469\u200d\U0001f680"),
        ("\ud800", ""),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(anything)
def test_what_is_visible_steers_nothing(text: str) -> None:
    shown = visible(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  hi \n there\t", "hi there"),
        ("a\x1b[1mb", "a[1mb"),
        ("a\x01 \x02b", "a b"),
        ("\x00", ""),
        (" \n ", ""),
        ("a\x85b\u2028c\xa0d", "a b c d"),
    ],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


@given(anything)
def test_one_line_is_clean_and_stays_as_it_is(text: str) -> None:
    line = one_line(text)
    assert one_line(line) == line
    if line:
        assert check_text(line, "here") == line
        assert not [char for char in line if unicodedata.category(char) in ("Cc", "Cs")]


@given(st.lists(anything))
def test_pieces_add_up_to_the_line(pieces: list[str]) -> None:
    line = OneLine()
    assert "".join(map(line.push, pieces)) == one_line("".join(pieces))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('*She nods.*\r\n\r\n\r\n\r\n"Yes."  \r\n', '*She nods.*\n\n"Yes."'),
        ("\n\n a \t b\u2028c\n", "a b\nc"),
        ("a\x1b[1m\n\x00\nb", "a[1m\n\nb"),
        (" \n ", ""),
    ],
)
def test_kept_lines(text: str, kept: str) -> None:
    assert kept_lines(text) == kept


@given(anything)
def test_kept_lines_are_clean_and_say_what_one_line_says(text: str) -> None:
    kept = kept_lines(text)
    assert kept_lines(kept) == kept
    assert one_line(kept) == one_line(text)
    assert visible(kept.replace("\n", "")) == kept.replace("\n", "")
    assert "\n\n\n" not in kept
    if kept:
        assert check_lines(kept, "there") == kept
