"""Where the personas and embedded models are found: in a checkout, in an installation, and when missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core import resources
from convai.core.dialog import Persona
from convai.core.errors import CheckpointError, DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package folder `site/convai` that the module believes to be its own."""
    folder = tmp_path / "site" / "convai"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", folder)
    return folder


def test_the_checkout_has_sample_personas() -> None:
    assert resources.data_dir() == ROOT / "data"
    blocks = resources.personas_path().read_text(encoding="utf-8").strip().split("\n\n")
    personas = [Persona.parse(block) for block in blocks]
    assert len(personas) >= 5
    # A line is a sentence: parsing must neither split nor join one.
    assert all(
        persona.sentences == tuple(block.split("\n")) for persona, block in zip(personas, blocks, strict=True)
    )
    assert all(3 <= len(persona.sentences) <= 6 for persona in personas)
    assert len(set(blocks)) == len(blocks)


def test_an_installation_looks_inside_the_package_first(package: Path) -> None:
    (package / "data").mkdir()
    (package.parent / "data").mkdir()
    (package.parent / "pyproject.toml").touch()
    assert resources.data_dir() == package / "data"


def test_a_data_folder_of_somebody_else_is_not_taken(package: Path) -> None:
    (package.parent / "data").mkdir()
    with pytest.raises(DataError, match="install convai again"):
        resources.data_dir()
    (package.parent / "pyproject.toml").touch()
    assert resources.data_dir() == package.parent / "data"


def test_models_are_the_folders_with_a_config(package: Path) -> None:
    models = package / "data" / "models"
    for name in ("small", "dialogue", "unfinished"):
        (models / name).mkdir(parents=True)
    for name in ("small", "dialogue"):
        (models / name / "config.json").touch()
    (models / "README.md").touch()
    assert resources.models_dir() == models
    assert resources.model_names() == ["dialogue", "small"]
    assert resources.model_path("small") == models / "small"


@pytest.mark.parametrize("name", ["unfinished", "", ".", "../models/small", "/"])
def test_an_unknown_model_is_refused_with_those_there_are(package: Path, name: str) -> None:
    models = package / "data" / "models"
    (models / "unfinished").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="this installation has none"):
        resources.model_path(name)
    (models / "small").mkdir()
    (models / "small" / "config.json").touch()
    with pytest.raises(CheckpointError, match="there is small; or name a model folder"):
        resources.model_path(name)


def test_an_installation_without_weights_has_no_models(package: Path) -> None:
    (package / "data").mkdir()
    assert resources.model_names() == []
