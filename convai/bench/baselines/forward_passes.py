"""Single forward passes of `convai.engine.backends`, precision by precision, beside transformers' GPT-2.

`python -m convai.bench.baselines.forward_passes --size S`: random weights, one thread, everything in one
process and in turn, milliseconds of processor time (the least and the median), so that a busy machine tells
the same ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from convai.bench.sizes import SIZES
from convai.engine.backends import InferenceModel, SlotSpan
from convai.engine.backends.precision import Requested
from convai.model.double_heads import DoubleHeadsModel

PROMPT: Final = 147
PRECISIONS: Final[tuple[Requested, ...]] = ("int8", "float32", "bf16")
Pass = Callable[[], object]


def prompt_pass(model: InferenceModel, tokens: int) -> Pass:
    """A prompt, up to the logits of its last token."""
    pool = model.new_pool(1, tokens)
    words = torch.randint(0, model.config.vocab_size, (tokens,))
    places = torch.arange(tokens)
    return lambda: model.lm_logits(model.forward(words, places, words, [SlotSpan(0, 0, tokens)], pool)[-1:])


def step_pass(model: InferenceModel, chats: int) -> Pass:
    """One token more of each of `chats` chats, of a prompt and a few tokens each, up to their logits."""
    pool = model.new_pool(chats, PROMPT + 20)
    words = torch.randint(0, model.config.vocab_size, (chats,))
    spans = [SlotSpan(slot, PROMPT + slot % 10, 1) for slot in range(chats)]
    places = torch.tensor([span.start for span in spans])
    return lambda: model.lm_logits(model.forward(words, places, words, spans, pool))


def peer(model: DoubleHeadsModel) -> tuple[Pass, Pass]:
    """Transformers' prompt pass and its step with a cache."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = model.config.to_hf() | {"architectures": None}
    gpt2: Any = GPT2LMHeadModel(GPT2Config(**shape)).eval()
    prompt = torch.randint(0, model.config.vocab_size, (1, PROMPT))
    word = torch.randint(0, model.config.vocab_size, (1, 1))
    cache = gpt2(prompt, use_cache=True).past_key_values

    def step() -> Tensor:
        logits: Tensor = gpt2(word, past_key_values=cache, use_cache=True).logits
        cache.crop(-1)
        return logits

    return lambda: gpt2(prompt, use_cache=True, logits_to_keep=1), step


@torch.inference_mode()
def measured(passes: dict[str, Pass], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of processor time of each: the least, the median."""
    for run in passes.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in passes}
    end = time.monotonic() + seconds
    while time.monotonic() < end or not all(len(found) > 2 for found in times.values()):
        for name, run in passes.items():
            start = time.thread_time()
            run()
            times[name].append(1e3 * (time.thread_time() - start))
    return {name: [min(found), statistics.median(found)] for name, found in times.items()}


def main() -> None:
    """Measure one size: a line for each kind of pass (least and median each), then all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each kind of pass")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = DoubleHeadsModel(SIZES[options.size].without_dropout()).eval()
    models = {precision: InferenceModel(source, precision) for precision in PRECISIONS}
    with torch.inference_mode():
        their_prompt, their_step = peer(source)
    kinds: dict[str, dict[str, Pass]] = {
        f"prompt of {PROMPT}": {"transformers": their_prompt},
        "prompt of 17": {},
        "step of 1": {"transformers": their_step},
        "step of 8": {},
        "step of 32": {},
    }
    for kind, passes in kinds.items():
        what, count = kind.split(" of ")
        make = prompt_pass if what == "prompt" else step_pass
        passes.update({name: make(model, int(count)) for name, model in models.items()})
    found = {}
    for kind, passes in kinds.items():
        found[kind] = measured(passes, options.seconds)
        cells = "  ".join(f"{name} {a:8.2f} {b:8.2f}" for name, (a, b) in found[kind].items())
        print(f"{options.size}  {kind:14}  {cells}", flush=True)
    print(json.dumps({"size": options.size, "ms": found}))


if __name__ == "__main__":
    main()
