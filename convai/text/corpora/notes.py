"""Where a reader reports what it finds: strict (the first error ends the reading) or collecting."""

from __future__ import annotations

from collections import Counter

from convai.core.errors import DataError


class Notes:
    """Strict: an error is raised at once, a warning is dropped. `convai.text.corpora.check` collects both."""

    def __init__(self) -> None:
        self.errors = 0
        """Errors so far that did not end the reading."""
        self.omitted = Counter[str]()
        """How much of the readable dialogues was left out, by what it is called in the singular."""
        self.remarks: list[str] = []
        """What a person should know of how a file was read; each begins with the file's name."""

    def error(self, problem: DataError) -> None:
        """One dialogue cannot be read. If this returns, the reader goes on with the next one."""
        raise problem

    def warn(self, text: str) -> None:
        """Something readable looks like a mistake; `text` begins with `file:line: `."""

    def omit(self, what: str, number: int = 1) -> None:
        """Pieces that are no turns, such as a `tool message`, were left out of a dialogue."""
        if number:
            self.omitted[what] += number

    def remark(self, text: str) -> None:
        """A file was read in a way that may be wrong."""
        self.remarks.append(text)


class Skipping(Notes):
    """Leaves out what cannot be read, and counts it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def error(self, problem: DataError) -> None:
        """One dialogue less."""
        self.errors += 1
        self.first = self.first or str(problem)


def counted(number: int, noun: str) -> str:
    """`1 reply`, `2,000 replies`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ly") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def listed(omitted: Counter[str]) -> str:
    """What was left out, for a person: `2 tool messages, 1 picture`."""
    return ", ".join(counted(number, what) for what, number in omitted.items())
