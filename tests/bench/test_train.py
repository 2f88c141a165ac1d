"""The training benchmark: its baseline computes the same losses, its output is what scripts read."""

from __future__ import annotations

import json

import pytest
import torch

from convai.__main__ import main
from convai.bench import blog_layout, sizes, train
from convai.bench.report import matmul_peak
from convai.core.dialog import AGENT
from convai.model.shape import Shape

TINY = Shape(vocab_size=64, n_positions=512, n_embd=16, n_layer=2, n_head=2)


@pytest.mark.parametrize("seed", range(3))
def test_both_layouts_have_the_same_losses(seed: int) -> None:
    dialogs = train.made_up(2, TINY.vocab_size, seed=seed)
    assert train.same_losses(TINY, dialogs, train.made_up_frame(TINY.vocab_size)) < 1e-5


def test_a_difference_would_be_noticed() -> None:
    frame = train.made_up_frame(TINY.vocab_size)
    dialogs = train.made_up(2, TINY.vocab_size)
    torch.manual_seed(0)
    from convai.model.double_heads import DoubleHeadsModel

    model = DoubleHeadsModel(TINY.without_dropout()).eval()
    whole, cut = (list(blog_layout.reply_rows(dialogs, frame, h)) for h in (None, 0))
    longest = max(len(row) for rows in whole for row in rows)
    with torch.no_grad():
        first, second = (blog_layout.losses(model, rows, frame, longest) for rows in (whole, cut))
    assert first.n_labels == second.n_labels
    assert abs(float(first.lm - second.lm)) > 1e-4 * float(first.lm)


def test_every_reply_is_measured_once_with_the_history_asked_for() -> None:
    frame = train.made_up_frame(64)
    dialogs = train.made_up(4, 64)
    replies = [t for d in dialogs for t in d.turns if t.speaker == AGENT]
    rows = list(blog_layout.reply_rows(dialogs, frame, 2))
    assert len(rows) == len(replies)
    speakers = frame.segments
    assert max(sum(w in speakers for w in row.ids) for pair in rows for row in pair) == 6
    assert all(len(pair) == 2 for pair in rows)


def test_the_last_line_is_json_with_flat_ratios(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sizes.SIZES, "S", TINY)
    assert main(["bench", "train", "--seconds", "0", "--batch-tokens", "2048"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert set(result) == {"machine", "ratios", "raw"}
    assert result["ratios"]["S/vs_blog_layout"] == pytest.approx(
        result["raw"]["S"]["tree_targets_per_s"] / result["raw"]["S"]["blog_targets_per_s"]
    )
    assert table
    assert "MFU" in table[0]


def test_work_is_counted_by_weight_and_token() -> None:
    weights = 2 * (4 * 16**2 + 2 * 16 * 64)
    assert train.flops(TINY, 3, 10, 5) == 30 * (6 * weights + 12 * 2 * 16 * 10) + 6 * 5 * 16 * 64


def test_the_peak_is_a_rate() -> None:
    assert matmul_peak(torch.float32, torch.device("cpu"), size=64, seconds=0.05) > 1e6
