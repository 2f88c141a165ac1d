"""A group as JSON, as it is kept in files and databases, and from it again."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

from convai.conversation.group import Group, Member, check_cards, check_order
from convai.core.errors import DataError, SettingsError
from convai.text.corpora.building import as_list, as_object


def group_entry(group: Group) -> dict[str, Any]:
    """A group as JSON."""
    return {
        "order": group.order,
        "cards": group.cards,
        "members": [
            {
                "persona": one.version,
                "name": one.name,
                "talkativeness": one.talkativeness,
                **({"muted": True} if one.muted else {}),
                **({} if one.here else {"here": False}),
            }
            for one in group.members
        ],
    }


def group_of(value: object, where: str, personas: Container[int]) -> Group:
    """A group from its JSON. Raises DataError, beginning with `where`, for what no `group_entry` is."""
    entry = as_object(value, where, '{"order": "talk", "members": [{"persona": 1, "name": "Ann"}]}')
    try:
        order, cards = str(entry.get("order", "talk")), str(entry.get("cards", "swap"))
        group = Group((), check_order(order), check_cards(cards))
        for number, one in enumerate(as_list(entry.get("members"), where, "members"), 1):
            group = _joined(group, as_object(one, f"{where}, member {number}", '{"persona": 1}'), personas)
    except SettingsError as error:
        raise DataError(f"{where}: {error}") from None
    if not group.here:
        raise DataError(f"{where}: there is nobody in it; leave the group out")
    return group


def _joined(group: Group, entry: Mapping[str, Any], personas: Container[int]) -> Group:
    version, talkative = entry.get("persona"), entry.get("talkativeness", 0.5)
    if isinstance(version, bool) or not isinstance(version, int) or version not in personas:
        raise SettingsError(f"there is no version {str(version)[:20]} of the persona")
    if group.of(version) is not None:
        raise SettingsError(f"version {version} of the persona is in it twice")
    if isinstance(talkative, bool) or not isinstance(talkative, int | float) or not 0 <= talkative <= 1:
        raise SettingsError(f"talkativeness {str(talkative)[:20]}: use 0 to 1")
    name = entry.get("name")
    member = Member(
        version, name if isinstance(name, str) else "", float(talkative), bool(entry.get("muted"))
    )
    if entry.get("here", True):
        return group.with_member(member)
    # one who has left may have the name of one who is there
    joined = Group().with_member(member).members[0]
    return replace(group, members=(*group.members, replace(joined, here=False)))
