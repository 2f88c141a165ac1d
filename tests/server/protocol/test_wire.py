"""Frames: every event survives the wire, everything else is refused by a clear line, and never by a crash."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.settings import DecodingConfig
from convai.server.protocol import (
    CLIENT_EVENTS,
    ERROR_CODES,
    SERVER_EVENTS,
    ClientEvent,
    Limits,
    ProtocolError,
    Receiver,
    ServerEvent,
    encode,
    error_event,
    newest_that_fit,
    parse_client,
    parse_server,
)
from convai.server.protocol.answers import Error
from convai.server.protocol.changes import Path, TokenDrawn
from convai.server.protocol.client import Hello, Ping, Send, SetDecoding
from convai.server.protocol.schema import fields_of
from convai.server.protocol.values import Message
from tests.server.protocol.strategies import events
from tests.text.corpora.test_json_text import JSON


def refused(data: str | bytes, limits: Limits | None = None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse_client(data, limits or Limits())
    error = caught.value
    assert len(str(error).splitlines()) == 1
    assert error.code in ERROR_CODES
    return error


SETTINGS = "set_decoding.settings"


def settings(given: dict[str, Any]) -> str:
    return frame("set_decoding", request="1", settings=given)


def persona(sentences: object) -> str:
    return frame("set_persona", request="1", persona={"sentences": sentences})


def frame(type: str, **values: object) -> str:
    return json.dumps({"type": type, **values})


@given(st.one_of(*(events(cls) for cls in CLIENT_EVENTS.values())))
def test_every_event_of_a_client_survives_the_wire(event: ClientEvent) -> None:
    assert parse_client(encode(event)) == event
    assert parse_client(encode(event).encode()) == event


@given(st.one_of(*(events(cls) for cls in SERVER_EVENTS.values())))
def test_every_event_of_a_server_survives_the_wire(event: ServerEvent) -> None:
    assert parse_server(encode(event)) == event


@given(
    st.sampled_from(sorted(CLIENT_EVENTS)), st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.data()
)
def test_whatever_comes_is_an_event_or_one_clear_line(
    name: str, extra: dict[str, Any], data: st.DataObject
) -> None:
    known = st.sampled_from(list(fields_of(CLIENT_EVENTS[name])))
    text = json.dumps({"type": name, **data.draw(st.dictionaries(known, JSON)), **extra})
    told: ServerEvent | None = None
    try:
        event = parse_client(text)
    except ProtocolError as error:
        told = error_event(error)
    if told is None:
        assert parse_client(encode(event)) == event
    else:
        assert isinstance(told, Error)
        assert len(told.message.splitlines()) == 1
        assert parse_server(encode(told)) == told


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_bytes_of_any_kind_are_an_event_or_one_clear_line(data: bytes) -> None:
    try:
        told = json.loads(data.decode())
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        assert refused(data).code == "bad_frame"
        return
    try:  # now and then the bytes that are drawn are an event
        assert parse_client(encode(parse_client(data))) == parse_client(data)
    except ProtocolError:
        refused(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("[" * 60_000, "nested too deeply"),
        ('{"type": "ping"', "no JSON"),
        ("{}", "no type"),
        ('{"type": "dance"}', "'dance'"),
        ('{"type": 5}', "'5'"),
        ('{"type": ["ping"]}', "there are hello"),
        ('{"type": "ping", "type": "ping"}', "twice"),
        ('{"type": "ping", "request": 1e999}', "out of range"),
        ('{"type": "ping", "request": NaN}', "NaN"),
        ('{"type": "ping", "request": ' + "9" * 5000 + "}", "2^53"),
        (b"\xff\xfe{}", "UTF-8"),
        ("\ufeff{}", "no JSON"),
    ],
)
def test_what_is_no_frame(data: str | bytes, says: str) -> None:
    error = refused(data)
    assert error.code == "bad_frame"
    assert says in str(error)


@pytest.mark.parametrize(
    ("data", "field", "says"),
    [
        (frame("ping"), "ping.request", "is missing"),
        (frame("ping", request=""), "ping.request", "1 to 64"),
        (frame("ping", request="a b"), "ping.request", "1 to 64"),
        (frame("ping", request="r" * 65), "ping.request", "1 to 64"),
        (frame("ping", request=7), "ping.request", "7; use 1 to 64 letters"),
        (frame("ping", request="1", colour="red"), "ping.colour", "no such field; there are request"),
        (frame("hello", version=True), "hello.version", "true or false; use a whole number, 1 or more"),
        (frame("hello", version=1.5), "hello.version", "1.5; use a whole number"),
        (frame("hello", version=1, alternatives=11), "hello.alternatives", "11; use a whole number, 0 to 10"),
        (frame("hello", version=1, alternatives=-1), "hello.alternatives", "-1; use a whole number, 0 to 10"),
        (frame("hello", version=1, resume=[]), "hello.resume", "a list; use an object"),
        (
            frame("hello", version=1, resume={"conversation": "c", "stream": "s"}),
            "hello.resume.last",
            "missing",
        ),
        (
            frame("hello", version=1, token="x" * 513),
            "hello.token",
            "513 characters; use text of up to 512 characters",
        ),
        (frame("send", request="1", text=" "), "send.text", "empty text"),
        (frame("send", request="1", text="a\x00b"), "send.text", "control characters"),
        (frame("send", request="1", text="\ud800"), "send.text", "control characters"),
        (
            frame("send", request="1", text="x" * 4001),
            "send.text",
            "4,001 characters; use a line of 1 to 4,000",
        ),
        (frame("list", request="1", limit=0), "list.limit", "0; use a whole number, 1 to 100"),
        (frame("list", request="1", limit=101), "list.limit", "101; use a whole number, 1 to 100"),
        (frame("suggest", request="1", count=6), "suggest.count", "6; use a whole number, 1 to 5"),
        (
            persona("i am"),
            "set_persona.persona.sentences",
            "list",
        ),
        (
            persona(["i am", ""]),
            "set_persona.persona.sentences[1]",
            "empty text",
        ),
        (
            persona(["x"] * 65),
            "set_persona.persona.sentences",
            "65 items; use a list of up to 64",
        ),
        (settings({"top_p": 2}), SETTINGS, "up to 1 (off)"),
        (
            settings({"tpo_p": 1}),
            SETTINGS,
            "did you mean top_p",
        ),
        (settings({"top_k": 10**7}), SETTINGS, "1,000,000"),
        (
            settings({"candidates": 17}),
            SETTINGS,
            "at most 16",
        ),
        (
            settings({"max_length": 513}),
            SETTINGS,
            "at most 512",
        ),
        (
            settings({"min_length": 0.5}),
            SETTINGS,
            "whole number",
        ),
        (
            settings({"repetition_penalty": 1e300}),
            SETTINGS,
            "most",
        ),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_range(data: str, field: str, says: str) -> None:
    error = refused(data)
    assert error.code == "bad_field"
    assert error.field == field
    assert str(error).startswith(field)
    assert says in str(error)


def test_the_error_goes_back_under_the_name_of_the_request() -> None:
    assert refused(frame("send", request="r7", text="")).request == "r7"
    assert refused(frame("dance", request="r7")).request == "r7"
    assert refused(frame("send", request=["r7"], text="")).request is None
    told = error_event(refused(frame("send", request="r7", text="")))
    assert (told.code, told.request, told.field) == ("bad_field", "r7", "send.text")
    assert isinstance(parse_server(encode(told)), Error)


def test_a_frame_is_measured_in_bytes() -> None:
    limits = Limits(frame_bytes=60)
    assert parse_client(frame("ping", request="r" * 20), limits) == Ping(request="r" * 20)
    assert "61 bytes; use at most 60" in str(refused(" " * 61, limits))
    umlauts = '{"type": "ping", "request": "' + "ä" * 20 + '"}'
    assert len(umlauts) < 60
    assert "bytes; use at most 60" in str(refused(umlauts, limits))
    assert "bytes; use at most 60" in str(refused(umlauts.encode(), limits))


def test_every_decoding_setting_is_known() -> None:
    default = DecodingConfig()
    every = {f.name: getattr(default, f.name) for f in fields(DecodingConfig)}
    event = parse_client(settings(every))
    assert isinstance(event, SetDecoding)
    assert event.settings == every


def test_settings_are_held_to_their_own_range_not_to_the_others_defaults() -> None:
    above_the_default_maximum = {"min_length": DecodingConfig().max_length + 1}
    event = parse_client(settings(above_the_default_maximum))
    assert isinstance(event, SetDecoding)
    both = settings({"min_length": 9, "max_length": 8})
    assert "0 to max_length (8)" in str(refused(both))


def test_what_is_typed_arrives_as_one_clean_line() -> None:
    event = parse_client(frame("send", request="1", text="  two \n lines\t"))
    assert isinstance(event, Send)
    assert event.text == "two lines"


def test_half_a_surrogate_pair_is_sent_as_an_escape() -> None:
    event = TokenDrawn(n=1, message="m", text="a\ud83d")
    assert encode(event).isascii()
    encode(event).encode()


@pytest.mark.parametrize(("name", "rest"), [("deleted", {}), ("title", {"title": "x"})])
def test_a_change_needs_its_number(name: str, rest: dict[str, str]) -> None:
    with pytest.raises(ProtocolError, match=f"{name}.n: is missing"):
        parse_server(frame(name, **rest))


def test_a_change_without_a_number_is_not_sent() -> None:
    with pytest.raises(ValueError, match="no number"):
        encode(Path(messages=()))


class TestOrder:
    def test_hello_comes_first_and_once(self) -> None:
        receiver = Receiver()
        with pytest.raises(ProtocolError, match="send hello first") as early:
            receiver.receive(frame("ping", request="1"))
        assert (early.value.code, early.value.request) == ("order", "1")
        assert receiver.receive(frame("hello", version=1)) == Hello(version=1) == receiver.hello
        assert receiver.receive(frame("ping", request="1")) == Ping(request="1")
        with pytest.raises(ProtocolError, match="second hello"):
            receiver.receive(frame("hello", version=1))

    def test_another_version_is_refused_and_may_be_followed_by_the_right_one(self) -> None:
        receiver = Receiver()
        with pytest.raises(ProtocolError, match="version 2 is not spoken here; use 1") as caught:
            receiver.receive(frame("hello", version=2))
        assert caught.value.code == "version"
        assert receiver.hello is None
        receiver.receive(frame("hello", version=1))
        assert receiver.hello is not None


def test_as_many_messages_as_fit_the_newest_first() -> None:
    messages = [Message(id=f"m{i}", role="user", text="ü" * 100, time=0) for i in range(300)]
    assert newest_that_fit(messages) == 200
    small = Limits(server_frame_bytes=8_000)
    count = newest_that_fit(messages, small, spare=200)
    assert 0 < count < 30
    assert len(encode(Path(n=1, messages=tuple(messages[-count:]))).encode()) <= 8_000
    assert len(encode(Path(n=1, messages=tuple(messages[-count - 1 :]))).encode()) > 8_000 - 200


TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
LOGPROBS = st.none() | st.floats(-1e9, 0)


@given(TEXTS, LOGPROBS, st.lists(st.tuples(TEXTS, st.floats(-1e9, 0)), max_size=3), st.integers(1, 2**40))
def test_a_token_is_json_whatever_its_text(
    text: str, logprob: float | None, alternatives: list[tuple[str, float]], n: int
) -> None:
    event = TokenDrawn(message="m1", text=text, logprob=logprob, alternatives=tuple(alternatives))
    given = {"logprob": logprob} if logprob is not None else {}
    others = [list(pair) for pair in alternatives]
    plainly = {"type": "token", "n": n, "message": "m1", "text": text, **given, "alternatives": others}
    sent = encode(event, n)
    sent.encode()
    assert json.loads(sent) == plainly
    assert list(json.loads(sent)) == list(plainly)
    assert encode(TokenDrawn(message="m1", n=n, text=text)) == encode(TokenDrawn(message="m1", text=text), n)


def test_what_is_no_number_is_sent_as_nothing() -> None:
    sent = encode(TokenDrawn(message="m1", text="a", logprob=float("nan")), 1)
    assert json.loads(sent)["logprob"] is None
