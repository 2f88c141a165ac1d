from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from convai.conversation.conversation import Conversation
from convai.conversation.saved import ChatSettings, save_conversation
from convai.core.dialog import AGENT, USER, Persona
from convai.core.errors import DataError
from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.text.frames import Frame
from convai.text.segments import EncodedDialog, EncodedTurn, utterance_sequences
from convai.text.tokenizer import Tokenizer
from convai.training.batches import Batch, collate
from convai.training.corpus import EncodedCorpus
from convai.training.dialogues import DialogueData
from convai.training.losses import compute_losses
from convai.training.preferences import odds_ratio_loss
from convai.training.prepare import Files, prepare
from convai.training.start import Start
from tests.tiny import CORPUS, FRAMES, as_trees, dialogs, tiny_model
from tests.training.runs import SHAPE, whole_and_resumed, write_corpus

TOKENIZER = Tokenizer.byte_level()


def one_by_one(model: DoubleHeadsModel, frame: Frame, corpus: list[EncodedDialog]) -> torch.Tensor:
    """The loss as the paper writes it: each reply read alone, all logits, a pair at a time."""

    def odds(prompt: int, ids: list[int], row: Any) -> torch.Tensor:
        batch = collate([row], frame.pad_id)
        hidden = model(batch.input_ids, batch.position_ids, batch.segment_ids, batch.mask)[0]
        logits = (hidden @ model.output_weight.T)[prompt - 1 : prompt + len(ids)]
        mean = -F.cross_entropy(logits, torch.tensor([*ids, frame.end_id]))
        return mean - torch.log1p(-mean.exp())

    total = torch.zeros(())
    for dialog in corpus:
        for i, turn in enumerate(dialog.turns):
            if i and turn.speaker == 1 and turn.target and turn.distractors:
                rows = utterance_sequences(frame, dialog.persona, dialog.turns[:i], turn)
                replies = [*turn.distractors, turn.ids]
                start = len(rows[-1]) - len(turn.ids) - 1
                *wrong, right = [odds(start, list(ids), row) for ids, row in zip(replies, rows, strict=True)]
                for one in wrong:
                    total = total - F.logsigmoid(right - one)
    return total


def rated(frame: Frame, corpus: list[EncodedDialog]) -> Batch:
    trees = as_trees(corpus, frame)
    return collate(trees, frame.pad_id, rated=[True] * len(trees), end_id=frame.end_id)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@settings(max_examples=20)
@given(corpus=st.lists(dialogs, min_size=1, max_size=3))
def test_pairs_are_compared_as_the_paper_says(frame: Frame, corpus: list[EncodedDialog]) -> None:
    """Value and gradient, of candidates in branches that share what comes before them."""
    corpus = [*CORPUS[:1], *corpus]
    model = tiny_model()
    expected = one_by_one(model, frame, corpus)
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    losses = compute_losses(model, rated(frame, corpus))
    assert isinstance(losses.preference, torch.Tensor)
    assert float(losses.preference.detach()) == pytest.approx(float(expected.detach()), rel=1e-4, abs=1e-4)
    losses.preference.backward()
    for name, p in model.named_parameters():
        if name in gradients:
            assert p.grad is not None
            scale = float(gradients[name].abs().max()) + 1e-3
            assert torch.allclose(p.grad, gradients[name], atol=1e-4 * scale + 1e-5), name


def test_rows_that_are_not_rated_have_no_pairs() -> None:
    trees = as_trees(CORPUS)
    batch = collate(trees, 0, rated=[False, *[True] * (len(trees) - 1)], end_id=1)
    apart = collate(trees[1:], 0, rated=[True] * (len(trees) - 1), end_id=1)
    assert batch.n_pairs == apart.n_pairs
    assert collate(trees, 0, rated=[False] * len(trees), end_id=1).rated is None
    assert collate(trees, 0).n_pairs == 0


def test_a_reply_that_is_certain_has_a_finite_loss() -> None:
    [tree] = as_trees(CORPUS[:1])
    batch = collate([tree], 0, rated=[True], end_id=1)
    assert batch.rated is not None
    sure = torch.zeros(len(batch.rated.labels), requires_grad=True)
    loss = odds_ratio_loss(sure, batch.rated)
    loss.backward()
    assert loss.isfinite()
    assert sure.grad is not None
    assert sure.grad.isfinite().all()


def test_wrong_replies_are_the_files_own_and_all_of_them() -> None:
    """However many distractors others have."""
    pair = EncodedDialog(
        [], [EncodedTurn(0, [1]), EncodedTurn(1, [2]), EncodedTurn(0, [3]), EncodedTurn(1, [4], ([5], [6]))]
    )
    plain = EncodedDialog([], [EncodedTurn(0, [7]), EncodedTurn(1, [8])])
    corpus = EncodedCorpus.concatenate([EncodedCorpus.pack([plain] * 3), EncodedCorpus.pack([pair])])
    frame = FRAMES["chat"]
    for distractors in (0, 3):
        data = DialogueData(corpus, frame, distractors=distractors, random_start=0.0, rated_from=1)
        [batch] = next(data.steps())
        assert batch.rated is not None
        said = [
            batch.rated.labels[batch.rated.owner == n].tolist()
            for n in range(int(batch.rated.owner.max()) + 1)
        ]
        assert said == [[5, frame.end_id], [6, frame.end_id], [4, frame.end_id]]
        assert batch.rated.pairs.tolist() == [[2, 0], [2, 1]]


# -- from files


def write_pairs(path: Path, count: int = 8) -> Path:
    lines = [
        {
            "prompt": [{"role": "user", "content": f"do you like the number {n}?"}],
            "chosen": [{"role": "assistant", "content": f"no, {n} is not for me."}],
            "rejected": [{"role": "assistant", "content": f"i like {n} better than {n + 1}."}],
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


CONFIG = TrainConfig(row_tokens=128, batch_tokens=256, distractors=1)


def test_chosen_and_rejected_are_read_as_pairs(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    prepared = prepare(
        Files((write_corpus(tmp_path / "talk.jsonl"),), preferences=(pairs,)), TOKENIZER, CONFIG
    )
    batches = [batch for step in [next(prepared.source.steps(n)) for n in range(12)] for batch in step]
    assert any(batch.n_pairs for batch in batches)
    words = {
        TOKENIZER.decode(labels[:-1].tolist())
        for batch in batches
        if batch.rated is not None
        for labels in batch.rated.labels.split(torch.bincount(batch.rated.owner).tolist())
    }
    assert {text for text in words if text.startswith("no, ")}
    assert all(" is not for me." in text or " better than " in text for text in words)
    assert any("pairs.jsonl" in note for note in prepared.notes)


def test_pairs_alone_can_be_learnt_from(tmp_path: Path) -> None:
    prepared = prepare(Files(preferences=(write_pairs(tmp_path / "pairs.jsonl"),)), TOKENIZER, CONFIG)
    [batch] = next(prepared.source.steps())
    assert batch.n_pairs
    assert prepared.valid == []


def test_files_of_pairs_are_remembered_and_held_to(tmp_path: Path) -> None:
    files = Files((write_corpus(tmp_path / "talk.jsonl"),), preferences=(write_pairs(tmp_path / "p.jsonl"),))
    described = files.describe()
    assert Files.from_description(described) == files
    assert (
        Files.from_description({k: v for k, v in described.items() if k != "preferences"}).preferences == ()
    )
    write_pairs(tmp_path / "p.jsonl", 3)
    with pytest.raises(DataError, match=r"p\.jsonl: has changed"):
        Files.from_description(described)


@pytest.mark.parametrize(
    ("layout", "wanted"),
    [("dialogue", "no reply has a wrong one beside it"), ("stream", "--layout stream has none")],
)
def test_files_without_pairs_are_refused(tmp_path: Path, layout: Any, wanted: str) -> None:
    talk = write_corpus(tmp_path / "talk.jsonl")
    config = TrainConfig(row_tokens=128, batch_tokens=256, layout=layout)
    with pytest.raises(DataError, match=wanted):
        prepare(Files((talk,), preferences=(talk,)), TOKENIZER, config)


def test_a_resumed_run_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    (shape := tmp_path / "config.json").write_text(json.dumps(SHAPE), encoding="utf-8")
    files = Files((write_corpus(tmp_path / "talk.jsonl"),), preferences=(write_pairs(tmp_path / "p.jsonl"),))
    config = TrainConfig(
        row_tokens=128,
        batch_tokens=4096,
        distractors=1,
        steps=6,
        save_every=2,
        eval_every=0,
        preference_coef=1.0,
    )
    whole, broken = whole_and_resumed(files, Start(shape=shape), config, tmp_path, killed_at=5)
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    records = [json.loads(line) for line in (whole / "log.jsonl").read_text("utf-8").splitlines()]
    assert any("preference_loss" in record for record in records)


def test_what_is_preferred_becomes_likelier() -> None:
    pairs = [EncodedDialog([], [EncodedTurn(0, [n]), EncodedTurn(1, [n, 11], ([n, 12],))]) for n in range(8)]
    model = tiny_model()
    frame = FRAMES["chat"]
    batch = rated(frame, pairs)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = compute_losses(model, batch).preference
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_replies_that_were_drawn_again_are_pairs(tmp_path: Path) -> None:
    """Of a saved conversation, as it is."""
    talk = Conversation(Persona(("i bake bread.",)))
    for text, replies in (("hi", ["no.", "hello there."]), ("what do you do?", ["i bake bread."])):
        asked = talk.add(USER, text, parent=talk.leaf)
        for number, reply in enumerate(replies):
            talk.add(AGENT, reply, parent=asked.id, attempt=number)
    path = tmp_path / "saved.jsonl"
    save_conversation(path, talk, ChatSettings(decoding={}))
    [batch] = next(prepare(Files(preferences=(path,)), TOKENIZER, CONFIG).source.steps())
    assert batch.rated is not None
    words = [TOKENIZER.decode(batch.rated.labels[batch.rated.owner == n][:-1].tolist()) for n in (0, 1)]
    assert words == ["no.", "hello there."]
    assert batch.n_pairs == 1
