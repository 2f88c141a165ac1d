"""`convai engine`: the model alone, for `convai serve --engine` in other processes or on other machines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from convai.commands.options import (
    add_adapter_arguments,
    add_config_arguments,
    add_context_argument,
    add_threads_argument,
    config_from_args,
)
from convai.core.settings import EngineConfig

HELP: Final = "compute replies for `convai serve --engine` in other processes or on other machines"
_LISTEN: Final = "127.0.0.1:7000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `convai engine`."""
    parser.add_argument(
        "--listen", default=_LISTEN, metavar="HOST:PORT", help="where doors find it (default: %(default)s)"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with the token that doors must know; needed where other machines can reach the address",
    )
    parser.add_argument(
        "--model", metavar="DIR|NAME", help="model folder, or an embedded model (default: the embedded one)"
    )
    add_adapter_arguments(parser)
    add_context_argument(parser)
    add_threads_argument(parser)
    parser.add_argument(
        "--drain",
        type=float,
        default=20.0,
        metavar="X",
        help="seconds that running replies have to finish after SIGTERM (default: %(default)s)",
    )
    parser.add_argument(
        "--log-replies",
        action="store_true",
        help="log when each reply begins and ends, by the name that its client gave the request",
    )
    parser.add_argument(
        "--ray",
        action="store_true",
        help="as replicas of a Ray Serve deployment; --listen is Ray Serve's HTTP address (pip install "
        "'convai[ray]')",
    )
    parser.add_argument(
        "--replicas",
        default="1",
        metavar="N|MIN:MAX",
        help="replicas on Ray; MIN:MAX: as many as running and waiting replies need (default: %(default)s)",
    )
    parser.add_argument(
        "--replies-each",
        type=float,
        default=16.0,
        metavar="N",
        help="with MIN:MAX: replies for each replica; with more there is another one (default: %(default)s)",
    )
    parser.add_argument(
        "--up-after",
        type=float,
        default=10.0,
        metavar="X",
        help="with MIN:MAX: seconds before another one is started (default: %(default)s)",
    )
    parser.add_argument(
        "--down-after",
        type=float,
        default=300.0,
        metavar="X",
        help="with MIN:MAX: seconds before one is ended again (default: %(default)s)",
    )
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="a Ray that runs already, such as auto (default: start one)"
    )
    add_config_arguments(parser, EngineConfig, title="engine")


def run(args: argparse.Namespace) -> int:
    """Load the model and compute until a signal comes. Raises ConvaiError for settings that will not do."""
    config = config_from_args(EngineConfig, args)

    from convai.engine.handshake import host_port, read_token

    host, port = host_port(args.listen)
    token = read_token(args.token_file, host)

    import signal
    import socket
    import threading
    from contextlib import closing
    from functools import partial

    import torch

    from convai.conversation.adapters import start
    from convai.core.errors import SettingsError
    from convai.engine.door import replies
    from convai.engine.listener import Listener
    from convai.server.logs import log_to_stderr

    log_to_stderr(replies.name if args.log_replies else "")
    ending = threading.Event()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ending.set())
    load = partial(
        start, args.model, config, context=args.context, adapters=args.adapters, loaded=args.adapters_loaded
    )
    if args.ray:
        from convai.conversation.agent import load_voice
        from convai.server import on_ray, ray_head

        scaling = on_ray.Scaling.parse(
            args.replicas, replies=args.replies_each, up_after=args.up_after, down_after=args.down_after
        )
        on_ray.ray_serve()
        load_voice(args.model, context=args.context)  # what is wrong with it is told at once
        options = {name: getattr(args, name) for name in ("threads", "drain", "log_replies")}

        def ready() -> None:
            print(f"convai computes on Ray for doors at ray://{args.listen} (Ctrl-C ends it)", flush=True)

        ray_head.run(
            {"load": load, "token": token, "scaling": scaling, **options},
            host=host,
            port=port,
            address=args.ray_address,
            ended=ending,
            ready=ready,
        )
        return 0
    torch.set_num_threads(args.threads)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise SettingsError(f"--listen {args.listen}: {error.strerror or error}; choose another") from None
    with listening:
        found = load()
        with closing(found.engine):
            listener = Listener(found.engine, found.identity(), token, listening)
            where = ":".join(map(str, listening.getsockname()[:2]))
            print(
                f"convai computes {found.agent.name} ({found.own.precision}) for doors at tcp://{where}",
                flush=True,
            )
            ending.wait()
            listener.drain(args.drain)
            listener.close()
    return 0
