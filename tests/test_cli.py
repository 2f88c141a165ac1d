"""The `convai` command: dispatch, help that is quick, errors of one line, exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import convai
from convai import __main__ as cli
from convai.core.errors import ConvaiError, DataError

ROOT = Path(__file__).parent.parent
WRITTEN = sorted(
    path.stem
    for path in (ROOT / "convai/commands").glob("*.py")
    if re.search(r"^HELP\b.* = ", path.read_text(encoding="utf-8"), re.MULTILINE)
)
"""Modules in convai/commands that are commands: they say in a line what they do."""
HEAVY = {"torch", "numpy", "transformers", "tokenizers", "ignite"}


def run(*args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """`convai ARGS` in a process of its own."""
    command = [sys.executable, "-m", "convai", *args]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, **kwargs)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int]], None]:
    """Make `convai fake --level N` run the given function; the only command there is meanwhile."""

    def install(function: Callable[[argparse.Namespace], int]) -> None:
        module = ModuleType("convai_fake_command")
        module.HELP = "do 100 % of nothing"  # type: ignore[attr-defined]
        module.add_arguments = lambda parser: parser.add_argument("--level", type=int, default=1)  # type: ignore[attr-defined]
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "convai_fake_command", module)
        monkeypatch.setattr(cli, "COMMANDS", {"fake": "convai_fake_command"})

    return install


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def function(args: argparse.Namespace) -> int:
        raise error

    return function


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was written to stderr, which must be one line and begin as promised; nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"convai: error: [^\n]+\n", err)
    return err.removeprefix("convai: error: ").rstrip("\n")


# -- the real commands -----------------------------------------------------------------------------


def test_table_and_folder_name_the_same_commands() -> None:
    assert sorted(cli.COMMANDS) == WRITTEN
    assert all(module == f"convai.commands.{name}" for name, module in cli.COMMANDS.items())


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in WRITTEN)], ids=" ".join)
def test_help_loads_nothing_but_the_standard_library(args: list[str]) -> None:
    """So it is there in a tenth of a second; how long that takes is the machine's affair, and no test's."""
    code = (
        "import sys; before = set(sys.modules); from convai.__main__ import main; code = main(sys.argv[1:]); "
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(loaded - sys.stdlib_module_names), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "['convai']\n")
    assert done.stdout.startswith(f"usage: convai {'' if len(args) == 1 else args[0]}".rstrip())


def test_top_help_lists_every_command() -> None:
    text = run("--help").stdout
    for name in WRITTEN:
        assert re.search(rf"^    {name}\s+\S", text, re.MULTILINE)


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_refuses_what_it_does_not_know(name: str) -> None:
    done = run(name, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"convai: error: [^\n]+; see 'convai {name}[^\n]* --help'\n", done.stderr)


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"convai {convai.__version__}\n", "")


# -- dispatch --------------------------------------------------------------------------------------


def test_a_command_gets_its_options_and_its_exit_code_is_kept(fake, capsys) -> None:
    fake(lambda args: args.level + 3)
    assert cli.main(["fake", "--level", "4"]) == 7
    assert cli.main(["fake"]) == 4
    assert capsys.readouterr() == ("", "")


def test_help_of_a_command_is_its_own(fake, capsys) -> None:
    fake(raising(AssertionError("help must not run the command")))
    assert cli.main(["--help"]) == 0
    assert re.search(r"^    fake +do 100 % of nothing$", capsys.readouterr().out, re.MULTILINE)
    assert cli.main(["fake", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: convai fake [-h] [--level LEVEL]")
    assert "do 100 % of nothing" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a command (fake); see 'convai --help'"),
        (["fakir"], "there is no command 'fakir' (there are fake); see 'convai --help'"),
        (["--level", "2", "fake"], "unknown option --level; options go behind the command (fake); see"),
        (["fake", "--lev", "2"], "unrecognized arguments: --lev 2; see 'convai fake --help'"),
        (["fake", "--level", "two"], "argument --level: invalid int value: 'two'; see 'convai fake --help'"),
        (["fake", "--two\nlines"], "unrecognized arguments: --two lines; see 'convai fake --help'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(fake, capsys, argv: list[str], message: str) -> None:
    fake(raising(AssertionError("must not run")))
    assert cli.main(argv) == 2
    assert error_line(capsys).startswith(message)


def test_nested_commands_refuse_abbreviations_too(capsys) -> None:
    parser = cli.Parser(prog="convai x")
    parser.add_subparsers().add_parser("y").add_argument("--long-option")
    with pytest.raises(SystemExit) as leave:
        parser.parse_args(["y", "--long", "1"])
    assert leave.value.code == 2
    assert "unrecognized arguments" in error_line(capsys)


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConvaiError("it is wrong; mend it"), "it is wrong; mend it"),
        (DataError("a.txt:3: bad\nwith a second line"), "a.txt:3: bad with a second line"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"),
            "a.txt: No such file or directory; check the path",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "No space left on device; free some space or choose another place",
        ),
        (ConnectionError("the line went dead"), "the line went dead"),
        (MemoryError(), "out of memory; use a smaller model, batch or file"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_person_can_mend_is_one_line_and_exit_2(fake, capsys, error: Exception, line: str) -> None:
    fake(raising(error))
    assert cli.main(["fake"]) == 2
    assert error_line(capsys) == line


def test_a_defect_is_one_line_and_exit_1(fake, capsys) -> None:
    fake(raising(KeyError("x")))
    assert cli.main(["fake"]) == 1
    assert error_line(capsys) == "KeyError: 'x'; this is a defect in convai: CONVAI_DEBUG=1 shows where"


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 141)])
def test_leaving_early_is_quiet(fake, capsys, error: BaseException, code: int) -> None:
    fake(raising(error))
    assert cli.main(["fake"]) == code
    assert capsys.readouterr() == ("", "")


def test_traceback_only_when_asked_for(fake, capsys, monkeypatch) -> None:
    fake(raising(DataError("it is wrong")))
    monkeypatch.setenv("CONVAI_DEBUG", "1")
    assert cli.main(["fake"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last)")
    assert err.endswith("convai: error: it is wrong\n")


def in_process(body: str) -> list[str]:
    """A command line whose process runs `convai fake` with `body` as what the command does."""
    code = (
        "import sys, types\nfrom convai import __main__ as cli\nfake = types.ModuleType('fake')\n"
        f"def run(args):\n    {body}\n    return 0\n"
        "fake.HELP, fake.add_arguments, fake.run = '', lambda parser: None, run\n"
        "sys.modules['fake'] = fake\ncli.COMMANDS = {'fake': 'fake'}\nsys.exit(cli.main(['fake']))"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_no_error(unbuffered: str) -> None:
    """`convai ... | head -1`: no message, neither ours nor Python's at exit."""
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            in_process("print('x' * 100)"),
            cwd=ROOT,
            env=env,
            stdout=write,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("by_argparse", [False, True])
def test_a_full_disk_under_stdout_is_reported_once(by_argparse: bool, unbuffered: str) -> None:
    command = [sys.executable, "-m", "convai", "--version"] if by_argparse else in_process("print('x')")
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"convai: error: No space left on device; free some space [^\n]+\n", done.stderr)


def test_closed_stdout_is_survived() -> None:
    command = ["sh", "-c", '"$@" >&-', "sh", *in_process("print('x')")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_text_that_the_terminal_cannot_show_is_escaped() -> None:
    done = subprocess.run(
        in_process("print('caf\\u00e9 \\U0001f600')"),
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert (done.returncode, done.stdout) == (0, "café \\U0001f600\n".encode("latin-1"))


def test_junk_bytes_on_stdin_are_refused_by_name() -> None:
    body = "from convai.core.dialog import check_text; check_text(sys.stdin.readline(), 'stdin:1')"
    done = subprocess.run(in_process(body), cwd=ROOT, input=b"\xff\xfe\n", capture_output=True)
    assert done.returncode == 2
    assert re.fullmatch(rb"convai: error: stdin:1: not UTF-8 \(byte 0xff\); [^\n]+\n", done.stderr)
