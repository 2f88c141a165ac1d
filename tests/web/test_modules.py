"""The page's modules under node; its reducer and its settings against their originals in Python."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import fields
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from convai.bench.view import View
from convai.core.settings import DecodingConfig
from convai.core.settings_values import laid_over
from convai.server.protocol import CHANGES, Limits, ProtocolError, encode, parse_server
from convai.server.protocol.answers import Pong
from convai.server.protocol.changes import (
    Change,
    DecodingSet,
    Deleted,
    Failed,
    FinishedReply,
    Marks,
    MemoryChanged,
    Path,
    PersonaSet,
    SceneSet,
    Started,
    State,
    Stopped,
    Suggestions,
    TitleSet,
    TokenDrawn,
)
from convai.server.protocol.schema import build
from convai.server.protocol.values import (
    Candidate,
    CharacterCard,
    Message,
    NoteCard,
    PersonaCard,
    Scene,
    Siblings,
    Suggestion,
)
from tests.web.conftest import JS_TESTS, RunNode

HISTORIES = 200
IDS = ["m1", "m2", "m3", "m4", "m5", "__proto__", "constructor"]
TEXTS = ["", "hi", " there", "ünï·code 🙂", "<b>no markup</b>", '"quoted"\\']


class Inventor:
    """Random histories: mostly what a server would send, sometimes what none should."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.view = View()

    def history(self) -> tuple[list[str], list[bool | str]]:
        frames: list[str] = []
        outcomes: list[bool | str] = []
        for _ in range(self.random.randint(1, 40)):
            event = self.event()
            frames.append(encode(event))
            try:
                outcomes.append(self.view.take(event))
            except ProtocolError:
                outcomes.append("error")
        return frames, outcomes

    def event(self) -> Any:
        chance = self.random.random()
        if self.view.conversation is None or chance < 0.04:
            if chance < 0.9:
                return self.state()
        if chance < 0.07:
            return Pong(request="r")
        n = max(1, self.view.last + 1 + self.random.choice([0] * 30 + [-1, -3, 1, 5]))
        return replace(self.change(), n=n)

    def state(self) -> State:
        ids = self.random.sample(IDS, self.random.randint(0, 4))
        return State(
            n=self.random.choice([0, 0, 7]),
            stream=self.random.choice(["s1", "s2"]),
            conversation="c1",
            title=self.random.choice(["", "t"]),
            persona=self.persona(),
            settings=self.settings(),
            messages=tuple(self.message(id) for id in ids),
            scene=self.random.choice([None, self.scene()]),
            earlier=self.random.randint(0, 3),
        )

    def change(self) -> Change:
        pick = self.random.choice
        if (id := self.view.writing) and self.random.random() < 0.75:
            if self.random.random() < 0.02:
                id = pick(IDS)
            rest = self.message(id) if self.random.random() < 0.7 else None
            ends: list[Change] = [
                FinishedReply(message=self.message(id), reason=pick(["stop", "length"])),
                Stopped(id=id, by=pick(["client", "left", "shutdown"]), message=rest),
                Failed(id=id, code="internal", error="x", message=rest),
            ]
            token = TokenDrawn(message=id, text=pick(TEXTS), logprob=-0.5, alternatives=(("a", -1.0),))
            return self.random.choice([*([token] * 6), *ends])
        known = [message.id for message in self.view.messages] + [None] * 2
        keep = pick(known) if self.random.random() < 0.95 else pick(IDS)
        begun = replace(self.message(pick(IDS)), parent=keep, status="streaming")
        lines = tuple(Suggestion(text=f"line {i}", score=float(i)) for i in range(self.random.randint(0, 3)))
        added = tuple(self.message(id) for id in self.random.sample(IDS, self.random.randint(0, 3)))
        changes: list[Change] = [
            Path(keep=keep, messages=added),
            Started(message=begun),
            Started(message=begun),
            Suggestions(message=keep, lines=lines),
            Marks(message=pick(IDS), kind=pick(["emotion", "coref"]), data={"a": pick(TEXTS)}),
            PersonaSet(persona=self.persona()),
            DecodingSet(settings=self.settings()),
            TitleSet(title=pick(["new", ""])),
            SceneSet(scene=self.scene()),
            MemoryChanged(forgotten=pick([(), ("f1",)]), enabled=pick([None, True])),
            TokenDrawn(message=pick(IDS), text="x"),
        ]
        return Deleted() if self.random.random() < 0.02 else pick(changes)

    def message(self, id: str) -> Message:
        pick = self.random.choice
        return Message(
            id=id,
            parent=pick([None, *IDS]),
            role=pick(["user", "agent"]),
            text=pick(TEXTS),
            status=pick(["complete", "complete", "interrupted", "streaming"]),
            time=self.random.randint(0, 2**53 - 1),
            siblings=pick([Siblings(), Siblings(index=1, count=2, previous="m1")]),
            request=pick([None, "r1"]),
            candidates=pick(
                [(), (Candidate(text="a", score=1.5, logprob=-2.0), Candidate(text="b", score=-3))]
            ),
            chosen=pick([None, 0]),
            marks=pick([None, {}, {"emotion": {"emoji": [["🙂", 0.5]]}}]),
        )

    def persona(self) -> PersonaCard:
        return self.random.choice(
            [PersonaCard(), PersonaCard(name="Ann", sentences=("i bake.", "i am <b>."))]
        )

    def scene(self) -> Scene:
        pick = self.random.choice
        return Scene(
            character=pick([None, CharacterCard(name="Ann", greetings=("hi.", "oh."), entries=3)]),
            user=pick([None, self.persona()]),
            note=pick([None, NoteCard(text="It rains.", depth=2)]),
        )

    def settings(self) -> dict[str, int | float | None]:
        return self.random.choice([{}, {"top_p": 0.5, "seed": None}, {"temperature": 1.25, "top_k": 3}])


def as_python(shown: dict[str, Any]) -> View:
    """The page's view as a View."""
    return View(
        conversation=shown["conversation"],
        stream=shown["stream"],
        last=shown["last"],
        title=shown["title"],
        persona=build(PersonaCard, shown["persona"], "persona"),
        settings=shown["settings"],
        scene=None if shown["scene"] is None else build(Scene, shown["scene"], "scene"),
        messages=[build(Message, message, "message") for message in shown["messages"]],
        earlier=shown["earlier"],
        suggestions=tuple(build(Suggestion, line, "line") for line in shown["suggestions"]),
        marks=shown["marks"],
    )


History = tuple[View, list[str], list[bool | str]]


@pytest.fixture(scope="module")
def histories() -> list[History]:
    """What a View made of random frames: the view at the end, the frames, what became of each."""
    inventors = [Inventor(seed) for seed in range(HISTORIES)]
    return [(inventor.view, *inventor.history()) for inventor in inventors]


def test_the_reducer_is_the_view_over_random_histories(node: RunNode, histories: list[History]) -> None:
    done = node("tests/replay.js", input=json.dumps([frames for _, frames, _ in histories]))
    assert done.returncode == 0, done.stderr
    for (view, frames, outcomes), result in zip(histories, json.loads(done.stdout), strict=True):
        assert result["outcomes"] == outcomes, frames
        assert as_python(result["view"]) == view, frames
        assert result["writing"] == view.writing
        resume = view.resume()
        assert result["resume"] == (None if resume is None else msgspec.to_builtins(resume))


def test_the_histories_show_all_that_can_happen(histories: list[History]) -> None:
    """That the comparison above compares something: every kind of change taken in often, and all outcomes."""
    taken: Counter[str] = Counter()
    for _, frames, outcomes in histories:
        for text, outcome in zip(frames, outcomes, strict=True):
            if outcome is True:
                taken[json.loads(text)["type"]] += 1
    assert {name for name, count in taken.items() if count >= 10} == {*CHANGES, "state"}
    assert {outcome for _, _, outcomes in histories for outcome in outcomes} == {True, False, "error"}
    for text in {text for _, frames, _ in histories[:10] for text in frames}:
        parse_server(text)  # valid frames, all of them


def test_the_modules_under_node(node: RunNode) -> None:
    done = node("--test", *(f"tests/{path.name}" for path in sorted(JS_TESTS.glob("*.test.js"))))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# fail 0" in done.stdout
    assert "\n# tests 0" not in done.stdout


def test_the_settings_of_the_page_are_those_of_convai(node: RunNode) -> None:
    """Every setting has a field; both ends of a range are taken by convai, presets as well."""
    found = json.loads(node("tests/fields.js").stdout)
    names = [field["name"] for field in found["fields"]]
    assert sorted(names) == sorted(field.name for field in fields(DecodingConfig))
    widest = DecodingConfig(min_length=0, max_length=1024)
    for field in found["fields"]:
        if "text" in field:
            laid_over(widest, {field["name"]: ""})
            continue
        for end in (False, True) if "flag" in field else (field["least"], field["most"]):
            laid_over(widest, {field["name"]: end})
        limit = getattr(Limits(), field["name"], None)
        assert limit is None or field["most"] == limit
        if "off" in field:
            laid_over(widest, {field["name"]: field["off"]})
    for preset in found["presets"]:
        laid_over(DecodingConfig(), preset["settings"])
