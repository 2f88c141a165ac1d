"""Character cards of versions 1 to 3 and other programs' files, what they say, and lorebooks.

`png` reads and writes chunks, `card` the JSON, `others` what other programs write, `files` all together;
`character` is everything that a card says, with `examples`, `books` (`decorators`) and `macros`
(`blanks`: those that have no value); `prose` makes sentences of a card's text, `first_person` those in the
character's own words, `persona` a persona of them.
"""

from convai.text.cards.card import Card, parse_card
from convai.text.cards.character import card_of, character_of
from convai.text.cards.files import (
    card_json,
    card_png,
    is_card_file,
    load_book,
    load_card,
    read_book_file,
    read_card,
    save_card,
)
from convai.text.cards.persona import CardPersona, card_persona, persona_card

__all__ = [
    "Card",
    "CardPersona",
    "card_json",
    "card_of",
    "card_persona",
    "card_png",
    "character_of",
    "is_card_file",
    "load_book",
    "load_card",
    "parse_card",
    "persona_card",
    "read_book_file",
    "read_card",
    "save_card",
]
