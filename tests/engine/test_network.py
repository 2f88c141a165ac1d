"""Engines on other hosts: a cable that is cut in mid-reply, for good and for a moment."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from convai.engine import Engine, EngineLost, Event, Request, Token
from convai.engine.link import dial
from convai.engine.listener import Listener
from convai.engine.remote import RemoteEngine
from convai.engine.replicas import Replicas
from tests.drawing import finished, prompt, settings_of
from tests.engine.remote import MODEL, TOKEN
from tests.engine.test_replicas import computing
from tests.namespaces import Host, hosts, inside
from tests.server.gate import Gate, gated
from tests.server.serving import PATIENCE

SILENCE = 1.5
"""Seconds after which the other end is taken for dead here."""


@dataclass
class There:
    """An engine on a host of its own, as its door sees it."""

    host: Host
    engine: Engine
    door: RemoteEngine
    listener: Listener


@contextmanager
def engines(count: int, silence: float = SILENCE) -> Iterator[list[There]]:
    with hosts(count) as (centre, made), ExitStack() as opened:
        found = []
        for host in made:
            at = host.do(lambda address=host.address: socket.create_server((address, 7000)))
            engine = opened.enter_context(computing())
            listener = host.do(
                lambda at=at, engine=engine: Listener(engine, MODEL, TOKEN, at, silence=silence)
            )
            opened.callback(listener.close)
            door = inside(
                centre,
                lambda address=host.address: RemoteEngine(
                    dial(address, 7000, silence), TOKEN, address, silence=silence
                ),
            )
            opened.callback(door.close)
            found.append(There(host, engine, door, listener))
        yield found


def long(length: int = 120) -> Request:
    return Request(prompt("hi"), settings_of(max_length=length, min_length=length))


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture
def whole() -> list[Event]:
    """What the reply is where nothing happens to it."""
    with computing() as engine, engine.stream(long()) as stream:
        return list(stream)


@pytest.fixture
def gate(whole: list[Event], monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    with gated(monkeypatch) as gate:
        yield gate


def ids(events: list[Event]) -> list[int]:
    return [event.id for event in events if isinstance(event, Token)]


def test_a_cut_cable_is_noticed_at_both_ends_and_mended(whole: list[Event], gate: Gate) -> None:
    with engines(1) as [there]:
        with there.door.stream(long()) as stream:
            gate.allow(3)
            next(stream)
            there.host.cut()
            with pytest.raises(EngineLost, match=f"nothing was heard for {SILENCE} seconds"):
                list(stream)
        assert there.door.health().status == "lost"
        until(lambda: not there.listener.listening.doors)
        gate.open()
        until(lambda: there.engine.stats().cancelled == 1)  # in the next step, its slot is free
        assert not there.engine.stats().slots_in_use
        there.host.mend()
        until(lambda: there.door.health().status == "ok")
        with there.door.stream(long()) as stream:
            assert ids(list(stream)) == ids(whole)


def test_a_cable_that_is_out_for_a_moment_costs_no_word(whole: list[Event], gate: Gate) -> None:
    with engines(1, silence=PATIENCE) as [there], there.door.stream(long()) as stream:
        gate.allow(3)
        seen = [next(stream)]
        there.host.cut()
        gate.allow(20)  # these are sent into nothing
        until(lambda: there.engine.stats().steps >= 20)
        there.host.mend()
        gate.open()
        assert ids(seen + list(stream)) == ids(whole)
        assert there.door.health().status == "ok"


def test_a_reply_goes_on_at_an_engine_on_another_cable(whole: list[Event], gate: Gate) -> None:
    with engines(2) as both, Replicas({there.host.name: there.door for there in both}) as replicas:
        with replicas.stream(long()) as stream:
            gate.allow(3)
            seen = [next(stream)]
            [busy] = [there for there in both if there.engine.stats().submitted]
            busy.host.cut()
            gate.open()
            seen += stream
        assert replicas.moved == 1
        assert ids(seen) == ids(whole)
        assert [end.ids for end in finished(seen)] == [end.ids for end in finished(whole)]
        busy.host.mend()
