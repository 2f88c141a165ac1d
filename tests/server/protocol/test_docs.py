"""docs/protocol.md tells the truth: its examples parse, its names exist, its reference is the code's."""

from __future__ import annotations

import json
import re

import pytest

from convai.server.protocol import (
    CLIENT_EVENTS,
    ERROR_CODES,
    SERVER_EVENTS,
    encode,
    parse_client,
    parse_server,
)
from tests.server.protocol.reference import BEGIN, DOC, markdown

TEXT = DOC.read_text(encoding="utf-8")
PROSE = TEXT.partition(BEGIN)[0]
EXAMPLES = [line for block in re.findall(r"```json\n(.*?)```", PROSE, re.S) for line in block.splitlines()]
DIAGRAMS = re.findall(r"```mermaid\n(.*?)```", PROSE, re.S)
FRAMES = CLIENT_EVENTS.keys() | SERVER_EVENTS.keys()
ARROW = re.compile(r"\s*(\w)(?:--|-)(?:>>|x)(\w): (.*)")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_parses_and_says_nothing_else(example: str) -> None:
    value = json.loads(example)
    client = value["type"] in CLIENT_EVENTS
    event = parse_client(example) if client else parse_server(example)
    again = json.loads(encode(event))
    assert {name for name in value if value[name] is not None} <= again.keys()


def test_every_event_has_an_example() -> None:
    assert {json.loads(example)["type"] for example in EXAMPLES} == FRAMES


def test_no_name_goes_both_ways() -> None:
    assert not CLIENT_EVENTS.keys() & SERVER_EVENTS.keys()


def test_there_is_a_diagram_for_each_of_the_six_cases() -> None:
    headings = re.findall(r"^### (.*)\n(?:(?!^#).*\n)*?```mermaid", PROSE, re.M)
    assert headings == [
        "A normal turn",
        "Stop",
        "A client that leaves",
        "A reconnect",
        "Overload",
        "Shutdown",
    ]


@pytest.mark.parametrize("diagram", DIAGRAMS)
def test_every_frame_in_a_diagram_exists_and_goes_the_right_way(diagram: str) -> None:
    assert diagram.startswith("sequenceDiagram\n")
    arrows = [match.groups() for match in map(ARROW.fullmatch, diagram.splitlines()) if match]
    told = [
        (sender, part.split()[0])
        for sender, to, says in arrows
        if {sender, to} == {"C", "S"}
        for part in re.sub(r"\(.*?\)", "", says).split(", ")
        if sender != to
    ]
    frames = [(sender, word) for sender, word in told if re.fullmatch("[a-z_]+", word)]
    assert len(frames) >= 1
    for sender, word in frames:
        if word in FRAMES:
            assert word in (CLIENT_EVENTS if sender == "C" else SERVER_EVENTS), f"{sender} sends no {word}"
        else:
            assert word in {"closes", "close", "or", "requests", "under", "resume:", "last", "the"}, word


def test_names_in_the_text_exist() -> None:
    """What stands as code in the prose and looks like the name of a frame or an error is one."""
    other = set("type request message n last stream parent siblings idle draining interrupted".split()) | {
        "emotion",
        "coref",
        "main",
    }
    names = set(re.findall(r"`([a-z_]+)`", PROSE))
    assert names - other <= FRAMES | ERROR_CODES.keys()


def test_the_reference_is_that_of_the_code() -> None:
    assert PROSE + BEGIN + "\n" + markdown() == TEXT, "run python -m tests.server.protocol.reference"
