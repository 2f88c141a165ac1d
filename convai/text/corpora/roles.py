"""Who speaks: the words that files have for the user, the agent and the persona, and names of people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError
from convai.text.corpora.building import two_sides

ROLES: Final = {
    **dict.fromkeys(
        ("user", "human", "partner", "speaker1", "prompter", "customer", "instruction", "input"), USER
    ),
    **dict.fromkeys(
        ("agent", "bot", "assistant", "speaker2", "gpt", "chatgpt", "bing", "bard", "ai", "model", "chatbot"),
        AGENT,
    ),
    "response": AGENT,
}
PERSONA_ROLES: Final = ("system", "developer")
TOOL_ROLES: Final = (
    *("tool", "function", "observation", "ipython"),
    *("tool_call", "tool_calls", "tool_response", "tool_result", "function_call", "function_response"),
)
"""Who calls a program, or answers as one: nobody who talks."""


def sides(names: Sequence[str], places: Sequence[str], *, written: bool = False) -> list[int]:
    """The speaker of each turn from what its file calls them: words of ROLES, or names of people.

    Of people the first to speak is the user, the second the agent and everybody else a partner too. In what
    is `written` as a text one person may speak with a `User`, or with an `Assistant`, and is the other one.
    Raises DataError, with the turn's place, where both kinds are mixed otherwise.
    """
    low = [name.strip().lower() for name in names]
    known = [name in ROLES for name in low]
    if "system" in low and AGENT not in (ROLES.get(name) for name in low):
        # the machine of a task-oriented corpus: it talks with the user, and nobody else does
        low = ["agent" if name == "system" else name for name in low]
        known = [name in ROLES for name in low]
    if all(known):
        return [ROLES[name] for name in low]
    roles = {ROLES[name] for name in low if name in ROLES}
    if written and len(roles) == 1 and len({name for name in low if name not in ROLES}) == 1:
        [side] = roles
        return [side if name in ROLES else 1 - side for name in low]
    if any(known):
        odd = known.index(False)
        raise DataError(f"{places[odd]}: {names[odd][:20]!r} is no speaker; use system, user or assistant")
    return sides_of_people(low)


def sides_of_people(names: Sequence[str]) -> list[int]:
    """The speaker of each turn from names that tell people apart and nothing else."""
    order = {name: i for i, name in enumerate(dict.fromkeys(names), 2)}  # from 2: by the order of speaking
    _, agent = two_sides([order[name] for name in names])
    return [AGENT if order[name] == agent else USER for name in names]
