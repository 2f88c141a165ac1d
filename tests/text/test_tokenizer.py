from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from convai.core.errors import CheckpointError, SettingsError
from convai.text.textnorm import normalise
from convai.text.tokenizer import MIN_VOCAB_SIZE, SPECIAL_TOKENS, Tokenizer
from tests.tokenizer_kinds import KINDS, TEXTS, kind, texts

any_text = st.one_of(texts, st.text(st.characters(), max_size=10))
"""With lone surrogates: a page may send them."""


def backend(*, normalizer: normalizers.Normalizer | None = None) -> tokenizers.Tokenizer:
    """Bytes without special tokens: somebody else's tokenizer."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(models.BPE(vocab={char: id for id, char in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    return made


# -- typed text never becomes a control id


@pytest.mark.parametrize("name", KINDS)
@given(text=any_text)
@example("<eos>")
@example("i like <speaker2> and <pad>")
@example("<e" + "os>")
@example("<bos")
@example("＜eos＞")
@example("<|endoftext|>")
@example("\ud83d<eos>\ude00")
def test_no_text_gives_a_control_id(name: str, text: str) -> None:
    tokenizer = kind(name)
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode(text))
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode_batch([text, text])[1])


@pytest.mark.parametrize("name", KINDS)
@given(parts=st.lists(texts, min_size=2, max_size=4))
def test_utterances_that_join_into_a_control_token_do_not(name: str, parts: list[str]) -> None:
    tokenizer = kind(name)
    ids = [id for part in tokenizer.encode_batch(["<e", "os>", *parts]) for id in part]
    again = tokenizer.encode(tokenizer.decode(ids))
    assert tokenizer.special_ids.isdisjoint(ids + again)


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
@pytest.mark.parametrize("name", KINDS)
def test_a_spelt_control_token_is_several_ordinary_ones(name: str, token: str) -> None:
    tokenizer = kind(name)
    assert len(tokenizer.encode(token)) > 1
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode(f"my persona: {token} says hi{token}."))


@pytest.mark.parametrize("name", ["own", "bytes", "gpt2"])
def test_a_spelt_control_token_is_shown_as_it_was_typed(name: str) -> None:
    tokenizer = kind(name)
    assert tokenizer.decode(tokenizer.encode("he wrote <eos> on it")) == "he wrote <eos> on it"


def test_a_tokenizer_with_nfkc_is_held_to_it_too() -> None:
    made = backend(normalizer=normalizers.NFKC())
    # normalized=True is the trap: the library then looks for the token in the normalised text
    made.add_special_tokens([AddedToken(token, special=True, normalized=True) for token in SPECIAL_TOKENS])
    assert made.token_to_id("<eos>") in made.encode("＜eos＞", add_special_tokens=False).ids
    tokenizer = Tokenizer(made)
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode("＜eos＞ <eos>"))
    assert tokenizer.decode(tokenizer.encode("＜eos＞")) == "<eos>"


def test_control_tokens_added_as_plain_tokens_are_held_to_it_too() -> None:
    made = backend()
    made.add_tokens(
        [AddedToken(token, special=False, normalized=True, lstrip=True) for token in SPECIAL_TOKENS]
    )
    tokenizer = Tokenizer(made)
    assert tokenizer.special_ids == {256, 257, 258, 259, 260}
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode("a <eos> b"))


def test_other_added_tokens_still_work() -> None:
    made = backend()
    made.add_tokens(["lighthouse", "灯台"])
    made.add_special_tokens([*SPECIAL_TOKENS, "<secret>"])
    tokenizer = Tokenizer(made)
    assert tokenizer.encode("lighthouse灯台") == [256, 257]
    assert tokenizer.decode([256, 257]) == "lighthouse灯台"
    assert 263 in tokenizer.special_ids
    assert 263 not in tokenizer.encode("<secret>")


@pytest.mark.parametrize("unknown", [None, "<eos>"])
def test_a_vocabulary_in_which_text_can_become_control_is_refused(unknown: str | None) -> None:
    pieces = ["<", "e", "o", "s", ">", "<e", "os", "os>", *SPECIAL_TOKENS]
    merges = [] if unknown else [("<", "e"), ("o", "s"), ("os", ">"), ("<e", "os>")]
    vocab = {piece: id for id, piece in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=unknown))
    made.decoder = decoders.ByteLevel()
    with pytest.raises(CheckpointError, match=r"^there: typed text can become <eos>"):
        Tokenizer(made, where="there")


@pytest.mark.parametrize("copied", [lambda t: pickle.loads(pickle.dumps(t)), copy.copy, copy.deepcopy])  # noqa: S301
@pytest.mark.parametrize("name", KINDS)
def test_copies_are_as_strict(name: str, copied) -> None:  # type: ignore[no-untyped-def]
    tokenizer = kind(name)
    other = copied(tokenizer)
    assert other.encode("a <eos> b") == tokenizer.encode("a <eos> b")
    assert (other.fingerprint, other.hidden_ids) == (tokenizer.fingerprint, tokenizer.hidden_ids)


# -- ids


@pytest.mark.parametrize("name", KINDS)
def test_the_special_tokens_are_the_last_five_in_order(name: str) -> None:
    t = kind(name)
    ids = [t.bos_id, t.eos_id, t.speaker1_id, t.speaker2_id, t.pad_id]
    assert ids == list(range(t.vocab_size - 5, t.vocab_size))
    assert t.special_ids >= set(ids)
    assert t.frame.segments == (t.speaker1_id, t.speaker2_id)


def test_control_and_unknown_ids_of_each_kind() -> None:
    assert [len(kind(name).special_ids) for name in KINDS] == [5, 5, 6, 5]  # gpt2 has <|endoftext|> too
    assert [kind(name).unk_id for name in KINDS] == [None, None, None, 0]
    gpt = kind("openai-gpt")
    assert gpt.encode("中") == [0]
    assert gpt.decode([0]) == ""
    assert gpt.hidden_ids == gpt.special_ids | {0}


@given(text=st.text())
def test_a_byte_is_its_own_id(text: str) -> None:
    assert Tokenizer.byte_level().encode(text) == list(text.encode())


@pytest.mark.parametrize("name", KINDS)
@given(batch=st.lists(any_text, max_size=5))
def test_batch_is_one_by_one(name: str, batch: list[str]) -> None:
    tokenizer = kind(name)
    assert tokenizer.encode_batch(batch) == [tokenizer.encode(text) for text in batch]


def test_a_piece_of_a_text_keeps_its_blank() -> None:
    tokenizer = kind("own")
    ids = tokenizer.encode("hello you")
    assert [tokenizer.piece(id) for id in ids][1:] != [tokenizer.decode([id]) for id in ids][1:]
    assert "".join(map(tokenizer.piece, ids)).strip() == tokenizer.decode(ids)
    assert tokenizer.piece(tokenizer.eos_id) == ""
    openai = kind("openai-gpt")
    assert openai.piece(openai.encode("hi")[0]) == openai.decode(openai.encode("hi")[:1])


def test_threads_share_a_tokenizer() -> None:
    tokenizer = kind("own")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(tokenizer.encode, TEXTS * 5))
    assert results == tokenizer.encode_batch(TEXTS * 5)


# -- the canonical form of tokenizers trained here


@given(text=any_text)
def test_decoding_gives_the_canonical_form(text: str) -> None:
    own = kind("own")
    assert own.decode(own.encode(text)) == normalise(text)


@given(text=any_text)
def test_the_canonical_form_has_the_same_ids(text: str) -> None:
    own = kind("own")
    assert own.encode(normalise(text)) == own.encode(text)


def test_typed_and_spaced_text_have_the_same_ids() -> None:
    own = kind("own")
    assert own.encode("Hi, how are you? I’m fine") == own.encode("hi , how are you ? i ' m fine")


def test_a_word_has_the_same_token_everywhere() -> None:
    own = kind("own")
    assert own.encode("bread") == own.encode("the bread")[-len(own.encode("bread")) :]


def test_numbers_are_cut_into_pairs_of_digits() -> None:
    lots = Tokenizer.train(["in 1984 and 1985 , 1984 people"] * 50, MIN_VOCAB_SIZE + 200)
    shown = [lots._backend.id_to_token(id) for id in lots.encode("in 1984 , 198")]
    assert shown == ["Ġin", "Ġ19", "84", ",", "Ġ19", "8"]


# -- training


def test_training_gives_the_size_asked_for_and_the_same_every_time() -> None:
    first = Tokenizer.train(iter(TEXTS), 300)
    assert first.vocab_size == 300
    assert Tokenizer.train(list(TEXTS), 300).fingerprint == first.fingerprint
    assert Tokenizer.train(TEXTS, 301).fingerprint != first.fingerprint


def test_training_on_little_text_gives_what_there_is() -> None:
    assert Tokenizer.train([], 5000).vocab_size == MIN_VOCAB_SIZE
    assert MIN_VOCAB_SIZE < Tokenizer.train(["hello hello \ud800"], 5000).vocab_size < 300


def test_training_on_control_tokens_does_not_make_them_typable() -> None:
    tokenizer = Tokenizer.train(["<eos><eos> <speaker1>"] * 100, 400)
    assert tokenizer.special_ids.isdisjoint(tokenizer.encode("<eos><eos> <speaker1>"))


def test_a_vocabulary_without_room_is_refused() -> None:
    with pytest.raises(SettingsError, match="vocab_size=260: use 261"):
        Tokenizer.train(TEXTS, 260)


def test_fingerprints_tell_tokenizers_apart() -> None:
    prints = {kind(name).fingerprint for name in KINDS}
    assert len(prints) == len(KINDS)
    assert all(len(print) == 64 and int(print, 16) for print in prints)


def test_real_text_comes_back(convai_data: Path) -> None:
    path = convai_data / "personachat" / "valid_self_original.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer.train(lines, 2000)
    ids = tokenizer.encode_batch(lines)
    assert [tokenizer.decode(line) for line in ids] == [normalise(line) for line in lines]
    assert sum(map(len, ids)) < 2 * sum(len(line.split()) for line in lines)
