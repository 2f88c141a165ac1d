"""`convai bench train --size smol`: tuning a pretrained shape against a plain transformers loop, same rows.

The baseline is what one writes first: transformers' own class, rows padded to the longest of their batch,
labels of -100 outside the replies, AdamW. Ours tunes all weights, or adapters of rank 32 over a base in 8
bits. Each runs in a process of its own, one at a time, taking turns; all see the same dialogues in the same
order, so the ratio is that of dialogues a second.
"""

from __future__ import annotations

import multiprocessing
import random
import statistics
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Final

import torch

from convai.bench.report import matmul_peak
from convai.core.dialog import AGENT
from convai.core.errors import ConvaiError
from convai.core.settings import TrainConfig
from convai.model import adapters, native
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text.frames import Frame
from convai.text.segments import IGNORE, EncodedDialog, EncodedTurn, dialogue_tree
from convai.training.autocast import autocast_dtype, settled
from convai.training.batches import collate
from convai.training.losses import compute_losses
from convai.training.optim import Optimizers

CONTENDERS: Final = ("transformers", "full", "lora")
ROWS: Final = 4
"""Dialogues of a step."""
_RANK: Final = 32


def frame_of(vocab_size: int) -> Frame:
    """ChatML's frame, as far as sizes go: three tokens open a turn, two close it."""
    start, end, newline, user, agent, system = range(vocab_size - 6, vocab_size)
    return Frame(
        name="template",
        start=(),
        before_persona=(start, system, newline),
        separator=(newline,),
        after_persona=(end, newline),
        openings=((start, user, newline), (start, agent, newline)),
        closings=((end, newline), (end, newline)),
        end_id=end,
        stop_ids=(end,),
        segments=(user, agent),
        pad_id=end,
    )


def dialogues(vocab_size: int, seed: int) -> Iterator[EncodedDialog]:
    """Endless dialogues of random words, at the lengths of PERSONA-CHAT."""
    rng = random.Random(seed)

    def words(least: int, most: int) -> list[int]:
        return [rng.randrange(vocab_size - 6) for _ in range(rng.randint(least, most))]

    while True:
        persona = [words(5, 11) for _ in range(rng.randint(4, 5))]
        turns = [EncodedTurn(i % 2, words(6, 20), ()) for i in range(2 * rng.randint(6, 8))]
        yield EncodedDialog(persona, turns)


class PlainTraining:
    """transformers' model and a plain loop."""

    def __init__(self, shape: Shape, precision: torch.dtype | None) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(0)
        config = AutoConfig.for_model(**shape.to_hf())
        self.model = AutoModelForCausalLM.from_config(config).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4)
        self.frame, self.precision = frame_of(shape.vocab_size), precision

    def step(self, dialogs: list[EncodedDialog]) -> None:
        """One batch, one update."""
        rows = [dialogue_tree(self.frame, d.persona, d.turns, choices=False) for d in dialogs]
        longest = max(map(len, rows))
        ids = torch.tensor([r.ids + [self.frame.pad_id] * (longest - len(r)) for r in rows])
        labels = torch.tensor([[IGNORE, *r.labels[:-1]] + [IGNORE] * (longest - len(r)) for r in rows])
        with torch.autocast("cpu", self.precision, enabled=self.precision is not None):
            loss = self.model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


class OurTraining:
    """What `convai train` does in a step, on the same rows."""

    def __init__(self, shape: Shape, precision: torch.dtype | None, *, rank: int) -> None:
        native.keep_freed()
        torch.manual_seed(0)
        self.model = DoubleHeadsModel(shape.without_dropout()).train()
        self.config = TrainConfig(
            lora_rank=rank, frozen_precision="int8" if rank else "float32", optimizer="adamw", mc_coef=0.0
        )
        if rank:
            adapters.adapt(self.model, self.config)
        self.optimizers = Optimizers(self.model, self.config)
        # adapters learn in float32: what is expensive beside them is in 8 bits already
        self.frame, self.precision = frame_of(shape.vocab_size), None if rank else precision

    def step(self, dialogs: list[EncodedDialog]) -> None:
        """One batch, one update."""
        rows = [dialogue_tree(self.frame, d.persona, d.turns, choices=False) for d in dialogs]
        batch = collate(rows, self.frame.pad_id)
        with torch.autocast("cpu", self.precision, enabled=self.precision is not None):
            losses = compute_losses(self.model, batch)
        (losses.lm / batch.n_labels).backward()
        self.optimizers.clip(self.config.max_norm)
        self.optimizers.step()
        self.optimizers.zero_grad()


def _serve(pipe: Connection, name: str, shape: Shape, precision: torch.dtype | None, seed: int) -> None:
    made: PlainTraining | OurTraining
    if name == "transformers":
        made = PlainTraining(shape, precision)
    else:
        made = OurTraining(shape, precision, rank=_RANK if name == "lora" else 0)
    source = dialogues(shape.vocab_size, seed)
    pipe.send(None)
    while pipe.recv():
        batch = [next(source) for _ in range(ROWS)]
        tokens = sum((t.speaker == AGENT and len(t.ids) + 1) or 0 for d in batch for t in d.turns)
        start = time.perf_counter()
        made.step(batch)
        pipe.send((time.perf_counter() - start, tokens))


def measure(shape: Shape, *, rounds: int = 6, seed: int = 0) -> dict[str, Any]:
    """Supervised tokens a second of each contender, in turns; the first step of each is not counted."""
    chosen = settled("auto", torch.device("cpu"))
    precision = autocast_dtype(chosen, torch.device("cpu"))
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    processes = []
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    tokens: list[int] = []
    try:
        for name in CONTENDERS:
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, name, shape, precision, seed), daemon=True)
            process.start()
            theirs.close()
            mine.recv()
            pipes[name] = mine
            processes.append(process)
        for number in range(rounds + 1):
            for name, pipe in pipes.items():
                pipe.send(True)
                seconds, count = pipe.recv()
                if number:
                    times[name].append(seconds)
            tokens += [count] if number else []
    except EOFError:
        raise ConvaiError("a contender's process ended: free some memory and try again") from None
    finally:
        for pipe in pipes.values():
            pipe.send(False)
        for process in processes:
            process.join(10)
    rate = {name: sum(tokens) / sum(spent) for name, spent in times.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(times["transformers"], times[name], strict=True))
        for name in CONTENDERS[1:]
    }
    return {
        "ratios": ratios,
        "targets_per_s": rate,
        "rounds": rounds,
        "precision": chosen,
        "matmul_peak_gflops": matmul_peak(precision or torch.float32, torch.device("cpu")) / 1e9,
    }
