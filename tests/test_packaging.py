"""What an installation contains: every module, the personas and models, the command, the licence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import convai

ROOT = Path(__file__).parent.parent
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CACHES = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
SOURCES_IN_C = (".c", ".h", ".so")


def pins(file: str = "requirements.txt") -> dict[str, str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in named), (
        "every requirement is pinned exactly"
    )
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in named)}


def test_the_package_list_names_every_folder_with_modules() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "convai").rglob("*.py")}
    names = {".".join(folder.parts) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == names | {
        "convai.data",
        "convai.web",
    }
    assert [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()] == []


def test_requirements_pin_everything_that_is_named_and_agree_with_its_ranges() -> None:
    pinned = pins() | pins("requirements-bench.txt")  # baselines to measure against: not for everybody
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    for text in [*PYPROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(text)
        if str(requirement.specifier).startswith("=="):
            continue  # pinned where it is named: an extra too large to be installed for everybody
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), text
    assert pinned["torch"] == "2.13.0"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the tree, because building writes beside the sources."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "convai", tree / "convai", ignore=CACHES)
    shutil.copytree(ROOT / "data", tree / "data")
    shutil.copytree(ROOT / "web", tree / "web", ignore=CACHES)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    build += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tree / "dist"), "."]
    done = subprocess.run(build, cwd=tree, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (tree / "dist").iterdir()
    return built


@pytest.mark.slow
def test_the_wheel_carries_code_data_command_and_licence(wheel: Path) -> None:
    def files(folder: str) -> set[str]:
        found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
        return {
            path.as_posix()
            for path in found
            if not any(part.startswith((".", "__pyc")) for part in path.parts)
            and path.suffix not in SOURCES_IN_C
        }

    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"convai-{convai.__version__}.dist-info"
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert wheel.name.startswith(f"convai-{convai.__version__}-cp3")  # for one platform: it may carry kernels
    compiled = {name for name in names if name.endswith(".so")}
    assert all(
        name.startswith(
            (
                "convai/engine/backends/native/kernels.",
                "convai/emotion/cell.",
                "convai/model/frozen_passes.",
                "convai/model/gguf/levels.",
            )
        )
        for name in compiled
    )
    carried = {name for name in names if not name.startswith(info)} - compiled
    beside = files("data") | files("web")
    assert carried == files("convai") | {f"convai/{name}" for name in beside}
    assert "convai = convai.__main__:main" in scripts
    assert f"{info}/licenses/LICENSE" in names


@pytest.mark.slow
def test_an_installation_from_the_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import convai, convai.core.resources as r; print(convai.__file__); print(r.personas_path());"
        "print(r.models_dir()); print(r.personas_path().stat().st_size, r.model_names());"
        "print(r.web_package().__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    module, personas, models, contents, web = done.stdout.splitlines()
    assert web == str(site / "convai" / "web" / "__init__.py")
    assert module == str(site / "convai" / "__init__.py")
    assert personas == str(site / "convai" / "data" / "personas.txt")
    assert models == str(site / "convai" / "data" / "models")
    files = ("config.json", "adapter_config.json")
    embedded = sorted(path.parent.name for file in files for path in (ROOT / "data/models").glob(f"*/{file}"))
    assert contents == f"{(ROOT / 'data/personas.txt').stat().st_size} {embedded}"


def test_the_log_of_experiments_has_its_header_and_dated_entries_newest_first() -> None:
    """An entry put before the first thing that looks like a heading would split the header's example."""
    header, *entries = (ROOT / "docs/log.md").read_text(encoding="utf-8").split("\n\n## ")
    assert header.endswith("a correction is a new entry that names the old one.")
    days = [re.fullmatch(r"(\d{4}-\d\d-\d\d) \S.*", entry.partition("\n")[0]) for entry in entries]
    assert all(days), [entry.partition("\n")[0] for entry, day in zip(entries, days, strict=True) if not day]
    dates = [day[1] for day in days if day]
    assert dates == sorted(dates, reverse=True)
