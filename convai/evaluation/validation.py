"""Validation while a model learns: what of a hold-out can be measured, and its scores, over all processes."""

from __future__ import annotations

from collections.abc import Callable

import ignite.distributed as idist
import torch

from convai.core.dialog import AGENT
from convai.core.errors import DataError
from convai.core.settings import TrainConfig
from convai.evaluation.metrics import hits_at_k, perplexity
from convai.evaluation.scoring import WholeTrees, score_windows
from convai.evaluation.windows import reply_windows
from convai.model.double_heads import DoubleHeadsModel
from convai.text.corpora.notes import counted
from convai.text.history import LONG, default_context
from convai.text.segments import EncodedDialog
from convai.text.tokenizer import Tokenizer
from convai.training.autocast import autocast_dtype
from convai.training.prepare import Files
from convai.training.processes import reduced


def validator(
    dialogs: list[EncodedDialog], tokenizer: Tokenizer, config: TrainConfig
) -> Callable[[DoubleHeadsModel], dict[str, float]]:
    """A function that scores a model on `dialogs`, as `convai evaluate` does.

    That is with a history of 2 exchanges, or with all of it in a long context.

    Every process scores its share of the replies and returns the scores of all.
    """

    def validate(model: DoubleHeadsModel) -> dict[str, float]:
        positions = model.config.n_positions
        windows = list(
            reply_windows(
                tokenizer.frame,
                dialogs,
                max_history=None if positions >= LONG else 2,
                n_positions=default_context(positions),
            )
        )
        scores = score_windows(
            WholeTrees(
                model,
                tokenizer.frame.pad_id,
                batch_tokens=config.batch_tokens,
                autocast=autocast_dtype(config.precision, model.device),
            ),
            tokenizer.frame,
            windows[idist.get_rank() :: idist.get_world_size()],
        )
        ranked = [c for c in scores.choices if c]
        hits = hits_at_k(ranked, [len(c) - 1 for c in ranked]) * len(ranked) if ranked else 0.0
        choice = -sum(float(torch.tensor(c).log_softmax(0)[-1]) for c in ranked)
        mine = [sum(scores.nll), sum(scores.tokens), choice, hits, len(ranked)]
        nll, tokens, choice, hits, n_ranked = reduced(torch.tensor(mine, dtype=torch.float64)).tolist()
        n_tokens = max(1, round(tokens))
        lm = nll / n_tokens
        result = {"loss": config.lm_coef * lm, "lm_loss": lm, "ppl": perplexity(nll, n_tokens)}
        if n_ranked and config.layout != "stream":
            mc = choice / n_ranked
            result["hits@1"] = hits / n_ranked
            result["mc_loss"] = mc
            result["loss"] += config.mc_coef * mc
        return result

    return validate


def check_valid(
    dialogs: list[EncodedDialog], tokenizer: Tokenizer, positions: int, files: Files
) -> list[str]:
    """What of the validation dialogues cannot be measured. Raises DataError where nothing can."""
    where = ", ".join(map(str, (files.valid,) if files.valid else files.dialogs))
    replies = sum(1 for d in dialogs for i, t in enumerate(d.turns) if i and t.speaker == AGENT and t.target)
    windows = reply_windows(tokenizer.frame, dialogs, max_history=2, n_positions=positions)
    left = replies - sum(1 for _ in windows)
    if not replies:
        raise DataError(
            f"{where}: no reply of the agent to validate on; check who speaks, or name another --valid"
        )
    if left == replies:
        raise DataError(
            f"{where}: no validation reply fits the model's {positions} positions with its persona and the "
            "utterance it answers; shorten the texts, or name another --valid"
        )
    return (
        [f"validation: {counted(left, 'reply')} left out, too long for {positions} positions"] if left else []
    )
