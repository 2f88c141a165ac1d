"""Probes: what a file may hold, when an answer is right, what is asked in which setting, and the shares."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.agent import Agent
from convai.core import resources
from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import DataError
from convai.core.intervals import wilson
from convai.core.settings import DecodingConfig
from convai.evaluation.probes import Answer, Setting, ask_probes, read_probes, shares
from convai.evaluation.report import answer_lines, share_table
from convai.text.tokenizer import Tokenizer
from tests.tiny import tiny_model

PROBE = {"kind": "persona", "ask": "what do you do?", "must": ["smith"], "must_not": ["^no"]}
SETTING = {
    "id": "forge",
    "persona": ["i am a smith."],
    "turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": "hello"}],
    "live": ["it rains.", "still."],
    "probes": [PROBE, {"kind": "partner", "ask": "who am i?", "must_not": ["ann"]}],
}


@pytest.fixture(scope="module")
def agent() -> Agent:
    model = tiny_model(vocab_size=261, n_positions=400)
    return Agent(model, Tokenizer.byte_level(), DecodingConfig(max_length=5, temperature=1.0))


def settings(tmp_path: Path, *entries: Any) -> list[Setting]:
    path = tmp_path / "probes.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    return read_probes(path)


def test_the_shipped_probes_hold_enough_of_every_kind() -> None:
    found = read_probes(resources.data_dir() / "evaluation" / "probes.jsonl")
    kinds = [probe.kind for setting in found for probe in setting.probes]
    assert len({setting.id for setting in found}) == len(found)
    assert min(kinds.count(kind) for kind in kinds) >= 25


def test_the_later_probes_ask_of_other_people() -> None:
    """They are for measuring alone: nothing may be chosen by them, and no setting be shared."""
    first, later = (
        read_probes(resources.data_dir() / "evaluation" / name)
        for name in ("probes.jsonl", "probes_later.jsonl")
    )
    assert sum(len(setting.probes) for setting in later) >= 60
    said = {s for setting in first for s in setting.persona.sentences}
    assert not [s for setting in later for s in setting.persona.sentences if s in said]


def test_a_setting_is_read(tmp_path: Path) -> None:
    one, text = settings(tmp_path, SETTING, {"persona": "i row. i sing.", "probes": [PROBE]})
    assert one.persona.sentences == ("i am a smith.",)
    assert one.turns == (Turn(USER, "hi"), Turn(AGENT, "hello"))
    assert one.live == ("it rains.", "still.")
    assert [probe.kind for probe in one.probes] == ["persona", "partner"]
    assert text.persona.sentences == ("i row.", "i sing.")
    assert text.id.endswith("probes.jsonl:2")


def test_an_answer_has_all_it_must_and_nothing_it_must_not(tmp_path: Path) -> None:
    named = {"patterns": {"no": "no|nope"}}
    (setting,) = settings(
        tmp_path,
        named,
        {"probes": [{"kind": "k", "ask": "q", "must": ["<no>", "can't"], "must_not": ["x$"]}]},
    )
    right = setting.probes[0].right
    assert right("Nope, I CAN\u2019T.")
    assert not right("i can't.")
    assert not right("no.")
    assert not right("no, i can't x")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"probes": []}, "no 'probes'; a line is like"),
        ({"probes": [{**PROBE, "must": ["("]}]}, r"probe 1, must: '\(' is no regular expression"),
        ({"probes": [{"kind": "k", "ask": "q"}]}, "every answer is right; give patterns"),
        ({"probes": [{**PROBE, "mist": []}]}, "unknown key 'mist'; known are ask, kind, must, must_not"),
        ({"probes": [PROBE], "turns": [{"speaker": 2, "text": "x"}]}, "turn 1: 'speaker' must be 0"),
        ({"probes": [PROBE], "live": "hi"}, "'live' is text; make it a list"),
        ([], "expected an object"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, entry: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"probes.jsonl:2.*{message}"):
        settings(tmp_path, SETTING, entry)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing in it; a line is like"):
        settings(tmp_path)
    with pytest.raises(DataError, match="no probes; a line is like"):
        settings(tmp_path, {"patterns": {"no": "^no"}})


def test_every_question_is_asked_after_what_was_said(agent: Agent, tmp_path: Path) -> None:
    one, two = settings(tmp_path, SETTING, {"id": "bare", "probes": [PROBE]})
    answers = list(ask_probes(agent, [one, two], draws=2, seed=1, max_history=None))
    assert [(a.setting.id, a.draw, a.probe.kind) for a in answers] == [
        ("forge", 0, "persona"),
        ("forge", 0, "partner"),
        ("forge", 1, "persona"),
        ("forge", 1, "partner"),
        ("bare", 0, "persona"),
        ("bare", 1, "persona"),
    ]
    forge = answers[0].turns
    assert [t.text for t in forge if t.speaker == USER] == ["hi", "it rains.", "still."]
    assert [t.speaker for t in forge] == [USER, AGENT] * 3
    assert forge == answers[1].turns
    assert forge != answers[2].turns
    assert answers[4].turns == ()
    assert all(a.right == a.probe.right(a.text) for a in answers)
    again = list(ask_probes(agent, [one, two], draws=2, seed=1, max_history=None))
    assert [a.text for a in again] == [a.text for a in answers]


def test_shares_count_a_probe_once_for_the_interval(tmp_path: Path) -> None:
    (setting,) = settings(tmp_path, SETTING)
    rng = random.Random(0)
    answers = [
        Answer(setting, probe, draw, (), "x", right=rng.random() < 0.5)
        for probe in setting.probes
        for draw in range(5)
    ]
    found = shares(answers)
    assert list(found) == ["partner", "persona", "all"]
    assert found["all"]["probes"] == 2
    assert found["all"]["answers"] == 10
    assert found["all"]["share"] == sum(a.right for a in answers) / 10
    assert (found["all"]["low"], found["all"]["high"]) == wilson(found["all"]["share"], 2)
    table = share_table(answers, found)
    assert table.count("draw") == sum(not a.right for a in answers)
    assert table.splitlines()[-1].split()[0] == "all"
    assert [json.loads(line)["right"] for line in answer_lines(answers)] == [a.right for a in answers]


def test_our_own_probes_can_be_read_and_failed() -> None:
    """Neither silence nor one word for everything passes many of them."""
    own = read_probes(resources.probes_path())
    probes = [probe for setting in own for probe in setting.probes]
    assert len(probes) >= 250
    assert len({setting.id for setting in own}) == len(own)
    for answer in ("...", "i like to read.", "yes, i do.", "i'm a nurse."):
        assert sum(probe.right(answer) for probe in probes) < len(probes) / 8
    assert sum(probe.right("no, i don't.") for probe in probes) < len(probes) / 3


@pytest.mark.parametrize(
    ("ask", "right", "wrong"),
    [
        ("are you 30?", ["i am 52.", "No, 52.", "i'm not."], ["i am.", "yes!", "i am 30."]),
        ("do you like riding horses?", ["i do not.", "no way", "horses scare me"], ["i do!", "sure, a lot"]),
        ("do you have any pets?", ["a heron", "yes, admiral"], ["no.", "i don't have any"]),
        ("is my name laura?", ["no, you're isidora", "it isn't"], ["yes, it is", "of course, laura"]),
        (
            "i lost my job today.",
            ["oh no, what happened?", "i'm so sorry"],
            ["that's great!", "i like pizza"],
        ),
    ],
)
def test_patterns_are_fair_to_wording_and_strict_on_facts(
    ask: str, right: list[str], wrong: list[str]
) -> None:
    probes = [probe for setting in read_probes(resources.probes_path()) for probe in setting.probes]
    (probe,) = [probe for probe in probes if probe.ask == ask]
    assert all(map(probe.right, right))
    assert not any(map(probe.right, wrong))
