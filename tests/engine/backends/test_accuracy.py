"""What the fast precisions cost on real dialogues: the embedded model's perplexity beside float32's."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from convai.core.resources import SMALL_MODEL, model_names, model_path
from convai.engine.backends.precision import Requested
from convai.evaluation.cached_trees import CachedTrees
from convai.evaluation.scoring import score_windows
from convai.evaluation.windows import ReplyWindow, reply_windows
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.text.corpora.reading import iter_dialogs
from convai.text.prompt import encode_dialogs
from convai.text.segments import EncodedDialog, EncodedTurn
from convai.text.tokenizer import Tokenizer

DIALOGUES = 30
EVERY = 4
"""One reply in so many: enough to tell a hundredth."""
WITHIN = 0.01
"""Share of float32's perplexity that int8 may add."""

Scored = tuple[DoubleHeadsModel, Tokenizer, list[ReplyWindow], float]


@pytest.fixture(scope="module")
def scored(convai_data: Path) -> Scored:
    """The embedded model, reply windows of the first validation dialogues, float32's perplexity on them."""
    if SMALL_MODEL not in model_names():
        pytest.skip("this checkout has no embedded model")
    folder = model_path(SMALL_MODEL)
    model, tokenizer = load_model(folder).eval(), Tokenizer.load(folder)
    file = convai_data / "personachat" / "valid_self_original.txt"
    dialogs = encode_dialogs(tokenizer, list(itertools.islice(iter_dialogs(file), DIALOGUES)))
    gold = [EncodedDialog(d.persona, [EncodedTurn(t.speaker, t.ids) for t in d.turns]) for d in dialogs]
    windows = reply_windows(tokenizer.frame, gold, max_history=2, n_positions=model.config.n_positions)
    chosen = list(itertools.islice(windows, 0, None, EVERY))
    return model, tokenizer, chosen, perplexity(model, tokenizer, chosen, "float32")


def perplexity(
    model: DoubleHeadsModel, tokenizer: Tokenizer, windows: list[ReplyWindow], precision: Requested
) -> float:
    """Per token of the replies, their `<eos>` included."""
    frame = tokenizer.frame
    scores = score_windows(CachedTrees(model, frame.pad_id, precision=precision), frame, windows)
    return math.exp(sum(scores.nll) / sum(scores.tokens))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_perplexity_is_within_a_hundredth_of_float32s(precision: Requested, scored: Scored) -> None:
    model, tokenizer, windows, exact = scored
    fast = perplexity(model, tokenizer, windows, precision)
    print(f"{len(windows)} replies: float32 {exact:.4f}, {precision} {fast:.4f} ({fast / exact - 1:+.2%})")
    assert abs(fast / exact - 1) < WITHIN
