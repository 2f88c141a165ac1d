"""Both layouts are the same training: a whole dialogue with branches, or the blog post's sequences.

The model has large random weights and no dropout (tests/tiny.py), and computes in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convai.core.dialog import AGENT
from convai.evaluation.cached_trees import CachedTrees
from convai.evaluation.scoring import TreeScorer, WholeTrees, score_windows
from convai.evaluation.windows import reply_windows
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Family
from convai.text.segments import EncodedDialog, dialogue_tree, utterance_sequences
from convai.training.batches import Batch, collate
from convai.training.losses import choice_scores, compute_losses
from tests.tiny import CORPUS, FAMILIES, FRAMES, SPECIAL, as_trees, as_utterances, close, dialogs, tiny_model

TOLERANCE = 1e-4


@dataclass
class Outcome:
    """What a batch gives: a log-probability for every label, and every next-sentence score."""

    labels: torch.Tensor
    log_probs: torch.Tensor
    scores: torch.Tensor
    lm_loss: float
    mc_loss: float
    hits: int


def outcome(model: DoubleHeadsModel, batch: Batch) -> Outcome:
    with torch.no_grad():
        hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
        logits = model.lm_logits(hidden.flatten(0, 1)[batch.lm_places])
        log_probs = logits.log_softmax(-1).gather(1, batch.lm_labels[:, None])[:, 0]
        scores = choice_scores(model, hidden, batch)
        losses = compute_losses(model, batch)
    return Outcome(batch.lm_labels, log_probs, scores, float(losses.lm), float(losses.mc), losses.hits)


def assert_same(a: Outcome, b: Outcome) -> None:
    assert torch.equal(a.labels, b.labels)
    assert close(a.log_probs, b.log_probs, TOLERANCE)
    assert a.scores.shape == b.scores.shape
    assert torch.equal(a.scores.isinf(), b.scores.isinf())
    assert close(a.scores.nan_to_num(neginf=0.0), b.scores.nan_to_num(neginf=0.0), TOLERANCE)
    n = max(1, len(a.labels))
    assert a.lm_loss / n == pytest.approx(b.lm_loss / n, abs=TOLERANCE)
    assert a.lm_loss == pytest.approx(-float(a.log_probs.sum()), rel=1e-5, abs=TOLERANCE)
    n = max(1, len(a.scores))
    assert a.mc_loss / n == pytest.approx(b.mc_loss / n, abs=TOLERANCE)
    assert a.hits == b.hits


corpora = st.lists(dialogs, min_size=1, max_size=4)

WRITTEN = pytest.mark.parametrize(
    ("family", "frame"),
    [
        *((family, "blog") for family in FAMILIES),
        *(("gpt2", "chat"), ("gpt2", "in turn")),
        *(("gemma3_text", "blog"), ("gemma3_text", "in turn")),
    ],
)
"""Families, and frames in which their dialogues are written."""


@WRITTEN
@settings(max_examples=40)
@given(corpus=corpora)
@example(corpus=CORPUS)
def test_a_tree_is_the_blog_posts_sequences(family: Family, frame: str, corpus: list[EncodedDialog]) -> None:
    """Several dialogues a batch, padded, against the reference: same labels, same loss, same scores."""
    rows, groups = as_utterances(corpus, FRAMES[frame])
    if not rows:
        return
    model = tiny_model(family)
    tree = outcome(model, collate(as_trees(corpus, FRAMES[frame]), SPECIAL.pad_id))
    reference = outcome(model, collate(rows, SPECIAL.pad_id, groups=groups))
    assert_same(tree, reference)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_example_is_not_trivial(family: Family) -> None:
    result = outcome(tiny_model(family), collate(as_trees(CORPUS), SPECIAL.pad_id))
    assert result.scores.shape == (4, 4)
    assert len(result.labels) == 3 + 2 + 3 + 3 + 8
    finite = result.scores[result.scores.isfinite()]
    assert float(finite.std()) > 0.1
    assert float(result.log_probs.std()) > 0.5


@WRITTEN
def test_both_layouts_give_the_same_gradients(family: Family, frame: str) -> None:
    rows, groups = as_utterances(CORPUS, FRAMES[frame])
    gradients = []
    for batch in (
        collate(as_trees(CORPUS, FRAMES[frame]), SPECIAL.pad_id),
        collate(rows, SPECIAL.pad_id, groups=groups),
    ):
        model = tiny_model(family)
        losses = compute_losses(model, batch)
        (losses.lm / losses.n_labels + losses.mc / losses.n_choices).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert gradient is not None
        assert other is not None
        assert close(gradient, other, TOLERANCE), name
        # the score's own bias is added to every candidate alike
        assert gradient.any() or name == "multiple_choice_head.summary.bias", name


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(corpus=corpora)
@example(corpus=CORPUS)
def test_a_dialogue_is_the_same_alone_and_in_a_batch(family: Family, corpus: list[EncodedDialog]) -> None:
    """Padding and neighbours change nothing."""
    model = tiny_model(family)
    trees = as_trees(corpus)
    together = outcome(model, collate(trees, SPECIAL.pad_id))
    alone = [outcome(model, collate([tree], SPECIAL.pad_id)) for tree in trees]
    assert close(torch.cat([o.log_probs for o in alone]), together.log_probs, TOLERANCE)
    ours = [s for o in alone for row in o.scores.tolist() for s in row if s > -torch.inf]
    theirs = [s for row in together.scores.tolist() for s in row if s > -torch.inf]
    assert ours == pytest.approx(theirs, abs=TOLERANCE)
    assert sum(o.hits for o in alone) == together.hits


@pytest.mark.parametrize("frame", FRAMES)
@settings(max_examples=25)
@given(dialog=dialogs, first=st.integers(0, 5))
def test_a_window_is_the_end_of_the_whole(frame: str, dialog: EncodedDialog, first: int) -> None:
    """Context that is no target leaves the later replies' losses as they are."""
    model = tiny_model()
    whole = dialogue_tree(FRAMES[frame], dialog.persona, dialog.turns)
    window = dialogue_tree(FRAMES[frame], dialog.persona, dialog.turns, first_target=first)
    a = outcome(model, collate([whole], SPECIAL.pad_id))
    b = outcome(model, collate([window], SPECIAL.pad_id))
    skipped = len(a.labels) - len(b.labels)
    assert torch.equal(a.labels[skipped:], b.labels)
    assert close(a.log_probs[skipped:], b.log_probs, TOLERANCE)


@WRITTEN
@pytest.mark.parametrize("how", [WholeTrees, CachedTrees])
@pytest.mark.parametrize("batch_tokens", [1, 100, 10_000])
def test_scored_replies_are_the_blog_posts_too(
    family: Family, frame: str, how: Callable[..., TreeScorer], batch_tokens: int
) -> None:
    """Evaluation computes what the replies of a dialogue have in common once: the same numbers."""
    model, written = tiny_model(family), FRAMES[frame]
    windows = list(reply_windows(written, CORPUS, max_history=None, n_positions=160))
    scores = score_windows(how(model, SPECIAL.pad_id, batch_tokens=batch_tokens), written, windows)
    nll, tokens, choices = [], [], []
    for d in CORPUS:
        for i, turn in enumerate(d.turns):
            if not i or turn.speaker != AGENT:
                continue
            rows = utterance_sequences(FRAMES[frame], d.persona, d.turns[:i], turn)
            result = outcome(model, collate(rows, SPECIAL.pad_id, groups=[len(rows)]))
            nll.append(result.lm_loss)
            tokens.append(len(turn.ids) + 1)
            choices.append(result.scores[0].tolist() if len(rows) > 1 else [])
    assert scores.tokens == tokens
    assert scores.nll == pytest.approx(nll, abs=TOLERANCE * 10)
    assert [len(c) for c in scores.choices] == [len(c) for c in choices] == [3, 4, 0, 2, 2]
    for ours, theirs in zip(scores.choices, choices, strict=True):
        assert ours == pytest.approx(theirs, abs=TOLERANCE)
