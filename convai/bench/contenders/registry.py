"""Who takes part: a name as it stands in the ratios, what has to be installed, and where the code is.

Nothing heavy is imported for it: whether a package is there is asked before.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from convai.core.processor import keep

if TYPE_CHECKING:
    from convai.bench.contenders.base import Contender, Setup
    from convai.model.shape import Family

OURS: Final = "ours"


@dataclass(frozen=True, slots=True)
class ContenderKind:
    """A contender. `needs`: modules that must be importable, with the package that brings each."""

    name: str
    module: str
    cls: str
    precision: str
    title: str
    needs: tuple[tuple[str, str], ...] = ()
    sequential: bool = False
    """Answers one chat after another, so that its rate is the same for any number of chats."""
    single: bool = True
    """Has something to show with one chat."""
    gpt2_only: bool = False
    """Computes models of that family alone."""

    def missing(self, family: Family = "gpt2") -> str | None:
        """What keeps it from a model of `family`, or None when everything is there."""
        if self.gpt2_only and family != "gpt2":
            return f"measured with gpt2 models, not with {family}"
        lacking = [package for module, package in self.needs if importlib.util.find_spec(module) is None]
        if not lacking:
            return None
        return f"{' and '.join(lacking)} not installed (pip install 'convai[bench]')"

    def make(self, setup: Setup) -> Contender:
        """Load it: seconds, and memory for a copy of the weights."""
        cls = getattr(importlib.import_module(self.module), self.cls)
        if setup.cores:
            keep(setup.cores)
        contender: Contender = cls(setup)
        return contender


_PLACE = "convai.bench.contenders"
_LLAMA = (("llama_cpp", "llama-cpp-python"), ("gguf", "gguf"))
_CT2 = (("ctranslate2", "ctranslate2"),)

KINDS: Final = {
    kind.name: kind
    for kind in (
        ContenderKind(OURS, f"{_PLACE}.ours", "Ours", "", "convai"),
        ContenderKind(
            "recompute",
            f"{_PLACE}.recompute",
            "Recompute",
            "float32",
            "blog post",
            sequential=True,
            gpt2_only=True,
        ),
        ContenderKind(
            "transformers", f"{_PLACE}.hf", "Transformers", "float32", "transformers", sequential=True
        ),
        ContenderKind(
            "transformers_batched",
            f"{_PLACE}.hf",
            "TransformersBatched",
            "float32",
            "transformers, batched",
            single=False,
        ),
        ContenderKind("llamacpp", f"{_PLACE}.llamacpp", "LlamaCpp", "q8_0", "llama.cpp", _LLAMA),
        ContenderKind("llamacpp_f16", f"{_PLACE}.llamacpp", "LlamaCppHalf", "f16", "llama.cpp", _LLAMA),
        ContenderKind(
            "ctranslate2",
            f"{_PLACE}.ctranslate",
            "CTranslate2",
            "int8",
            "CTranslate2",
            _CT2,
            gpt2_only=True,
        ),
        ContenderKind(
            "ctranslate2_float32",
            f"{_PLACE}.ctranslate",
            "CTranslate2Float",
            "float32",
            "CTranslate2",
            _CT2,
            gpt2_only=True,
        ),
    )
}
"""Name → contender, in the order in which tables list them."""

BASELINES: Final = tuple(name for name in KINDS if name != OURS)
