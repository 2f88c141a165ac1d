"""Scores of given replies: equal to one utterance at a time, whatever the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.evaluation.scoring import ReplyScores, ReplyWindow, reply_windows, score_replies, score_windows
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from convai.text import segments
from convai.text.segments import EncodedDialog, EncodedTurn, utterance_sequences
from tests.tiny import CHAT, FAMILIES, FRAME, IN_TURN, dialogs, tiny_model

MODELS = {family: tiny_model(family) for family in FAMILIES}


def run(model: DoubleHeadsModel, row: segments.TokenSequence) -> torch.Tensor:
    """Hidden states `[T, D]` of one sequence by itself, plain causal attention."""
    words, positions, parts = (torch.tensor([ids]) for ids in (row.ids, row.positions, row.segments))
    return model(words, positions, parts)[0]


@torch.inference_mode()
def one_at_a_time(
    model: DoubleHeadsModel, corpus: Sequence[EncodedDialog], max_history: int | None
) -> ReplyScores:
    """The blog post's layout without batches: every candidate a sequence of its own."""
    scores = ReplyScores()
    for dialog in corpus:
        for i, turn in enumerate(dialog.turns):
            if turn.speaker != AGENT or i == 0:
                continue
            keep = i if max_history is None else 2 * max_history + 1
            wrong = [ids for ids in turn.distractors if list(ids) != list(turn.ids)]
            reply = replace(turn, distractors=wrong)
            rows = utterance_sequences(FRAME, dialog.persona, dialog.turns[max(0, i - keep) : i], reply)
            states = [run(model, row) for row in rows]
            labels = [(place, label) for place, label in enumerate(rows[-1].labels) if label >= 0]
            log_probs = model.lm_logits(states[-1]).log_softmax(-1)
            scores.nll.append(-sum(float(log_probs[place, label]) for place, label in labels))
            scores.tokens.append(len(labels))
            choices = [float(model.mc_logits(h[-1])) for h in states]
            scores.choices.append(choices if wrong else [])
    return scores


def assert_equal(found: ReplyScores, expected: ReplyScores, tolerance: float = 1e-4) -> None:
    assert found.tokens == expected.tokens
    assert found.nll == pytest.approx(expected.nll, abs=tolerance)
    assert [len(c) for c in found.choices] == [len(c) for c in expected.choices]
    for ours, theirs in zip(found.choices, expected.choices, strict=True):
        assert ours == pytest.approx(theirs, abs=tolerance)


def talk(*turns: tuple[int, list[int]], persona: Sequence[Sequence[int]] = ()) -> EncodedDialog:
    return EncodedDialog(persona, [EncodedTurn(speaker, ids) for speaker, ids in turns])


def windows(*corpus: EncodedDialog, history: int | None = None, positions: int = 160) -> list[ReplyWindow]:
    return list(reply_windows(FRAME, corpus, max_history=history, n_positions=positions))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(
    st.lists(dialogs, max_size=4),
    st.sampled_from([0, 1, 2, None]),
    st.sampled_from([16, 200, 10_000]),
)
def test_scores_are_those_of_one_utterance_at_a_time(
    family: Family, corpus: list[EncodedDialog], max_history: int | None, batch_tokens: int
) -> None:
    """The tree, the batch and the mask change nothing, at any batch size."""
    model = MODELS[family]
    found = score_replies(model, FRAME, corpus, max_history=max_history, batch_tokens=batch_tokens)
    assert_equal(found, one_at_a_time(model, corpus, max_history))


def test_the_history_window_counts_exchanges() -> None:
    turns = [(i % 2, [i]) for i in range(8)]
    seen = {w.turn: [t.ids[0] for t in w.history] for w in windows(talk(*turns), history=1)}
    assert seen == {1: [0], 3: [0, 1, 2], 5: [2, 3, 4], 7: [4, 5, 6]}
    assert [len(w.history) for w in windows(talk(*turns), history=0)] == [1, 1, 1, 1]
    assert [len(w.history) for w in windows(talk(*turns))] == [1, 3, 5, 7]


def test_only_replies_of_the_agent_that_answer_something_count() -> None:
    corpus = [
        talk((AGENT, [1]), (AGENT, [2]), (USER, [3])),
        talk((USER, [1])),
        talk((USER, [4]), (AGENT, [5])),
    ]
    assert [(w.dialog, w.turn, w.number) for w in windows(*corpus)] == [(0, 1, 0), (2, 1, 1)]


def test_a_distractor_that_is_the_reply_is_dropped() -> None:
    reply = EncodedTurn(AGENT, [1, 2], ([3], (1, 2), [4]))
    (window,) = windows(EncodedDialog([], [EncodedTurn(USER, [9]), reply]))
    assert window.reply.distractors == [[3], [4]]
    alone = EncodedDialog([], [EncodedTurn(USER, [9]), replace(reply, distractors=([1, 2],))])
    assert score_replies(MODELS["gpt2"], FRAME, [alone]).choices == [[]]


def test_replies_that_do_not_fit_are_left_out_and_keep_their_numbers() -> None:
    corpus = [
        talk((USER, [1]), (AGENT, [2]), persona=[[3] * 30]),  # the persona fills the model
        talk((USER, [1] * 40), (AGENT, [2]), (USER, [1]), (AGENT, [2])),  # so does the first message
        talk((USER, [1]), (AGENT, [2] * 40), (USER, [1]), (AGENT, [5])),  # so does the first reply
    ]
    found = windows(*corpus, history=0, positions=32)
    assert [(w.dialog, w.turn, w.number) for w in found] == [(1, 3, 2), (2, 3, 4)]


def test_what_is_kept_fits_and_the_oldest_history_goes() -> None:
    turns = [(i % 2, [i] * 6) for i in range(8)]
    model = tiny_model(n_positions=40)
    found = windows(talk(*turns, persona=[[1] * 5]), positions=40)
    assert [[t.ids[0] for t in w.history] for w in found] == [[0], [0, 1, 2], [2, 3, 4], [4, 5, 6]]
    for window in found:
        assert max(window.tree(FRAME).positions) < 40
    assert len(score_windows(model, FRAME, found).nll) == 4


def test_a_long_persona_leaves_room_as_long_as_the_reply_fits() -> None:
    """A quarter of the positions is reserved, but not at the price of leaving the reply out."""
    dialog = talk((USER, [1] * 3), (AGENT, [2] * 4), persona=[[3] * 29])
    (window,) = windows(dialog, positions=40)
    assert max(window.tree(FRAME).positions) < 40
    assert windows(talk((USER, [1] * 3), (AGENT, [2] * 5), persona=[[3] * 29]), positions=40) == []


def test_long_distractors_are_cut_and_do_not_take_the_history() -> None:
    turns = [EncodedTurn(USER, [1] * 4), EncodedTurn(AGENT, [2] * 4, [[3] * 90, [4]])]
    (window,) = windows(EncodedDialog([], turns), positions=40)
    assert [len(ids) for ids in window.reply.distractors] == [10, 1]
    (without,) = windows(talk((USER, [1] * 4), (AGENT, [2] * 4)), positions=40)
    assert window.history == without.history


@given(dialogs)
def test_a_window_knows_its_length(dialog: EncodedDialog) -> None:
    for window in windows(dialog):
        assert window.size(FRAME) == len(window.tree(FRAME))
        assert window.size(CHAT) == len(window.tree(CHAT))
        assert window.size(IN_TURN) >= len(window.tree(IN_TURN))


def test_progress_adds_up_and_training_mode_comes_back() -> None:
    corpus = [talk((USER, [i]), (AGENT, [i, i])) for i in range(5)]
    model = tiny_model()
    told: list[int] = []
    score_replies(model.train(), FRAME, corpus, batch_tokens=16, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 5
    assert model.training
    score_replies(model.eval(), FRAME, corpus)
    assert not model.training


def test_dropout_is_off_while_scoring() -> None:
    model = tiny_model()
    noisy = DoubleHeadsModel(model.config.replace(embd_pdrop=0.5, resid_pdrop=0.5))
    noisy.load_state_dict(model.state_dict())
    corpus = [talk((USER, [1, 2]), (AGENT, [3, 4]))]
    assert score_replies(noisy.train(), FRAME, corpus) == score_replies(model, FRAME, corpus)


def test_bfloat16_computes_something_else_but_nearly_the_same() -> None:
    corpus = [talk((USER, [1, 2]), (AGENT, [3, 4, 5]))]
    model = MODELS["gpt2"]
    exact = score_replies(model, FRAME, corpus)
    rough = score_replies(model, FRAME, corpus, autocast=torch.bfloat16)
    assert rough.nll != exact.nll
    assert rough.nll == pytest.approx(exact.nll, rel=0.05)


def test_nothing_to_score_is_no_score() -> None:
    assert score_replies(MODELS["gpt2"], FRAME, []) == ReplyScores()
