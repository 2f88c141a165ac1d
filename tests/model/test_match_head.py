"""The match head against a plain reading of its definition, and where its inputs come from."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given

from convai.model.double_heads import DoubleHeadsModel
from convai.model.match_head import MatchHead
from convai.text.segments import NOBODY, EncodedDialog, EncodedTurn, build_prompt, complete, dialogue_tree
from convai.training.batches import collate
from convai.training.losses import choice_scores, compute_losses
from tests.tiny import CORPUS, FRAME, SPECIAL, as_trees, as_utterances, dialogs, randomize, tiny_config

PAD = SPECIAL.pad_id


def matching_model(seed: int = 0) -> DoubleHeadsModel:
    model = DoubleHeadsModel(tiny_config().replace(match_size=8))
    randomize(model, seed)
    return model.eval()


def plainly(model: DoubleHeadsModel, places: list[list[int]], reply: list[int]) -> float:
    """The score of `reply`, word by word; `places`: words of persona, last turn, earlier turns."""
    head = model.match_head
    assert head is not None
    table = model.transformer.wte.weight.detach()
    total = square = 0.0
    for word in reply:
        inner = torch.tanh(head.inner(F.layer_norm(table[word], (16,))))
        weights = F.softplus(head.weights(inner)).tolist()
        mine = head.projection(table[word])
        for weight, words in zip(weights, places, strict=True):
            square += weight**2
            cosines = [float(F.cosine_similarity(mine, head.projection(table[w]), dim=0)) for w in words]
            if cosines:
                total += weight * math.exp(8 * (max(cosines) - 1))
    return float(head.scale) * 8 * total / math.sqrt(square + 1)


@given(dialog=dialogs)
@torch.no_grad()
def test_scores_are_the_definition_s(dialog: EncodedDialog) -> None:
    model = matching_model()
    batch = collate([dialogue_tree(FRAME, dialog.persona, dialog.turns)], PAD)
    scores = model.match_scores(batch, batch.mc_places.numel()).view_as(batch.mc_places)
    persona = [word for sentence in dialog.persona for word in sentence]
    replies = [(i, t) for i, t in enumerate(dialog.turns) if i and t.speaker == 1 and t.distractors]
    for (i, turn), row in zip(replies, scores.tolist(), strict=True):
        places = [persona, list(dialog.turns[i - 1].ids), [w for t in dialog.turns[: i - 1] for w in t.ids]]
        candidates = [*turn.distractors, turn.ids]
        expected = [plainly(model, places, list(words)) for words in candidates]
        assert row[len(row) - len(candidates) :] == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_both_layouts_give_the_same_scores() -> None:
    model = matching_model()
    rows, groups = as_utterances(CORPUS)
    trees, singles = collate(as_trees(CORPUS), PAD), collate(rows, PAD, groups=groups)
    scores = []
    for batch in (trees, singles):
        hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)
        scores.append(choice_scores(model, hidden, batch))
    torch.testing.assert_close(scores[0], scores[1], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_finished_reply_has_the_score_of_the_tree() -> None:
    model = matching_model()
    turns = [EncodedTurn(0, [4, 1]), EncodedTurn(1, [2, 9, 4], [[7, 8], [1, 1]])]
    dialog = EncodedDialog([[1, 2], [3]], turns)
    tree = collate([dialogue_tree(FRAME, dialog.persona, dialog.turns)], PAD)
    prompt = build_prompt(FRAME, dialog.persona, dialog.turns[:1])
    rows = [complete(prompt, words, SPECIAL.eos_id) for words in ([7, 8], [1, 1], [2, 9, 4])]
    one = collate(rows, PAD, groups=[3])
    torch.testing.assert_close(model.match_scores(one, 3), model.match_scores(tree, 3))
    assert prompt.turn.count(NOBODY) == 3, "completing a prompt leaves it as it was"


def test_the_language_model_s_embeddings_are_not_touched() -> None:
    model = matching_model()
    batch = collate(as_trees(CORPUS), PAD)
    model.match_scores(batch, batch.mc_places.numel()).sum().backward()
    assert model.transformer.wte.weight.grad is None
    head = model.match_head
    assert head is not None
    assert all(p.grad is not None and p.grad.any() for p in head.parameters())


def test_equal_words_win_from_the_start() -> None:
    torch.manual_seed(0)
    head = MatchHead(64, 32)
    table = torch.randn(40, 64) * 0.02
    words = torch.tensor([[5, 6, 7, 8, 9, 5, 20, 21]])
    said = torch.tensor([[0, 0, 1, 1, 1, -1, -1, -1]])
    answers = torch.tensor([[-1, -1, -1, -1, -1, 2, 2, 2]])
    owner = torch.tensor([[-1, -1, -1, -1, -1, 0, 1, 1]])
    shared, unrelated = head(table, words, said, answers, owner, 2).tolist()
    assert shared > unrelated + 1


def test_a_model_learns_which_words_matter() -> None:
    """Trained on replies that repeat the persona's words, the head comes to rank them first."""
    model = matching_model()
    batch = collate(as_trees(CORPUS), PAD)
    optimizer = torch.optim.Adam(model.match_head.parameters(), 0.02)  # type: ignore[union-attr]
    before = float(compute_losses(model, batch).mc.detach())
    for _ in range(30):
        optimizer.zero_grad()
        compute_losses(model, batch).mc.backward()
        optimizer.step()
    assert float(compute_losses(model, batch).mc.detach()) < before - 0.5
