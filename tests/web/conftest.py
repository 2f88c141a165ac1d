"""Node for the page's modules, Chromium for the page itself; without them tests skip and say why."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from tests.web.fake_server import FakeServer
    from tests.web.world import World

ROOT = Path(__file__).parents[2]
JS_TESTS = Path(__file__).parent / "js"
OLDEST_NODE = 20

RunNode = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> RunNode:
    """`node(*arguments, input=...)` beside copies of the page's modules (js/) and of their tests (tests/)."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed: the page's modules are not tested by themselves")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node {version.strip()} is older than {OLDEST_NODE}: the page's modules are not tested")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(ROOT / "web/static/js", folder / "js")
    shutil.copytree(JS_TESTS, folder / "tests")
    (folder / "package.json").write_text('{"type": "module"}')

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, input=input, timeout=120
        )

    return run


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chrome]:
    """One headless Chromium for all tests."""
    from tests.web import chrome

    if not chrome.installed():
        pytest.skip("chromium and chromium-driver are not installed: the page is not tested in a browser")
    pytest.importorskip("selenium.webdriver")
    with chrome.chromium() as started:
        yield started


@pytest.fixture
def world() -> World:
    """Conversations and switches of the server that the page talks with."""
    from tests.web.world import World

    return World()


@pytest.fixture(scope="session")
def fake_server() -> Iterator[FakeServer]:
    """One scripted server for all tests."""
    from tests.web.fake_server import FakeServer

    made = FakeServer()
    yield made
    if made.up:
        made.kill()


@pytest.fixture
def server(fake_server: FakeServer, world: World) -> Iterator[FakeServer]:
    """The server, up, with `world` behind it."""
    fake_server.world = world
    if not fake_server.up:
        fake_server.start()
    yield fake_server
    world.gate.open()
