"""Tables that are read as they were written, and damaged ones that are refused, never believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.model.openai_release.sstable import FOOTER, read_table
from convai.model.openai_release.wire import DamagedError, fields, varint
from tests.model.openai_release.releases import field, number, table

entries = st.dictionaries(st.binary(max_size=12), st.binary(max_size=300), max_size=60).map(
    lambda d: sorted(d.items())
)
SMALL = table([(b"", b"header"), (b"model/h0/b", b"1"), (b"model/h0/w", b"2"), (b"model/wte", b"3" * 200)])


@given(entries=entries, per_block=st.integers(1, 20))
def test_written_and_read_is_the_same(entries: list[tuple[bytes, bytes]], per_block: int) -> None:
    assert list(read_table(table(entries, per_block))) == entries


@given(cut=st.integers(0, len(SMALL) - 1))
def test_no_beginning_of_a_table_is_a_table(cut: int) -> None:
    with pytest.raises(DamagedError):
        list(read_table(SMALL[:cut]))


@given(place=st.integers(0, len(SMALL) - 1), flip=st.integers(1, 255))
def test_a_changed_byte_never_does_harm(place: int, flip: int) -> None:
    """The table is refused, or read within its bytes: no size in it is believed."""
    changed = bytearray(SMALL)
    changed[place] ^= flip
    try:
        read = list(read_table(bytes(changed)))
    except DamagedError:
        return
    assert sum(len(key) + len(value) for key, value in read) <= len(SMALL) * len(read)


@given(st.binary(max_size=400))
def test_any_bytes_with_the_footer_of_a_table_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(DamagedError):
        list(read_table(data + SMALL[-FOOTER:]))


def test_a_compressed_table_says_so() -> None:
    with pytest.raises(DamagedError, match="compressed with snappy"):
        list(read_table(table([(b"", b"x")], compression=1)))


def test_keys_out_of_order_are_refused() -> None:
    with pytest.raises(DamagedError, match="out of order"):
        list(read_table(table([(b"b", b""), (b"a", b"")], per_block=1)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (number(5) + number(1) + number(0) + b"a" + bytes(4), "reaches beyond"),  # shares with no key
        (number(0) + number(200) + number(0) + b"a" + bytes(4), "reaches beyond"),
        (number(0) + number(1) + number(1 << 60) + b"a" + bytes(4), "reaches beyond"),
        (b"\xff\xff\xff\xff", "more restart points"),
        (b"", "too short"),
    ],
)
def test_an_entry_stays_within_its_block(
    content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.model.openai_release.releases.block", lambda *a, **k: content)
    with pytest.raises(DamagedError, match=reason):
        list(read_table(table([(b"a", b"")])))


@given(st.integers(0, 2**64 - 1))
def test_numbers(value: int) -> None:
    assert varint(b"?" + number(value), 1) == (value, 1 + len(number(value)))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 11, b"\xff" * 9 + b"\x02"])
def test_numbers_that_are_none(data: bytes) -> None:
    with pytest.raises(DamagedError):
        varint(data, 0)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        found = list(fields(data))
    except DamagedError:
        return
    assert len(found) <= len(data)


def test_fields_of_every_kind() -> None:
    message = (
        field(1, 300) + field(2, b"text") + number(3 << 3 | 5) + b"\1\0\0\0" + number(4 << 3 | 1) + bytes(8)
    )
    assert list(fields(message)) == [(1, 300), (2, b"text"), (3, 1), (4, 0)]
    with pytest.raises(DamagedError, match="unknown wire type 3"):
        list(fields(number(1 << 3 | 3)))
