"""The one exception family that a person may see: a line that names the place and the mend."""

from __future__ import annotations


class ConvaiError(Exception):
    """Something the person at the keyboard can put right.

    The message is one line: where it went wrong (file:line, option, field), what is wrong, and what
    to do about it. The command line prints it to stderr and exits with code 2, without a traceback.
    """


class DataError(ConvaiError):
    """A corpus, persona or conversation file that cannot be read as what it claims to be."""


class CheckpointError(ConvaiError):
    """A model folder that is missing, incomplete, damaged, or not meant for dialogue."""


class BaseUnavailable(CheckpointError):
    """A base model that is not on this machine and cannot be fetched; what can do without it goes on."""


class SettingsError(ConvaiError):
    """An option or setting outside its range, or unknown."""


class TrainingError(ConvaiError):
    """A training run that cannot go on (not-a-number loss, full disk, out of memory)."""


class ReportedElsewhere(ConvaiError):
    """Another process of the same run has failed and says why; this one ends without a word.

    `rank`: which process; the message is the other one's.
    """

    def __init__(self, rank: int, message: str) -> None:
        super().__init__(message)
        self.rank = rank
