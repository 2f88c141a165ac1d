"""An engine in a process of its own: its replies, its errors, its death, and the end of who has it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineError, Finished, Port, Request, Token
from convai.engine.apart import Apart
from convai.engine.handshake import Stranger
from convai.engine.wire import Identity
from tests.drawing import BYTES, prompt, ready, settings_of
from tests.engine.remote import MODEL

ROOT = Path(__file__).parent.parent.parent


class Tiny:
    """What the process loads."""

    def __init__(self, name: str) -> None:
        self.engine: Port = Engine(ready(), BYTES, EngineConfig(prefix_mib=8), name=name).start()

    def identity(self) -> Identity:
        return MODEL


def refuse(error: BaseException) -> Tiny:
    raise error


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    with Apart(partial(Tiny, "tiny"), lambda: MODEL, threads=2) as engine:
        yield engine


def ask(length: int) -> Request:
    return Request(prompt("hi"), settings_of(max_length=length, min_length=length))


def test_it_says_what_the_engine_here_says(apart: Apart) -> None:
    with Engine(ready(), BYTES, EngineConfig(prefix_mib=8)) as here:
        wanted = list(here.stream(ask(20)))
    got = list(apart.stream(ask(20)))
    assert [one.id for one in got if isinstance(one, Token)] == [
        one.id for one in wanted if isinstance(one, Token)
    ]
    assert apart.limits == replace(Engine(ready(), BYTES).limits, name="tiny")
    assert apart.pid != os.getpid()


def test_ctrl_c_is_for_who_has_it(apart: Apart) -> None:
    """Ctrl-C, and a service's end, reach every process: replies come to their ends before it does."""
    assert apart.pid is not None
    before = apart.pid
    stream = apart.stream(ask(100))
    next(stream)
    os.kill(before, signal.SIGINT)
    os.kill(before, signal.SIGTERM)
    *_, last = stream
    assert isinstance(last, Finished)
    assert last.reason == "length"
    assert apart.pid == before


def test_a_reply_goes_on_when_the_process_was_killed(apart: Apart) -> None:
    with Engine(ready(), BYTES, EngineConfig(prefix_mib=8)) as here:
        wanted = [one.id for one in here.stream(ask(120)) if isinstance(one, Token)]
    assert apart.pid is not None
    stream = apart.stream(ask(120))
    got = [next(stream)]
    os.kill(apart.pid, signal.SIGKILL)
    got += stream
    assert [one.id for one in got if isinstance(one, Token)] == wanted
    assert apart.health().status == "ok"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (SettingsError("--precision x: there is none"), SettingsError, "--precision x: there is none"),
        (SystemExit(3), EngineError, r"ended before it was ready \(exit code 3\)"),
    ],
)
def test_what_goes_wrong_there_is_raised_here(error: BaseException, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Apart(partial(refuse, error), lambda: MODEL)


def test_another_model_is_none_of_ours() -> None:
    with pytest.raises(Stranger, match="whose tokens are not those of 'else'"):
        Apart(partial(Tiny, "tiny"), lambda: Identity("else", "other tokens"))


def test_it_ends_with_who_has_it() -> None:
    """Whoever forgets to close it ends all the same, and so does the process."""
    code = (
        "from functools import partial; from tests.engine.test_apart import Apart, MODEL, Tiny;"
        "engine = Apart(partial(Tiny, 'tiny'), lambda: MODEL); print(engine.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_it_ends_when_who_has_it_is_killed() -> None:
    code = (
        "import os, signal; from functools import partial;"
        "from tests.engine.test_apart import Apart, MODEL, Tiny;"
        "engine = Apart(partial(Tiny, 'tiny'), lambda: MODEL); print(engine.pid, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # its standard output is the process' too: reading it comes to an end when both are gone
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0
