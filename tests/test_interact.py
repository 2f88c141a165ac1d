"""The terminal door: a pipe, a chat at a prompt, and the real thing in a pseudo-terminal."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.session import Session
from convai.core.errors import ConvaiError, DataError, SettingsError
from convai.interact import answer_lines, interact
from convai.terminal import slash
from convai.terminal.chat import Chat
from convai.terminal.screen import Screen
from convai.text.personas import PersonaDeck
from tests.chatting import NURSE, ScriptedEngine, scripted, tiny_agent

ROOT = Path(__file__).parent.parent


# -- a pipe ----------------------------------------------------------------------------------------


def piped(session: Session, text: str) -> str:
    out = io.StringIO()
    interact(session, PersonaDeck(), io.StringIO(text), out)
    return out.getvalue()


def test_one_line_in_one_line_out() -> None:
    session, _ = scripted("one", "two", "three")
    assert piped(session, "a\n/undo\n  c") == "one\ntwo\nthree\n"
    assert [turn.text for turn in session.turns] == ["a", "one", "/undo", "two", "c", "three"]


def test_nothing_in_nothing_out() -> None:
    assert piped(scripted()[0], "") == ""


def test_the_reply_is_written_before_the_next_line_is_read() -> None:
    class Source(io.StringIO):
        def readline(self, size: int = -1) -> str:  # type: ignore[override]
            seen.append(out.getvalue())
            return super().readline(size)

    class Out(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    seen: list[str] = []
    out = Out()
    answer_lines(scripted("one", "two")[0], Source("a\nb\n"), out)
    assert seen == ["", "one\n", "one\ntwo\n"]
    assert out.flushed == "one\ntwo\n"


def test_piped_is_the_session(tmp_path: Path) -> None:
    agent = tiny_agent(seed=4)
    messages = ["hi", "how are you?", "bye"]
    session = Session(agent, agent.engine(), NURSE)
    expected = [session.answer(message) for message in messages]
    assert piped(Session(agent, agent.engine(), NURSE), "\n".join(messages)).splitlines() == expected


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("", DataError, "stdin:2: empty text;"),
        (" \t", DataError, "stdin:2: empty text;"),
        ("\udcff", DataError, "stdin:2: not UTF-8 (byte 0xff);"),
        ("a\x1b[2J", DataError, "stdin:2: control characters in the text;"),
        ("x" * 100_001, DataError, "stdin:2: a line of over 100,000 characters;"),
        ("x" * 10**6, DataError, "stdin:2: a line of over 100,000 characters;"),
        ("x" * 1000, SettingsError, "stdin:2: the last message is too long: 1000 tokens"),
    ],
)
def test_a_bad_line_is_named_and_the_lines_before_are_answered(
    line: str, error: type[ConvaiError], message: str
) -> None:
    session, engine = scripted("one")
    out = io.StringIO()
    with pytest.raises(error) as caught:
        answer_lines(session, io.StringIO(f"hi\n{line}\nbye\n"), out)
    assert str(caught.value).startswith(message)
    assert out.getvalue() == "one\n"
    assert len(engine.requests) == 1


def test_the_longest_line_is_still_read() -> None:
    session, _ = scripted()
    with pytest.raises(SettingsError, match="stdin:1: the last message is too long: 100000 tokens"):
        answer_lines(session, io.StringIO("x" * 100_000 + "\n"), io.StringIO())


def test_a_byte_order_mark_is_no_part_of_the_message() -> None:
    session, _ = scripted("one", "two")
    piped(session, "\ufeffhi\nyo\n")
    assert session.turns[0].text == "hi"


def test_replies_steer_no_terminal() -> None:
    assert piped(scripted("a\x1b[2Jb\nc\u202ed")[0], "hi\n") == "a[2Jb cd\n"


# -- at a prompt -----------------------------------------------------------------------------------


class Typist:
    """Types lines; an exception in their place is raised, with what stood in the line by then."""

    def __init__(self, *lines: str | BaseException | tuple[str, BaseException]) -> None:
        self._lines = list(lines)
        self.typed = ""

    def read(self, prompt: str) -> str:
        assert prompt == "you> "
        line = self._lines.pop(0)
        self.typed, line = line if isinstance(line, tuple) else ("", line)
        if isinstance(line, BaseException):
            raise line
        return line


def chat(*lines: Any, script: tuple[Any, ...] = (), session: Session | None = None) -> tuple[Session, str]:
    """Run a chat with these lines typed; returns the session and what was shown after the greeting."""
    session = session or scripted(*script)[0]
    out = io.StringIO()
    Chat(session, PersonaDeck(), Screen(out, width=80), Typist(*lines), slash.execute).run()
    return session, out.getvalue().partition("\n\n")[2]


def test_the_greeting_is_short_and_fits() -> None:
    session, _ = scripted()
    out = io.StringIO()
    Chat(session, PersonaDeck(), Screen(out, width=80), Typist(EOFError()), slash.execute).run()
    lines = out.getvalue().splitlines()
    assert re.fullmatch(r"convai \S+, tiny\. /help lists the commands, Ctrl-D leaves\.", lines[0])
    assert lines[1:] == [
        "You are talking with somebody who says:",
        "  i am a nurse.",
        "  i have two dogs.",
        "",
        "",
    ]


def test_messages_are_answered_until_the_user_leaves() -> None:
    session, shown = chat("hi", "", "  ", "how are you?", EOFError(), script=("hello", "fine"))
    assert shown == "bot> hello\nbot> fine\n\n"
    assert [turn.text for turn in session.turns] == ["hi", "hello", "how are you?", "fine"]
    assert chat("/quit", "never read")[1] == ""


def test_a_message_may_begin_with_a_slash() -> None:
    session, _ = chat("//me waves", EOFError(), script=("hello",))
    assert session.turns[0].text == "/me waves"


def test_ctrl_c_at_an_empty_prompt_leaves_at_the_second_time() -> None:
    interrupt = KeyboardInterrupt()
    assert chat(interrupt, interrupt, "never read")[1] == "\n(Ctrl-C again, or Ctrl-D, leaves)\n\n"
    session, _ = chat(interrupt, "hi", interrupt, interrupt, "never read", script=("hello",))
    assert len(session.turns) == 2


def test_ctrl_c_with_something_typed_only_clears_the_line() -> None:
    interrupt = KeyboardInterrupt()
    _, shown = chat(("abc", interrupt), ("d", interrupt), interrupt, ("e", interrupt), interrupt, interrupt)
    assert shown == "\n\n\n(Ctrl-C again, or Ctrl-D, leaves)\n\n\n(Ctrl-C again, or Ctrl-D, leaves)\n\n"


def test_ctrl_c_stops_the_reply_and_keeps_what_was_shown() -> None:
    interrupt = KeyboardInterrupt()
    session, shown = chat("hi", "more", EOFError(), script=(["hello", " the", interrupt], "fine"))
    assert shown == "bot> hello the [stopped]\nbot> fine\n\n"
    assert [turn.text for turn in session.turns] == ["hi", "hello the", "more", "fine"]


def test_ctrl_c_before_anything_was_shown_takes_the_message_back() -> None:
    session, shown = chat("hi", EOFError(), script=([KeyboardInterrupt()],))
    assert shown == ("bot> [stopped]\n(nothing was said yet; the conversation is what it was before)\n\n")
    assert session.turns == ()


def test_ctrl_c_between_two_tokens_stops_the_reply_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not reach the engine: while the screen writes."""
    session, engine = scripted("hello there", "fine")
    out = io.StringIO()
    c = Chat(session, PersonaDeck(), Screen(out, width=80), Typist(), slash.execute)
    real, writes = out.write, []

    def write(text: str) -> int:
        writes.append(real(text))
        if len(writes) == 4:
            raise KeyboardInterrupt
        return writes[-1]

    monkeypatch.setattr(out, "write", write)
    c.handle("hi")
    assert engine.closed == 1
    assert session.turns[-1].text == "hello the"
    assert out.getvalue() == "bot> hello the [stopped]\n"


def test_an_error_in_a_reply_is_one_line_and_the_chat_goes_on() -> None:
    session, shown = chat(
        "hi", "again", EOFError(), script=(["oh", ConvaiError("the checkpoint is damaged; copy it")], "fine")
    )
    assert shown == "bot> oh\n! the checkpoint is damaged; copy it\nbot> fine\n\n"
    assert [turn.text for turn in session.turns] == ["again", "fine"]


def test_a_failing_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    session, _ = scripted()
    monkeypatch.setattr(session, "save", full)
    assert chat("/save x", EOFError(), session=session)[1] == "! x: No space left on device\n\n"


def test_ctrl_c_in_a_command_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object) -> None:
        raise KeyboardInterrupt

    session, _ = scripted()
    monkeypatch.setattr(session, "load", slow)
    assert chat("/load x", "/quit", session=session)[1] == "\n"


def test_a_message_that_is_too_long_is_one_line() -> None:
    session, shown = chat("x" * 2000, "hi", EOFError(), script=("fine",))
    assert shown.startswith("! the last message is too long: 2000 tokens")
    assert session.turns[0].text == "hi"


def test_pasted_control_characters_are_dropped() -> None:
    session, shown = chat("a\x1b[31mb\nc\udcff", EOFError(), script=("fine",))
    assert session.turns[0].text == "a[31mb c"
    assert "\x1b" not in shown


def test_a_loaded_conversation_is_greeted_with_its_last_turns() -> None:
    session, _ = scripted("one", ["t", KeyboardInterrupt()])
    session.answer("hi")
    with pytest.raises(KeyboardInterrupt):
        session.answer("and?")
    out = io.StringIO()
    Chat(session, PersonaDeck(), Screen(out, width=80), Typist(EOFError()), slash.execute).run()
    assert out.getvalue().splitlines()[-6:] == [
        "you> hi",
        "bot> one",
        "you> and?",
        "bot> t [stopped]",
        "",
        "",
    ]


# -- the real thing --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_agent(n_positions=2048, seed=1, max_length=12).save(folder)
    return folder


class PseudoTerminal:
    """`convai chat` with a terminal of its own; `expect` waits for what it shows."""

    def __init__(self, folder: Path, home: Path, *options: str, **environ: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        env = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "xterm", "INPUTRC": "/dev/null", **environ}
        env.pop("COLUMNS", None)
        command = [sys.executable, "-m", "convai", "chat", "--model", str(folder), *options]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, pattern: str, seconds: float = 300) -> str:
        """Everything up to the end of the first match of `pattern`, which is then behind us."""
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.shown)):
            left = end - time.monotonic()
            assert left > 0, f"waited for {pattern!r}, saw {self.shown!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # the other end was closed
                    data = b""
                assert data, f"it ended before {pattern!r}: {self.shown!r}"
                self.shown += data.decode()
        seen, self.shown = self.shown[: match.end()], self.shown[match.end() :]
        return seen

    def interrupt(self, pattern: str) -> str:
        """Press Ctrl-C at a prompt until `pattern` is seen.

        Python overlooks one that comes in the instant between the prompt and its wait for a key.
        """
        for _ in range(5):
            self.type("\x03")
            try:
                return self.expect(pattern, 20)  # pressed twice it means something else
            except AssertionError:
                continue
        return self.expect(pattern, 20)

    def leave(self, keys: str) -> int:
        """Press `keys` until the program has ended; its exit code."""
        for _ in range(120):
            self.type(keys)
            try:
                return self.process.wait(1)
            except subprocess.TimeoutExpired:
                continue
        return self.process.wait(1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(model: Path, tmp_path: Path) -> Iterator[Any]:
    opened: list[PseudoTerminal] = []

    def start(*options: str, **environ: str) -> PseudoTerminal:
        opened.append(PseudoTerminal(model, tmp_path, *options, **environ))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


PROMPT = r"you> (\x1b\[0m)?"


@pytest.mark.slow
def test_a_chat_in_a_real_terminal(terminal: Any, tmp_path: Path, model: Path) -> None:
    """Greeting, replies as in a pipe, completion, /why, Ctrl-C at the prompt, history."""
    options = ["--persona", "i am a nurse. i have two dogs.", "--seed", "1"]
    chatting = terminal(*options, NO_COLOR="1")
    greeting = chatting.expect(PROMPT)
    assert "  i am a nurse.\r\n  i have two dogs.\r\n" in greeting
    replies = []
    for message in ("hi", "how are you?"):
        chatting.type(message + "\r")
        reply = re.search(r"bot> (.*?)\r\n", chatting.expect(r"bot> .*?\r\n(?s:.*?)you> "))
        assert reply
        replies.append(reply[1])
    chatting.type("/wh\t\r")
    chatting.expect(r"<bos>(?s:.*)seed(?s:.*)you> ")
    chatting.type("/persona set i \x16\x1b[31mski.\r")  # Ctrl-V types the next character as it is
    assert "\x1b[31m" not in chatting.expect(r"i \[31mski\.\r\n(?s:.*)you> ").partition("says:")[2]
    chatting.interrupt(r"Ctrl-C again(?s:.*)you> ")
    assert chatting.leave("/quit\r") == 0
    history = (tmp_path / "convai" / "history").read_text().splitlines()
    assert history[:3] == ["hi", "how are you?", "/why "]
    piped = subprocess.run(
        [sys.executable, "-m", "convai", "chat", "--model", str(model), *options],
        cwd=ROOT,
        input="hi\nhow are you?\n",
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "elsewhere")},
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert (piped.returncode, piped.stderr, piped.stdout.splitlines()) == (0, "", replies)
    assert not (tmp_path / "elsewhere").exists(), "no history where nobody types"


@pytest.mark.slow
def test_ctrl_c_in_a_real_terminal_stops_the_reply_and_not_the_program(terminal: Any) -> None:
    chatting = terminal(
        "--seed", "1", "--max-length", "1024", "--min-length", "1024", "--no-repeat-ngram", "0"
    )
    chatting.expect(PROMPT)
    chatting.type("hi\r")
    chatting.expect(r"bot> \x1b\[0m.")
    chatting.type("\x03")
    shown = chatting.expect(r"\[stopped\]\r\n(?s:.*?)" + PROMPT)
    assert "^C" not in shown
    assert chatting.leave("\x04") == 0


@pytest.mark.slow
def test_a_dumb_terminal_gets_no_escape_sequences(terminal: Any) -> None:
    chatting = terminal("--seed", "1", TERM="dumb")
    shown = chatting.expect(PROMPT)
    chatting.type("hi\r")
    shown += chatting.expect(r"bot> .*\r\n(?s:.*)you> ")
    shown += chatting.interrupt(r"again(?s:.*)you> ")
    assert chatting.leave("\x04") == 0
    assert "\x1b" not in shown


def test_the_stand_in_engine_is_used_here() -> None:
    assert isinstance(scripted()[1], ScriptedEngine)
