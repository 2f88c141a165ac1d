"""An engine behind a socket: who is let in, what a lost door leaves, what a lost engine is to a door."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.bench.server.stub import StubEngine
from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig
from convai.engine import (
    Engine,
    EngineClosed,
    EngineError,
    EngineLost,
    Finished,
    Overloaded,
    Port,
    Request,
    Token,
    wire,
)
from convai.engine import door as door_module
from convai.engine.door import replies
from convai.engine.handshake import Kin, Stranger, host_port, identity, prove, read_token
from convai.engine.link import FrameLink
from convai.engine.listener import Listener
from convai.engine.mailbox import Parcel
from convai.engine.messages import Begun
from tests.drawing import BYTES, finished, prompt, ready, settings_of
from tests.engine.remote import MODEL, TOKEN, listening, remote
from tests.server.gate import Gate, gated

PATIENCE = 60


def ask(length: int = 5, text: str = "hi", **fields: Any) -> Request:
    return Request(prompt(text), settings_of(max_length=length, min_length=length, **fields))


def computing(**config: Any) -> Engine:
    return Engine(ready(), BYTES, EngineConfig(**{"prefix_mib": 8, **config}), name="tiny").start()


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.001)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    with gated(monkeypatch) as made:
        yield made


def link(where: tuple[str, int]) -> FrameLink:
    """A door's connection, hands shaken."""
    made = FrameLink(socket.create_connection(where), PATIENCE)
    challenge = wire.opening(made.read())
    assert isinstance(challenge, wire.Challenge)
    own = b"1" * 32
    made.send(wire.frame(wire.Proof(wire.VERSION, own, prove(TOKEN, "door", own, challenge.nonce))))
    assert isinstance(wire.opening(made.read()), wire.Welcome)
    return made


# -- the same as here ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [{"candidates": 3}, {"num_beams": 3}, {"temperature": 0.0}, {"repetition_penalty": 1.3}]
)
def test_replies_are_those_of_the_engine_itself(config: dict[str, Any]) -> None:
    request = replace(ask(12, **config), alternatives=2)
    with Engine(ready(), BYTES) as here:
        wanted = list(here.stream(request))
    with listening(computing()) as (_, where), remote(where) as there:
        got = list(there.stream(request))
    assert finished(got) == finished(wanted)
    per_candidate = [[e for e in got if e.candidate == i] for i in range(3)]
    assert per_candidate == [[e for e in wanted if e.candidate == i] for i in range(3)]
    assert finished(got)[0].timings.prompt_tokens == len(request.prompt)


def test_what_a_step_draws_for_one_door_is_one_frame(gate: Gate) -> None:
    with listening(computing()) as (_, where):
        door = link(where)
        for number in range(8):
            door.send(wire.frame(wire.Ask(number, ask(4, f"hi {number}"))))
        taken = 0
        while taken < 8:
            taken += len(wire.from_engine(door.read()).taken)
        gate.open()
        tokens = []
        while sum(tokens) < 8 * 4:
            batch = wire.from_engine(door.read())
            tokens.append(sum(len(told.tokens) for told in batch.told))
        door.end()
    assert max(tokens) >= 8
    assert len(tokens) <= 7  # the prompts may take a step each


def test_what_cannot_be_told_takes_nothing_along() -> None:
    class Name(str):
        """The wire knows plain strings."""

    with listening(computing()) as (_, where), remote(where) as there:
        with pytest.raises(EngineError, match="cannot be told to the engine"):
            there.stream(replace(ask(), trace=Name("a")))
        assert len(list(there.stream(ask(3)))) == 4


def test_a_reply_can_be_followed_by_its_name(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing that anybody wrote is in the log."""
    caplog.set_level(logging.INFO, replies.name)

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == replies.name]

    with listening(computing()) as (_, where), remote(where) as there:
        request = replace(ask(6, "my plum"), trace="a-1")
        left = there.stream(request)
        until(lambda: len(said()) == 1)
        gate.allow()
        begun = next(left)
        left.close()
        until(lambda: len(said()) == 2)
        gate.open()
        assert isinstance(begun, Token)
        list(there.stream(replace(request, begun=(Begun(0, (begun.id,), begun.logprob),), trace="")))
        until(lambda: len(said()) == 4)
    patterns = (
        r"reply a-1 begins behind 0 tokens",
        r"reply a-1 was left after [\d.]+ seconds",
        r"reply - begins behind 1 tokens",
        r"reply - has ended after [\d.]+ seconds",
    )
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, said(), strict=True))


# -- refusals ------------------------------------------------------------------------------------------


def test_a_full_queue_is_told_at_once_with_its_estimate(gate: Gate) -> None:
    with listening(computing(slots=1, queue=1)) as (_, where), remote(where) as there:
        running = there.stream(ask())
        until(lambda: there.stats().waiting + there.stats().running == 1 or not there.ready)
        gate.allow()
        next(running)
        waiting = there.stream(ask())
        with pytest.raises(Overloaded) as refused:
            there.stream(ask())
        assert refused.value.retry_after >= 1
        gate.open()
        assert len(finished(list(waiting))) == len(finished(list(running))) == 1


def test_a_loop_does_not_wait_for_the_answer(gate: Gate) -> None:
    async def read(there: Port) -> None:
        async for _ in there.stream(ask()):
            pass

    with listening(computing(slots=1, queue=1)) as (_, where), remote(where) as there:
        running = there.stream(ask())
        gate.allow()
        next(running)
        waiting = there.stream(ask())
        with pytest.raises(Overloaded):
            asyncio.run(read(there))
        gate.open()
        waiting.close()
        running.close()


def test_a_deadline_holds_there() -> None:
    with listening(computing()) as (_, where), remote(where) as there:
        [end] = finished(list(there.stream(replace(ask(100), deadline=0.0))))
    assert end.reason == "deadline"


@pytest.mark.parametrize("broken", ["ids", "positions", "segments", "turn"])
def test_a_prompt_that_is_none_breaks_nothing(broken: str) -> None:
    bad = ask()
    getattr(bad.prompt, broken).append(7_000_000 if broken != "turn" else 1)
    with listening(computing()) as (_, where), remote(where) as there:
        with pytest.raises(SettingsError, match="does not fit"):
            list(there.stream(bad))
        assert len(finished(list(there.stream(ask())))) == 1


# -- who is let in -------------------------------------------------------------------------------------


def test_a_wrong_token_is_one_line() -> None:
    with listening(StubEngine(0.0)) as (listener, where):
        with pytest.raises(Stranger, match="another token") as error:
            remote(where, "some other token")
        assert "\n" not in str(error.value)
        assert listener.listening.doors == 0


def test_an_engine_that_does_not_know_the_token_is_no_engine() -> None:
    """Whoever listens in its place cannot answer the door's own challenge."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pretend() -> None:
        taken, _ = listener.accept()
        with taken, taken.makefile("rb") as file:
            taken.sendall(wire.frame(wire.Challenge(wire.VERSION, b"0" * 32)))
            file.read(wire.length(file.read(4)))
            state = wire.EngineState(StubEngine(0.0).stats(), StubEngine(0.0).health())
            taken.sendall(wire.frame(wire.Welcome(b"?" * 32, StubEngine(0.0).limits, MODEL, state)))

    thread = threading.Thread(target=pretend)
    thread.start()
    with pytest.raises(Stranger, match="does not know the token"):
        remote(listener.getsockname()[:2])
    thread.join()
    listener.close()


def test_another_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convai.engine.listening.VERSION", "0.0.1/1")
    with listening(StubEngine(0.0)) as (_, where):
        with pytest.raises(Stranger, match=r"is convai 0.0.1/1, this side is .*; install the same on both"):
            remote(where)


def test_another_model_is_one_line() -> None:
    model = ready()
    ours = identity("tiny", BYTES, model, "float32")
    with listening(StubEngine(0.0), model=ours) as (_, where):
        with pytest.raises(Stranger, match="'other'"):
            remote(where, kin=Kin(replace_identity(ours, name="other", prompts="else")))
        with pytest.raises(Stranger, match="weights"):
            remote(where, kin=Kin(identity("tiny", BYTES, ready(seed=1), "float32")))
        with pytest.raises(Stranger, match="precision"):
            remote(where, kin=Kin(identity("tiny", BYTES, model, "int8")))
        remote(where, kin=Kin(ours)).close()
        kin = Kin(identity("tiny", BYTES))
        remote(where, kin=kin).close()
        with listening(StubEngine(0.0), model=identity("tiny", BYTES, ready(seed=1), "float32")) as (
            _,
            other,
        ):
            with pytest.raises(Stranger, match="those of the other"):
                remote(other, kin=kin)


def replace_identity(model: wire.Identity, **changes: str) -> wire.Identity:
    return wire.Identity(
        **{"name": model.name, "prompts": model.prompts, "weights": model.weights, **changes}
    )


def test_nobody_there_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = taken.getsockname()[:2]
    with pytest.raises(EngineLost, match=r"cannot be reached: .*; check that it runs"):
        remote(where)


@given(data=st.binary(max_size=300))
def test_noise_is_no_frame(data: bytes) -> None:
    for read in (wire.opening, wire.from_door, wire.from_engine):
        with suppress(wire.WireError):
            read(data)


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x05hello", b"\xff" * 64, b"\0" * 64])
def test_strangers_disturb_nobody(noise: bytes) -> None:
    with listening(StubEngine(0.0)) as (_, where), remote(where) as there:
        with socket.create_connection(where) as stranger:
            stranger.sendall(noise)
            stranger.settimeout(PATIENCE)
            while stranger.recv(4096):
                pass
        assert len(finished(list(there.stream(ask())))) == 1


def test_tokens_are_read_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text("# ours\n\n0123456789abcdef\n")
    assert read_token(path, "0.0.0.0") == "0123456789abcdef"
    assert read_token(None, "127.0.0.1") == read_token(None, "::1") == ""
    with pytest.raises(SettingsError, match="other machines can reach"):
        read_token(None, "0.0.0.0")
    path.write_text("short")
    with pytest.raises(SettingsError, match="16 characters"):
        read_token(path, "localhost")


def test_addresses() -> None:
    assert host_port("[::1]:7000") == ("::1", 7000)
    for wrong in ("7000", "a:", ":1", "a:70000", "a:b"):
        with pytest.raises(SettingsError, match="HOST:PORT"):
            host_port(wrong)


# -- who is gone ---------------------------------------------------------------------------------------


def test_a_reply_that_nobody_reads_is_cancelled_there(gate: Gate) -> None:
    engine = computing()
    with listening(engine) as (_, where), remote(where) as there:
        stream = there.stream(ask(100))
        gate.allow(2)
        next(stream)
        stream.close()
        until(lambda: not engine._inbox.empty() or engine.stats().cancelled == 1)
        gate.allow(2)  # the step that was waiting, and one more
        until(lambda: engine.stats().cancelled == 1)
        assert engine.stats().running == 0


def test_a_door_that_dies_frees_its_slots(gate: Gate) -> None:
    engine = computing()
    with listening(engine) as (listener, where):
        door = link(where)
        for number in range(3):
            door.send(wire.frame(wire.Ask(number, ask(100))))
        until(lambda: engine.stats().submitted == 3)
        gate.allow(2)
        until(lambda: engine.stats().steps == 2)
        door.end()
        until(lambda: listener.listening.doors == 0)
        gate.allow(2)  # two steps later nothing of it is left
        until(lambda: engine.stats().cancelled == 3)
        assert engine.stats().steps <= 4
        assert engine.stats().running == 0


class Talkative(StubEngine):
    """Tokens that no socket holds a hundred of, and a frame does."""

    def token(self, request: Request, place: int) -> Token:
        return Token(0, 97, f"{place} " + "x" * 60_000, -1.0)


def test_others_do_not_wait_for_a_door_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STALLED", PATIENCE)
    with listening(Talkative(0.0)) as (listener, where):
        slow = link(where)
        slow.send(wire.frame(wire.Ask(1, ask(120))))
        until(lambda: any(door._waits is not None for door in listener.listening._doors))
        with remote(where) as there:
            assert len(list(there.stream(ask(3)))) == 4
        assert listener.listening.doors >= 1
        told = list[str]()
        over = False
        while not over:  # it reads after all: nothing is missing
            for news in wire.from_engine(slow.read()).told:
                told += [token.text.split()[0] for token in news.tokens]
                over |= news.over
        assert told == [str(place) for place in range(120)]
        slow.end()


def test_a_door_that_never_reads_is_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "STALLED", 0.0)
    engine = Talkative(0.001)
    with listening(engine) as (listener, where):
        slow = link(where)
        slow.send(wire.frame(wire.Ask(1, ask(1000))))
        until(lambda: engine.stats().submitted == 1)
        until(lambda: listener.listening.doors == 0)
        until(lambda: engine.stats().cancelled == 1)
        slow.end()


class Cable:
    """Between a door and an engine; it can be cut, so that neither hears of it."""

    def __init__(self, where: tuple[str, int]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.where = self._listener.getsockname()[:2]
        self._to, self._cut = where, False
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        try:
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass, args=(one, other), daemon=True)
                    thread.start()
                    self._threads.append(thread)
        except OSError:
            pass

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                if not self._cut:
                    other.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        self._cut = True

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for end in self._ends:
            end.close()


def test_a_cut_cable_is_noticed_at_both_ends(gate: Gate) -> None:
    engine = computing()
    with listening(engine, silence=1.5) as (listener, where):
        cable = Cable(where)
        there = remote(cable.where, silence=1.5)
        stream = there.stream(ask(100))
        gate.allow(1)
        next(stream)
        cable.cut()
        with pytest.raises(EngineLost):
            list(stream)
        assert there.health().status == "lost"
        with pytest.raises(EngineLost, match="cannot be reached"):
            there.stream(ask())
        until(lambda: listener.listening.doors == 0)
        gate.open()
        until(lambda: engine.stats().cancelled == 1)
        there.close()
        cable.close()


def test_an_engine_that_comes_back_is_found() -> None:
    first = StubEngine(0.01)
    with listening(first) as (_, where):
        there = remote(where)
        stream = there.stream(ask(1000))
        next(stream)
    with pytest.raises((EngineLost, EngineClosed)):
        list(stream)
    at = socket.create_server(where)
    second = StubEngine(0.0)
    listener = Listener(second, MODEL, TOKEN, at)
    until(lambda: there.health().status == "ok")
    assert len(finished(list(there.stream(ask())))) == 1
    there.close()
    listener.close()
    second.close()


def test_an_engine_that_drains_ends_what_it_has_begun(gate: Gate) -> None:
    with listening(computing()) as (listener, where), remote(where) as there:
        stream = there.stream(ask(6))
        gate.allow()
        next(stream)
        draining = threading.Thread(target=listener.drain, args=(PATIENCE,))
        draining.start()
        until(lambda: there.health().status == "draining")
        with pytest.raises(EngineLost, match="about to stop"):
            there.stream(ask())
        gate.open()
        assert len(finished(list(stream))) == 1
        draining.join()


def test_a_closed_door_breaks_its_replies_off(gate: Gate) -> None:
    with listening(computing()) as (_, where):
        there = remote(where)
        stream = there.stream(ask(100))
        there.close()
        with pytest.raises(EngineClosed):
            list(stream)
        gate.open()


# -- how it is told ------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.builds(Token, st.integers(0, 3), st.integers(0, 9), st.text(), st.floats(allow_nan=False))
    | st.builds(
        Finished,
        st.integers(0, 3),
        st.just(()),
        st.text(),
        st.floats(allow_nan=False),
        st.floats(allow_nan=False),
        st.just("stop"),
    )
)


@given(events=EVENTS, over=st.booleans(), failed=st.booleans())
def test_a_parcel_arrives_in_its_order(events: list[Token | Finished], over: bool, failed: bool) -> None:
    error = EngineLost("gone") if failed else None
    parts = list(wire.in_frames(7, Parcel(events, over, error)))
    batch = wire.from_engine(wire.frame(wire.EventBatch([], parts))[4:])
    parcels = [told.parcel() for told in batch.told]
    assert [event for parcel in parcels for event in parcel.events] == events
    assert [parcel.over for parcel in parcels] == [False] * (len(parcels) - 1) + [over]
    assert str(parcels[-1].error) == str(error)


def test_frames_are_bounded() -> None:
    with pytest.raises(wire.WireError, match="the largest has"):
        wire.frame(wire.Ask(1, replace(ask(), trace="x" * wire.MAX_FRAME)))
    with pytest.raises(wire.WireError, match="no convai engine or door"):
        wire.length(b"\xff\xff\xff\xff")
    parts = [wire.NewEvents(number) for number in range(3 * wire.MOST_TOLD + 1)]
    made = list(wire.batches([1], parts, None))
    assert [told for batch in made for told in batch.told] == parts
    assert max(len(batch.told) for batch in made) <= wire.MOST_TOLD
    assert [batch.taken for batch in made] == [[1], [], [], []]
