"""Who a person may want to be known as, in the database: what `/api/you` and the terminal's `/user` keep."""

from __future__ import annotations

from convai.conversation.staging import partner_in, partner_json
from convai.core.dialog import Persona
from convai.store.scenes import Imported, Scenes


class StoredYous:
    """`convai.conversation.yous.Yous` of one owner."""

    def __init__(self, scenes: Scenes, owner: str) -> None:
        self._scenes, self._owner = scenes, owner

    def all(self) -> list[Persona]:
        """All of them, the latest first."""
        return [partner_in(one.content) for one in self._scenes.kept(self._owner, "you")]

    def called(self, name: str) -> Persona | None:
        """The latest of a name, whatever its case."""
        return next((partner_in(one.content) for one in self._named(name)), None)

    def keep(self, partner: Persona) -> None:
        """Keep one, in place of others of its name. Raises StoreError where there are too many."""
        if partner in self.all():
            return
        self.drop(partner.name)
        self._scenes.keep(self._owner, "you", partner.name, partner_json(partner))

    def drop(self, name: str) -> bool:
        """Keep those of a name no more. Returns whether there were any."""
        found = self._named(name)
        for one in found:
            self._scenes.drop(self._owner, "you", one.id)
        return bool(found)

    def _named(self, name: str) -> list[Imported]:
        wanted = name.strip().casefold()
        kept = self._scenes.kept(self._owner, "you")
        return [one for one in kept if wanted and one.name.casefold() == wanted]
