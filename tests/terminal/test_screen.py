"""The screen: lines that fit, text that steers nothing; the keyboard: history, completion, Ctrl-C."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.terminal.screen import (
    Keyboard,
    Screen,
    Wrapper,
    cells,
    has_colour,
    history_path,
    quiet_interrupts,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(width: int = 20, colour: bool = False) -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(out, colour=colour, width=width), out


words = st.text(st.sampled_from("abc\u00e9\u65e5"), min_size=1, max_size=6)


@given(st.lists(words, min_size=1), st.integers(20, 40), st.integers(0, 8), st.integers(0, 8), st.data())
def test_wrapped_text_fits_and_says_the_same(
    said: list[str], width: int, column: int, indent: int, data: st.DataObject
) -> None:
    """However the text is cut into pieces."""
    text = " ".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    wrapper = Wrapper(width, column, indent)
    out = "".join(map(wrapper.push, pieces)) + wrapper.finish()
    whole = Wrapper(width, column, indent)
    assert out == whole.push(text) + whole.finish()
    assert out.split() == said
    first, *rest = out.split("\n")
    assert column + sum(map(cells, first)) <= width
    for line in rest:
        assert line.startswith(" " * indent)
        assert sum(map(cells, line)) <= width


def test_words_are_shown_once_they_are_whole() -> None:
    wrapper = Wrapper(80)
    assert [wrapper.push(piece) for piece in ("he", "llo", " wor", "ld", " ")] == [
        "",
        "",
        "hello",
        "",
        " world",
    ]
    assert wrapper.finish() == ""


def test_a_word_longer_than_the_line_is_left_to_the_terminal() -> None:
    wrapper = Wrapper(20, 5, 5)
    assert wrapper.push("x" * 50 + " on ") == "x" * 50 + " on"
    assert wrapper.push("y" * 10 + " ") == "\n     " + "y" * 10


def test_cells() -> None:
    assert [cells(char) for char in "a\u65e5\u0301\u200d\U0001f600"] == [1, 2, 0, 0, 2]


def test_lines_hang_below_their_text() -> None:
    s, out = screen()
    s.line("one two three four five", prefix="  x  ")
    s.line("plain")
    s.line()
    assert out.getvalue() == "  x  one two three\n     four five\nplain\n\n"


def test_notes_problems_and_people() -> None:
    s, out = screen(40)
    s.note("saved")
    s.problem("there is no file x; check the path, please")
    s.said("you", "user", "hello there")
    assert out.getvalue() == ("(saved)\n! there is no file x; check the path,\n  please\nyou> hello there\n")


def test_colours_go_around_the_text_and_only_where_they_are_wanted() -> None:
    s, out = screen(colour=True)
    s.line("a", "bold")
    s.line("", "bold")
    s.speech("bot").end("b")
    assert out.getvalue() == "\x1b[1ma\x1b[0m\n\n\x1b[1;32mbot> \x1b[0mb\n"
    assert screen()[0].painted("a", "bold") == "a"


def test_whatever_is_shown_steers_nothing() -> None:
    evil = "\x1b[2J\x9b1m\x07\r\u202eoh"
    s, out = screen(80)
    s.line(evil, prefix=evil)
    s.note(evil)
    s.problem(evil)
    s.said("you", "user", evil)
    speech = s.speech("bot")
    speech.push(evil)
    speech.end(evil + " " + evil)
    shown = out.getvalue()
    assert shown.count("oh") == 7
    assert not set(shown) & set("\x1b\x9b\x07\r\u202e")


def test_speech_is_shown_as_it_comes() -> None:
    s, out = screen(20)
    speech = s.speech("bot")
    seen = []
    for piece in ("hel", "lo my", " friend", " and all"):
        speech.push(piece)
        seen.append(out.getvalue())
    assert seen == ["bot> ", "bot> hello", "bot> hello my", "bot> hello my friend\n     and"]
    assert speech.text == "hello my friend and all"
    speech.end("hello my friend and all.", mark="[stopped]")
    assert out.getvalue() == "bot> hello my friend\n     and all. [stopped]\n"


def test_speech_without_words_ends_too() -> None:
    s, out = screen()
    s.speech("bot").end(mark="[stopped]")
    s.speech("bot").end()
    assert out.getvalue() == "bot> [stopped]\nbot> \n"


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    assert Screen(io.StringIO()).width == 33


@pytest.mark.parametrize(
    ("environ", "colour"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colour(environ: dict[str, str], colour: bool) -> None:
    assert has_colour(Terminal(), environ) is colour
    assert not has_colour(io.StringIO(), environ)


# -- the keyboard ----------------------------------------------------------------------------------


def test_history_is_kept_where_the_desktop_keeps_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    home = Path("/home/ada/.local/state/convai/history")
    assert history_path({"XDG_STATE_HOME": "/var/ada"}) == Path("/var/ada/convai/history")
    assert history_path({}) == history_path({"XDG_STATE_HOME": "relative"}) == home
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert history_path({}) is None


class FakeReadline:
    """What a Keyboard needs of readline."""

    __doc__ = "GNU"

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bound = ""
        self.appended: tuple[int, Path] | None = None
        self.broken = False
        self.buffer = ""

    def set_completer(self, completer: object) -> None:
        self.completer = completer

    def set_completer_delims(self, delims: str) -> None:
        assert "/" not in delims

    def parse_and_bind(self, text: str) -> None:
        self.bound = text

    def set_history_length(self, length: int) -> None:
        assert length > 0

    def read_history_file(self, path: Path) -> None:
        if self.broken:
            raise OSError
        self.lines = path.read_text().splitlines()

    def get_current_history_length(self) -> int:
        return len(self.lines)

    def append_history_file(self, count: int, path: Path) -> None:
        if self.broken:
            raise OSError
        with path.open("a") as file:
            file.writelines(line + "\n" for line in self.lines[-count:])

    def get_line_buffer(self) -> str:
        return self.buffer

    def get_endidx(self) -> int:
        return len(self.buffer)


@pytest.fixture
def readline(monkeypatch: pytest.MonkeyPatch) -> FakeReadline:
    fake = FakeReadline()
    monkeypatch.setattr("convai.terminal.screen._readline", lambda: fake)
    return fake


def keyboard(history: Path | None, colour: bool = False) -> Keyboard:
    return Keyboard(screen(colour=colour)[0], lambda line, word: [f"{line}|{word}", "other"], history)


def test_history_is_read_and_what_was_typed_is_added(tmp_path: Path, readline: FakeReadline) -> None:
    path = tmp_path / "state" / "convai" / "history"
    keyboard(path).close()
    assert not path.exists(), "nothing was typed"
    keys = keyboard(path)
    readline.lines += ["one", "two"]
    keys.close()
    assert path.read_text() == "one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    readline.lines = []
    keys = keyboard(path)
    readline.lines.append("three")
    keys.close()
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_history_that_cannot_be_kept_is_done_without(tmp_path: Path, readline: FakeReadline) -> None:
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / "history"):
        keys = keyboard(path)
        readline.lines.append("one")
        keys.close()
    readline.broken = True
    keys = keyboard(tmp_path / "history")
    readline.lines.append("one")
    keys.close()


def test_completion_gets_the_line_up_to_the_cursor(readline: FakeReadline) -> None:
    keyboard(None)
    readline.buffer = "/settings to"
    assert readline.bound == "tab: complete"
    complete = readline.completer
    assert [complete("to", state) for state in range(3)] == ["/settings to|to", "other", None]  # type: ignore[operator]


def test_libedit_is_told_in_its_own_words(readline: FakeReadline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeReadline, "__doc__", "with libedit")
    keyboard(None)
    assert readline.bound == "bind ^I rl_complete"


@pytest.mark.parametrize(
    ("colour", "prompt"), [(False, "you> "), (True, "\x01\x1b[1;36m\x02you> \x01\x1b[0m\x02")]
)
def test_the_prompt_tells_readline_what_takes_no_room(
    readline: FakeReadline, monkeypatch: pytest.MonkeyPatch, colour: bool, prompt: str
) -> None:
    asked = []
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "typed")
    assert keyboard(None, colour).read("you> ") == "typed"
    assert asked == [prompt]


def test_without_readline_lines_can_be_typed_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("convai.terminal.screen._readline", lambda: None)
    monkeypatch.setattr("builtins.input", lambda text: f"{text}typed")
    keys = keyboard(tmp_path / "history", colour=True)
    assert keys.read("you> ") == "\x1b[1;36myou> \x1b[0mtyped"
    keys.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_terminal_is_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as file, quiet_interrupts(file):
        file.write("x")
    with quiet_interrupts(io.StringIO()):
        pass


def test_a_text_keeps_its_own_lines() -> None:
    """However it arrives; a greeting has paragraphs."""
    text = "*She nods at you both.*\n\nCome in."
    s, out = screen(20)
    s.said("bot", "agent", text)
    speech = s.speech("bot")
    for piece in ("*She nods at you ", "both.*\n", "\nCome", " in."):
        speech.push(piece)
    speech.end(text)
    one = "bot> *She nods at\n     you both.*\n\n     Come in.\n"
    assert out.getvalue() == one + one
