"""Engines as Ray Serve replicas: found, used and lost by a door that has no Ray of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import psutil
import pytest

from convai import __main__ as cli
from convai.conversation.agent import Agent
from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import Engine, EngineLost, Event, Finished, Overloaded, Stream, Token, reaching
from convai.engine.handshake import identity
from convai.engine.reaching import on_ray, reach
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from convai.server.on_ray import Scaling, wanted
from tests.chatting import tiny_agent
from tests.commands.processes import Process, engine, processes
from tests.engine.remote import listening
from tests.engine.test_remote import ask
from tests.server.test_adapters import other

HAS_RAY = importlib.util.find_spec("ray") is not None
PATIENCE = 240
LONG = 1000
"""Tokens of a reply that is not over before it is disturbed."""
SLOTS, QUEUE = 4, 2
"""Of each replica."""


def wait_for(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.001)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_without_ray_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["engine", "--ray", "--listen", "127.0.0.1:0"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'convai[ray]'" in error
    assert error.count("\n") == 1


def test_a_ray_that_is_not_there_is_one_line() -> None:
    with pytest.raises(EngineLost, match="does not say where its engines are"):
        on_ray(f"ray://127.0.0.1:{free_port()}")


def test_what_is_no_ray_is_one_line() -> None:
    """An engine without Ray, for instance, which speaks first and not in HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def speak() -> None:
            with other.accept()[0] as caller:
                caller.sendall(b"\0\0\0\x05hello\n")

        speaking = threading.Thread(target=speak)
        speaking.start()
        try:
            with pytest.raises(EngineLost, match=r"does not speak HTTP.* tcp://"):
                on_ray(f"ray://127.0.0.1:{other.getsockname()[1]}")
        finally:
            speaking.join()


class Addresses(BaseHTTPRequestHandler):
    """What Ray Serve's proxy answers."""

    engines: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        body = json.dumps({"engines": self.engines}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def proxy(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), Addresses) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield
        finally:
            server.shutdown()
            serving.join()


def test_a_ray_that_goes_away_and_comes_back_is_said_once_each(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Meanwhile the door uses the replicas that it knows, and it need not be started anew."""
    monkeypatch.setattr(reaching, "_ASK", 0.001)
    asked: Counter[bool] = Counter()

    def counted(url: str) -> list[str]:
        try:
            found = on_ray(url)
        except EngineLost:
            asked[False] += 1
            raise
        asked[True] += 1
        return found

    monkeypatch.setattr(reaching, "on_ray", counted)
    port = free_port()
    agent = tiny_agent()
    own = identity("", agent.tokenizer)
    computes = agent.engine(EngineConfig(prefix_mib=8, precision="float32")).start()
    with listening(computes, token="", model=own) as (_, where), ExitStack() as ended:
        monkeypatch.setattr(Addresses, "engines", [f"{where[0]}:{where[1]}"])
        with proxy(port):
            replicas = ended.enter_context(reach(f"ray://127.0.0.1:{port}", "", own, wait=PATIENCE))
        wait_for(lambda: asked[False] >= 3)
        assert len(list(replicas.stream(ask(3)))) == 4
        answered = asked[True]
        with proxy(port):
            wait_for(lambda: asked[True] >= answered + 3)
        replicas.close()
    said = [one.getMessage() for one in caplog.records if one.name == "convai.engine"]
    away = [one for one in said if "does not say where its engines are" in one]
    assert len(away) in (1, 2)  # it may be asked once more behind its second end
    assert len([one for one in said if "says again where its engines are" in one]) == 1


@pytest.mark.parametrize("text", ["0", "3:2", "two", "1:2:3", ""])
def test_how_many_replicas_is_said_in_numbers(text: str) -> None:
    with pytest.raises(SettingsError, match=r"use N, or MIN:MAX"):
        Scaling.parse(text)


def test_replicas_follow_the_replies_that_run_and_wait() -> None:
    def replicas(*replies: float) -> float:
        return wanted(
            SimpleNamespace(
                aggregated_metrics={"replies": dict(enumerate(replies))},
                target_num_replicas=7,
                config=SimpleNamespace(get_target_ongoing_requests=lambda: 8.0),
            )
        )[0]

    assert replicas(8, 8, 8) == 3
    assert replicas(24, 0) == 3
    assert replicas(1, 0) < 1
    assert replicas() == 7  # nobody has said anything: as it is


# -- a Ray of our own: two replicas, three where there is much to do -----------------------------------


@dataclass
class Cluster:
    """What runs, and the door's end of it."""

    agent: Agent
    running: Process
    replicas: Replicas

    def pid(self, address: str) -> int:
        """The process of the replica that listens there."""
        port = int(address.rpartition(":")[2])
        for process in psutil.Process(self.running.pid).children(recursive=True):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN and one.laddr.port == port:
                    return process.pid
        raise AssertionError(f"nobody listens at {address}")

    def heads(self) -> list[psutil.Process]:
        """The processes of Ray's head: of two heads while one Ray takes another one's place."""
        every = psutil.Process(self.running.pid).children(recursive=True)
        return [one for one in every if one.name() == "gcs_server" and one.status() != psutil.STATUS_ZOMBIE]

    def until(self, true: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < limit
            assert self.running.alive
            time.sleep(0.02)

    @property
    def idle(self) -> bool:
        return not any(one.stats().running or one.stats().waiting for one in self.well())

    def well(self) -> list[RemoteEngine]:
        return [one for one in self.replicas.engines.values() if one.health().status == "ok"]  # type: ignore[misc]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not HAS_RAY:
        pytest.skip("Ray is not installed (pip install 'convai[ray]')")
    agent = tiny_agent(n_positions=LONG + 500)
    model = tmp_path_factory.mktemp("ray") / "model"
    agent.save(model)
    port = free_port()
    options = [one if one != "127.0.0.1:0" else f"127.0.0.1:{port}" for one in engine(model)]
    options += [
        "--ray",
        "--replicas",
        "2:3",
        "--replies-each",
        "4",
        "--up-after",
        "0",
        "--down-after",
        "3600",
    ]
    options += ["--slots", str(SLOTS), "--queue", str(QUEUE), "--threads", "1"]
    other(1, n_positions=LONG + 500).save(model.parent / "baker")
    options += ["--adapters", str(model.parent / "baker")]
    # replicas say more often how much there is to do, so that the test need not wait
    os.environ["RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S"] = "1"
    with processes(tuple(options)) as [running]:
        try:
            assert running.url == f"ray://127.0.0.1:{port}"
            own = identity("", agent.tokenizer)
            with reach(f"ray://127.0.0.1:{port}", "", own, wait=PATIENCE) as replicas:
                made = Cluster(agent, running, replicas)
                made.until(lambda: len(made.well()) == 2)
                yield made
        finally:
            if running.alive:
                running.end(signal.SIGINT)


@pytest.mark.slow
def test_a_conversation_stays_at_its_replica(cluster: Cluster) -> None:
    before = {name: one.stats().submitted for name, one in cluster.replicas.engines.items()}
    asked: Counter[str] = Counter()
    for turn in range(3):
        for person in range(12):
            request = replace(ask(3, f"hello {turn}"), session=f"conversation {person}")
            asked[cluster.replicas.ranked(request)[0]] += 1
            assert len(list(cluster.replicas.stream(request))) == 4
    assert len(asked) == 2
    assert all(count % 3 == 0 for count in asked.values())
    cluster.until(lambda: cluster.idle)
    for name, one in cluster.replicas.engines.items():
        assert one.stats().submitted - before[name] == asked[name]
    assert cluster.replicas.stats().tokens_reused > 0


def last_ids(stream: Stream) -> tuple[int, ...]:
    *_, end = stream
    assert isinstance(end, Finished)
    return end.ids


@pytest.mark.slow
def test_an_adapter_is_loaded_where_it_is_asked_for(cluster: Cluster) -> None:
    request = ask(12, "hi")
    request = replace(request, config=replace(request.config, adapter="baker"))
    assert cluster.replicas.limits.adapters == ("baker",)
    said = {last_ids(cluster.replicas.stream(replace(request, session=f"{i}"))) for i in range(4)}
    baker = other(1, n_positions=LONG + 500)
    with Engine(baker.model, baker.tokenizer, EngineConfig(precision="float32"), name="baker") as alone:
        assert said == {last_ids(alone.stream(request))}
    cluster.until(lambda: cluster.replicas.stats().loads == 1)
    with pytest.raises(SettingsError, match="there is baker"):
        cluster.replicas.stream(replace(request, config=replace(request.config, adapter="cook")))


@pytest.mark.slow
def test_who_leaves_frees_the_slots(cluster: Cluster) -> None:
    before = cluster.replicas.stats()
    streams = []
    for i in range(SLOTS):  # so many have slots, wherever they go
        streams.append(cluster.replicas.stream(ask(LONG, f"hi {i}")))
        next(streams[-1])
    for stream in streams:
        stream.close()
    cluster.until(lambda: cluster.replicas.stats().cancelled - before.cancelled == SLOTS)
    cluster.until(lambda: cluster.idle)
    assert cluster.replicas.stats().tokens_drawn - before.tokens_drawn < SLOTS * LONG / 2


@pytest.mark.slow
def test_deadlines_and_refusals_come_through(cluster: Cluster) -> None:
    late = list(cluster.replicas.stream(replace(ask(LONG), deadline=0.05)))
    assert isinstance(late[-1], Finished)
    assert late[-1].reason == "deadline"
    streams: list[Stream] = []
    refused: Overloaded | None = None

    def full() -> bool:
        """Refused with less than that, they have not begun with what waits: they take more in a moment."""
        nonlocal refused
        try:
            streams.append(cluster.replicas.stream(ask(LONG, f"hi {len(streams)}")))
        except Overloaded as error:
            refused = error
            return len(streams) >= 2 * (SLOTS + QUEUE)
        return False

    cluster.until(full)
    assert refused is not None
    assert refused.retry_after >= 1
    for stream in streams:
        stream.close()
    cluster.until(lambda: cluster.idle)


@pytest.mark.slow
def test_a_reply_outlives_kill_9_of_its_replica(cluster: Cluster) -> None:
    cluster.until(lambda: len(cluster.well()) >= 2)
    request = replace(ask(LONG, temperature=1.0, seed=3), session="the long one")
    with cluster.agent.engine(EngineConfig(prefix_mib=8, precision="float32")) as here:
        undisturbed = list(here.stream(request))
    moved = cluster.replicas.moved
    own = cluster.replicas.ranked(request)[0]
    pid = cluster.pid(own)
    stream = cluster.replicas.stream(request)
    got = [next(stream) for _ in range(20)]
    os.kill(pid, signal.SIGKILL)
    got += list(stream)
    assert cluster.replicas.moved == moved + 1
    assert tokens(got) == tokens(undisturbed)
    assert got[-1].text == undisturbed[-1].text
    cluster.until(lambda: len(cluster.well()) >= 2)  # Ray has started another one, and it was found
    assert own not in [one.name for one in cluster.well()]


@pytest.mark.slow
def test_nobody_waits_when_rays_head_dies(cluster: Cluster) -> None:
    """Its replicas go on until there are those of another Ray, and then what they write goes on there."""
    cluster.until(lambda: len(cluster.well()) >= 2)
    request = replace(ask(LONG, temperature=1.0, seed=3), session="the head")
    with cluster.agent.engine(EngineConfig(prefix_mib=8, precision="float32")) as here:
        undisturbed = list(here.stream(request))
    before = {one.name for one in cluster.well()}
    [head] = cluster.heads()
    head.kill()
    replies = 0
    while not (now := {one.name for one in cluster.well()}) or now & before:
        try:
            got = list(cluster.replicas.stream(request))
        except EngineLost:  # none of the new ones was found when the old ones ended; `Busy` to who asks
            time.sleep(0.02)
            continue
        assert tokens(got) == tokens(undisturbed)
        assert got[-1].text == undisturbed[-1].text
        replies += 1
        assert cluster.running.alive
    assert replies > 0
    [another] = cluster.heads()
    assert another.pid != head.pid


def tokens(events: Sequence[Event]) -> list[int]:
    return [one.id for one in events if isinstance(one, Token)]


@pytest.mark.slow
def test_there_are_more_replicas_where_there_is_more_to_do(cluster: Cluster) -> None:
    """Both are kept busy until the third one is there."""
    streams = []
    limit = time.monotonic() + PATIENCE
    while len(cluster.well()) < 3:
        assert time.monotonic() < limit
        try:
            streams.append(cluster.replicas.stream(ask(LONG, f"hi {len(streams)}")))
        except Overloaded:
            time.sleep(0.05)
    for stream in streams:
        stream.close()


@pytest.mark.slow
def test_what_was_begun_is_ended_before_the_replicas_end(cluster: Cluster) -> None:
    """SIGTERM: no reply is broken off, and none is begun anew."""
    cluster.until(lambda: cluster.idle)
    moved = cluster.replicas.moved
    streams = [cluster.replicas.stream(replace(ask(LONG // 4), session=f"last {i}")) for i in range(4)]
    for stream in streams:
        next(stream)
    cluster.running.send(signal.SIGTERM)
    for stream in streams:
        rest = list(stream)
        assert len(rest) == LONG // 4
        assert isinstance(rest[-1], Finished)
    assert cluster.replicas.moved == moved
    assert cluster.running.end(signal.SIGTERM) == 0  # told twice, it does the same
