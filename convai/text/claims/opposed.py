"""Which claims of one person do not go together: attributes of one value, opposites, kinds, what is taken.

The rules compare claims (`convai.text.claims.reading`) two by two; what has to be worked out is not found.
"""

from __future__ import annotations

from typing import Final

from convai.text.claims.claim import Claim
from convai.text.claims.jobs import may_name
from convai.text.claims.words import KINDS, Words, lemma

_ONE_VALUE: Final = (
    "age job works married wed partner name birthday live study teach drive hair born raised from lives "
    "rises beds".split()
)
_OPPOSITES: Final = (
    ({"tall"}, {"short"}),
    ({"shy", "introvert", "introverted"}, {"outgoing", "extrovert", "extroverted"}),
    ({"woman", "female"}, {"man", "male"}),
    ({"rich"}, {"poor"}),
    ({"young"}, {"old"}),
    ({"lefthanded"}, {"righthanded"}),
)
_FORMER: Final = frozenset(map(lemma, ("retired", "former", "ex")))
_SAME: Final = (
    {"doctor", "surgeon", "physician"},
    {"teacher", "professor"},
    {"police", "officer", "cop", "detective"},
    {"lawyer", "attorney"},
    {"chef", "cook"},
    {"writer", "author", "novelist"},
)
_MEAT: Final = frozenset(
    "meat steak chicken bacon sausage ham beef pork burger lamb turkey rib hamburger fish".split()
)
_ALCOHOL: Final = frozenset("alcohol beer wine whisky whiskey vodka cocktail rum gin booze".split())
_TAKES: Final = ("do eat", "do like", "do want", "do drink", "do have", "do cook", "do grab", "do try")


_DAIRY: Final = frozenset("cheese milk egg omelette omelet butter yogurt yoghurt honey cream".split())
_ANIMALS: Final = (
    {"dog", "puppy"}, {"cat", "kitten"}, {"tortoise", "turtle"}, {"bird", "parrot"}, {"snake"}, {"rabbit"},
    {"hamster"}, {"fish"}, {"ferret"}, {"goat"}, {"horse", "pony"}, {"pig"}, {"gecko", "lizard"},
)  # fmt: skip


def opposed(one: Claim, other: Claim) -> bool:
    """Whether two claims of one person can not both be so."""
    return _opposed(one, other) or _opposed(other, one)


def _opposed(one: Claim, other: Claim) -> bool:
    if one.slot == other.slot:
        if one.slot.startswith("do ") or one.slot == "be":
            if one.holds != other.holds:
                no, yes = (one, other) if not one.holds else (other, one)
                if not no.value:
                    return one.slot != "be"
                if one.slot == "be" and yes.value & _FORMER:  # "i am a retired teacher"
                    return False
                return no.value <= yes.value or any(yes.value & _kinds(word) for word in no.value)
            return one.slot == "be" and one.holds and _antonyms(one.value, other.value)
        if one.slot == "been to":
            no, yes = (one, other) if not one.holds else (other, one)
            return one.holds != other.holds and no.value <= yes.value
        if one.slot.startswith("has "):
            return _counts_differ(one, other)
        if one.slot == "lives with":
            return ("nobody" in one.value) != ("nobody" in other.value)
        single = one.slot.split()[0] in _ONE_VALUE or one.slot.startswith(
            ("favorite ", "name of ", "job of ", "age of ", "home of ")
        )
        if not single:
            return False
        if one.holds != other.holds:
            return one.value == other.value
        if one.slot == "live" and "usa" in one.value | other.value:
            return False  # and in which of its places is not known here
        same = any(one.value & group and other.value & group for group in _SAME)
        return one.holds and bool(one.value and other.value) and not one.value & other.value and not same
    return _across(one, other)


def _kinds(word: str) -> Words:
    """What a general word stands for."""
    return frozenset(KINDS.get(word, "").split())


def _counts_differ(one: Claim, other: Claim) -> bool:
    """Two numbers of the same thing; a claim that is denied is a claim of none."""
    numbers = []
    for claim in (one, other):
        (value,) = claim.value
        if not claim.holds:
            if value in ("0", "some", "1"):
                numbers.append("some" if value == "0" else "0")
                continue
            return claim.holds != other.holds and claim.value == other.value
        numbers.append(value)
    if "some" in numbers:
        return "0" in numbers
    return numbers[0] != numbers[1]


def _antonyms(one: Words, other: Words) -> bool:
    return any(one & {*map(lemma, left)} and other & {*map(lemma, right)} for left, right in _OPPOSITES)


def _other_animal(one: str, other: str) -> bool:
    """Whether both are animals, and not the same."""
    known = [group for group in _ANIMALS if one in group or other in group]
    return len(known) == 2


def _none_of(claim: Claim) -> bool:
    return (claim.value == {"0"}) == claim.holds and claim.slot.startswith("has ")


def _across(one: Claim, other: Claim) -> bool:
    """Claims of different slots; called for both orders."""
    if one.slot.startswith("has ") and _none_of(one):
        kind = KINDS.get(one.slot.removeprefix("has "), "").split()
        if other.slot.startswith("has ") and not _none_of(other):
            return other.slot.removeprefix("has ") in kind
        if other.slot.startswith("name of "):
            return other.slot.removeprefix("name of ") in (*kind, one.slot.removeprefix("has "))
    if one.slot == "do like" and not one.holds and other.slot.startswith("favorite "):
        return bool(one.value) and one.value <= other.value
    if one.slot == "allergic" and other.slot in _TAKES:
        return other.holds and bool(one.value & other.value)
    for no, foods in (("meat", _MEAT), ("dairy", _DAIRY)):
        if one == Claim("do eat", frozenset({no}), holds=False) and "vegan" not in other.value:
            return other.slot in _TAKES and other.holds and bool(other.value & foods)
    if one.slot == "trade" and other.slot == "job":
        return other.holds and not may_name(other.value, one.value)
    if one.slot.startswith("name of ") and other.slot.startswith("name of ") and one.value == other.value:
        return _other_animal(one.slot.removeprefix("name of "), other.slot.removeprefix("name of "))
    if one.slot == "do drink" and not one.holds and one.value <= {"alcohol"}:
        return other.slot in _TAKES and other.holds and bool(other.value & _ALCOHOL)
    if one.slot.startswith("has ") and _none_of(one) and other.slot in ("do drive", "do ride", "drive"):
        return other.holds and one.slot.removeprefix("has ") in other.value
    if one.slot == "been to" and not one.holds:  # "i have never seen a cat"
        return len(one.value) == 1 and other.slot == f"has {min(one.value)}" and not _none_of(other)
    if one.slot == "do like" and not one.holds and one.value:
        return other.slot.startswith("has ") and not _none_of(other) and other.slot[4:] in one.value
    return False
