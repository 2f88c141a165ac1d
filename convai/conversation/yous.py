"""Who somebody may want to be known as: several personas of the user's, kept wherever the door keeps them."""

from __future__ import annotations

from typing import Protocol

from convai.core.dialog import Persona


class Yous(Protocol):
    """The personas that one person keeps, the latest first."""

    def all(self) -> list[Persona]:
        """All of them."""

    def called(self, name: str) -> Persona | None:
        """The latest of a name, whatever its case."""

    def keep(self, partner: Persona) -> None:
        """Keep one, in place of others of its name. Raises ConvaiError where there are too many."""

    def drop(self, name: str) -> bool:
        """Keep those of a name no more. Returns whether there were any."""
