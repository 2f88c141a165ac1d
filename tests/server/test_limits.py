"""Who may come in, and how much they may ask for; whatever is sent, the server goes on."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from convai.core.errors import SettingsError
from convai.core.settings import EngineConfig, ServerConfig
from convai.server.access import Access, address_of
from convai.server.limiter import Busy, Limiter
from convai.server.logs import Throttle
from convai.server.protocol import parse_server
from convai.server.protocol.answers import Error, Overloaded
from convai.server.protocol.changes import State
from tests.server.gate import gated
from tests.server.serving import PATIENCE, Running, serving

HELLO = '{"type": "hello", "version": 1}'


@pytest.fixture
def bare(server: Running) -> Iterator[ClientConnection]:
    with connect(server.socket_url, compression=None, ping_interval=None, open_timeout=PATIENCE) as client:
        yield client


def closed_with(client: ClientConnection) -> int | None:
    """Read to the end; the close code."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else None


def still_well(server: Running) -> None:
    with server.chat() as chat:
        chat.new()
        assert chat.say("are you there?")


# -- frames --------------------------------------------------------------------------------------------


def test_too_large_a_frame(server: Running, bare: ClientConnection) -> None:
    bare.send(HELLO)
    bare.recv(PATIENCE)
    bare.send(" " * 65_537)
    assert closed_with(bare) == 1009
    still_well(server)


def test_malformed_frames_are_told_and_then_too_many(server: Running, bare: ClientConnection) -> None:
    bare.send(HELLO)
    for _ in range(25):
        bare.send("{")
    assert closed_with(bare) == 4400


def test_binary_and_invalid_text(
    server: Running, bare: ClientConnection, caplog: pytest.LogCaptureFixture
) -> None:
    bare.send(HELLO)
    bare.recv(PATIENCE)
    bare.send(b"\x00\xff")
    assert '"bad_frame"' in str(bare.recv(PATIENCE))
    bare.send(b"\xff\xfe", text=True)
    assert closed_with(bare) == 1007
    still_well(server)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []  # nor what was sent


def test_hello_comes_first(server: Running, bare: ClientConnection) -> None:
    bare.send('{"type": "ping", "request": "a"}')
    assert '"order"' in str(bare.recv(PATIENCE))


def test_random_bytes_are_no_frames(server: Running) -> None:
    where = urlsplit(server.url)
    for seed in range(20):
        with connect(server.socket_url, compression=None, open_timeout=PATIENCE) as client:
            client.socket.sendall(bytes([0xC1 + seed]) + os.urandom(500))
            closed_with(client)
    with socket.create_connection((where.hostname, where.port)) as raw:
        raw.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert b"400" in raw.recv(1000)
    still_well(server)


def test_a_bomb_of_zeros(tmp_path: Path) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -12)
    bomb = squeeze.compress(b"\0" * 200_000_000) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb.removesuffix(b"\0\0\xff\xff")
    assert len(bomb) < 1_000_000
    with serving(tmp_path, compression=True) as server:
        with connect(server.socket_url, ping_interval=None, open_timeout=PATIENCE) as client:
            assert client.protocol.extensions, "compression is on"
            head = bytes([0xC1, 0x80 | 127]) + len(bomb).to_bytes(8, "big") + bytes(4)
            with suppress(OSError):  # the server may have closed already
                client.socket.sendall(head + bomb)
            assert closed_with(client) in (1009, None)
        still_well(server)


def test_a_message_in_endless_fragments(server: Running) -> None:
    with connect(server.socket_url, compression=None, ping_interval=None, open_timeout=PATIENCE) as client:
        empty = bytes([0x00, 0x80]) + bytes(4)
        client.socket.sendall(bytes([0x01, 0x80]) + bytes(4) + empty * 100)
        assert closed_with(client) == 1009


def test_pings_of_somebody_who_reads_no_pongs(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        where = urlsplit(server.url)
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect((where.hostname, where.port))
            raw.sendall(
                b"GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert raw.recv(12).endswith(b"101")
            ping = bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125
            raw.settimeout(PATIENCE)
            taken = False
            with suppress(ConnectionError):
                for _ in range(20_000):
                    raw.sendall(ping * 100)
                taken = True
            assert not taken, "250 MB were taken"
        still_well(server)


# -- who may come in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "welcome"),
    [(None, True), ("http://127.0.0.1", False), ("http://evil.example", False), ("null", False)],
)
def test_pages_of_others_may_not_connect(server: Running, origin: str | None, welcome: bool) -> None:
    with connect(server.socket_url, origin=origin, open_timeout=PATIENCE) as client:  # type: ignore[arg-type]
        if welcome:
            client.send(HELLO)
            assert '"ready"' in str(client.recv(PATIENCE))
        else:
            assert closed_with(client) == 1008
    headers = {"Origin": origin} if origin else {}
    for path, body in (("/v1/chat/completions", {"messages": []}), ("/api/conversations/import", {})):
        status = httpx2.post(f"{server.url}{path}", json=body, headers=headers, timeout=PATIENCE).status_code
        assert (status == 403) is not welcome, path


def test_the_servers_own_page_and_those_that_are_named_may(tmp_path: Path) -> None:
    with serving(tmp_path, origins="https://chat.example.org") as server:
        for origin in (server.url, "https://chat.example.org"):
            with connect(server.socket_url, origin=origin, open_timeout=PATIENCE) as client:  # type: ignore[arg-type]
                client.send(HELLO)
                assert '"ready"' in str(client.recv(PATIENCE))


def test_a_token_is_asked_for_and_its_holder_owns_the_conversations(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("# people\nthe-token-of-ann-1234\nthe-token-of-bob-1234\n")
    with serving(tmp_path, tokens=file) as server:
        for wrong in (None, "the-token-of-eve-1234"):
            with server.chat(token=wrong) as chat:
                assert chat.until(Error).code == "unauthorized"
                assert closed_with(chat.socket) == 1008
        with server.chat(token="the-token-of-ann-1234") as ann:
            ann.ready()
            id = ann.new()
        with server.chat(token="the-token-of-bob-1234") as bob:
            bob.ready()
            assert bob.ask("list").items == ()
        url = f"{server.url}/api/conversations/{id}/export"
        for header, status in (("", 401), ("Bearer nonsense-nonsense", 401), ("Basic abc", 401)):
            assert httpx2.get(url, headers={"Authorization": header}, timeout=PATIENCE).status_code == status
        get = {"Authorization": "Bearer the-token-of-bob-1234"}
        assert httpx2.get(url, headers=get, timeout=PATIENCE).status_code == 404
        assert (
            httpx2.get(
                url, headers={"Authorization": "bearer the-token-of-ann-1234"}, timeout=PATIENCE
            ).status_code
            == 200
        )
        for path, status in (("/v1/models", 401), ("/metrics", 401), ("/healthz", 200), ("/", 200)):
            assert httpx2.get(f"{server.url}{path}", timeout=PATIENCE).status_code == status
        assert httpx2.post(f"{server.url}/v1/chat/completions", json={}, timeout=PATIENCE).status_code == 401


def test_a_door_left_open_by_mistake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--tokens FILE, or --open"):
        Access(ServerConfig(host="0.0.0.0"))
    Access(ServerConfig(host="0.0.0.0", open=True))
    for content, says in (("", "no token in it"), ("short", "openssl"), ("two words " * 3, "openssl")):
        (tmp_path / "tokens").write_text(content)
        with pytest.raises(SettingsError, match=says):
            Access(ServerConfig(tokens=tmp_path / "tokens"))


# -- how much ------------------------------------------------------------------------------------------


def test_a_full_queue_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(slots=1, queue=1, prefix_mib=1)
    with gated(monkeypatch) as gate, serving(tmp_path, engine=engine) as server, ExitStack() as held:
        chats = [held.enter_context(server.chat()) for _ in range(3)]
        for chat in chats:
            # a reply without a word is drawn again, and the queue may be full then: these have words
            chat.new(settings={"seed": 1, "min_length": 8})
        for chat in chats[:2]:
            chat.done("send", text="hi")
        answer = chats[2].ask("send", request="again", text="hi")
        assert isinstance(answer, Overloaded)
        assert answer.reason == "queue"
        assert answer.retry > 0
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
        told = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE)
        assert told.status_code == 429
        assert told.json()["error"]["code"] == "overloaded"
        assert int(told.headers["retry-after"]) >= 1
        assert server.store.tree("local", chats[2].view.conversation or "") == [], "it changed nothing"
        gate.open()
        for chat in chats[:2]:
            chat.reply()
        chats[2].done("send", request="again", text="hi")
        assert chats[2].reply().text


def test_replies_at_once_for_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gated(monkeypatch) as gate, serving(tmp_path, generations=1) as server:
        with server.chat() as chat, server.chat() as other:
            chat.new()
            other.new()
            chat.done("send", text="hi")
            assert other.refused("send", text="hi") == "queue"
            gate.open()
            chat.reply()
            other.done("send", text="hi")
            other.reply()


def test_requests_a_minute(tmp_path: Path) -> None:
    with serving(tmp_path, rate=5) as server, server.chat() as chat:
        server.app.service.limiter._clock = lambda: 0.0  # or the next one is allowed after 12 seconds
        for _ in range(5):
            chat.ask("list")
        answer = chat.ask("list")
        assert isinstance(answer, Overloaded)
        assert answer.reason == "rate"
        assert 0 < answer.retry <= 12
        # a sign of life is free
        assert chat.ask("ping").type == "pong"
        told = httpx2.get(f"{server.url}/v1/models", timeout=PATIENCE)
        assert (told.status_code, told.json()["error"]["code"]) == (429, "overloaded")


def test_sockets_of_an_address(tmp_path: Path) -> None:
    with serving(tmp_path, connections_per_address=2) as server:
        with server.chat() as first, server.chat() as second:
            first.ready()
            second.ready()
            # without a hello: it would be sent into a connection that may be closed already
            with connect(server.socket_url, open_timeout=PATIENCE) as third:
                refusal = parse_server(third.recv(PATIENCE))
                assert isinstance(refusal, Overloaded)
                assert refusal.reason == "connections"
                assert closed_with(third) == 4429
        with server.chat() as again:
            again.ready()


def test_who_says_nothing_is_sent_away(tmp_path: Path) -> None:
    with serving(tmp_path, hello=0.05) as server:
        with connect(server.socket_url, open_timeout=PATIENCE) as client:
            assert closed_with(client) == 4408
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    with serving(quiet, idle=0.05) as server:  # here a hello may take as long as it takes
        with server.chat() as chat:
            chat.ready()
            assert chat.until(lambda event: event.type == "going_away").reason == "idle"
            assert closed_with(chat.socket) == 1001


def test_what_is_out_of_range_is_named(server: Running) -> None:
    with server.chat() as chat:
        chat.new()
        for fields, says in (
            ({"settings": {"temperature": -1}}, "temperature=-1"),
            ({"settings": {"max_length": 100_000}}, "max_length=100000: use 1 to 1024"),
            ({"settings": {"nonsense": 1}}, "nonsense"),
        ):
            answer = chat.ask("set_decoding", **fields)
            assert answer.code == "bad_field"
            assert says in answer.message
        assert chat.ask("send", text="x" * 4001).code == "bad_field"
        assert chat.ask("set_persona", persona={"sentences": ["x"] * 65}).code == "bad_field"


def test_rates_fill_again_and_addresses_are_apart() -> None:
    now = [0.0]
    limiter = Limiter(ServerConfig(rate=60), clock=lambda: now[0])
    for _ in range(60):
        limiter.request("a")
    with pytest.raises(Busy) as caught:
        limiter.request("a")
    assert caught.value.retry == pytest.approx(1.0)
    limiter.request("b")
    now[0] += 1.0
    limiter.request("a")
    with pytest.raises(Busy):
        limiter.request("a")


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("1.2.3.4", 5), "1.2.3.4"),
        (["::ffff:1.2.3.4", 5], "1.2.3.4"),
        (("2001:db8:1:2:3::4", 5), "2001:db8:1:2::/64"),
        (None, ""),
    ],
)
def test_what_an_address_is_counted_by(client: object, address: str) -> None:
    assert address_of(client) == address


def test_uploads_are_bounded(server: Running) -> None:
    limiter = Limiter(ServerConfig())
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(limiter.upload("a"))
        with pytest.raises(Busy):
            held.enter_context(limiter.upload("a"))
        held.enter_context(limiter.upload("b"))
    with limiter.upload("a"):
        pass
    url = f"{server.url}/api/conversations/import"
    assert httpx2.post(url, content=b" " * (32 * 2**20 + 1), timeout=60).status_code == 413
    assert httpx2.request("GET", f"{server.url}/v1/models", content=b"x", timeout=PATIENCE).status_code == 413


# -- what is logged ------------------------------------------------------------------------------------


def test_nothing_that_is_said_is_logged(
    server: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **named: object) -> None:
        raise RuntimeError(f"{args} {named}")

    with caplog.at_level("INFO"), server.chat() as chat:
        chat.new()
        chat.say("my secret is plum")
        body = {"model": "tiny", "messages": [{"role": "user", "content": "my secret is plum"}]}
        assert (
            httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE).status_code == 200
        )
        monkeypatch.setattr(server.store, "say", broken)
        assert chat.refused("send", text="my secret is plum") == "internal"
        chat.done("open", conversation=chat.view.conversation)
        chat.until(State)
    said = [record.getMessage() for record in caplog.records if record.name.startswith(("convai", "uvicorn"))]
    assert any("a request failed" in line for line in said)
    assert not any("plum" in line for line in said)


def test_strangers_cannot_fill_the_log() -> None:
    import logging

    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])

    def line(text: str) -> logging.LogRecord:
        return logging.LogRecord("x", logging.ERROR, "", 0, text, None, None)

    assert [throttle.filter(line("bad")) for _ in range(7)] == [True] * 5 + [False] * 2
    assert throttle.filter(line("other"))
    now[0] += 61
    again = line("bad")
    assert throttle.filter(again)
    assert again.getMessage() == "bad [2 more like this were left out before]"
    asked_for = logging.LogRecord("x", logging.INFO, "", 0, "a reply", None, None)
    assert all(throttle.filter(asked_for) for _ in range(9))
