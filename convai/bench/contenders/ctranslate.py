"""CTranslate2's Generator on what its own transformers converter makes; all chats are one batch."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import ctranslate2
import transformers
from ctranslate2.converters import TransformersConverter

from convai.bench.contenders.base import Setup, Timing, Together
from convai.bench.workload import BenchChat
from convai.text.tokenizer import Tokenizer


class _Converter(TransformersConverter):  # type: ignore[misc]
    """With a name for the unknown token, which its loader needs and a byte-level vocabulary does not have."""

    def load_tokenizer(self, *args: Any, **kwargs: Any) -> Any:
        tokenizer = super().load_tokenizer(*args, **kwargs)
        tokenizer.unk_token = tokenizer.pad_token
        return tokenizer


class CTranslate2:
    """int8 weights and activations, float32 between."""

    kind = "int8"

    def __init__(self, setup: Setup) -> None:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        self._work = setup.work
        self._tokenizer = Tokenizer.load(setup.folder)
        folder = setup.folder / f"ctranslate2-{self.kind}"
        _Converter(str(setup.folder)).convert(str(folder), quantization=self.kind, force=True)
        self._names: list[str] = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self._ids = {name: i for i, name in enumerate(self._names)}
        self._generator = ctranslate2.Generator(
            str(folder), device="cpu", compute_type=self.kind, inter_threads=1, intra_threads=setup.threads
        )

    def run(self, chats: Sequence[BenchChat], seed: int) -> Timing:
        ctranslate2.set_random_seed(seed)
        work = self._work
        drawn = {"sampling_topk": 0, "sampling_topp": work.top_p, "sampling_temperature": work.temperature}
        times = Together(time.perf_counter(), len(chats))
        prompts = [[self._names[word] for word in chat.prompt(self._tokenizer.frame).ids] for chat in chats]

        def note(step: ctranslate2.GenerationStepResult) -> bool:
            times.token(step.batch_id, step.token_id, time.perf_counter())
            return False

        self._generator.generate_batch(
            prompts,
            max_length=work.reply,
            min_length=work.reply,
            include_prompt_in_result=False,
            callback=note,
            **(drawn if work.temperature else {"sampling_topk": 1}),
        )
        return times.timing(time.perf_counter())

    def close(self) -> None:
        """Free the model."""
        self._generator.unload_model()


class CTranslate2Float(CTranslate2):
    """float32."""

    kind = "float32"
