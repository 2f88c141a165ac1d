"""`convai persona`: character cards in and out, as JSON or inside a PNG."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.core.errors import DataError
from convai.core.safe_text import visible

if TYPE_CHECKING:
    from convai.text.cards import Card

HELP: Final = "read and write character cards (V1 to V3, JSON or PNG)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions import, export and show."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    import_ = actions.add_parser(
        "import", help="the persona of a card, a sentence a line", allow_abbrev=False
    )
    import_.add_argument("card", metavar="CARD", type=Path, help=".json, .png, .charx or .yaml")
    import_.add_argument("--out", metavar="FILE", type=Path, help="write it there (default: standard output)")
    _add_bounds(import_)

    export = actions.add_parser("export", help="a card of a persona", allow_abbrev=False)
    export.add_argument(
        "persona", metavar="FILE|TEXT", help="a file with a sentence a line, a card, or the sentences"
    )
    export.add_argument("out", metavar="OUT", type=Path, help=".json or .png")
    export.add_argument("--name", default="", metavar="NAME", help="the character's name")
    export.add_argument(
        "--spec", type=int, choices=(1, 2, 3), default=3, help="version of the card (default: %(default)s)"
    )
    export.add_argument("--image", metavar="PNG", type=Path, help="the portrait (default: a plain one)")
    export.add_argument(
        "--base", metavar="CARD", type=Path, help="the card that it came from, whose other fields stay"
    )

    show = actions.add_parser("show", help="what a card says, and what of it is used", allow_abbrev=False)
    show.add_argument("card", metavar="CARD", type=Path, help=".json, .png, .charx or .yaml")
    show.add_argument("--json", action="store_true", help="print the card's JSON as it is")
    _add_bounds(show)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sentences", type=_positive, metavar="N", help="sentences to take at most (default: 12)"
    )
    parser.add_argument(
        "--chars", type=_positive, metavar="N", help="characters to take at most (default: 600)"
    )
    parser.add_argument(
        "--user", default="you", metavar="NAME", help="what {{user}} stands for (default: %(default)s)"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 1 to 100,000")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Carry out the action. Returns the exit code."""
    return {"import": _import, "export": _export, "show": _show}[args.action](args)


def _import(args: argparse.Namespace) -> int:
    from convai.core.files import atomic_text
    from convai.text.cards import card_persona, load_card
    from convai.text.cards.persona import CHARS, SENTENCES

    card = load_card(args.card)
    most, chars = args.sentences or SENTENCES, args.chars or CHARS
    found = card_persona(card, user=args.user, own=True, most=most, chars=chars)
    if not found.persona:
        raise DataError(f"{args.card}: the card says nothing of who somebody is (description, personality)")
    for note in (*found.notes, *_not_in_a_persona(card)):
        print(f"convai: note: {visible(note)}", file=sys.stderr)
    text = "".join(f"{sentence}\n" for sentence in found.persona.sentences)
    if args.out is None:
        print(text, end="")
        return 0
    with atomic_text(args.out) as out:
        out.write(text)
    print(f"{args.out}: {len(found.persona.sentences)} sentences")
    return 0


def _not_in_a_persona(card: Card) -> list[str]:
    """What a card says beside who somebody is, in one line; `convai chat --persona CARD` uses all of that."""
    from convai.text.cards.character import unused, used

    others = [name for name in used(card) if name not in ("name", "nickname", "description", "personality")]
    told = []
    if others:
        told.append(f"not in the persona, but in a chat with the card itself: {', '.join(others)}")
    if kept := unused(card):
        told.append(f"not used: {', '.join(kept)}")
    return told


def _export(args: argparse.Namespace) -> int:
    from convai.core.dialog import Persona
    from convai.text.cards import load_card, persona_card, save_card
    from convai.text.personas import personas_of

    personas = personas_of(args.persona, "persona")
    if len(personas) != 1:
        raise DataError(f"{args.persona}: {len(personas)} personas; a card has one")
    persona = Persona(personas[0].sentences, args.name or personas[0].name)
    base = load_card(args.base) if args.base else None
    save_card(args.out, persona_card(persona, base), args.spec, args.image)
    print(f"{args.out}: a card of version {args.spec}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from convai.text.cards import card_persona, load_card
    from convai.text.cards.character import character_of, of_the_file, unused, used
    from convai.text.cards.persona import CHARS, SENTENCES

    card = load_card(args.card)
    if args.json:
        print(json.dumps(card.document, indent=1))
        return 0
    most, chars = args.sentences or SENTENCES, args.chars or CHARS
    found = card_persona(card, user=args.user, own=True, most=most, chars=chars)
    print(f"name       {visible(card.name) or '-'}")
    print(f"version    {card.version}")
    for title, text in (
        ("creator", card.text("creator")),
        ("notes", found.creator_notes),
    ):
        if text.strip():
            print(f"{title:<10} {visible(' '.join(text.split()))}")
    for title, line in zip(chain(["greeting"], repeat("")), found.greeting.split("\n"), strict=False):
        if found.greeting:
            print(f"{title:<10} {visible(line)}".rstrip())
    print("persona")
    for sentence in found.persona.sentences:
        print(f"  {sentence}")
    if found.left_out:
        print("left out")
        for sentence in found.left_out:
            print(f"  {sentence}")
    character = character_of(card)
    for title, count in (
        ("greetings", len(character.greetings)),
        ("in groups", len(character.group_greetings)),
        ("examples", len(character.examples)),
        ("lorebook", 0 if character.book is None else len(character.book.entries)),
    ):
        if count:
            print(f"{title:<10} {count}")
    for title, names in (
        ("used", used(card)),
        ("not used", unused(card)),
        ("the file's", of_the_file(card)),
    ):
        if names:
            print(f"{title:<10} {', '.join(map(visible, names))}")
    for note in found.notes:
        print(f"note       {visible(note)}")
    return 0
