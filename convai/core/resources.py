"""Where the files that travel with convai are: sample personas, embedded models, the page.

They live in `data/` and `web/` at the root of the repository. A wheel carries these folders as
`convai/data` and `convai/web` (see `[tool.setuptools.package-dir]` in pyproject.toml),
so there are two places to look: inside the package when installed, beside it in a checkout. Nothing is
downloaded and nothing is written here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from convai.core.errors import CheckpointError, DataError

DEFAULT_MODEL: Final = "persona-smol"
"""The embedded dialogue model that commands use when none is named."""
SMALL_MODEL: Final = "persona-mini"
"""The embedded dialogue model that stands alone: what commands use where the default's base cannot be had."""

_PACKAGE: Final = Path(__file__).resolve().parents[1]


def data_dir() -> Path:
    """The folder of everything that travels with convai.

    Raises DataError when the installation has lost it.
    """
    return _folder("data")


def web_package() -> ModuleType:
    """The page's package, `convai.web`: its `create_blueprint()` is what a server mounts. Needs Flask.

    Raises DataError when the installation has lost it.
    """
    name = "convai.web"
    if name not in sys.modules:
        folder = _folder("web")
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _folder(name: str) -> Path:
    installed = _PACKAGE / name
    if installed.is_dir():
        return installed
    checkout = _PACKAGE.parent
    # A folder of that name beside an *installed* package belongs to somebody else: pyproject.toml tells.
    if (checkout / name).is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout / name
    raise DataError(f"{installed}: convai's own {name} folder is missing; install convai again")


def personas_path() -> Path:
    """The sample personas: one a block, a sentence a line, blocks separated by a blank line."""
    return data_dir() / "personas.txt"


def probes_path() -> Path:
    """The questions that `convai evaluate --probes` asks unless told otherwise."""
    return data_dir() / "evaluation" / "probes.jsonl"


def contradictions_path() -> Path:
    """Replies labelled as contradicting what was said before, or not."""
    return data_dir() / "evaluation" / "contradictions.jsonl"


def coref_kinds_path() -> Path:
    """Texts with marked mentions, by kinds of things to get right."""
    return data_dir() / "evaluation" / "coref_kinds.jsonl"


def emotion_negation_path() -> Path:
    """Texts with negations, and the emotions that are right for each."""
    return data_dir() / "evaluation" / "emotion_negation.jsonl"


def memory_turns_path() -> Path:
    """Turns labelled with the facts that somebody tells of themselves in them."""
    return data_dir() / "evaluation" / "memory_turns.jsonl"


MEMORY_FACTS: Final = (
    "",
    "new",
    "free",
    "unseen",
    "daily",
    "later",
    "tram",
    "vet",
    "chef",
    "student",
    "widow",
    "courier",
    "sailor",
    "teen",
    "cook",
    "farrier",
    "translator",
    "picker",
)
"""Files of facts of one person as they are told, and what asks for each later; each but the first was written
without a look at what the memory does with it.
"""


def memory_facts_path(which: str = "") -> Path:
    """One of MEMORY_FACTS."""
    return data_dir() / "evaluation" / f"memory_facts{'_' if which else ''}{which}.jsonl"


def models_dir() -> Path:
    """The folder that holds one model folder a name. It need not exist (a checkout without weights)."""
    return data_dir() / "models"


def model_names() -> list[str]:
    """Names of the embedded models, sorted: the folders of `models_dir()` with a model or an adapter."""
    files = ("config.json", "adapter_config.json")
    return sorted({path.parent.name for file in files for path in models_dir().glob(f"*/{file}")})


def model_path(name: str) -> Path:
    """The folder of the embedded model called `name`.

    Raises CheckpointError when there is none of that name; the message lists those there are.
    """
    names = model_names()
    if name not in names:
        known = f"there is {', '.join(names)}" if names else "this installation has none"
        raise CheckpointError(f"no embedded model is called {name!r}; {known}; or name a model folder")
    return models_dir() / name
