"""Where a reader reports what it finds: strict (the first error ends the reading) or collecting."""

from __future__ import annotations

from convai.core.errors import DataError


class Notes:
    """Strict: an error is raised at once, a warning is dropped. `convai.text.corpora.check` collects both."""

    def __init__(self) -> None:
        self.errors = 0
        """Errors so far that did not end the reading."""

    def error(self, problem: DataError) -> None:
        """One dialogue cannot be read. If this returns, the reader goes on with the next one."""
        raise problem

    def warn(self, text: str) -> None:
        """Something readable looks like a mistake; `text` begins with `file:line: `."""
