"""Scores of given replies: equal to one utterance at a time, whatever the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.engine.backends import native_backend
from convai.evaluation.cached_trees import CachedTrees
from convai.evaluation.scoring import ReplyScores, TreeScorer, WholeTrees, score_windows
from convai.evaluation.windows import ReplyWindow, reply_windows, shared
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text import segments
from convai.text.frames import Frame
from convai.text.segments import TRUNK, EncodedDialog, EncodedTurn, utterance_sequences
from tests.tiny import CHAT, FAMILIES, FRAME, FRAMES, IN_TURN, SPECIAL, dialogs, randomize, tiny_model

Scorer = Callable[..., TreeScorer]


def rotary(**changes: Any) -> DoubleHeadsModel:
    sizes = {"vocab_size": SPECIAL.vocab_size, "n_positions": 160, "n_embd": 32, "n_layer": 2, "n_head": 4}
    shape = Shape(**{"family": "llama", "n_kv_head": 2, "n_inner": 48} | sizes | changes)
    model = DoubleHeadsModel(shape.without_dropout())
    randomize(model)
    return model.eval()


def matching() -> DoubleHeadsModel:
    """With a match head."""
    model = DoubleHeadsModel(tiny_model().config.replace(match_size=8))
    randomize(model)
    return model.eval()


MODELS = {
    **{family: tiny_model(family) for family in FAMILIES},
    **{family: rotary(family=family) for family in ("llama", "qwen3")},
    "gemma3_text": tiny_model("gemma3_text"),
}
SCORERS: list[Scorer] = [WholeTrees, CachedTrees]


def score_replies(
    model: DoubleHeadsModel,
    corpus: Sequence[EncodedDialog],
    how: Scorer = CachedTrees,
    *,
    max_history: int | None = 2,
    told: Callable[[int], None] | None = None,
    **options: Any,
) -> ReplyScores:
    found = list(reply_windows(FRAME, corpus, max_history=max_history, n_positions=model.config.n_positions))
    return score_windows(how(model, SPECIAL.pad_id, **options), FRAME, found, progress=told)


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


def tree(window: ReplyWindow) -> segments.TokenSequence:
    (group,) = shared([window], FRAME)
    return group.tree(FRAME)


@pytest.mark.parametrize("how", SCORERS)
@pytest.mark.parametrize("family", MODELS)
@settings(max_examples=15)
@given(
    st.lists(dialogs, max_size=4),
    st.sampled_from([0, 1, 2, None]),
    st.sampled_from([16, 200, 10_000]),
)
def test_scores_are_those_of_one_utterance_at_a_time(
    family: str, how: Scorer, corpus: list[EncodedDialog], max_history: int | None, batch_tokens: int
) -> None:
    """The tree, the batch, the mask and the cache change nothing, at any batch size."""
    model = MODELS[family]
    found = score_replies(model, corpus, how, max_history=max_history, batch_tokens=batch_tokens)
    assert_equal(found, one_at_a_time(model, corpus, max_history))


LONG_TALK = EncodedDialog(
    [[1, 2, 3], [4]],
    [
        EncodedTurn(USER, [5 + i, 6 + i])
        if i % 2 == 0
        else EncodedTurn(AGENT, [7 + i] * (1 + i % 3), ([i] * 4, [9, i], [3], [i, 2, 4, 6, 8]))
        for i in range(16)
    ],
)


def whole_windows_alone(model: DoubleHeadsModel, found: Sequence[ReplyWindow], frame: Frame) -> ReplyScores:
    """A window after another, no two of them together."""
    scores = ReplyScores()
    for window in found:
        alone = score_windows(WholeTrees(model, SPECIAL.pad_id), frame, [window])
        scores.nll += alone.nll
        scores.tokens += alone.tokens
        scores.choices += alone.choices
    return scores


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_windows_that_share_a_tree_score_as_alone(family: str, trimmed: bool, frame: str) -> None:
    """Also where the dialogue outgrows the context, and windows no longer begin alike."""
    model, written = MODELS[family], FRAMES[frame]
    corpus = [LONG_TALK, LONG_TALK]
    found = list(reply_windows(written, corpus, max_history=None, n_positions=1000))
    if trimmed:
        positions = 3 * shared(found, written)[0].tree(written).branch.count(TRUNK) // 4
        found = list(reply_windows(written, corpus, max_history=None, n_positions=positions))
    assert trimmed == any(len(window.history) < window.turn for window in found)
    assert (2 < len(shared(found, written)) < len(found)) if trimmed else len(shared(found, written)) == 2
    expected = whole_windows_alone(model, found, written)
    for scorer in (
        WholeTrees(model, SPECIAL.pad_id),
        CachedTrees(model, SPECIAL.pad_id),
        CachedTrees(model, SPECIAL.pad_id, batch_tokens=16),
        CachedTrees(model, SPECIAL.pad_id, pool_bytes=1),  # a branch at a time
    ):
        assert_equal(score_windows(scorer, written, found), expected, 1e-5 * max(map(abs, expected.nll)))


def test_a_match_head_adds_its_part() -> None:
    model = matching()
    found = windows(LONG_TALK, LONG_TALK)
    expected = whole_windows_alone(model, found, FRAME)
    assert_equal(score_windows(CachedTrees(model, SPECIAL.pad_id), FRAME, found), expected)
    model.match_head = None
    without = whole_windows_alone(model, found, FRAME)
    assert without.choices[0] != pytest.approx(expected.choices[0], abs=1e-2)


def test_the_dialogue_is_one_tree_until_its_beginning_changes() -> None:
    def together(found: list[ReplyWindow], most: int | None = None) -> list[list[int]]:
        return [group.numbers for group in shared(found, FRAME, most)]

    everything = windows(LONG_TALK)
    assert together(everything) == [list(range(8))]
    assert together(windows(LONG_TALK, LONG_TALK)) == [list(range(8)), list(range(8, 16))]
    assert together(windows(LONG_TALK, history=0)) == [[i] for i in range(8)]
    assert together(windows(LONG_TALK, history=2)) == [[0, 1, 2], *([i] for i in range(3, 8))]
    assert together(everything[::3]) == [[0, 1, 2]]  # what lies between is history
    sizes = [group.size(FRAME) for group in shared(everything, FRAME, 80)]
    assert max(sizes) <= 80
    assert len(sizes) > 1
    (group,) = shared(everything, FRAME)
    alone = sum(one.size(FRAME) for window in everything for one in shared([window], FRAME))
    assert group.size(FRAME) == len(group.tree(FRAME)) < alone


def test_a_history_in_other_words_is_not_shared() -> None:
    """A reply is scored in its own words, and read afterwards in those that the history has."""
    told = replace(LONG_TALK, turns=[replace(turn, ids=[*turn.ids[:3], 2]) for turn in LONG_TALK.turns])
    found = list(reply_windows(FRAME, [LONG_TALK], max_history=None, n_positions=160, histories=[told]))
    assert [group.numbers for group in shared(found, FRAME)] == [[i] for i in range(8)]
    same = list(reply_windows(FRAME, [LONG_TALK], max_history=None, n_positions=160, histories=[LONG_TALK]))
    assert len(shared(same, FRAME)) == 1


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_eight_bits_are_those_of_the_engine(family: str) -> None:
    sizes = {"n_embd": 64, "n_head": 2, "n_kv_head": 1, "n_inner": 128}
    model = (
        rotary(**sizes) if family == "llama" else DoubleHeadsModel(MODELS["gpt2"].config.replace(n_embd=64))
    )
    randomize(model)
    if not native_backend.available(model.config):
        pytest.skip("the processor has no instructions for the kernels, or they are not compiled")
    exact, rough = (
        score_replies(model, [LONG_TALK], max_history=None, precision=p) for p in ("float32", "int8")
    )
    assert rough.nll != exact.nll
    assert sum(rough.nll) == pytest.approx(sum(exact.nll), rel=0.05)
    few = score_replies(model, [LONG_TALK], max_history=None, precision="int8", pool_bytes=1)
    assert few.nll == rough.nll  # a row's numbers do not depend on the rows beside it
    assert_equal(few, rough, 1e-6)


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
    assert score_replies(MODELS["gpt2"], [alone]).choices == [[]]


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
        assert max(tree(window).positions) < 40
    assert len(score_windows(CachedTrees(model, SPECIAL.pad_id), FRAME, found).nll) == 4


def test_a_long_persona_leaves_room_as_long_as_the_reply_fits() -> None:
    """A quarter of the positions is reserved, but not at the price of leaving the reply out."""
    dialog = talk((USER, [1] * 3), (AGENT, [2] * 4), persona=[[3] * 29])
    (window,) = windows(dialog, positions=40)
    assert max(tree(window).positions) < 40
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
        for frame in (FRAME, CHAT, IN_TURN):
            (group,) = shared([window], frame)
            padded = group.size(frame) - len(group.tree(frame))
            assert padded >= 0 if frame is IN_TURN else padded == 0


def test_progress_adds_up_and_training_mode_comes_back() -> None:
    corpus = [talk((USER, [i]), (AGENT, [i, i])) for i in range(5)]
    model = tiny_model()
    told: list[int] = []
    score_replies(model.train(), corpus, WholeTrees, batch_tokens=16, told=told.append)
    assert told == sorted(told)
    assert told[-1] == 5
    assert model.training
    score_replies(model.eval(), corpus, WholeTrees)
    assert not model.training
    told.clear()
    score_replies(model.train(), corpus, told=told.append)
    assert told == [1, 2, 3, 4, 5]
    assert model.training


def test_dropout_is_off_while_scoring() -> None:
    model = tiny_model()
    noisy = DoubleHeadsModel(model.config.replace(embd_pdrop=0.5, resid_pdrop=0.5))
    noisy.load_state_dict(model.state_dict())
    corpus = [talk((USER, [1, 2]), (AGENT, [3, 4]))]
    for how in SCORERS:
        assert score_replies(noisy.train(), corpus, how) == score_replies(model, corpus, how)


def test_bfloat16_computes_something_else_but_nearly_the_same() -> None:
    corpus = [talk((USER, [1, 2]), (AGENT, [3, 4, 5]))]
    model = MODELS["gpt2"]
    exact = score_replies(model, corpus)
    for rough in (
        score_replies(model, corpus, WholeTrees, autocast=torch.bfloat16),
        score_replies(model, corpus, precision="bf16"),
    ):
        assert rough.nll != exact.nll
        assert rough.nll == pytest.approx(exact.nll, rel=0.05)


def test_nothing_to_score_is_no_score() -> None:
    for how in SCORERS:
        assert score_replies(MODELS["gpt2"], [], how) == ReplyScores()
