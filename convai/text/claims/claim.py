"""A claim: what somebody says of themselves, on an attribute that can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from convai.text.claims.words import Words


@dataclass(frozen=True, slots=True)
class Claim:
    """`slot`: what it is about; `value`: its content words, or a number as text; `holds`: or it does not.

    Slots: "do VERB" (to do it, with its object), "be" (to be it), "has NOUN" (how many, "some" for any
    number above none), and slots that have one value at a time: "age", "job", "live", "name of dog", ...
    """

    slot: str
    value: Words
    holds: bool = True
