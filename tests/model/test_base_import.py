"""A model of one's own, a GGUF file or a folder of transformers, becomes a base or is refused whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from convai.__main__ import main
from convai.core.errors import CheckpointError, SettingsError
from convai.model.base_import import import_base
from convai.model.bases import base_path, bases_dir, list_bases, weights_sha256
from convai.model.gguf.container import open_gguf
from convai.model.gguf.tokenizer import tokenizer_files
from tests.model.gguf.files import tiny_model, write_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "My Model.Q8.gguf", tiny_model("gpt2"), pre="gpt-2")


@pytest.fixture
def folder(tmp_path: Path, gguf: Path) -> Path:
    """A folder as transformers saves it."""
    folder = tmp_path / "saved"
    tiny_model("gpt2").save_pretrained(folder)
    for name, text in tokenizer_files(open_gguf(gguf)).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def silent(line: str) -> None:
    pass


def test_a_gguf_file_is_copied_under_its_own_name(gguf: Path) -> None:
    before = gguf.read_bytes()
    place = import_base(gguf, None, silent)
    assert place == base_path("my-model.q8")
    assert gguf.read_bytes() == before == (place / "model.gguf").read_bytes()
    (base,) = list_bases()
    assert (base.name, base.family, base.source) == ("my-model.q8", "gpt2", str(gguf))
    assert base.size > len(before)
    assert json.loads((place / "base.json").read_text())["sha256"] == weights_sha256(place)


def test_a_folder_is_copied_with_what_belongs_to_a_model_only(folder: Path) -> None:
    (folder / "optimizer.pt").write_bytes(b"large")
    (folder / "notes.txt").write_text("mine")
    place = import_base(folder, "mine", silent)
    names = {path.name for path in place.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "base.json"} <= names
    assert not {"optimizer.pt", "notes.txt"} & names


def test_a_base_that_was_imported_can_be_imported_elsewhere(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = import_base(gguf, "first", silent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    second = import_base(first, "second", silent)
    assert weights_sha256(second) == weights_sha256(first)


def refused(source: Path, name: str | None = None) -> str:
    with pytest.raises((CheckpointError, SettingsError)) as caught:
        import_base(source, name, silent)
    assert list_bases() == []
    assert not bases_dir().exists() or not [p for p in bases_dir().iterdir() if p.suffix == ".part"]
    return str(caught.value)


def test_what_cannot_be_read_is_refused_by_its_own_name(tmp_path: Path, gguf: Path) -> None:
    assert refused(tmp_path / "nothing").startswith(f"{tmp_path / 'nothing'}: no such file or folder")
    gguf.write_bytes(gguf.read_bytes()[:-4000])
    assert refused(gguf).startswith(f"{gguf}: cut short")
    gguf.write_bytes(b"PK" * 100)
    assert refused(gguf).startswith(f"{gguf}: not a GGUF file")


def test_a_folder_that_lacks_something_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    assert "damaged or cut short" in refused(folder)
    weights.unlink()
    assert "model.safetensors is missing" in refused(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "its weights are in several files" in refused(folder)
    weights.write_bytes(whole)
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json: missing" in refused(folder)
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"gpt2"', '"mamba"'))
    assert "'mamba' is not supported" in refused(folder)


def test_names_that_cannot_be(gguf: Path, tmp_path: Path) -> None:
    for name in ("", "..", "a/b", "Großes", "x" * 65, "-x"):
        assert refused(gguf, name).startswith(f"--name={name}: use small letters")
    assert "another model's name" in refused(gguf, "smollm2-135m")
    assert "gives no name" in refused(Path(shutil.copy(gguf, tmp_path / "---.gguf")))


def test_a_name_that_is_taken(gguf: Path) -> None:
    import_base(gguf, "mine", silent)
    with pytest.raises(SettingsError, match="there is a base of that name"):
        import_base(gguf, "mine", silent)


def test_the_command(gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "import", str(gguf), "--name", "mine"]) == 0
    assert f"mine: gpt2, 0.3 MB, in {bases_dir() / 'mine'}" in capsys.readouterr().out
    assert main(["models", "import", str(gguf), "--name", "a/b"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_home_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, gguf: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(CheckpointError, match="set XDG_CACHE_HOME"):
        import_base(gguf, "mine", silent)
    assert list_bases() == []
    assert base_path("mine") is None


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_the_digest_is_of_the_weights(gguf: Path, folder: Path) -> None:
    assert weights_sha256(import_base(gguf, "a", silent)) != weights_sha256(import_base(folder, "b", silent))
