"""`convai serve`: chat in the browser, the chat socket and the REST API, on one port."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import (
    APART,
    HERE,
    add_adapter_arguments,
    add_config_arguments,
    add_context_argument,
    add_resolving_arguments,
    add_threads_argument,
    config_from_args,
    where_to_compute,
)
from convai.core.errors import ConvaiError, SettingsError
from convai.core.only_one import only_one
from convai.core.processor import prefer_latency
from convai.core.settings import EngineConfig, ServerConfig

if TYPE_CHECKING:
    from convai.conversation.agent import Talker
    from convai.conversation.hooks import Hooks
    from convai.conversation.memory.memory import Memory
    from convai.conversation.mood import MoodReader
    from convai.engine import Port
    from convai.server.marks import ReadCoref
    from convai.store import Store

HELP: Final = "serve the chat in the browser, the chat socket and an OpenAI-compatible REST API"

_FILE: Final = "conversations.db"
_ENGINE_WAIT: Final = 180.0
"""Seconds in which one of the engines elsewhere must be there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `convai serve`."""
    parser.add_argument(
        "--model", metavar="DIR|NAME", help="model folder, or an embedded model (default: the embedded one)"
    )
    add_adapter_arguments(parser)
    add_context_argument(parser)
    add_threads_argument(parser)
    parser.add_argument(
        "--engine",
        metavar="here|apart|URL",
        help="what computes: this process (here), one of its own (apart), or engines elsewhere (`convai "
        "engine`): tcp://HOST:PORT, or several with commas between them (default: apart where there are two "
        "processor cores or more, else here)",
    )
    parser.add_argument(
        "--engine-token-file", type=Path, metavar="FILE", help="file with the token of those engines"
    )
    parser.add_argument(
        "--emotion-model",
        metavar="DIR|none",
        help="what reads the mood of messages (default: the embedded emotion model, where there is one)",
    )
    parser.add_argument(
        "--coref-model",
        metavar="DIR|embedded",
        help="a coreference model that finds who is meant, for the page to draw (default: none)",
    )
    add_resolving_arguments(parser)
    parser.add_argument(
        "--prefer-mood",
        metavar="NAME",
        help="prefer, among several candidates, replies that sound like it, such as joy (default: none)",
    )
    parser.add_argument(
        "--mood-weight",
        type=_weight,
        default=1.0,
        metavar="X",
        help="how much --prefer-mood counts beside the next-sentence score (default: %(default)s)",
    )
    parser.add_argument(
        "--memory",
        choices=("on", "off"),
        default="on",
        help="remember what people tell of themselves, each person's apart; everybody can switch it off for "
        "themselves (default: %(default)s)",
    )
    parser.add_argument(
        "--check", action="store_true", help="say what is there and what is missing, and serve nothing"
    )
    add_config_arguments(parser, ServerConfig, title="server")
    add_config_arguments(parser, EngineConfig, title="engine")


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return weight


def _mood(folder: str | None) -> MoodReader | None:
    """What reads the mood of a text. Raises ConvaiError where a model was named and cannot be loaded."""
    from convai.conversation.mood import MoodReader
    from convai.core.resources import models_dir
    from convai.emotion.checkpoint import EMBEDDED
    from convai.emotion.classifier import EmotionClassifier

    if folder == "none" or (folder is None and not (models_dir() / EMBEDDED).is_dir()):
        return None
    classifier = EmotionClassifier.load(folder, "int8")
    return MoodReader(lambda: classifier)


def _coref(folder: str | None, parser: str | None) -> ReadCoref | None:
    """What reads who is meant. Raises ConvaiError where a model was asked for and cannot be loaded."""
    from convai.coref.chat import load_chat_reader

    if folder is None:
        return None
    return load_chat_reader(None if folder == "embedded" else folder, parser)


def _hooks(args: argparse.Namespace, mood: MoodReader | None) -> Hooks:
    """What leans on every reply. Raises ConvaiError where what it needs cannot be had."""
    from convai.conversation.hooks import Hooks
    from convai.conversation.links import LinkReader
    from convai.conversation.mood import MoodPreference
    from convai.coref.chat import load_chat_reader

    preference = history = None
    if args.prefer_mood is not None:
        if mood is None:
            raise ConvaiError("--prefer-mood needs an emotion model; name one with --emotion-model")
        preference = MoodPreference(mood, args.prefer_mood, args.mood_weight)
    if args.resolved:
        model = None if args.coref_model == "embedded" else args.coref_model
        links = LinkReader(lambda: load_chat_reader(model, args.coref_parser))
        links.load()
        history = links.resolved
    return Hooks(preference, history)


def _memory(args: argparse.Namespace, store: Store) -> Memory | None:
    """What people are remembered with; the coreference model reads pronouns, loaded when first needed."""
    from convai.conversation.links import LinkReader
    from convai.conversation.memory.memory import Memory
    from convai.coref.chat import load_chat_reader

    if args.memory == "off":
        return None
    model = None if args.coref_model == "embedded" else args.coref_model
    links = LinkReader(lambda: load_chat_reader(model, args.coref_parser))
    return Memory(store.memories, resolve=links.resolved)


def default_store() -> Path:
    """Where conversations are kept: the user's data folder (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "convai" / _FILE


def _engine(args: argparse.Namespace, config: EngineConfig) -> tuple[Talker, Port]:
    """Who talks, and what computes, started, where `--engine` says. Raises ConvaiError."""
    if args.engine in (HERE, APART):
        from convai.conversation.adapters import start, start_apart

        options: Any = {"context": args.context, "adapters": args.adapters, "loaded": args.adapters_loaded}
        if args.engine == APART:
            return start_apart(args.model, config, threads=args.threads, **options)
        found = start(args.model, config, **options)
        return found.agent, found.engine
    if args.adapters:
        raise SettingsError("--adapters: the engines load them; give them to `convai engine`")
    from convai.conversation.agent import load_voice
    from convai.engine.handshake import identity, read_token
    from convai.engine.reaching import reach

    token = read_token(args.engine_token_file, "localhost")
    voice = load_voice(args.model, context=args.context)
    # they are often started together, and an engine has more to load
    engine = reach(args.engine, token, identity(voice.name, voice.tokenizer), wait=_ENGINE_WAIT)
    return voice.within(engine.limits), engine


@contextmanager
def _alone(where: str | Path) -> Iterator[None]:
    """A SQLite file has one door at a time; a database server many. Raises ConvaiError."""
    if "://" in str(where):
        yield
        return
    said = (
        f"{where}: another `convai serve` has these open; name another --store, or keep them on "
        "PostgreSQL to have several doors (docs/scale.md)"
    )
    with only_one(Path(f"{where}.lock"), said):
        yield


def run(args: argparse.Namespace) -> int:
    """Load the model and serve until a signal comes. Raises ConvaiError for settings that will not do."""
    config = config_from_args(ServerConfig, args)
    engine_config = config_from_args(EngineConfig, args)
    if args.engine is None:
        args.engine = where_to_compute()

    from convai.server.access import Access

    Access(config)  # what is wrong with it is told at once, before torch is loaded
    where = config.store or default_store()
    if args.check:
        from convai.commands.serve_check import check

        return check(args, config, where, _alone(where))
    with _alone(where):
        return _serve(args, config, engine_config, where)


def _serve(
    args: argparse.Namespace, config: ServerConfig, engine_config: EngineConfig, where: str | Path
) -> int:
    import torch

    from convai.server.logs import log_to_stderr
    from convai.server.run import allow_connections

    log_to_stderr()
    allow_connections(config.connections)
    torch.set_num_threads(args.threads)
    agent, engine = _engine(args, engine_config)
    with closing(engine):
        return _open(args, config, agent, engine, where)


def _open(
    args: argparse.Namespace, config: ServerConfig, agent: Talker, engine: Port, where: str | Path
) -> int:
    from convai.server.app import App
    from convai.server.run import Server, address, listen
    from convai.server.service import Service
    from convai.store import Store
    from convai.store.server_check import check_sessions
    from convai.text.personas import trained_persona

    mood = _mood(args.emotion_model)
    hooks = _hooks(args, mood)
    read_coref = _coref(args.coref_model, args.coref_parser)
    with listen(config) as listening, Store(where) as store:
        if store.shared is not None:
            check_sessions(store.database)
        read_mood = None if mood is None else mood.of
        service = Service(
            agent,
            engine,
            store,
            config,
            read_mood=read_mood,
            read_coref=read_coref,
            hooks=hooks,
            memory=_memory(args, store),
        )
        if (own := trained_persona(args.model)) is not None:
            service.deck.take([own])
        app = App(service)
        at, kept = address(listening), store.database.name
        print(
            f"convai serves {agent.name} on {at} (Ctrl-C ends it); conversations: {kept}",
            flush=True,
        )
        prefer_latency()
        Server(app).run([listening])
    return 0
