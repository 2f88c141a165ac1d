"""Whatever the connection does, the client ends up with the words that were sent, each of them once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from convai.bench.view import View
from convai.server.protocol import ReplayBuffer, SentChange, parse_server
from convai.server.protocol.changes import FinishedReply, Path, Started, State, Stopped, TokenDrawn
from convai.server.protocol.values import Message, PersonaCard, Resume

USER = Message(id="m0", role="user", text="hi", time=0)


def token(text: str) -> TokenDrawn:
    return TokenDrawn(message="m1", text=text)


def numbers(frames: list[SentChange] | None) -> list[int] | None:
    return None if frames is None else [frame.n for frame in frames]


def filled(count: int, **bounds: int) -> ReplayBuffer:
    buffer = ReplayBuffer("s", **bounds)
    for i in range(count):
        assert buffer.append(token(f" {i}")).n == i + 1
    return buffer


def test_changes_are_numbered_from_one_and_come_again_from_anywhere() -> None:
    buffer = filled(5)
    assert [numbers(buffer.after(last)) for last in range(6)] == [[*range(last + 1, 6)] for last in range(6)]
    event = parse_server(buffer.append(token(" five")).text)
    assert event == TokenDrawn(n=6, message="m1", text=" five")


def test_a_number_that_never_was_needs_a_state() -> None:
    assert filled(5).after(6) is None
    assert filled(5).after(-1) is None
    assert filled(0).after(0) == []
    assert filled(0).after(1) is None


def test_only_so_many_frames_are_kept() -> None:
    buffer = filled(10, frames=3)
    assert buffer.first == 8
    assert numbers(buffer.after(7)) == [8, 9, 10]
    assert buffer.after(6) is None


def test_only_so_many_bytes_are_kept_and_they_are_bytes() -> None:
    size = len(filled(1).after(0)[0].text)  # type: ignore[index]
    assert filled(9, size=size * 3).first == 7
    buffer = ReplayBuffer("s", size=200)
    frame = buffer.append(token("ä" * 70))
    assert len(frame.text) < 200 < len(frame.text.encode())
    assert buffer.after(0) is None
    assert buffer.after(1) == []
    buffer.append(token("a"))
    assert numbers(buffer.after(1)) == [2]


def test_another_stream_is_another_life() -> None:
    buffer = filled(5)
    assert numbers(buffer.resume(Resume(conversation="c", stream="s", last=3))) == [4, 5]
    assert buffer.resume(Resume(conversation="c", stream="earlier", last=3)) is None


@pytest.mark.parametrize("bounds", [{"frames": 0}, {"size": 0}])
def test_a_buffer_holds_something(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ReplayBuffer("s", **bounds)


@dataclass
class Server:
    """The least of a server: the truth, and the buffer beside it."""

    buffer: ReplayBuffer
    messages: list[Message] = field(default_factory=lambda: [USER])
    life: int = 0
    count: int = 0

    def push(self, text: str) -> None:
        last = self.messages[-1]
        if last.status != "streaming":
            self.count += 1
            reply = Message(
                id=f"m{self.count}", parent=last.id, role="agent", text="", status="streaming", time=0
            )
            self.messages.append(reply)
            self.buffer.append(Started(message=reply))
        last = self.messages[-1]
        self.messages[-1] = replace(last, text=last.text + text)
        self.buffer.append(TokenDrawn(message=last.id, text=text))

    def end(self, stopped: bool) -> None:
        last = self.messages[-1]
        if last.status != "streaming":
            return
        kept = replace(last, status="interrupted" if stopped else "complete")
        self.messages[-1] = kept
        if stopped:
            self.buffer.append(Stopped(id=last.id, by="left", message=kept))
        else:
            self.buffer.append(FinishedReply(message=kept, reason="stop"))

    def regenerate(self) -> None:
        self.messages = [USER]
        self.buffer.append(Path(keep="m0", messages=()))

    def restart(self) -> None:
        self.life += 1
        self.buffer = ReplayBuffer(f"s{self.life}", frames=self.buffer._frames)

    def state(self) -> State:
        return State(
            n=self.buffer.last,
            stream=self.buffer.stream,
            conversation="c",
            title="",
            persona=PersonaCard(),
            settings={},
            messages=tuple(self.messages),
        )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.text("ab ", min_size=1, max_size=3)),
        st.tuples(st.sampled_from(["finish", "stop", "regenerate", "restart", "reconnect", "forget"])),
        st.tuples(st.just("read"), st.integers(1, 6)),
    ),
    max_size=80,
)


@given(STEPS, st.integers(1, 12), st.integers(0, 3))
def test_random_disconnects(steps: list[tuple[str, ...]], frames: int, doubled: int) -> None:
    """A reader that reads now and then, loses what is on its way, and is even sent some frames twice."""
    server, view = Server(ReplayBuffer("s0", frames=frames)), View()
    view.take(server.state())
    sent = 0  # the number that this connection was sent last

    def read(most: int) -> None:
        nonlocal sent
        ready = server.buffer.after(sent) if view.stream == server.buffer.stream else None
        if ready is None:
            assert view.take(server.state())
            sent = server.buffer.last
            return
        for one in ready[:most]:
            assert view.take(parse_server(one.text))
            sent = one.n
        for one in (server.buffer.after(max(sent - doubled, server.buffer.first - 1)) or [])[:doubled]:
            if one.n <= sent:
                assert not view.take(parse_server(one.text))

    for name, *rest in steps:
        match name:
            case "push":
                server.push(str(rest[0]))
            case "finish" | "stop":
                server.end(stopped=name == "stop")
            case "regenerate":
                server.end(stopped=True)
                server.regenerate()
            case "restart":  # nobody streams through a restart
                server.end(stopped=True)
                server.restart()
            case "reconnect":
                resume = view.resume()
                assert resume is not None
                missed = server.buffer.resume(resume)
                if missed is None:
                    view.take(server.state())
                sent = view.last
            case "forget":  # a page that is loaded anew
                view = View()
                view.take(server.state())
                sent = view.last
            case "read":
                read(int(rest[0]))
    read(10**6)
    read(10**6)
    assert view.messages == server.messages
    assert view.last == server.buffer.last
