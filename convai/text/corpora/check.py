"""Everything that is wrong with a corpus, as `file:line: what is wrong; what to do`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.core.dialog import Dialog
from convai.core.errors import DataError
from convai.core.text_files import damaged_kept, encoded_in, require_file
from convai.text.corpora.columns import columns_named
from convai.text.corpora.detect import detect
from convai.text.corpora.formats import named
from convai.text.corpora.notes import Notes, counted, listed
from convai.text.corpora.placeholders import first_placeholder
from convai.text.corpora.reading import Located, iter_located
from convai.text.corpora.splits import SPLITS, check_split, split_of

if TYPE_CHECKING:
    from convai.text.lengths import Rows

MAX_LISTED: Final = 20
"""Problems, and warnings, that are listed one by one; the others are counted."""


@dataclass(slots=True)
class Report:
    """What was found in one file. `problems` keep it from being read, `warnings` do not."""

    path: Path
    format: str = "unknown"
    dialogues: int = 0
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problem_count: int = 0
    warning_count: int = 0
    rows: Rows | None = None
    """The rows that replies were held against."""
    too_long: Counter[str] = field(default_factory=Counter)
    """How many replies of each part of the file no row holds."""
    omitted: Counter[str] = field(default_factory=Counter)
    """What is no turn and was left out of dialogues (`Notes.omitted`)."""
    remarks: list[str] = field(default_factory=list)
    """What a person should know of how the file was read (`Notes.remarks`)."""

    @property
    def ok(self) -> bool:
        """Whether the file can be read."""
        return not self.problem_count

    def lines(self) -> Iterator[str]:
        """The report as people read it, problems first, a summary last."""
        yield from self.problems
        if self.problem_count > len(self.problems):
            yield f"{self.path}: and {self.problem_count - len(self.problems):,} more problems"
        yield from (f"{warning} (warning)" for warning in self.warnings)
        if self.warning_count > len(self.warnings):
            yield f"{self.path}: and {self.warning_count - len(self.warnings):,} more warnings"
        if self.rows is not None and (count := self.too_long.total()):
            has = ", ".join(
                f"{name or 'no part'} {self.too_long[name]:,}"
                for name in ("", *SPLITS)
                if self.too_long[name]
            )
            divided = f" ({has})" if any(self.too_long[name] for name in SPLITS) else ""
            yield (
                f"{self.path}: {counted(count, 'reply')}{divided} left out by training, which "
                f"do not fit into {self.rows.tokens} tokens beside the persona and what they answer (as "
                f"{self.rows.model} writes them; --row-tokens and --model choose)"
            )
        if self.omitted:
            yield f"{self.path}: left out of dialogues: {listed(self.omitted)}"
        yield from self.remarks
        verdict = "ok" if self.ok else counted(self.problem_count, "problem")
        if self.warning_count:
            verdict += f", {counted(self.warning_count, 'warning')}"
        yield f"{self.path}: {self.format}, {counted(self.dialogues, 'dialogue')}, {verdict}"


class _Collector(Notes):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report
        self.omitted, self.remarks = report.omitted, report.remarks

    def error(self, problem: DataError) -> None:
        self.errors += 1
        self.report.problem_count += 1
        if len(self.report.problems) < MAX_LISTED:
            self.report.problems.append(str(problem))

    def warn(self, text: str) -> None:
        self.report.warning_count += 1
        if len(self.report.warnings) < MAX_LISTED:
            self.report.warnings.append(text)


def check(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    split: str | None = None,
    rows: Rows | None = None,
    encoding: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Report:
    """Read a whole file and report what is wrong or odd, of its part `split` where one is named.

    `rows`: what a training holds; replies that are too long for it are warned of and counted. `encoding`:
    that of the file (None: told from it); `columns`: what its columns or keys are (see `Reading`).

    Raises DataError only when the file cannot be opened, or `format`, `split` or `encoding` names none.
    """
    file = Path(path)
    require_file(file)
    report = Report(file, rows=rows)
    notes = _Collector(report)
    if format:
        named(format)
    part = check_split(split or "all")
    with encoded_in(encoding), columns_named(columns), damaged_kept(), _noting(notes):
        report.format = format or detect(file)
        inspector = _Inspector(notes)
        for located in iter_located(file, report.format, notes):
            if part not in ("all", split_of(located.dialog)):
                continue
            report.dialogues += 1
            inspector.look(located)
            if rows is not None:
                long = rows.too_long(located.dialog)
                report.too_long[split_of(located.dialog)] += len(long)
                for turn in long:
                    notes.warn(
                        f"{located.where}, turn {turn + 1}: the reply is too long to be learnt; shorten it"
                    )
        inspector.finish()
    return report


@contextmanager
def _noting(notes: Notes) -> Iterator[None]:
    """What breaks the reading off is one more problem of the file."""
    try:
        yield
    except DataError as error:
        notes.error(error)


class _Inspector:
    """Oddities of dialogues that can be read."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.seen: dict[int, str] = {}
        self.first_without_persona = ""
        self.with_persona = 0

    def look(self, located: Located) -> None:
        d, where = located.dialog, located.where
        if not any(True for _ in d.replies()):
            self.notes.warn(
                f"{where}: the agent never replies, so there is nothing to learn; check the speakers"
            )
        words = hash(tuple((t.speaker, t.text) for t in d.turns))
        if words in self.seen:
            self.notes.warn(f"{where}: the same turns as the dialogue at {self.seen[words]}; remove one")
        self.seen.setdefault(words, where)
        if d.persona:
            self.with_persona += 1
        elif not self.first_without_persona:
            self.first_without_persona = where
        if placeholder := first_placeholder(d):
            thought = "think" in placeholder.lower()
            what = "begins reasoning that nobody says" if thought else "stands for a word that is missing"
            mend = "take it out" if thought else "write the word, or leave such dialogues out"
            self.notes.warn(
                f"{where}: {placeholder!r} {what}, and would be learnt; {mend} (convai data convert --clean)"
            )
        self._candidates(d, where)

    def _candidates(self, d: Dialog, where: str) -> None:
        for i, turn in enumerate(d.turns, 1):
            if turn.text in turn.distractors:
                self.notes.warn(
                    f"{where}, turn {i}: the reply is among its wrong candidates; remove it there"
                )
            elif len(set(turn.distractors)) < len(turn.distractors):
                self.notes.warn(f"{where}, turn {i}: a wrong candidate occurs twice; remove one")

    def finish(self) -> None:
        if self.with_persona and self.first_without_persona:
            self.notes.warn(
                f"{self.first_without_persona}: the first dialogue without persona sentences, though "
                f"{self.with_persona:,} have some; add them if they were forgotten"
            )
