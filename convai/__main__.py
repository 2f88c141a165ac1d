"""The `convai` command: finds the subcommand, runs it, and turns every failure into one line.

Only the module of the command that was asked for is imported (all of them for `convai --help`), and none of
them loads torch before its options have been parsed.

Exit codes: 0 done, 1 a defect in convai, 2 something the person at the keyboard can mend, 130 interrupted
(Ctrl-C), 141 the reader of our output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, cast

import convai
from convai.core.errors import ConvaiError, ReportedElsewhere

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

COMMANDS: Final = {
    "chat": "convai.commands.chat",
    "serve": "convai.commands.serve",
    "engine": "convai.commands.engine",
    "train": "convai.commands.train",
    "evaluate": "convai.commands.evaluate",
    "data": "convai.commands.data",
    "emotion": "convai.commands.emotion",
    "coref": "convai.commands.coref",
    "models": "convai.commands.models",
    "persona": "convai.commands.persona",
    "bench": "convai.commands.bench",
}
"""Subcommand → module, in the order in which the help lists them."""

_MENDS: Final = {
    errno.ENOENT: "check the path",
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.EROFS: "choose a place that you may write to",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "check the path",
    errno.EEXIST: "choose another name",
    errno.ENOSPC: "free some space or choose another place",
    errno.EDQUOT: "free some space or choose another place",
}


class CommandModule(Protocol):
    """What a module of convai.commands provides."""

    HELP: str
    """One plain line: what the command does."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""

    def run(self, args: argparse.Namespace) -> int:
        """Do the work; the exit code is returned, and problems are raised as ConvaiError."""


class Parser(argparse.ArgumentParser):
    """argparse with one line an error, and without abbreviated options (scripts would break on a new one)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Report `message` on one line of stderr and leave with exit code 2."""
        raise SystemExit(_fail(f"{message}; see '{self.prog} --help'"))

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # argparse ignores what goes wrong here; a full disk or a closed pipe is to be reported by main.
        (file or sys.stderr).write(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `convai` with the arguments `argv` (default: those of the process) and return its exit code."""
    _accept_any_text()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        # Here and not at interpreter exit, where a full disk or a closed pipe can no longer be reported well.
        if sys.stdout is not None:  # None where the caller closed it (>&-)
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("CONVAI_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        code = _report(error)
        _settle_stdout()
    return code


def _run(argv: list[str]) -> int:
    try:
        command, args = _parse(argv)
    except SystemExit as leave:  # --help, --version, or an error that has been reported
        return leave.code if isinstance(leave.code, int) else 0
    return command.run(args)


def _parse(argv: list[str]) -> tuple[CommandModule, argparse.Namespace]:
    if not argv or argv[0] not in COMMANDS:
        _parse_top(argv)
    name = argv[0]
    command = _load(name)
    parser = Parser(prog=f"convai {name}", description=command.HELP)
    command.add_arguments(parser)
    return command, parser.parse_args(argv[1:])


def _parse_top(argv: list[str]) -> NoReturn:
    """`convai` without a command: help, version, or the error that it is."""
    about = "A persona chatbot that you own: talk to it, train it, measure it."
    parser = Parser(prog="convai", description=about)
    parser.add_argument("--version", action="version", version=f"convai {convai.__version__}")
    first = argv[0] if argv else ""
    if first in ("-h", "--help"):
        listing = parser.add_subparsers(title="commands", metavar="COMMAND")
        for name in COMMANDS:
            listing.add_parser(name, help=_load(name).HELP.replace("%", "%%"))
    if first in ("-h", "--help", "--version"):
        parser.parse_args([first])
    if first.startswith("-"):
        parser.error(f"unknown option {first}; options go behind the command ({', '.join(COMMANDS)})")
    if first:
        parser.error(f"there is no command {first!r} (there are {', '.join(COMMANDS)})")
    parser.error(f"name a command ({', '.join(COMMANDS)})")


def _load(name: str) -> CommandModule:
    return cast(CommandModule, importlib.import_module(COMMANDS[name]))


def _accept_any_text() -> None:
    """Let junk bytes through the standard streams, so that they are refused by name and not by a crash.

    What cannot be decoded on stdin arrives as surrogates, which `convai.core.dialog.check_text` refuses;
    what the terminal's encoding cannot show is written as an escape.
    """
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _report(error: BaseException) -> int:
    """One line about `error` on stderr (none where silence is meant), and the exit code for it."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, BrokenPipeError):
        return 141
    if isinstance(error, ReportedElsewhere):
        return 2
    if isinstance(error, ConvaiError):
        return _fail(str(error))
    if isinstance(error, OSError):
        return _fail(_describe(error))
    if isinstance(error, MemoryError):
        return _fail("out of memory; use a smaller model, batch or file")
    _fail(f"{type(error).__name__}: {error}; this is a defect in convai: CONVAI_DEBUG=1 shows where")
    return 1


def _describe(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    mend = _MENDS.get(error.errno or 0)
    return f"{place}{error.strerror or error}" + (f"; {mend}" if mend else "")


def _fail(message: str) -> int:
    line = " ".join(message.splitlines())
    with contextlib.suppress(OSError):  # stderr may be gone, too; the exit code still tells
        print(f"convai: error: {line}", file=sys.stderr, flush=True)
    return 2


def _settle_stdout() -> None:
    """Flush stdout; where that fails, point it at nothing, or Python would complain again at its exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
