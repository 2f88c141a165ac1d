"""People chat over several doors while doors, engines and PostgreSQL are killed: what is lost, what is twice?

Everything is told from outside: the readers hold every word against the reply that must come (`counting`),
and at the end the database is held against what was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from convai.bench.cluster.counting import letters
from convai.bench.cluster.folder import own_folder
from convai.bench.cluster.on_ray import RayEngines
from convai.bench.cluster.person import Observations, Visitor
from convai.bench.cluster.processes import ClusterProcess, OwnPostgres, context, door, made_up_model, stub
from convai.core.dialog import USER
from convai.core.errors import ConvaiError
from convai.server.access import LOCAL
from convai.store import Store

_UP: Final = 240.0
"""Seconds in which a process must be there again."""
_RAY_UP: Final = 900.0
"""The same for Ray and its replicas, which take minutes on a busy machine."""
_LOOK: Final = 0.05
_BETWEEN: Final = (0.3, 2.0)
"""Seconds between two deaths."""
_END: Final = 300.0
"""Seconds in which everybody must come to the end of what was begun."""
_DATABASE: Final = "postgresql"
"""Its folder."""
DOOR: Final = "door"
ENGINE: Final = "engine"
HEAD: Final = "Ray's head"
RAY: Final = "Ray"
DATABASE: Final = "PostgreSQL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is. `interval`: seconds between two letters, `length`: letters of a reply; `ray`: the
    engines are its replicas.
    """

    doors: int = 3
    engines: int = 4
    people: int = 20
    interval: float = 0.05
    length: int = 60
    ray: bool = False


class Town:
    """Doors, engines and the database of one measurement."""

    def __init__(self, size: Size, folder: Path, *, counting: bool, logs: Path) -> None:
        self.folder = folder
        self.database = OwnPostgres(folder / _DATABASE)
        self.turns = context().Array("q", 2, lock=False)
        model = made_up_model(folder / "model")
        self.ray = RayEngines(model, size.interval, size.engines, logs) if size.ray else None
        self.engines = [
            ClusterProcess(
                stub,
                os.fspath(model),
                size.interval,
                self.turns,
                counting,
                log=logs / f"engine{number}.log",
            )
            for number in range(0 if size.ray else size.engines)
        ]
        if self.ray is not None:
            where = self.ray.url
        else:
            where = "tcp://" + ",".join(f"127.0.0.1:{one.port}" for one in self.engines)
        options = [
            f"--model={model}",
            f"--store={self.database.url}",
            f"--engine={where}",
            "--emotion-model=none",
            "--memory=off",
            "--rate=1000000",
            "--generations=10000",
            "--connections=15000",
            "--connections-per-address=20000",
            "--threads=1",
        ]
        self.doors = [
            ClusterProcess(door, options, log=logs / f"door{number}.log") for number in range(size.doors)
        ]

    @staticmethod
    def end_left(folder: Path) -> None:
        """End the PostgreSQL of a measurement that was killed; doors and engines end by themselves."""
        OwnPostgres.end_left(folder / _DATABASE)

    @property
    def sockets(self) -> list[str]:
        """The doors' chat sockets."""
        return [f"ws://127.0.0.1:{one.port}/chat" for one in self.doors]

    async def start(self) -> None:
        """All of them. Raises ConvaiError where one does not come up."""
        if self.ray is not None:
            self.ray.start()
            await until(self.ray.up)
        for members in (self.engines, self.doors[:1], self.doors[1:]):  # the first door makes the tables
            for one in members:
                one.start()
            for one in members:
                await up(one)

    def close(self) -> None:
        """The end."""
        for one in (*self.doors, *self.engines):
            one.kill()
        if self.ray is not None:
            self.ray.kill()
        self.database.close()


@contextmanager
def town(size: Size, *, counting: bool = True, logs: Path | None = None) -> Iterator[Town]:
    """It is there for as long as the block lasts, but not started. `logs`: where what they say is kept."""
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    with own_folder(Town.end_left) as folder, ExitStack() as opened:
        made = Town(size, folder, counting=counting, logs=logs or folder)
        opened.callback(made.close)
        yield made


async def until(there: Callable[[], bool]) -> None:
    """Wait until it is. Raises ConvaiError."""
    limit = time.monotonic() + _RAY_UP
    while not await asyncio.to_thread(there):
        if time.monotonic() > limit:
            raise ConvaiError("Ray and its replicas do not come up")
        await asyncio.sleep(_LOOK)


async def up(member: ClusterProcess) -> None:
    """Wait until it listens; who ends by itself meanwhile is started anew, as by any supervisor: a door does
    where PostgreSQL is away. Raises ConvaiError.
    """
    limit = time.monotonic() + _UP
    while not await asyncio.to_thread(member.listens):
        if not member.alive:
            member.start()
        if time.monotonic() > limit:
            said = member.log.read_text(errors="replace")[-400:] if member.log.exists() else ""
            raise ConvaiError(f"a process does not come up: {said.strip()}")
        await asyncio.sleep(_LOOK)


def measure(size: Size, kills: int, seed: int = 0, logs: Path | None = None) -> dict[str, Any]:
    """Turns without disturbance, then `kills` deaths one after another, then what is left is looked at."""
    with town(size, logs=logs) as made:
        return asyncio.run(_measure(made, size, kills, random.Random(seed)))


async def _measure(made: Town, size: Size, kills: int, chance: random.Random) -> dict[str, Any]:
    await made.start()
    notes, ended = Observations(), asyncio.Event()
    people = [Visitor(number, made.sockets, notes, size.length) for number in range(size.people)]
    tasks = [asyncio.create_task(person.live(ended)) for person in people]
    begun = time.monotonic()
    try:
        quiet = await _undisturbed(made, people, tasks)
        killed: Counter[str] = Counter()
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            _nobody_fell(tasks)
            kinds = {DOOR: size.doors, ENGINE: size.engines, DATABASE: 1} | (
                {HEAD: 2, RAY: 1} if size.ray else {}
            )
            what = chance.choices(list(kinds), weights=list(kinds.values()), k=1)[0]
            killed[await _kill(made, what, chance, notes)] += 1
        for one in (*made.doors, *made.engines):
            await up(one)
        if made.ray is not None:
            await until(made.ray.up)
        ended.set()
        done, _ = await asyncio.wait(tasks, timeout=_END)
        _nobody_fell(tasks)
        if stuck := len(tasks) - len(done):
            notes.bad("people whose reply never ended", str(stuck))
            notes.wrong["people whose reply never ended"] = stuck
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    replies = _look_at_all(made, people, notes, size.length)
    return {
        "people": size.people,
        "doors": size.doors,
        "engines": size.engines,
        "seconds": time.monotonic() - begun,
        "killed": dict(killed),
        "turns": sum(len(person.acknowledged) for person in people),
        "replies": replies,
        "wrong": dict(notes.wrong),
        "examples": notes.examples,
        "seen": dict(sorted(notes.seen.items())),
        "undisturbed": quiet,
        "away_s": {
            what: {"count": len(found), "median": sorted(found)[len(found) // 2], "most": max(found)}
            for what, found in notes.away.items()
        },
        "restarts_s": notes.restarts,
    }


def _nobody_fell(tasks: list[asyncio.Task[None]]) -> None:
    """Raise what a person did not expect: the measurement itself is wrong then."""
    for task in tasks:
        if task.done() and (error := task.exception()) is not None:
            raise error


async def _undisturbed(made: Town, people: list[Visitor], tasks: list[asyncio.Task[None]]) -> dict[str, Any]:
    """Three turns of everybody: how many of those after the first found their conversation where it was."""
    while min(len(person.acknowledged) for person in people) < 4:
        _nobody_fell(tasks)
        await asyncio.sleep(_LOOK)
    turns, found = made.turns
    if made.ray is not None:  # whose replicas share no memory with us
        return {}
    return {"turns": turns, "found": found, "stay": found / max(turns - len(people), 1)}


async def _kill(made: Town, what: str, chance: random.Random, notes: Observations) -> str:
    if what == DATABASE:
        mode, begun = chance.choice(("fast", "immediate")), time.monotonic()
        what = f"{what} ({mode})"
        notes.killed.append((begun, what))
        await asyncio.to_thread(made.database.restart, mode)
        notes.restarts.append(time.monotonic() - begun)
        return what
    if made.ray is not None and what != DOOR:
        await until(made.ray.up)
        kill = {ENGINE: made.ray.kill_replica, HEAD: made.ray.kill_head, RAY: made.ray.kill}[what]
        await asyncio.to_thread(kill)
        notes.killed.append((time.monotonic(), what))  # all of Ray takes its time to die
        if what == RAY:
            made.ray.start()
        return what
    members = made.doors if what == DOOR else made.engines
    victim = chance.choice(members)
    for other in members:  # one of a kind is always left
        if other is not victim:
            await up(other)
    notes.killed.append((time.monotonic(), what))
    await asyncio.to_thread(victim.kill)
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    await asyncio.to_thread(victim.start)
    return what


def _look_at_all(made: Town, people: list[Visitor], notes: Observations, length: int) -> int:
    """What the database has against what was acknowledged; returns how many replies are whole."""
    whole = 0
    with Store(made.database.url) as store:
        for person in people:
            if person.view.conversation is None:
                continue
            messages = store.branch(LOCAL, person.view.conversation)[0]
            texts = [one.text for one in messages if one.speaker == USER]
            who = str(person.number)
            counts = Counter(texts)
            for text in person.acknowledged:
                if not counts[text]:
                    notes.bad("acknowledged and lost", f"{who}: {text}")
            for text, count in counts.items():
                if count > 1:
                    notes.bad("kept twice", f"{who}: {text}")
            if [text for text in texts if text in person.acknowledged] != person.acknowledged:
                notes.bad("kept in another order", who)
            for before, one in pairwise(messages):
                if one.speaker == USER:
                    continue
                if (one.status, one.text) != ("complete", letters(before.text, max(length, len(one.text)))):
                    notes.bad("a reply that is kept is not whole", f"{who}: {one.status} {one.text!r}")
                whole += 1
            if person.view.messages and person.view.messages[-1].text != messages[-1].text:
                notes.bad("the reader was shown something else", who)
    return whole
