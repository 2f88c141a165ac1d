"""The screen and the keyboard: colours, wrapped lines, streamed text, line editing with history."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final, TextIO

from convai.core.safe_text import visible, visible_lines

_CODES: Final = {"user": "1;36", "agent": "1;32", "dim": "2", "bold": "1", "problem": "31"}
_HISTORY_LINES: Final = 1000

TIE: Final = "\N{NO-BREAK SPACE}"
"""Between words that stay on one line."""


def has_colour(out: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `out` is a terminal that understands colours and nobody asked for none (no-color.org)."""
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def cells(char: str) -> int:
    """Columns that a character takes: 0 for combining marks, 2 for wide ones (UAX 11)."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Wrapper:
    """Breaks text at blanks as it arrives, so that no word is cut by the edge of the screen.

    `column` is where the text begins, `indent` the column that later lines begin in, its own among them. The
    last word is held back until the blank after it.
    """

    def __init__(self, width: int, column: int = 0, indent: int = 0) -> None:
        self._width = max(width, indent + 10)
        self._indent = indent
        self._column = column
        self._fresh = True
        self._before = ""
        self._word = ""

    def push(self, text: str) -> str:
        """What can be shown now."""
        *lines, last = text.split("\n")
        return "".join(self._push(line) + self.finish() + self._break() for line in lines) + self._push(last)

    def _push(self, text: str) -> str:
        *words, self._word = (self._word + text).split(" ")
        return "".join(self._place(word) for word in words)

    def _break(self) -> str:
        """The end of a line of the text's own; what it begins the next one with waits for a word."""
        self._fresh, self._column, self._before = True, self._indent, " " * self._indent
        return "\n"

    def finish(self) -> str:
        """The word that was held back."""
        word, self._word = self._word, ""
        return self._place(word)

    def _place(self, word: str) -> str:
        if not word:
            return ""
        size = sum(map(cells, word))
        out = self._before if self._fresh else " "
        self._before = ""
        if not self._fresh and self._column + 1 + size > self._width:
            out = "\n" + " " * self._indent
            self._column = self._indent
        elif not self._fresh:
            self._column += 1
        self._fresh = False
        self._column += size
        # A word longer than a line is left to the terminal, which cuts it at the edge.
        if self._column > self._width:
            self._column %= self._width
        return out + word


class Screen:
    """Writes to a terminal. Whatever text it is given, no control character of it arrives there."""

    def __init__(self, out: TextIO, *, colour: bool = False, width: int | None = None) -> None:
        """`width` in columns; None asks the terminal, again for every line."""
        self._out = out
        self._width = width
        self.colour = colour

    @property
    def width(self) -> int:
        """Columns to write in."""
        return self._width or shutil.get_terminal_size((80, 24)).columns

    def painted(self, text: str, style: str = "") -> str:
        """`text` without control characters, in the style's colour where there are colours."""
        text = visible(text)
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour and style and text else text

    def line(self, text: str = "", style: str = "", *, prefix: str = "") -> None:
        """`prefix` as it is, then `text`; where it takes or has several lines, the others begin below it."""
        prefix = visible(prefix)
        start = sum(map(cells, prefix))
        wrapper = Wrapper(self.width, start, start)
        lines = (wrapper.push(visible_lines(text)) + wrapper.finish()).split("\n")
        self._write(prefix + "\n".join(self.painted(line, style) for line in lines) + "\n")

    def note(self, text: str) -> None:
        """What the program itself has to say."""
        self.line(f"({visible(text)})", "dim")

    def problem(self, text: str) -> None:
        """Something went wrong: one line that says what."""
        self.line(visible(text), "problem", prefix="! ")

    def said(self, name: str, style: str, text: str) -> None:
        """What somebody said earlier, as `name> text`."""
        head = f"{name}> "
        wrapper = Wrapper(self.width, len(head), len(head))
        self._write(self.painted(head, style) + wrapper.push(visible_lines(text)) + wrapper.finish() + "\n")

    def speech(self, name: str) -> Speech:
        """Begin a line of somebody who speaks: `name> `, then what is pushed."""
        self._write(self.painted(f"{name}> ", "agent"))
        return Speech(self._write, Wrapper(self.width, len(name) + 2, len(name) + 2))

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class Speech:
    """A reply on the screen while it is being drawn."""

    def __init__(self, write: Callable[[str], None], wrapper: Wrapper) -> None:
        self._write = write
        self._wrapper = wrapper
        self.text = ""
        """What it has been given so far."""

    def push(self, text: str) -> None:
        """Go on with `text`."""
        self.text += text
        self._write(self._wrapper.push(visible_lines(text)))

    def end(self, text: str | None = None, mark: str = "") -> None:
        """End the line, with what is still missing of the whole `text`, and `mark` behind it."""
        if text is not None:
            self.push(text[len(self.text) :])
        rest = self._wrapper.finish()
        self._write(f"{rest}{' ' if mark and self.text else ''}{mark}\n")


def history_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where typed lines are kept, by the XDG base directory specification; None for a user without a home."""
    state = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return Path(state, "convai", "history") if os.path.isabs(state) else None


class Keyboard:
    """Lines typed at a prompt, with editing, history and completion where Python has readline."""

    def __init__(
        self, screen: Screen, complete: Callable[[str, str], list[str]], history: Path | None
    ) -> None:
        """`complete(line, word)` lists what `word`, the end of `line`, may become.

        A history that cannot be read or written is done without.
        """
        self._screen = screen
        self._history = history
        self.typed = ""
        """What stood in the line that Ctrl-C ended."""
        self._readline = _readline()
        if self._readline is None:
            return
        readline, matches = self._readline, list[str]()

        def completer(word: str, state: int) -> str | None:
            if state == 0:
                matches[:] = complete(readline.get_line_buffer()[: readline.get_endidx()], word)
            return matches[state] if state < len(matches) else None

        readline.set_completer(completer)
        readline.set_completer_delims(" \t\n")
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        readline.set_history_length(_HISTORY_LINES)
        if history is not None:
            with contextlib.suppress(OSError):
                readline.read_history_file(history)
        self._known = readline.get_current_history_length()

    def read(self, prompt: str) -> str:
        """The next line. Raises EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C."""
        self.typed = ""
        readline = self._readline
        if readline is None:
            return input(self._screen.painted(prompt, "user"))
        if self._screen.colour:  # \x01 and \x02 tell readline which characters take no room
            prompt = f"\x01\x1b[{_CODES['user']}m\x02{prompt}\x01\x1b[0m\x02"

        def interrupted(number: int, frame: FrameType | None) -> None:
            self.typed = readline.get_line_buffer()  # it is empty once input() has been left
            signal.default_int_handler(number, frame)

        handler = signal.signal(signal.SIGINT, interrupted)
        try:
            return input(prompt)
        finally:
            signal.signal(signal.SIGINT, handler)

    def close(self) -> None:
        """Add what was typed to the history file, which only its owner may read."""
        if self._readline is None or self._history is None:
            return
        new = self._readline.get_current_history_length() - self._known
        if new <= 0:
            return
        with contextlib.suppress(OSError):
            self._history.parent.mkdir(parents=True, exist_ok=True)
            self._history.touch(mode=0o600)
            self._readline.append_history_file(new, self._history)


@contextlib.contextmanager
def quiet_interrupts(source: TextIO) -> Iterator[None]:
    """Meanwhile the terminal does not write `^C` into the text where Ctrl-C is pressed."""
    try:
        import termios
    except ImportError:  # Windows, whose terminals do not do that
        yield
        return
    try:
        before = termios.tcgetattr(source)
    except (termios.error, OSError, ValueError):  # no terminal after all
        yield
        return
    local_modes = 3
    changed = [*before]
    changed[local_modes] = before[local_modes] & ~termios.ECHOCTL
    termios.tcsetattr(source, termios.TCSANOW, changed)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(source, termios.TCSANOW, before)


def _readline() -> ModuleType | None:
    try:
        return importlib.import_module("readline")
    except ImportError:
        return None
