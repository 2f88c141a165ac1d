from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.text.prompt import KNOWN_CHARACTERS, KnownTexts, encode_dialogs, encode_persona, encode_turns
from convai.text.segments import EncodedTurn
from tests.tiny import plain
from tests.tokenizer_kinds import KINDS, kind, texts


class Counting:
    """Encodes to character codes, and counts its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        self.calls.append(len(texts))
        return [[ord(c) for c in text] for text in texts]


def test_turns_keep_their_speakers_and_distractors() -> None:
    told = [Turn(USER, "a"), Turn(USER, "b"), Turn(AGENT, "c", ("d", "ef")), Turn(AGENT, "g", ("h",))]
    assert encode_turns(Counting(), told) == [
        EncodedTurn(USER, [97]),
        EncodedTurn(USER, [98]),
        EncodedTurn(AGENT, [99], ([100], [101, 102])),
        EncodedTurn(AGENT, [103], ([104],)),
    ]
    assert encode_turns(Counting(), []) == []


def test_a_persona_is_its_sentences() -> None:
    assert encode_persona(Counting(), Persona(("ab", "c"), name="somebody")) == [[97, 98], [99]]
    assert encode_persona(Counting(), Persona()) == []


turns = st.lists(
    st.builds(Turn, st.sampled_from([USER, AGENT]), texts, st.lists(texts, max_size=2).map(tuple)), max_size=4
)
persona = st.lists(texts, max_size=2).map(lambda sentences: Persona(tuple(sentences)))
dialogs = st.builds(Dialog, turns.map(tuple), st.tuples(persona, persona))


@pytest.mark.parametrize("name", KINDS)
@given(told=st.lists(dialogs, max_size=5), chunk=st.integers(1, 3))
def test_many_dialogues_are_encoded_as_one_by_one(name: str, told: list[Dialog], chunk: int) -> None:
    tokenizer = kind(name)
    together = list(encode_dialogs(tokenizer, iter(told), chunk))
    assert len(together) == len(told)
    for dialog, encoded in zip(told, together, strict=True):
        sentences, spoken = plain(encoded)
        assert sentences == [tokenizer.encode(s) for s in dialog.personas[AGENT].sentences]
        assert spoken == [
            (t.speaker, tokenizer.encode(t.text), [tokenizer.encode(d) for d in t.distractors])
            for t in dialog.turns
        ]


def test_a_chunk_is_two_calls() -> None:
    tokenizer = Counting()
    dialog = Dialog((Turn(USER, "a"), Turn(AGENT, "b", ("c",))), (Persona(("d",)), Persona(("e", "f"))))
    assert len(list(encode_dialogs(tokenizer, [dialog] * 5, chunk=2))) == 5
    assert tokenizer.calls == [4, 6, 4, 6, 2, 3], "personas and turns of two, two, and one"
    assert list(encode_dialogs(tokenizer, [])) == []


def test_dialogues_are_read_as_they_are_needed() -> None:
    seen = []

    def endless() -> Iterator[Dialog]:
        while True:
            seen.append(1)
            yield Dialog((Turn(USER, "a"),))

    next(iter(encode_dialogs(Counting(), endless(), chunk=3)))
    assert len(seen) == 3


@pytest.mark.parametrize("name", KINDS)
@given(
    said=st.lists(
        st.sampled_from(["", "hi", " hi", "<eos>", "caf\u00e9 \ud83d\ude42", "x" * 400]) | texts, max_size=8
    )
)
def test_what_is_known_is_what_the_tokenizer_says(name: str, said: list[str]) -> None:
    tokenizer = kind(name)
    known = KnownTexts(tokenizer)
    for _ in range(2):
        assert known.encode_batch(said) == [tokenizer.encode(text) for text in said]


def test_short_texts_are_encoded_once_and_nobody_changes_them() -> None:
    asked: list[str] = []

    class One:
        def encode(self, text: str) -> list[int]:
            asked.append(text)
            return [ord(c) for c in text]

    known, long = KnownTexts(One()), "y" * (KNOWN_CHARACTERS + 1)
    known.encode_batch(["ab", long])[0].append(7)
    assert known.encode_batch(["ab", long])[0] == [97, 98]
    assert asked == ["ab", long, long]
