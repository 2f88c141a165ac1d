"""Persona cards: character cards of versions 1 to 3, as JSON or inside a PNG, and the personas in them.

`png` reads and writes chunks, `card` the JSON, `files` both together; `prose` makes sentences of a card's
text, `persona` a persona of those.
"""

from convai.text.cards.card import Card, parse_card
from convai.text.cards.files import card_json, card_png, is_card_file, load_card, read_card, save_card
from convai.text.cards.persona import CardPersona, card_persona, persona_card

__all__ = [
    "Card",
    "CardPersona",
    "card_json",
    "card_persona",
    "card_png",
    "is_card_file",
    "load_card",
    "parse_card",
    "persona_card",
    "read_card",
    "save_card",
]
