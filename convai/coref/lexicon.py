"""What single words say of the one they name: pronouns, nouns for people, first names. A table, no model."""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple


class Gender(IntEnum):
    """Of the one that is named; animals and things may have one, too."""

    UNKNOWN = 0
    MALE = 1
    FEMALE = 2
    NEUTER = 3


class Number(IntEnum):
    """Grammatical number of a mention."""

    UNKNOWN = 0
    ONE = 1
    MANY = 2


class Life(IntEnum):
    """Whether a mention names somebody."""

    UNKNOWN = 0
    PERSON = 1
    GROUP = 2
    CREATURE = 3
    THING = 4


class Kind(IntEnum):
    """What kind of expression a mention is; features of pairs are crossed with it."""

    I = 0  # noqa: E741
    WE = 1
    YOU = 2
    HE = 3
    SHE = 4
    IT = 5
    THEY = 6
    POINTING = 7
    """this, that, these, those"""
    OTHER_PRONOUN = 8
    NAME = 9
    DEFINITE = 10
    POINTED = 11
    """this dog"""
    POSSESSED = 12
    """my dog, John's dog"""
    INDEFINITE = 13
    QUANTIFIED = 14
    """every dog, two dogs, some"""
    BARE_ONE = 15
    BARE_MANY = 16
    JOINED = 17
    """John and Mary"""


class Says(NamedTuple):
    """What a word says; all UNKNOWN for most."""

    gender: Gender = Gender.UNKNOWN
    life: Life = Life.UNKNOWN


def _pronouns() -> dict[str, tuple[Kind, Gender, Number, Life]]:
    table: dict[str, tuple[Kind, Gender, Number, Life]] = {}
    for words, kind, gender, number, life in (
        ("i me my mine myself im ive", Kind.I, Gender.UNKNOWN, Number.ONE, Life.PERSON),
        ("we us our ours ourselves 's", Kind.WE, Gender.UNKNOWN, Number.MANY, Life.PERSON),
        (
            "you your yours yourself yourselves ya u ur thou thee thy thine ye yer y'",
            Kind.YOU,
            Gender.UNKNOWN,
            Number.UNKNOWN,
            Life.PERSON,
        ),
        ("he him his himself", Kind.HE, Gender.MALE, Number.ONE, Life.PERSON),
        ("she her hers herself", Kind.SHE, Gender.FEMALE, Number.ONE, Life.PERSON),
        ("it its itself", Kind.IT, Gender.NEUTER, Number.ONE, Life.THING),
        (
            "they them their theirs themselves 'em em themself",
            Kind.THEY,
            Gender.UNKNOWN,
            Number.MANY,
            Life.UNKNOWN,
        ),
        ("this that", Kind.POINTING, Gender.NEUTER, Number.ONE, Life.UNKNOWN),
        ("these those", Kind.POINTING, Gender.UNKNOWN, Number.MANY, Life.UNKNOWN),
    ):
        for word in words.split():
            table[word] = (kind, gender, number, life)
    return table


PRONOUNS: Final = _pronouns()
REFLEXIVES: Final = frozenset(
    "myself yourself yourselves himself herself itself ourselves themselves themself".split()
)
POSSESSIVES: Final = frozenset("my your his her its our their mine yours hers ours theirs thy thine".split())
DETERMINERS: Final = {
    **dict.fromkeys(("the",), Kind.DEFINITE),
    **dict.fromkeys(("this", "that", "these", "those"), Kind.POINTED),
    **dict.fromkeys(("a", "an", "another"), Kind.INDEFINITE),
    **dict.fromkeys(
        "some any no every each all both many most few several much more other either neither half what "
        "which".split(),
        Kind.QUANTIFIED,
    ),
}
"""First word of a phrase → its kind."""


@cache
def nouns() -> dict[str, Says]:
    """Lower-case noun or title → what it says."""
    lists = _lists()
    table = {}
    for name, says in (
        ("thing", Says(Gender.NEUTER, Life.THING)),
        ("creature", Says(Gender.UNKNOWN, Life.CREATURE)),
        ("male creature", Says(Gender.MALE, Life.CREATURE)),
        ("female creature", Says(Gender.FEMALE, Life.CREATURE)),
        ("group", Says(Gender.NEUTER, Life.GROUP)),
        ("people", Says(Gender.UNKNOWN, Life.PERSON)),
        ("person", Says(Gender.UNKNOWN, Life.PERSON)),
        ("male", Says(Gender.MALE, Life.PERSON)),
        ("female", Says(Gender.FEMALE, Life.PERSON)),
    ):
        table.update(dict.fromkeys(lists[name], says))
    return table


@cache
def titles() -> frozenset[str]:
    """Words before a name that make it that of a person ("Mr.", "Queen")."""
    return frozenset(_lists()["title"])


@cache
def places() -> frozenset[str]:
    """First names that are as well known as names of places."""
    return frozenset(_lists()["places"])


@cache
def first_names() -> dict[str, Says]:
    """Lower-case first name → what it says."""
    lists = _lists()
    table = dict.fromkeys(lists["either's names"], Says(Gender.UNKNOWN, Life.PERSON))
    table |= dict.fromkeys(lists["male names"], Says(Gender.MALE, Life.PERSON))
    table.update(dict.fromkeys(lists["female names"], Says(Gender.FEMALE, Life.PERSON)))
    return table


@cache
def _lists() -> dict[str, list[str]]:
    text = files("convai.coref").joinpath("lexicon.txt").read_text(encoding="utf-8")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, words = line.partition(":")
            found[name] = words.split()
    return found
