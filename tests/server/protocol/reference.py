"""The reference in docs/protocol.md, from the classes: `python -m tests.server.protocol.reference`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Final

from convai.core.settings_values import field_docs
from convai.server.protocol import (
    ANSWERS,
    CHANGES,
    CLIENT_EVENTS,
    CLOSE_CODES,
    ERROR_CODES,
    Limits,
    values,
)
from convai.server.protocol.changes import Change, State
from convai.server.protocol.schema import describe, fields_of, type_of

DOC: Final = Path(__file__).parents[3] / "docs" / "protocol.md"
BEGIN: Final = "<!-- from here on written by `python -m tests.server.protocol.reference` -->\n"
PARTS: Final = (
    values.PersonaCard,
    values.Resume,
    values.Message,
    values.Siblings,
    values.Candidate,
    values.Suggestion,
    values.InputRow,
    values.Summary,
    values.MemoryFact,
)


def markdown() -> str:
    """Every event with its fields, the parts they share, the limits and the codes."""
    groups: list[tuple[str, dict[str, type]]] = [
        ("From the client", {f"`{name}`": cls for name, cls in CLIENT_EVENTS.items()}),
        ("From the server: answers", {f"`{name}`": cls for name, cls in ANSWERS.items()}),
        (
            "From the server: the state and its changes",
            {f"`{name}`": cls for name, cls in {type_of(State): State, **CHANGES}.items()},
        ),
        ("Parts", {cls.__name__: cls for cls in PARTS}),
    ]
    lines = []
    for title, classes in groups:
        lines += [f"### {title}", ""]
        for name, cls in classes.items():
            lines += [f"#### {name}", "", *_block(cls)]
    notes = field_docs(Limits)
    limits = {f.name: (f"{getattr(Limits(), f.name):,}", notes[f.name]) for f in fields(Limits)}
    lines += ["### Limits", "", "| limit | default | |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {note} |" for name, (default, note) in limits.items()]
    for title, codes in (("Error codes", ERROR_CODES), ("Close codes", CLOSE_CODES)):
        lines += ["", f"### {title}", "", "| code | |", "|---|---|"]
        lines += [f"| `{code}` | {meaning} |" for code, meaning in codes.items()]
    return "\n".join(lines) + "\n"


def _block(cls: type) -> Iterator[str]:
    yield " ".join((inspect.getdoc(cls) or "").split())
    yield ""
    if fields_of(cls):
        notes = field_docs(cls)
        yield "| field | | | |"
        yield "|---|---|---|---|"
        for name, field in fields_of(cls).items():
            need = "" if field.required or (name == "n" and issubclass(cls, Change)) else "optional"
            yield f"| `{name}` | {describe(field.type)} | {need} | {notes.get(name, '')} |"
        yield ""


if __name__ == "__main__":
    prose, _, _ = DOC.read_text(encoding="utf-8").partition(BEGIN)
    DOC.write_text(prose + BEGIN + "\n" + markdown(), encoding="utf-8")
