"""Doors, stub engines and PostgreSQL as processes of this machine: killed, started anew, and what they cost.

Doors are `convai serve` with all that belongs to it. They and the engines are forked from a process that has
loaded everything, so that one is there again in a moment.
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import MutableSequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from convai.bench.cluster.counting import CountingEngine
from convai.bench.server.stub import StubEngine
from convai.conversation.agent import Agent, load_voice
from convai.core.errors import ConvaiError, SettingsError
from convai.engine.handshake import identity
from convai.engine.listener import Listener
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer

_PRELOAD: Final = [
    "convai.bench.cluster.processes",
    "convai.commands.serve",
    "convai.server.app",
    "convai.store",
]
_POSTGRES: Final = "postgres"


def context() -> Any:
    """How processes are made."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(_PRELOAD)
    return made


def made_up_model(folder: Path) -> Path:
    """A model folder whose tokens are bytes, for doors whose engines are stubs."""
    shape = Shape(vocab_size=261, n_positions=4096, n_embd=8, n_layer=1, n_head=1)
    Agent(DoubleHeadsModel(shape), Tokenizer.byte_level(), name="stub").save(folder)
    return folder


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class ClusterProcess:
    """One process, at the same port every time it is started."""

    def __init__(self, target: Any, *args: Any, log: Path, alone: bool = True) -> None:
        """`target(port, log, *args)` is what it does; `alone`: without processes of its own."""
        self.port = free_port()
        self.log, self._alone = log, alone
        self._target, self._args = target, args
        self._process: BaseProcess | None = None

    def start(self) -> None:
        """It lives, and will listen soon."""
        made = context().Process(
            target=self._target,
            args=(self.port, os.fspath(self.log), *self._args),
            daemon=self._alone,
        )
        made.start()
        self._process = made

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def listens(self) -> bool:
        """Whether somebody takes connections there."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True


def door(port: int, log: str, options: list[str]) -> None:
    """The process of a door."""
    begin(log)
    sys.argv = ["convai", "serve", "--port", str(port), *options]
    runpy.run_module("convai", run_name="__main__")


def stub(
    port: int, log: str, model: str, interval: float, turns: MutableSequence[int] | None, counting: bool
) -> None:
    """The process of an engine that computes nothing."""
    begin(log)
    voice = load_voice(model)
    engine = CountingEngine(interval, turns) if counting else StubEngine(interval)
    at = socket.create_server(("127.0.0.1", port))
    Listener(engine, identity(voice.name, voice.tokenizer), "", at)
    threading.Event().wait()


def begin(log: str) -> None:
    """It writes to `log`, and ends with the process that measures."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who measures


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


class OwnPostgres:
    """A PostgreSQL of our own, in `folder`."""

    def __init__(self, folder: Path, address: str = "") -> None:
        """Make it and start it, to be reached by its socket, and at `address` by whoever is in that network.

        Raises ConvaiError where PostgreSQL is not installed, or does not start.
        """
        self._bin = _postgresql()
        self._folder, self._address = folder, address
        folder.mkdir()
        user = getpass.getuser()
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            user = _POSTGRES
            shutil.chown(folder, _POSTGRES)
        self._run("initdb", "-D", folder / "data", "-A", "trust", "-N", "-U", user)
        self.url = f"postgresql:///postgres?host={folder}&user={user}"
        if address:
            with (folder / "data" / "pg_hba.conf").open("a") as allowed:
                allowed.write("host all all samenet trust\n")
        self._start()

    def _start(self) -> None:
        where = f"-c listen_addresses='{self._address}' -c unix_socket_directories='{self._folder}'"
        options = f"{where} -c max_connections=200"
        self._pg_ctl("-w", "-t", "120", "-l", self._folder / "log", "-o", options, "start")

    def restart(self, mode: str) -> None:
        """End it (`fast`, or `immediate` as if it had crashed) and start it."""
        self._pg_ctl("-w", "-t", "120", "-m", mode, "stop")
        self._start()

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return int((self._folder / "data" / "postmaster.pid").read_text().split()[0])

    def close(self) -> None:
        """End it."""
        self._pg_ctl("-m", "immediate", "stop")

    @classmethod
    def end_left(cls, folder: Path) -> None:
        """End one that was made in `folder`, if it runs, for somebody who was killed."""
        if (folder / "data" / "postmaster.pid").exists():
            left = cls.__new__(cls)
            left._bin, left._folder = _postgresql(), folder
            with suppress(ConvaiError):  # it had ended
                left.close()

    def _pg_ctl(self, *arguments: str | Path) -> None:
        self._run("pg_ctl", "-D", self._folder / "data", *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [os.fspath(self._bin / program), *(os.fspath(one) for one in arguments)]
        if os.geteuid() == 0:
            command = ["runuser", "-u", _POSTGRES, "--", *command]
        # its output goes to nobody: a server that stays would keep a pipe open
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=300,
        )
        if done.returncode:
            raise ConvaiError(f"{program} ended with {done.returncode}; see {self._folder / 'log'}")


def _postgresql() -> Path:
    """The folder of its programs. Raises SettingsError."""
    versions = Path("/usr/lib/postgresql")
    if versions.is_dir():
        found = [one for one in versions.glob("*/bin") if (one / "initdb").is_file()]
        if found:
            return max(found, key=lambda one: float(one.parent.name))
    where = shutil.which("initdb")
    if where is None:
        raise SettingsError("PostgreSQL's initdb is not installed; sudo apt-get install postgresql")
    return Path(where).resolve().parent


def processor_seconds(pid: int) -> float:
    """What a process and its living children have used. Raises SettingsError where nobody tells."""
    if sys.platform != "linux":
        raise SettingsError("processor time of other processes is read on Linux alone")
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for one in (pid, *children(pid)):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def children(pid: int) -> list[int]:
    """The living processes that a process has begun, in whichever thread."""
    found: list[int] = []
    for one in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(OSError):  # it has ended
            found += map(int, one.read_text().split())
    return found
