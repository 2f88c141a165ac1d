from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import pre_tokenizers

from convai.text.detokenizer import byte_of_char
from convai.text.tokenizer import Tokenizer
from tests.tokenizer_kinds import KINDS, kind, texts


def stream(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    decoder = tokenizer.stream()
    return [*(decoder.push(id) for id in ids), decoder.finish()]


def ids_of(tokenizer: Tokenizer, *, special: bool = True) -> st.SearchStrategy[list[int]]:
    """Ids of texts, torn apart and strewn with any id there is and some that there are not."""
    any_id = st.integers(-2, tokenizer.vocab_size + 2)
    some = st.one_of(texts.map(tokenizer.encode), st.lists(any_id, max_size=6))
    return st.lists(some, max_size=4).map(lambda parts: [id for part in parts for id in part])


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_the_pieces_add_up_to_the_whole(name: str, data: st.DataObject) -> None:
    tokenizer = kind(name)
    ids = data.draw(ids_of(tokenizer))
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)


@given(ids=ids_of(kind("bytes")))
def test_u_fffd_is_shown_only_where_its_own_bytes_went_in(ids: list[int]) -> None:
    raw = bytes(id for id in ids if 0 <= id < 256)
    shown = "".join(stream(kind("bytes"), ids))
    assert shown == raw.decode("utf-8", "ignore").lstrip(" ")
    assert shown.count("\ufffd") == raw.count("\ufffd".encode())


@given(text=st.text(max_size=8), cut=st.integers(0, 40))
def test_an_unfinished_character_is_never_shown(text: str, cut: int) -> None:
    ids = kind("bytes").encode(text)[:cut]
    ends = accumulate(len(char.encode()) for char in text)
    complete = [char for char, end in zip(text, ends, strict=True) if end <= cut]
    assert "".join(stream(kind("bytes"), ids)) == "".join(complete).lstrip(" ")


def test_a_character_comes_with_its_last_byte() -> None:
    assert stream(kind("bytes"), list("a🙂".encode())) == ["a", "", "", "", "🙂", ""]
    assert stream(kind("bytes"), list("🙂".encode()[:3])) == ["", "", "", ""]
    assert stream(kind("bytes"), [0xF0, ord("a"), 0xFF]) == ["", "a", "", ""]


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_special_ids_have_no_text(name: str, data: st.DataObject) -> None:
    tokenizer = kind(name)
    ids = data.draw(texts.map(tokenizer.encode))
    where = data.draw(st.integers(0, len(ids)))
    hidden = data.draw(st.sampled_from(sorted(tokenizer.hidden_ids)))
    assert tokenizer.decode([*ids[:where], hidden, *ids[where:]]) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", ["own", "bytes", "gpt2"])
@given(text=texts)
def test_decodes_as_the_library_does(name: str, text: str) -> None:
    tokenizer = kind(name)
    ids = tokenizer.encode(text)
    library = Backend.from_str(tokenizer.to_json()).decode(ids, skip_special_tokens=True)
    assert tokenizer.decode(ids) == library.lstrip(" ")


@pytest.mark.parametrize("name", ["own", "openai-gpt"])
def test_replies_read_naturally(name: str) -> None:
    tokenizer = kind(name)
    ids = tokenizer.encode("I ' m at the market . What do you bake ? I don ' t , it ' s too hard !")
    assert tokenizer.decode(ids) == "i'm at the market. what do you bake? i don't, it's too hard!"


def test_words_come_as_soon_as_nothing_can_change_them() -> None:
    tokenizer = kind("openai-gpt")
    ids = tokenizer.encode("the bread is old")
    decoder = tokenizer.stream()
    assert "".join(map(decoder.push, ids)) == "the bread is"
    assert decoder.finish() == " old"


@pytest.mark.parametrize("name", ["own", "gpt2"])
def test_leading_spaces_of_a_reply_are_dropped(name: str) -> None:
    tokenizer = kind(name)
    space = tokenizer._backend.token_to_id("Ġ")
    ids = [tokenizer.bos_id, space, space, *tokenizer.encode(" bread and more ")]
    assert tokenizer.decode(ids).startswith("bread and more")
    assert stream(tokenizer, ids)[:3] == ["", "", ""]


def test_the_byte_table_is_gpt2s() -> None:
    assert sorted(byte_of_char().values()) == list(range(256))
    assert set(byte_of_char()) == set(pre_tokenizers.ByteLevel.alphabet())
    for char in "aZ0~!":
        assert byte_of_char()[char] == ord(char)
    assert byte_of_char()["Ġ"] == ord(" ")
