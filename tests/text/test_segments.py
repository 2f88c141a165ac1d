from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.text.prompt import encode_persona, encode_turns
from convai.text.segments import (
    IGNORE,
    EncodedTurn,
    build_prefix,
    build_prompt,
    dialogue_tree,
    utterance_sequences,
)
from tests.tiny import FRAME, SPECIAL, personas, turns
from tests.tokenizer_kinds import KINDS, kind, texts

BOS, EOS, S1, S2 = SPECIAL.bos_id, SPECIAL.eos_id, SPECIAL.speaker1_id, SPECIAL.speaker2_id
_ = IGNORE

LIKE = [[1, 2, 3], [4]]
"""The persona of the examples: two sentences."""


def user(*ids: int) -> EncodedTurn:
    return EncodedTurn(USER, ids)


def agent(*ids: int, wrong: tuple[tuple[int, ...], ...] = ()) -> EncodedTurn:
    return EncodedTurn(AGENT, ids, wrong)


# -- the blog post's figure, written out


def test_the_figure() -> None:
    (sequence,) = utterance_sequences(FRAME, LIKE, [user(5, 6)], agent(7, 8))
    assert sequence.ids == [BOS, 1, 2, 3, 4, S1, 5, 6, S2, 7, 8, EOS]
    assert sequence.positions == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    assert sequence.segments == [S2, S2, S2, S2, S2, S1, S1, S1, S2, S2, S2, S2]
    assert sequence.labels == [_, _, _, _, _, _, _, _, 7, 8, EOS, _]
    assert sequence.choices == [[11]]
    assert sequence.is_causal


def test_candidates_are_sequences_of_their_own_and_gold_is_last() -> None:
    reply = agent(7, 8, wrong=((9,), (10, 11, 12)))
    first, second, gold = utterance_sequences(FRAME, [], [user(5)], reply)
    assert first.ids == [BOS, S1, 5, S2, 9, EOS]
    assert second.ids == [BOS, S1, 5, S2, 10, 11, 12, EOS]
    assert gold.ids == [BOS, S1, 5, S2, 7, 8, EOS]
    assert [s.choices for s in (first, second, gold)] == [[[5]], [[7]], [[6]]]
    assert set(first.labels + second.labels) == {IGNORE}, "a wrong reply is never to be learnt"
    assert gold.labels == [_, _, _, 7, 8, EOS, _]


def test_history_has_no_eos_and_its_replies_no_labels() -> None:
    (sequence,) = utterance_sequences(FRAME, [], [user(1), agent(2), user(3)], agent(4))
    assert sequence.ids == [BOS, S1, 1, S2, 2, S1, 3, S2, 4, EOS]
    assert sequence.labels == [_, _, _, _, _, _, _, 4, EOS, _]


def test_a_dialogue_as_a_tree() -> None:
    told = [user(5, 6), agent(7, 8, wrong=((9, 10),)), user(11), agent(12)]
    tree = dialogue_tree(FRAME, LIKE, told)
    #                 0    1  2  3  4  5   6  7  8   9  10 11  12  13  14 | 15 16 17  | 18
    assert tree.ids == [BOS, 1, 2, 3, 4, S1, 5, 6, S2, 7, 8, S1, 11, S2, 12, 9, 10, EOS, EOS]
    assert tree.positions == [*range(15), 9, 10, 11, 11]
    assert tree.segments == [S2] * 5 + [S1] * 3 + [S2] * 3 + [S1] * 2 + [S2] * 2 + [S2] * 4
    # the first word is predicted from <speaker2>, the <eos> from the last word, in the trunk both
    assert tree.labels == [_, _, _, _, _, _, _, _, 7, 8, EOS, _, _, 12, EOS, _, _, _, _]
    assert tree.branch == [0] * 15 + [1] * 3 + [2]
    assert tree.limit == [*range(15), 8, 8, 8, 10]
    assert tree.choices == [[17, 18]], "the second reply brings no distractors and so no choice"
    assert not tree.is_causal


def test_targets_of_everybody() -> None:
    tree = dialogue_tree(FRAME, [], [user(1), agent(2)], targets="all")
    assert tree.ids == [BOS, S1, 1, S2, 2]
    assert tree.labels == [_, 1, EOS, 2, EOS]
    assert tree.is_causal


def test_an_agent_who_begins_answers_nothing() -> None:
    tree = dialogue_tree(FRAME, [], [agent(1, wrong=((9,),)), user(2), agent(3)])
    assert tree.labels == [_, _, _, _, _, 3, EOS]
    assert tree.choices == []
    everybody = dialogue_tree(FRAME, [], [agent(1, wrong=((9,),)), user(2)], targets="all")
    assert everybody.labels == [_, 1, EOS, 2, EOS]
    assert everybody.choices == []


def test_a_window_has_context_that_is_no_target() -> None:
    told = [user(1), agent(2, wrong=((9,),)), user(3), agent(4, wrong=((9,),))]
    tree = dialogue_tree(FRAME, [], told, first_target=2)
    assert tree.labels[:9] == [_, _, _, _, _, _, _, 4, EOS]
    assert len(tree.choices) == 1
    everybody = dialogue_tree(FRAME, [], told, first_target=2, targets="all", choices=False)
    assert everybody.labels == [_, _, _, _, _, 3, EOS, 4, EOS]


def test_an_empty_reply_is_its_eos() -> None:
    tree = dialogue_tree(FRAME, [], [user(1), agent(wrong=((9,),))])
    assert tree.ids == [BOS, S1, 1, S2, 9, EOS, EOS]
    assert tree.labels == [_, _, _, EOS, _, _, _]
    assert tree.positions == [0, 1, 2, 3, 4, 5, 4]
    assert tree.choices == [[5, 6]]


# -- the speaker is the turn's own


def test_two_turns_in_a_row_by_one_speaker() -> None:
    """Speakers computed from parity would give the second turn to the other one, and every later one."""
    told = [user(1), user(2), agent(3), agent(4), user(5)]
    prompt = build_prompt(FRAME, [], told)
    assert prompt.ids == [BOS, S1, 1, S1, 2, S2, 3, S2, 4, S1, 5, S2]
    assert prompt.segments == [S2, S1, S1, S1, S1, S2, S2, S2, S2, S1, S1, S2]
    tree = dialogue_tree(FRAME, [], told)
    assert tree.labels == [_, _, _, _, _, 3, EOS, 4, EOS, _, _]


def test_an_even_history_keeps_its_speakers() -> None:
    """What went wrong in transfer-learning-conv-ai: a history cut to an even length swapped the chairs."""
    told = [user(1), agent(2), user(3)]
    assert build_prefix(FRAME, [], told[1:]).ids == [BOS, S2, 2, S1, 3]


def test_the_user_may_be_asked_to_talk_too() -> None:
    prompt = build_prompt(FRAME, [], [agent(1)], speaker=USER)
    assert (prompt.ids, prompt.segments) == ([BOS, S2, 1, S1], [S2, S2, S2, S1])
    (sequence,) = utterance_sequences(FRAME, [], [agent(1)], user(2))
    assert (sequence.ids[-3:], sequence.segments[-3:]) == ([S1, 2, EOS], [S1, S1, S1])


@given(persona=personas, told=turns())
def test_a_prompt_says_who_said_what(persona: list[list[int]], told: list[EncodedTurn]) -> None:
    prompt = build_prompt(FRAME, persona, told)
    assert prompt.positions == list(range(len(prompt)))
    # read back from the ids alone
    spoken: list[tuple[int, list[int]]] = []
    head, *rest = prompt.ids
    assert head == BOS
    said: list[int] = []
    for word, segment in zip(rest, prompt.segments[1:], strict=True):
        if word in (S1, S2):
            spoken.append((word, []))
            assert segment == word
        elif spoken:
            assert segment == spoken[-1][0]
            spoken[-1][1].append(word)
        else:
            assert segment == S2
            said.append(word)
    assert said == [id for sentence in persona for id in sentence]
    assert spoken == [((S1, S2)[t.speaker], list(t.ids)) for t in told] + [(S2, [])]


@given(persona=personas, told=turns(), targets=st.sampled_from(["agent", "all"]), first=st.integers(0, 4))
def test_every_tree_is_sound(
    persona: list[list[int]], told: list[EncodedTurn], targets: str, first: int
) -> None:
    tree = dialogue_tree(FRAME, persona, told, targets=targets, first_target=first)  # type: ignore[arg-type]
    columns = (tree.ids, tree.positions, tree.segments, tree.labels, tree.branch, tree.limit)
    assert {len(column) for column in columns} == {len(tree)}
    trunk = tree.branch.count(0)
    assert tree.branch[:trunk] == [0] * trunk, "the trunk comes first"
    assert tree.ids[:trunk] == build_prefix(FRAME, persona, told).ids
    learnt = [
        [*t.ids, EOS]
        for i, t in enumerate(told)
        if i >= first and (targets == "all" or (t.speaker == AGENT and i > 0))
    ]
    assert [label for label in tree.labels if label != IGNORE] == [id for reply in learnt for id in reply]
    choosing = [t for i, t in enumerate(told) if i >= max(1, first) and t.speaker == AGENT and t.distractors]
    assert [len(places) for places in tree.choices] == [len(t.distractors) + 1 for t in choosing]
    for t, places in zip(choosing, tree.choices, strict=True):
        for place, ids in zip(places, [*t.distractors, ()], strict=True):
            branch = tree.branch[place]
            own = [i for i in range(len(tree)) if tree.branch[i] == branch]
            assert [tree.ids[i] for i in own] == [*ids, EOS]
            assert place == own[-1]
            start = tree.limit[place]
            assert [tree.positions[i] for i in own] == list(range(start + 1, start + 1 + len(own)))
            assert {tree.limit[i] for i in own} == {start}
            assert tree.ids[start] == (S2 if ids or not t.ids else t.ids[-1])


# -- typed text


@pytest.mark.parametrize("name", KINDS)
@given(sentences=st.lists(texts, max_size=3), said=st.lists(texts, min_size=1, max_size=4))
def test_no_control_id_comes_from_text(name: str, sentences: list[str], said: list[str]) -> None:
    """However many `<speaker2>` and `<eos>` people write, the prompt has exactly its own."""
    tokenizer = kind(name)
    dialog = Dialog(
        tuple(Turn(i % 2, text) for i, text in enumerate(said)), (Persona(), Persona(tuple(sentences)))
    )
    prompt = build_prompt(
        tokenizer.frame, encode_persona(tokenizer, dialog.persona), encode_turns(tokenizer, dialog.turns)
    )
    found = [word for word in prompt.ids if word in tokenizer.special_ids]
    speakers = [tokenizer.frame.segments[turn.speaker] for turn in dialog.turns]
    assert found == [tokenizer.bos_id, *speakers, tokenizer.speaker2_id]
    assert prompt.ids[-1] == tokenizer.speaker2_id
    assert set(prompt.segments) <= {tokenizer.speaker1_id, tokenizer.speaker2_id}
