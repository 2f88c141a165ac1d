"""`convai bench train`: supervised reply tokens a second against the blog post's layout, with one model.

Ours is what `convai train` does: whole dialogues as trees, logits at labels only, mixed precision. The
dialogues are made up, at the lengths of PERSONA-CHAT. "Supervised" tokens are those with a language-model
label: the words of the agent's replies and their ends.
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from typing import Any

import torch

from convai.bench import blog_layout
from convai.bench.report import matmul_peak
from convai.bench.sizes import SIZES
from convai.core.dialog import AGENT
from convai.core.settings import TrainConfig
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text.frames import Frame
from convai.text.segments import EncodedDialog, EncodedTurn
from convai.training.autocast import autocast_dtype
from convai.training.corpus import EncodedCorpus
from convai.training.dialogues import DialogueData
from convai.training.losses import Losses, compute_losses
from convai.training.optim import Optimizers

BLOG_BATCH = 4
BLOG_ACCUMULATION = 8
"""Replies a forward pass and passes a step, transfer-learning-conv-ai's defaults."""
BLOG_HISTORY = 2


def made_up_frame(vocab_size: int) -> Frame:
    """The blog post's, with the control ids of a made-up vocabulary: its last five."""
    bos, eos, user, agent, pad = range(vocab_size - 5, vocab_size)
    return Frame.blog(bos_id=bos, eos_id=eos, speakers=(user, agent), pad_id=pad)


def made_up(count: int, vocab_size: int, distractors: int = 1, seed: int = 0) -> list[EncodedDialog]:
    """Dialogues of random words: 4-5 persona sentences, 12-16 turns of 6-20 tokens, `distractors` a reply."""
    rng = random.Random(seed)

    def words(least: int, most: int) -> list[int]:
        return [rng.randrange(vocab_size - 5) for _ in range(rng.randint(least, most))]

    def turn(i: int) -> EncodedTurn:
        wrong = [words(6, 20) for _ in range(distractors if i % 2 == AGENT else 0)]
        return EncodedTurn(i % 2, words(6, 20), wrong)

    return [
        EncodedDialog(
            [words(5, 11) for _ in range(rng.randint(4, 5))], [turn(i) for i in range(2 * rng.randint(6, 8))]
        )
        for _ in range(count)
    ]


def backward(losses: Losses, config: TrainConfig) -> int:
    """Gradients of the weighted mean losses; returns the number of supervised tokens."""
    lm = losses.lm / max(1, losses.n_labels)
    (config.lm_coef * lm + config.mc_coef * losses.mc / max(1, losses.n_choices)).backward()
    return losses.n_labels


def same_losses(config: Shape, dialogs: list[EncodedDialog], frame: Frame) -> float:
    """Largest relative difference of the two layouts' summed losses on `dialogs`, whole history, float32."""
    torch.manual_seed(0)
    model = DoubleHeadsModel(config.without_dropout()).eval()
    data = DialogueData(
        EncodedCorpus.pack(dialogs), frame, distractors=1, random_start=0.0, permute_persona=False,
        n_positions=config.n_positions, batch_tokens=1 << 30,
    )  # fmt: skip
    rows = list(blog_layout.reply_rows(dialogs, frame, None))
    with torch.no_grad():
        [batch] = next(data.steps())
        tree = compute_losses(model, batch)
        blog = blog_layout.losses(model, rows, frame, max(len(r) for c in rows for r in c))
    pairs = ((tree.lm, blog.lm), (tree.mc, blog.mc))
    return max(abs(float(a) - float(b)) / abs(float(b)) for a, b in pairs)


def measure(size: str, *, seconds: float = 40.0, batch_tokens: int = 8192, seed: int = 0) -> dict[str, Any]:
    """Rates of both layouts, alternating for about `seconds`, and how much of the machine ours uses."""
    shape = SIZES[size].without_dropout()
    frame = made_up_frame(shape.vocab_size)
    dialogs = made_up(400, shape.vocab_size, seed=seed)
    difference = same_losses(shape.replace(n_layer=2), dialogs[:3], frame)
    config = TrainConfig(batch_tokens=batch_tokens, distractors=1, random_start=0.0)
    torch.manual_seed(seed)
    ours, blog = DoubleHeadsModel(shape).train(), DoubleHeadsModel(shape).train()
    optimizers = Optimizers(ours, config)
    plain = torch.optim.AdamW(blog.parameters(), lr=config.lr, foreach=False, fused=False)
    autocast = autocast_dtype("auto", ours.device)
    data = DialogueData(
        EncodedCorpus.pack(dialogs), frame, distractors=1, random_start=0.0, batch_tokens=batch_tokens
    )
    steps = data.steps()
    rows = list(blog_layout.reply_rows(dialogs, frame, BLOG_HISTORY))
    longest = max(len(row) for candidates in rows for row in candidates)
    order = itertools.cycle(random.Random(seed).sample(range(len(rows)), len(rows)))
    work = {"flops": 0.0, "seconds": 0.0}

    def our_step() -> int:
        [batch] = next(steps)
        with torch.autocast(ours.device.type, autocast, enabled=autocast is not None):
            losses = compute_losses(ours, batch)
        labels = backward(losses, config)
        optimizers.clip(config.max_norm)
        optimizers.step()
        optimizers.zero_grad()
        length = batch.input_ids.shape[1]
        work["flops"] += flops(shape, batch.input_ids.shape[0], length, batch.n_labels)
        return labels

    def blog_step() -> int:
        labels = 0
        for _ in range(BLOG_ACCUMULATION):
            chosen = [rows[next(order)] for _ in range(BLOG_BATCH)]
            labels += backward(blog_layout.losses(blog, chosen, frame, longest), config)
        torch.nn.utils.clip_grad_norm_(blog.parameters(), config.max_norm, foreach=False)
        plain.step()
        plain.zero_grad()
        return labels

    our_step(), blog_step()  # warm-up
    work = {"flops": 0.0, "seconds": 0.0}
    rates: dict[str, list[float]] = {"tree": [], "blog": []}
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rates["tree"]) < 3:
        for name, step in (("tree", our_step), ("blog", blog_step)):
            start = time.perf_counter()
            labels = step()
            spent = time.perf_counter() - start
            rates[name].append(labels / spent)
            work["seconds"] += spent if name == "tree" else 0.0
    peak = matmul_peak(autocast or torch.float32, ours.device)
    tree, plain_rate = statistics.median(rates["tree"]), statistics.median(rates["blog"])
    return {
        "ratio": tree / plain_rate,
        "tree_targets_per_s": tree,
        "blog_targets_per_s": plain_rate,
        "loss_difference": difference,
        "matmul_peak_gflops": peak / 1e9,
        "mfu": work["flops"] / work["seconds"] / peak,
        "rounds": len(rates["tree"]),
        "precision": str(autocast or torch.float32).removeprefix("torch."),
    }


def flops(config: Shape, rows: int, length: int, labels: int) -> float:
    """Floating-point operations of a training step: 6 a weight and token, attention, logits at labels.

    Source: Kaplan et al. 2020, §2.1; padding counts as work done, though not as work that helps.
    """
    per_token = config.n_layer * (4 * config.n_embd**2 + 2 * config.n_embd * config.inner_size)
    attention = 12 * config.n_layer * config.n_embd * length
    return rows * length * (6 * per_token + attention) + 6.0 * labels * config.n_embd * config.vocab_size
