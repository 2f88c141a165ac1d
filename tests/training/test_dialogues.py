from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError
from convai.text.segments import EncodedDialog, EncodedTurn, dialogue_tree, utterance_sequences
from convai.training.batches import Batch, collate
from convai.training.corpus import EncodedCorpus
from convai.training.dialogues import DialogueData, StepSource, cut
from convai.training.losses import compute_losses
from tests.tiny import FRAME, FRAMES, SPECIAL, WORDS, Layout, dialogs, tiny_model

BOS, EOS, S1, S2, PAD = (
    SPECIAL.bos_id,
    SPECIAL.eos_id,
    SPECIAL.speaker1_id,
    SPECIAL.speaker2_id,
    SPECIAL.pad_id,
)


def corpus_of(*dialogs: EncodedDialog) -> EncodedCorpus:
    return EncodedCorpus.pack(dialogs)


def chat(number: int, turns: int = 6, persona: int = 3) -> EncodedDialog:
    """Dialogue `number`; every utterance holds its number, so that its origin shows."""
    return EncodedDialog(
        [[number, 20 + i] for i in range(persona)],
        [EncodedTurn(i % 2, [number, i, *[number] * (i % 3)]) for i in range(turns)],
    )


CORPUS = corpus_of(*(chat(i) for i in range(12)))


def same(a: Batch, b: Batch) -> bool:
    for name in Batch.__slots__:
        one, other = getattr(a, name), getattr(b, name)
        if (one is None) != (other is None) or (one is not None and not torch.equal(one, other)):
            return False
    return True


def take(source: StepSource, n: int, start: int = 0, **parts: int) -> list[list[Batch]]:
    return list(itertools.islice(source.steps(start, **parts), n))


def replies_in(batches: Iterable[Batch]) -> tuple[list[list[int]], list[list[list[int]]]]:
    """The labelled replies of trees, and the distractors of every choice, as ids without <eos>."""
    golds: list[list[int]] = []
    distractors: list[list[list[int]]] = []
    for batch in batches:
        words = batch.input_ids.flatten().tolist()
        positions = batch.position_ids.flatten().tolist()
        gold: list[int] = []
        for label in batch.lm_labels.tolist():
            if label == EOS:
                golds.append(gold)
                gold = []
            else:
                gold.append(label)
        for places in batch.mc_places.tolist():
            wrong = []
            for place in [p for p in places if p >= 0][:-1]:
                begin = place
                while words[begin - 1] < WORDS and positions[begin - 1] == positions[begin] - 1:
                    begin -= 1
                wrong.append(words[begin:place])
            distractors.append(wrong)
    return golds, distractors


# -- windows


@given(
    sizes=st.lists(st.integers(1, 30), max_size=25),
    persona=st.integers(1, 40),
    n_positions=st.integers(16, 64),
    data=st.data(),
)
@example(sizes=[5, 40, 5, 5], persona=1, n_positions=20, data=None)
@example(sizes=[10, 10, 10, 10], persona=1, n_positions=22, data=None)
def test_windows_hold_every_turn_once_and_fit(
    sizes: list[int], persona: int, n_positions: int, data: st.DataObject | None
) -> None:
    begin = data.draw(st.integers(0, max(0, len(sizes) - 1))) if data else 0
    windows = list(cut(sizes, persona, n_positions, begin))
    room = n_positions - persona - 1
    targets = [i for _, stop, first in windows for i in range(first, stop)]
    assert targets == [i for i in range(begin, len(sizes)) if sizes[i] <= room]
    for start, stop, first in windows:
        assert begin <= start <= first < stop <= len(sizes)
        assert sum(sizes[start:stop]) <= room
        answered = first - 1
        if answered >= begin and sizes[answered] <= room and sizes[answered] + sizes[first] <= room:
            assert start < first, "what the first target answers would have fitted"
    # what follows a window would not have fitted into it, so there are no needless windows
    for start, stop, _ in windows:
        assert stop == len(sizes) or sum(sizes[start : stop + 1]) > room


def test_a_later_window_repeats_some_context() -> None:
    assert list(cut([10] * 8, 9, 60)) == [(0, 5, 0), (4, 8, 5)]
    assert list(cut([5] * 20, 9, 60)) == [(0, 10, 0), (7, 17, 10), (14, 20, 17)]
    assert list(cut([10] * 8, 9, 60, begin=5)) == [(5, 8, 5)]
    assert list(cut([30, 30, 30], 9, 60)) == [(0, 1, 0), (1, 2, 1), (2, 3, 2)]
    assert list(cut([5], 60, 60)) == []


# -- dialogues as training steps


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_an_epoch_has_every_reply_once(layout: Layout) -> None:
    data = DialogueData(CORPUS, FRAME, layout=layout, random_start=0.0, batch_tokens=300)
    golds, _ = replies_in(itertools.chain.from_iterable(take(data, data.steps_per_epoch)))
    expected = [list(t.ids) for d in CORPUS for i, t in enumerate(d.turns) if t.speaker == AGENT and i]
    assert sorted(golds) == sorted(expected)


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_both_layouts_learn_the_same(layout: Layout) -> None:
    """With the same distractors: the corpus' own, all of them."""
    own = [
        EncodedDialog(
            d.persona,
            [
                EncodedTurn(t.speaker, t.ids, ([n, 29], [28, n]) if t.speaker == AGENT else ())
                for t in d.turns
            ],
        )
        for n, d in enumerate(CORPUS)
    ]
    data = DialogueData(
        corpus_of(*own), FRAME, layout=layout, distractors=2, random_start=0.0, permute_persona=False
    )
    model = tiny_model()
    sums = torch.zeros(2, dtype=torch.float64)
    n_labels = n_choices = 0
    with torch.no_grad():
        for (batch,) in take(data, data.steps_per_epoch):
            losses = compute_losses(model, batch)
            sums += torch.tensor([float(losses.lm), float(losses.mc)])
            n_labels += losses.n_labels
            n_choices += losses.n_choices
        lm = mc = 0.0
        for d in own:
            tree = dialogue_tree(FRAME, d.persona, d.turns)
            losses = compute_losses(model, collate([tree], PAD))
            lm, mc = lm + float(losses.lm), mc + float(losses.mc)
    assert n_choices == 12 * 3
    assert n_labels == sum(len(t.ids) + 1 for d in own for t in d.turns if t.speaker == AGENT)
    assert sums.tolist() == pytest.approx([lm, mc], rel=1e-5)


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_steps_are_the_same_every_time_and_can_be_skipped_to(layout: Layout) -> None:
    def data() -> DialogueData:
        return DialogueData(CORPUS, FRAME, layout=layout, batch_tokens=200, accumulation=2, seed=7)

    steps = take(data(), 3 * data().steps_per_epoch)
    assert len(steps[0]) == 2
    for start in (0, 1, data().steps_per_epoch, 2 * data().steps_per_epoch + 1):
        for ours, theirs in zip(take(data(), 2, start), steps[start : start + 2], strict=True):
            assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    other = DialogueData(CORPUS, FRAME, layout=layout, batch_tokens=200, accumulation=2, seed=8)
    assert not all(same(a, b) for a, b in zip(take(other, 1)[0], steps[0], strict=True))
    epoch = data().steps_per_epoch
    assert not same(steps[0][0], steps[epoch][0]), "every epoch is new"


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_step(world: int) -> None:
    data = DialogueData(CORPUS, FRAME, batch_tokens=150, accumulation=2 * world)
    ranks = [take(data, 3, 1, rank=r, world=world) for r in range(world)]
    for step, whole in enumerate(take(data, 3, 1)):
        slices = [ranks[r][step] for r in range(world)]
        assert [len(s) for s in slices] == [2] * world
        shared = [slices[i % world][i // world] for i in range(2 * world)]
        assert all(same(a, b) for a, b in zip(shared, whole, strict=True))


def test_distractors_differ_from_gold_and_come_from_other_dialogues() -> None:
    data = DialogueData(CORPUS, FRAME, distractors=5, batch_tokens=400)
    owners = set()
    steps = take(data, 2 * data.steps_per_epoch)
    golds, wrong = replies_in(itertools.chain.from_iterable(steps))
    assert len(golds) == len(wrong) > 24
    for gold, distractors in zip(golds, wrong, strict=True):
        assert len(distractors) == 5
        for ids in distractors:
            assert ids[0] != gold[0], "a reply of the same dialogue"
            owners.add(ids[0])
            assert ids in [list(t.ids) for t in CORPUS[ids[0]].turns[1::2]], "not an agent's reply"
    assert owners == set(range(12))
    again = replies_in(itertools.chain.from_iterable(take(data, data.steps_per_epoch, data.steps_per_epoch)))[
        1
    ]
    assert sorted(again) != sorted(wrong[: len(again)]), "an epoch brings new ones"


def test_distractors_come_from_the_same_file() -> None:
    """From another source they could be told by their style."""
    one, other = (corpus_of(*(chat(i) for i in range(a, a + 6))) for a in (0, 10))
    empty = EncodedDialog([], [EncodedTurn(USER, [1]), EncodedTurn(AGENT, [])])
    parts = [one, EncodedCorpus.pack([]), corpus_of(empty), EncodedCorpus.concatenate([other])]
    data = DialogueData(EncodedCorpus.concatenate(parts), FRAME, distractors=4, random_start=0.0)
    golds, wrong = replies_in(itertools.chain.from_iterable(take(data, data.steps_per_epoch)))
    assert [] in golds, "a reply that encodes to nothing is its <eos>"
    golds = [gold for gold in golds if gold]
    assert len(wrong) == len(golds) == 12 * 3
    for gold, distractors in zip(golds, wrong, strict=True):
        assert {ids[0] // 10 for ids in distractors} == {gold[0] // 10}
        assert all(ids[0] != gold[0] for ids in distractors)


def test_hard_distractors_come_from_the_same_dialogue() -> None:
    data = DialogueData(CORPUS, FRAME, distractors=8, hard_distractors=0.5)
    golds, wrong = replies_in(itertools.chain.from_iterable(take(data, data.steps_per_epoch)))
    own = [ids[0] == gold[0] for gold, ds in zip(golds, wrong, strict=True) for ids in ds]
    assert 0.3 < sum(own) / len(own) < 0.7
    assert all(ids != gold for gold, ds in zip(golds, wrong, strict=True) for ids in ds)


def test_the_corpus_own_distractors_come_first() -> None:
    told = [EncodedTurn(USER, [1]), EncodedTurn(AGENT, [2], ([21], [22], [2], [23]))]
    corpus = corpus_of(EncodedDialog([], told), *(chat(i) for i in range(5, 8)))
    seen = set()
    for distractors in (2, 3, 5):
        data = DialogueData(corpus, FRAME, distractors=distractors, random_start=0.0)
        golds, wrong = replies_in(itertools.chain.from_iterable(take(data, 6 * data.steps_per_epoch)))
        for gold, ds in zip(golds, wrong, strict=True):
            if gold == [2]:
                assert len(ds) == distractors
                own = [ids for ids in ds if ids in ([21], [22], [23])]
                assert len(own) == min(3, distractors), "the gold one among them is none"
                seen |= {ids[0] for ids in own}
    assert seen == {21, 22, 23}


@pytest.mark.parametrize("n_positions", [18, 24, 40, 200])
@pytest.mark.parametrize("targets", ["agent", "all"])
def test_a_long_dialogue_is_learnt_in_windows(n_positions: int, targets: Any) -> None:
    """Every reply once, however many windows repeat it as context."""
    told = EncodedDialog([[9, 9]], [EncodedTurn(i % 2, [i, i, i][: 1 + i % 3]) for i in range(24)])
    data = DialogueData(
        corpus_of(told),
        FRAME,
        n_positions=n_positions,
        targets=targets,
        random_start=0.0,
        distractors=0,
        batch_tokens=1,
    )
    golds, _ = replies_in(itertools.chain.from_iterable(take(data, data.steps_per_epoch)))
    expected = [list(t.ids) for t in told.turns if targets == "all" or t.speaker == AGENT]
    assert sorted(golds) == sorted(expected)
    assert (data.steps_per_epoch == 1) == (n_positions == 200)


def test_a_window_with_nothing_to_learn_is_left_out() -> None:
    """Question and answer do not fit together, so the answer would stand alone."""
    turns = [
        EncodedTurn(USER, [1] * 8),
        EncodedTurn(AGENT, [2] * 8),
        EncodedTurn(USER, [3]),
        EncodedTurn(AGENT, [4]),
    ]
    data = DialogueData(
        corpus_of(EncodedDialog([], turns)), FRAME, n_positions=16, random_start=0.0, distractors=0
    )
    assert data.steps_per_epoch == 1
    golds, _ = replies_in(take(data, 1)[0])
    assert golds == [[4]]
    alone = EncodedDialog([], turns[:2])
    with pytest.raises(DataError, match="no agent reply fits into 16 tokens"):
        DialogueData(corpus_of(alone), FRAME, n_positions=16)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
@settings(max_examples=25)
@given(
    told=st.lists(dialogs, min_size=1, max_size=4),
    n_positions=st.sampled_from([16, 24, 40]),
    distractors=st.integers(0, 3),
    hard=st.sampled_from([0.0, 0.5]),
    targets=st.sampled_from(["agent", "all"]),
    history=st.sampled_from([None, 0, 1]),
)
def test_any_corpus_gives_rows_that_fit(
    layout: Layout,
    frame: str,
    told: list[EncodedDialog],
    n_positions: int,
    distractors: int,
    hard: float,
    targets: Any,
    history: int | None,
) -> None:
    """Long replies, one reply, the same reply everywhere: no position beyond the last, no wrong gold."""
    long = EncodedDialog([[0]], [EncodedTurn(USER, [1]), EncodedTurn(AGENT, [2] * 9)])
    n_positions += 0 if frame == "blog" else 16  # for what is around every turn
    try:
        data = DialogueData(
            corpus_of(*told, long),
            FRAMES[frame],
            layout=layout,
            targets=targets,
            n_positions=n_positions,
            distractors=distractors,
            hard_distractors=hard,
            max_history=history,
            batch_tokens=100,
        )
    except DataError as error:
        raise AssertionError("the last dialogue always fits") from error
    for (batch,) in take(data, 2 * data.steps_per_epoch):
        assert batch.n_labels
        assert int(batch.position_ids.max()) < n_positions
        told_apart = layout == "dialogue" and targets == "agent" and frame == "blog"
        golds, wrong = replies_in([batch]) if told_apart else ([], [])
        if distractors and wrong and len(wrong) == len(golds):
            assert all(ids != gold for gold, ds in zip(golds, wrong, strict=True) for ids in ds)


def test_a_distractor_at_the_end_of_the_positions_is_whole_where_possible() -> None:
    """The reply is the last that fits, and most of the others are longer."""
    tight = EncodedDialog([], [EncodedTurn(USER, [1] * 11), EncodedTurn(AGENT, [2])])
    others = [
        EncodedDialog([], [EncodedTurn(USER, [1]), EncodedTurn(AGENT, ids)])
        for ids in ([3], [4] * 9, [5] * 10, [6] * 11)
    ]
    data = DialogueData(corpus_of(tight, *others), FRAME, n_positions=16, distractors=3, batch_tokens=1)
    for (batch,) in take(data, 2 * data.steps_per_epoch):
        assert int(batch.position_ids.max()) < 16
        golds, wrong = replies_in([batch])
        if golds == [[2]]:
            assert wrong == [[[3]] * 3]


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_a_corpus_that_says_one_thing_has_no_distractors(layout: Layout) -> None:
    told = [EncodedDialog([], [EncodedTurn(USER, [1]), EncodedTurn(AGENT, [2])])] * 3
    data = DialogueData(corpus_of(*told), FRAME, layout=layout)
    ((batch,),) = take(data, 1)
    assert (batch.n_labels, batch.n_choices) == (6, 0)


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_one_dialogue_is_enough(layout: Layout) -> None:
    data = DialogueData(corpus_of(chat(3)), FRAME, layout=layout, distractors=2)
    _, wrong = replies_in(itertools.chain.from_iterable(take(data, 5)))
    if layout == "dialogue":
        assert wrong
        assert all(len(ds) == 2 for ds in wrong)


def test_one_talker_among_silent_dialogues_is_enough() -> None:
    """Only one dialogue has agent replies: there are no others to draw from."""
    silent = EncodedDialog([], [EncodedTurn(USER, [9])])
    data = DialogueData(corpus_of(silent, chat(3), silent), FRAME, distractors=2, random_start=0.0)
    golds, wrong = replies_in(itertools.chain.from_iterable(take(data, 1)))
    assert len(golds) == 3
    assert [len(ds) for ds in wrong] == [2] * 3


def test_nothing_to_learn_is_said() -> None:
    silent = corpus_of(EncodedDialog([], [EncodedTurn(USER, [1]), EncodedTurn(USER, [2])]))
    first = corpus_of(EncodedDialog([], [EncodedTurn(AGENT, [1]), EncodedTurn(USER, [2])]))
    for corpus in (silent, first, EncodedCorpus.pack([])):
        with pytest.raises(DataError, match="no agent reply that answers anything; check the speakers"):
            DialogueData(corpus, FRAME)
    long = corpus_of(EncodedDialog([[1] * 30], [EncodedTurn(USER, [1]), EncodedTurn(AGENT, [2])]))
    for layout in ("dialogue", "utterance"):
        with pytest.raises(DataError, match="fits into 20 tokens beside its persona"):
            DialogueData(long, FRAME, layout=layout, n_positions=20)


@pytest.mark.parametrize("layout", ["dialogue", "utterance"])
def test_a_persona_is_permuted_and_loses_nothing(layout: Layout) -> None:
    data = DialogueData(corpus_of(chat(3, persona=4)), FRAME, layout=layout, distractors=1)
    orders = set()
    for step in take(data, 30):
        for batch in step:
            for row in batch.input_ids.tolist():
                assert row[0] == BOS
                sentences = [tuple(row[1 + 2 * i : 3 + 2 * i]) for i in range(4)]
                assert sorted(sentences) == [(3, 20), (3, 21), (3, 22), (3, 23)]
                orders.add(tuple(sentences))
    assert len(orders) > 5
    still = DialogueData(corpus_of(chat(3)), FRAME, layout=layout, permute_persona=False)
    for step in take(still, 10):
        assert all(row[1:7] == [3, 20, 3, 21, 3, 22] for batch in step for row in batch.input_ids.tolist())


def test_some_dialogues_begin_at_a_random_turn() -> None:
    told = EncodedDialog([], [EncodedTurn(int(i % 2 and i < 10), [i]) for i in range(14)])
    for share, least, most in ((0.0, 1, 1), (1.0, 5, 9), (0.5, 5, 9)):
        data = DialogueData(corpus_of(told), FRAME, random_start=share, distractors=0)
        begins = [int(batch.input_ids[0, 2]) for (batch,) in take(data, 60)]
        assert least <= len(set(begins)) <= most
        assert all(batch.n_labels for (batch,) in take(data, 60))
        assert max(begins) < 9, "the last reply, number 9, always keeps what it answers"
        if share == 0.5:
            assert 20 <= begins.count(0) <= 50
    for seed in range(30):
        data = DialogueData(corpus_of(told), FRAME, random_start=1.0, seed=seed)
        assert data.steps_per_epoch == 1, "no epoch without the dialogue"


@pytest.mark.parametrize(("history", "expected"), [(0, 1), (1, 3), (2, 5), (None, 7)])
def test_the_history_window_of_utterances(history: int | None, expected: int) -> None:
    told = EncodedDialog([[9]], [EncodedTurn(i % 2, [i]) for i in range(8)])
    data = DialogueData(corpus_of(told), FRAME, layout="utterance", max_history=history, distractors=0)
    epoch = itertools.chain.from_iterable(take(data, data.steps_per_epoch))
    rows = {tuple(row) for batch in epoch for row in batch.input_ids.tolist()}
    (last,) = utterance_sequences(FRAME, [[9]], told.turns[7 - expected : 7], told.turns[7])
    assert tuple(last.ids) in {row[: len(last)] for row in rows}


def test_everybodys_turns_as_targets() -> None:
    data = DialogueData(corpus_of(chat(1)), FRAME, targets="all", random_start=0.0)
    golds, _ = replies_in(itertools.chain.from_iterable(take(data, 1)))
    assert golds == [list(t.ids) for t in chat(1).turns]


def test_rows_stay_near_the_budget() -> None:
    data = DialogueData(CORPUS, FRAME, distractors=3, batch_tokens=400, random_start=0.0)
    sizes = [batch.input_ids.numel() for (batch,) in take(data, data.steps_per_epoch)]
    assert len(sizes) > 2
    assert max(sizes) < 400 * 1.3


# -- packed text


def words_of(batches: Sequence[Batch]) -> set[int]:
    return {int(word) for batch in batches for word in batch.input_ids.unique()}


def test_training_rows_hold_known_ids_only() -> None:
    data = DialogueData(CORPUS, FRAME)
    assert max(words_of(take(data, 1)[0])) < SPECIAL.vocab_size
    assert WORDS == BOS
