"""What the kinds of `convai evaluate` share: the model with the options given, and progress bars."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import config_from_args
from convai.core.errors import DataError
from convai.core.settings import DecodingConfig

if TYPE_CHECKING:
    from convai.conversation.agent import Agent

SHARED: Final = ("seed", "candidates")
"""Fields of DecodingConfig whose names mean something else in EvaluateConfig."""


def agent_of(args: argparse.Namespace) -> Agent:
    """The model asked for, the decoding options given laid over its own."""
    from convai.conversation.agent import load_agent

    given = {name: value for name, value in vars(args).items() if name not in SHARED}
    if "samples" in given:
        given["candidates"] = given["samples"]
    agent = load_agent(args.model, context=args.context)
    agent.decoding = config_from_args(DecodingConfig, argparse.Namespace(**given), base=agent.decoding)
    return agent


def decoding_of(agent: Agent | None) -> dict[str, Any]:
    """The decoding settings that replies were drawn with, for the record."""
    if agent is None:
        return {}
    settings = dataclasses.asdict(agent.decoding)
    del settings["seed"]  # every reply has one of its own
    return {"decoding": settings}


@contextlib.contextmanager
def about(path: Path) -> Iterator[None]:
    """Put the name of the file before what is wrong with its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


@contextlib.contextmanager
def bars() -> Iterator[Any]:
    """A progress function: a bar on stderr for each kind of work, where a person is looking."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from tqdm import tqdm

    shown: dict[str, Any] = {}

    def progress(what: str, done: int, of: int) -> None:
        if what not in shown:
            shown[what] = tqdm(total=of, desc=what, file=sys.stderr, dynamic_ncols=True)
        shown[what].update(done - shown[what].n)

    try:
        yield progress
    finally:
        for bar in shown.values():
            bar.close()
