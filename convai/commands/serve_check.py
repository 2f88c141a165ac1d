"""`convai serve --check`: what a door needs, what of it is there, and what to do about the rest."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from convai.commands.options import APART, HERE
from convai.core.errors import ConvaiError
from convai.core.settings import ServerConfig


def check(
    args: argparse.Namespace, config: ServerConfig, where: str | Path, alone: AbstractContextManager[None]
) -> int:
    """Try one thing after another and print a line for each; returns 0 where nothing is missing, else 2.

    `alone`: what is held by whoever serves `where`, if that is for one alone.
    """
    from convai.server.run import address, listen

    def port() -> str:
        with listen(config) as listening:
            return f"can listen on {address(listening)}"

    missing = 0
    for name, look in (
        ("port", port),
        ("model", lambda: _model(args)),
        ("store", lambda: _store(where, alone)),
        ("engine", lambda: _engine(args)),
        ("people", lambda: _people(config)),
    ):
        missing += not _line(name, look)
    print("nothing is missing" if not missing else f"{missing} of these must be put right", flush=True)
    return 2 if missing else 0


def _line(name: str, look: Callable[[], str]) -> bool:
    try:
        said, good = look(), True
    except (ConvaiError, OSError) as error:
        said, good = str(error), False
    print(f"{'ok     ' if good else 'MISSING'} {name}: {said}", flush=True)
    return good


def _model(args: argparse.Namespace) -> str:
    from convai.conversation.agent import load_voice

    voice = load_voice(args.model, context=args.context)
    return f"{voice.name}, {voice.positions} positions"


def _store(where: str | Path, alone: AbstractContextManager[None]) -> str:
    from convai.store.database import Database
    from convai.store.server_check import check_rights, check_sessions

    with alone, closing(Database(where, change=False)) as database:
        if not database.sqlite:
            if database.missing or database.behind:
                check_rights(database)
            check_sessions(database)
        doors = "one door" if database.sqlite else "as many doors as you like"
        older = ", of an earlier convai: the first door to serve it brings it up to date"
        return f"{database.name}, {doors}{older if database.behind else ''}"


def _engine(args: argparse.Namespace) -> str:
    if args.engine in (HERE, APART):
        where = "in a process of its own" if args.engine == APART else "in this process"
        return f"computes here, {where}; for more of them see `convai engine` and docs/scale.md"
    from convai.conversation.agent import load_voice
    from convai.engine.handshake import identity, read_token
    from convai.engine.reaching import reach

    token = read_token(args.engine_token_file, "localhost")
    voice = load_voice(args.model, context=args.context)
    with reach(args.engine, token, identity(voice.name, voice.tokenizer), wait=2.0) as engines:
        detail = engines.health().detail
        if detail:
            raise ConvaiError(detail)
        return f"{len(engines.engines)} at {args.engine}, of the same version and model"


def _people(config: ServerConfig) -> str:
    if config.tokens is not None:
        return f"tokens in {config.tokens}"
    return "nobody is asked for a token (--tokens FILE); all share one list of conversations"
