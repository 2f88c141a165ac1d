"""Probes: questions put to the agent in a given setting, and patterns that tell right answers from wrong.

A file holds a setting a line, as JSON:

    {"id": "smith", "persona": ["i am a smith."], "turns": [{"speaker": 0, "text": "hi, i'm ann."},
     {"speaker": 1, "text": "hello ann!"}], "live": ["it rains."], "probes": [{"kind": "partner",
     "ask": "what's my name?", "must": ["ann"], "must_not": ["smith"]}]}

`persona` is a list of sentences, or running text (as a card's); `turns` were said, `live` are said by the
user before the question and answered by the model itself. Each question of a setting is asked by itself. An
answer is right where every pattern of `must` is found in it and none of `must_not`; patterns are regular
expressions, searched in the answer's small letters, with straight apostrophes. A line `{"patterns": {"no":
"^(no|nope)"}}` names patterns that the lines after it can use as `<no>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convai.conversation.agent import Agent
from convai.conversation.conversation import Place
from convai.conversation.drawing import draw_together
from convai.conversation.reply import Reply
from convai.core.dialog import AGENT, USER, Persona, Turn, check_text
from convai.core.errors import DataError
from convai.core.intervals import wilson
from convai.engine import Engine
from convai.engine.backends.precision import Requested
from convai.evaluation.evaluate import Progress, no_progress, numbered_seed
from convai.text.corpora.building import as_list, as_object, persona_from_text, sentences
from convai.text.corpora.json_text import objects

AT_ONCE: Final = 32
"""Settings that are gone through side by side."""

_KEYS: Final = {"id", "persona", "turns", "live", "probes"}
_PROBE_KEYS: Final = {"kind", "ask", "must", "must_not"}
_PROBE_EXAMPLE: Final = '{"kind": "persona", "ask": "what do you do?", "must": ["smith"]}'
_EXAMPLE: Final = f'{{"persona": ["i am a smith."], "probes": [{_PROBE_EXAMPLE}]}}'
_NAMED: Final = re.compile(r"<[a-z]+>")
_APOSTROPHES: Final = str.maketrans("\u2019\u2018\u02bc", "'''")


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, what kind of thing it asks for, and the patterns of a right answer."""

    kind: str
    ask: str
    must: tuple[re.Pattern[str], ...]
    must_not: tuple[re.Pattern[str], ...] = ()

    def right(self, answer: str) -> bool:
        """Whether the answer has all that it must have and nothing that it must not."""
        text = answer.lower().translate(_APOSTROPHES)
        return all(p.search(text) for p in self.must) and not any(p.search(text) for p in self.must_not)


@dataclass(frozen=True, slots=True)
class Setting:
    """Who the agent is, what was said, what the user says before the question, and the questions."""

    id: str
    persona: Persona
    turns: tuple[Turn, ...]
    live: tuple[str, ...]
    probes: tuple[Probe, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent said to a probe in one draw, and whether it was right. `turns`: before the question."""

    setting: Setting
    probe: Probe
    draw: int
    turns: tuple[Turn, ...]
    text: str
    right: bool


def read_probes(path: Path) -> list[Setting]:
    """The settings in a file. Raises DataError, naming file and line, for what is not as the module says."""
    found: list[Setting] = []
    names: dict[str, str] = {}
    for where, entry in objects(path, _EXAMPLE):
        if entry.keys() == {"patterns"}:
            named = as_object(entry["patterns"], where, '{"no": "^(no|nope)"}')
            names |= {f"<{name}>": f"(?:{check_text(value, where)})" for name, value in named.items()}
        else:
            found.append(_setting(entry, names, where))
    if not found:
        raise DataError(f"{path}: no probes; a line is like {_EXAMPLE}")
    return found


def _setting(entry: dict[str, Any], names: Mapping[str, str], where: str) -> Setting:
    _refuse_unknown(entry, _KEYS, where)
    persona = entry.get("persona") or []
    turns = []
    for i, item in enumerate(as_list(entry.get("turns") or [], where, "turns"), 1):
        turn = as_object(item, f"{where}, turn {i}", '{"speaker": 0, "text": "hi"}')
        if turn.get("speaker") not in (USER, AGENT):
            raise DataError(f"{where}, turn {i}: 'speaker' must be 0 (the user) or 1 (the agent)")
        turns.append(Turn(turn["speaker"], check_text(turn.get("text"), f"{where}, turn {i}")))
    live = as_list(entry.get("live") or [], where, "live")
    probes = as_list(entry.get("probes") or [], where, "probes")
    if not probes:
        raise DataError(f"{where}: no 'probes'; a line is like {_EXAMPLE}")
    return Setting(
        str(entry.get("id") or where),
        persona_from_text(persona, where) if isinstance(persona, str) else Persona(sentences(persona, where)),
        tuple(turns),
        tuple(check_text(text, f"{where}, live {i}") for i, text in enumerate(live, 1)),
        tuple(_probe(item, names, f"{where}, probe {i}") for i, item in enumerate(probes, 1)),
    )


def _probe(value: object, names: Mapping[str, str], where: str) -> Probe:
    entry = as_object(value, where, _PROBE_EXAMPLE)
    _refuse_unknown(entry, _PROBE_KEYS, where)
    must, must_not = (
        _patterns(entry.get(name) or [], names, f"{where}, {name}") for name in ("must", "must_not")
    )
    if not must and not must_not:
        raise DataError(f"{where}: neither 'must' nor 'must_not', so every answer is right; give patterns")
    return Probe(
        check_text(entry.get("kind"), f"{where}, kind"),
        check_text(entry.get("ask"), f"{where}, ask"),
        must,
        must_not,
    )


def _patterns(value: object, names: Mapping[str, str], where: str) -> tuple[re.Pattern[str], ...]:
    found = []
    for item in as_list(value, where, "patterns"):
        text = _NAMED.sub(lambda m: names.get(m[0], m[0]), check_text(item, where))
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise DataError(f"{where}: {item!r} is no regular expression ({error})") from None
    return tuple(found)


def _refuse_unknown(entry: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(entry.keys() - known):
        raise DataError(f"{where}: unknown key {unknown[0][:40]!r}; known are {', '.join(sorted(known))}")


def ask_probes(
    agent: Agent,
    settings: Sequence[Setting],
    *,
    draws: int,
    seed: int,
    max_history: int | None,
    precision: Requested = "float32",
    progress: Progress = no_progress,
) -> Iterator[Answer]:
    """What the agent, with its own decoding settings, says to every probe, `draws` times.

    The seed of a conversation follows from `seed`, the setting's number and the draw. The messages said live
    are answered once for all questions of a setting in a draw, so that these share what was said.
    """
    places = [(number, draw) for number in range(len(settings)) for draw in range(draws)]
    with agent.exact_engine(precision) as engine:
        for first in range(0, len(places), AT_ONCE):
            tables = [
                _Table(agent, settings[number], draw, numbered_seed(seed, number * draws + draw), max_history)
                for number, draw in places[first : first + AT_ONCE]
            ]
            for said in range(max(len(table.setting.live) for table in tables)):
                able = [table for table in tables if said < len(table.setting.live)]
                _answer(engine, [(table, table.setting.live[said]) for table in able])
            asked = [(table, probe) for table in tables for probe in table.setting.probes]
            replies = [table.reply(probe.ask) for table, probe in asked]
            draw_together(replies, engine.stream)
            for (table, probe), reply in zip(asked, replies, strict=True):
                text = reply.final.text
                yield Answer(table.setting, probe, table.draw, tuple(table.turns), text, probe.right(text))
            progress("settings", min(first + AT_ONCE, len(places)), len(places))


class _Table:
    """A setting in one draw: what has been said, and how the next reply is asked for."""

    def __init__(self, agent: Agent, setting: Setting, draw: int, seed: int, max_history: int | None) -> None:
        self.setting, self.draw = setting, draw
        self.turns = list(setting.turns)
        self._agent, self._seed, self._max_history = agent, seed, max_history

    def reply(self, said: str) -> Reply:
        """The reply to `said`, to be drawn."""
        place = Place.after([*self.turns, Turn(USER, said)])
        return Reply(
            self._agent,
            self.setting.persona,
            place,
            self._agent.decoding,
            seed=self._seed,
            max_history=self._max_history,
        )


def _answer(engine: Engine, messages: Sequence[tuple[_Table, str]]) -> None:
    replies = [table.reply(said) for table, said in messages]
    draw_together(replies, engine.stream)
    for (table, said), reply in zip(messages, replies, strict=True):
        table.turns += [Turn(USER, said), Turn(AGENT, reply.final.text)]


def shares(answers: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """For every kind, and for all of them: `share` right, its interval `low` to `high`, `probes`, `answers`.

    The interval counts a probe as one trial however often it was drawn, since its draws go together.
    """
    kinds = {kind: [a for a in answers if a.probe.kind == kind] for kind in {a.probe.kind for a in answers}}
    found = {}
    for kind in [*sorted(kinds), "all"]:
        of_kind = list(answers) if kind == "all" else kinds[kind]
        probes = len({(a.setting.id, id(a.probe)) for a in of_kind})
        share = sum(a.right for a in of_kind) / len(of_kind)
        low, high = wilson(share, probes)
        found[kind] = {
            "share": share,
            "low": low,
            "high": high,
            "probes": probes,
            "answers": len(of_kind),
        }
    return found
