"""`convai chat`: talk with a persona in the terminal, or answer lines from a pipe."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.commands.options import (
    add_config_arguments,
    add_context_argument,
    add_resolving_arguments,
    config_from_args,
)
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig, EngineConfig

if TYPE_CHECKING:
    from convai.conversation.links import LinkReader
    from convai.conversation.memory.listening import MemoryLearner
    from convai.conversation.session import Session
    from convai.conversation.yous import Yous
    from convai.core.character import Character

HELP: Final = "talk with a persona; with piped input one line in, one line out"

_SMALL: Final = 30_000_000
"""Parameters up to which one thread is as good as several, and far better where a core is busy: then the
threads of each of a token's many small steps wait for the slowest (10 times slower was measured)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `convai chat`."""
    parser.add_argument(
        "--model", metavar="DIR|NAME", help="model folder, or an embedded model (default: the embedded one)"
    )
    add_context_argument(parser)
    parser.add_argument(
        "--persona",
        metavar="FILE|TEXT",
        help="who the agent is: a file with a sentence a line, a character card (.json, .png, .charx, "
        ".yaml), or the sentences themselves, such as 'i am a nurse. i have two dogs.' "
        "(default: a random one)",
    )
    parser.add_argument(
        "--character",
        action="append",
        default=[],
        metavar="CARD",
        help="a character card, in place of --persona; several of them make a group, in this order",
    )
    parser.add_argument(
        "--group-order",
        choices=("talk", "turn", "chosen"),
        default="talk",
        help="who of a group answers: whom you name, and others as talkative as they are (talk), or the next "
        "in turn, or nobody but whom you choose (default: %(default)s)",
    )
    parser.add_argument(
        "--group-cards",
        choices=("swap", "join"),
        default="swap",
        help="whose cards a group's replies are made with: the speaker's, or all (default: %(default)s)",
    )
    parser.add_argument(
        "--persona-seed",
        type=int,
        metavar="N",
        help="seed of the random persona; --seed is that of the replies (default: another every time)",
    )
    parser.add_argument(
        "--greeting",
        type=_greeting,
        default=1,
        metavar="N",
        help="which greeting of a card begins the chat on a terminal; 0: none (default: the first)",
    )
    parser.add_argument(
        "--user",
        metavar="FILE|TEXT",
        help="who you are, for the agent to know: a name, or 'Bob: i am a smith. i have a dog.'",
    )
    parser.add_argument("--note", metavar="TEXT", help="what the model is to read a few turns back, always")
    parser.add_argument(
        "--note-depth", type=_greeting, default=4, metavar="N", help="turns back (default: %(default)s)"
    )
    parser.add_argument(
        "--lore",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a lorebook beside the card's own (SillyTavern's world info, or version 3); may be repeated",
    )
    parser.add_argument(
        "--max-history",
        type=_exchanges,
        default=argparse.SUPPRESS,
        metavar="N",
        help="exchanges that the model is shown; none: all that fits (default: the model's own)",
    )
    parser.add_argument("--load", type=Path, metavar="FILE", help="go on with a conversation saved by /save")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bf16", "int8"),
        default="auto",
        help="what the model computes in; auto is the fastest that keeps its quality (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=_threads,
        metavar="N",
        help=f"processor threads (default: 1 for up to {_SMALL // 10**6}M parameters, else torch's choice)",
    )
    parser.add_argument(
        "--emotion-model",
        metavar="DIR",
        help="what reads the mood of the chat, for /mood (default: the embedded emotion model)",
    )
    parser.add_argument(
        "--coref-model",
        metavar="DIR",
        help="what finds who is meant, for /coref (default: the embedded coreference model)",
    )
    add_resolving_arguments(parser)
    parser.add_argument(
        "--memory",
        choices=("auto", "on", "off"),
        default="auto",
        help="remember what you tell of yourself, in the file that `convai serve` keeps conversations in; "
        "auto: where you type, but not in a pipe, so that the same input gives the same output "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--store",
        metavar="FILE|URL",
        help="the database of the memory, another than the default one of `convai serve`",
    )
    add_config_arguments(
        parser, DecodingConfig, title="decoding (a model's own settings come before these defaults)"
    )


def _exchanges(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of exchanges, 0 or more, or none")
    return int(text)


def _greeting(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 to 1000")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads, 1 or more")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Load the model and talk. Raises ConvaiError for options, files and messages that are wrong."""
    from convai.conversation.group import gathered
    from convai.core.character import Character
    from convai.text.cards import load_book
    from convai.text.personas import PersonaDeck, characters_of, partner_of, trained_persona

    if sys.stdin is None:
        raise ConvaiError("standard input is closed; give a terminal, a pipe or a file")
    if args.character and args.persona is not None:
        raise ConvaiError("--persona and --character: use one of them; --character may be repeated")
    given = characters_of(args.persona, "--persona") if args.persona is not None else []
    cast = [one for path in args.character for one in _cards(path)]
    if cast:
        gathered(cast)  # what is wrong with it is told before a model is loaded
    if args.persona is None and not cast and args.persona_seed is None and not args.load:
        given = [Character.of_persona(own)] if (own := trained_persona(args.model)) is not None else []
    many = [one.persona for one in given] if len(given) > 1 else []
    deck = PersonaDeck(many, args.persona_seed)
    drawn = deck.draw() if len(given) != 1 and not cast and (given or not args.load) else None
    books = tuple(load_book(path) for path in args.lore)
    for path, book in zip(args.lore, books, strict=True):
        if book.unused:
            print(f"{path}: not used: {', '.join(book.unused)}", file=sys.stderr)
    partner = partner_of(args.user, "--user") if args.user is not None else None

    import torch  # only now: a wrong option or file is told at once

    from convai.conversation.agent import load_agent
    from convai.conversation.cast import Note
    from convai.conversation.links import LinkReader
    from convai.conversation.mood import MoodReader
    from convai.conversation.session import Session
    from convai.coref.chat import load_chat_reader
    from convai.emotion.classifier import EmotionClassifier
    from convai.interact import interact

    agent = load_agent(args.model, context=args.context)
    if args.threads or (agent.model.num_parameters() <= _SMALL and "OMP_NUM_THREADS" not in os.environ):
        torch.set_num_threads(args.threads or 1)
    engine = agent.engine(EngineConfig(precision=args.precision))
    session = Session(agent, engine)
    if args.load:
        session.load(args.load)
        if session.group and (cast or given or drawn is not None):
            names = " and ".join(one.name for one in session.group.members)
            raise ConvaiError(
                f"--load {args.load}: it is a group ({names}), which these would replace; leave out "
                "--character and --persona, and change the group with /group"
            )
    if len(cast) > 1:
        session.members().gather(cast, args.group_order, args.group_cards)
    elif cast:
        session.set_character(cast[0])
    elif len(given) == 1:
        session.set_character(given[0])
    elif drawn is not None:
        session.set_persona(drawn)
    if partner is not None:
        session.conversation.partner = partner
    if args.note is not None:
        session.conversation.note = Note(args.note, args.note_depth)
    session.conversation.books += books
    session.decoding = config_from_args(DecodingConfig, args, base=session.decoding)
    session.max_history = getattr(args, "max_history", session.max_history)
    mood = MoodReader(lambda: EmotionClassifier.load(args.emotion_model, "int8"))
    links = LinkReader(lambda: load_chat_reader(args.coref_model, args.coref_parser))
    if args.resolved:
        links.load()  # whoever asked for it is to know where it cannot be had
        session.history = links.resolved
    with ExitStack() as held:
        nowhere = held.enter_context(open(os.devnull, "w"))  # stdout is None where the caller closed it
        out = sys.stdout or nowhere
        typed = sys.stdin.isatty() and out.isatty()
        memory, yous = _kept(args, session, links, held, typed)
        if yous is not None and args.user is not None and (known := yous.called(args.user)) is not None:
            session.conversation.partner = known
        interact(session, deck, sys.stdin, out, mood, links, memory, greeting=args.greeting, yous=yous)
    return 0


def _cards(path: str) -> list[Character]:
    """The character in a card, or those that a file of personas has."""
    from convai.text.personas import characters_of

    found = characters_of(path, "--character")
    if len(found) > 1:
        raise ConvaiError(f"--character {path}: {len(found)} personas; name a file with one")
    return found


def _kept(
    args: argparse.Namespace, session: Session, links: LinkReader, held: ExitStack, typed: bool
) -> tuple[MemoryLearner | None, Yous | None]:
    """What remembers the one who types, and who they may be, its database held open; None where nothing is
    to be remembered.

    Raises ConvaiError where a memory was asked for and cannot be had.
    """
    if args.memory == "off" or (args.memory == "auto" and not typed):
        return None, None
    from convai.commands.serve import default_store
    from convai.conversation.memory.listening import MemoryLearner, Recollection
    from convai.conversation.memory.memory import Memory
    from convai.conversation.memory.summary import summary_of
    from convai.server.access import LOCAL
    from convai.store import Store
    from convai.store.yous import StoredYous

    try:
        store = held.enter_context(Store(args.store or default_store()))
    except (ConvaiError, OSError) as error:
        if args.memory == "on":
            raise
        print(f"convai: no memory: {error}", file=sys.stderr)
        return None, None
    memory = Memory(store.memories, resolve=links.resolved)
    listener = MemoryLearner(memory, LOCAL, lambda: session.turns)
    recollection = Recollection(memory, LOCAL, lambda: listener.conversation)
    session.scene = replace(session.scene, sources=(*session.scene.sources, recollection), summary=summary_of)
    return listener, StoredYous(store.scenes, LOCAL)
