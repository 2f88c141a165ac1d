"""Lines of JSON: what is written is read again, on one line."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from convai.text.corpora.json_text import decode_line, dump

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON)
def test_a_dumped_line_is_one_line_and_decodes_to_the_same(value: Any) -> None:
    line = dump(value, "here")
    assert "\n" not in line
    assert decode_line(line, "here") == value
    assert decode_line(line.encode("utf-8").decode("utf-8"), "here") == value
