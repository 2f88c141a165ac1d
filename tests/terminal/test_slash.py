"""The commands of a chat: what each does, and one line for what it cannot do."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.conversation import reply_seed
from convai.conversation.memory.facts import OpenShelf
from convai.conversation.memory.listening import MemoryLearner
from convai.conversation.memory.memory import Memory
from convai.conversation.session import Session
from convai.core.dialog import Persona
from convai.core.errors import ConvaiError
from convai.core.settings import DecodingConfig
from convai.store import Store
from convai.store.yous import StoredYous
from convai.terminal import decoding, slash, why
from convai.terminal.chat import Chat
from convai.terminal.screen import TIE, Screen
from convai.text.personas import PersonaDeck
from tests.chatting import NURSE, ScriptedEngine, scripted, tiny_agent

BAKER, SMITH = Persona(("i bake.",)), Persona(("i am a smith.", "i sing."))


class NoKeyboard:
    typed = ""

    def read(self, prompt: str) -> str:
        raise EOFError


class Desk:
    """A chat, and what was written on its screen since the last look."""

    def __init__(self, *script: Any, width: int = 80, **decoding: Any) -> None:
        self.out = io.StringIO()
        self.session, self.engine = scripted(*script, **decoding)
        deck = PersonaDeck([BAKER], seed=0)
        self.chat = Chat(self.session, deck, Screen(self.out, width=width), NoKeyboard(), slash.execute)

    def __call__(self, line: str) -> str:
        self.chat.handle(line)
        shown = self.out.getvalue()
        self.out.seek(0)
        self.out.truncate()
        return shown


def test_help_names_every_command_and_fits() -> None:
    lines = Desk()("/help").splitlines()
    assert max(map(len, lines)) <= 80
    for name in slash.COMMANDS:
        assert any(re.match(rf"  /{name}\b", line) for line in lines), name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/regen", "! there is no command /regen; did you mean /regenerate?\n"),
        ("/sav x", "! there is no command /sav; did you mean /save?\n"),
        ("/QIUT", "! there is no command /QIUT; did you mean /quit?\n"),
        ("/xyzzy", "! there is no command /xyzzy; /help lists the commands\n"),
        ("/", "! there is no command /; /help lists the commands\n"),
        ("/undo all", "! /undo takes nothing behind it\n"),
        ("/why", "! no reply to explain: the last one must have been drawn in this session\n"),
        ("/undo", "! there is nothing to take back\n"),
        ("/regenerate", "! there is no reply to draw again; say something first\n"),
        ("/save", "! name a file: /save chat.jsonl\n"),
        ("/load", "! name a file: /load chat.jsonl\n"),
        ("/load /nowhere/x", "! /nowhere/x: no such file; check the name\n"),
        ("/save /nowhere/x", "! /nowhere/x: there is no folder /nowhere; create it first\n"),
        ("/settings heat 3", "! there is no setting 'heat'; there are max_length"),
        ("/settings top_q 3", "! there is no setting 'top_q'; did you mean top_p?\n"),
        ("/settings top_p 3", "! top_p=3.0: use a number above 0, up to 1 (off)\n"),
        ("/settings top_p hot", "! top_p='hot': use a number\n"),
        ("/settings max_history -1", "! max_history='-1': use a number of exchanges, 0 or more, or none\n"),
        ("/persona who", "! there is no file who; say /persona set i am a nurse. i have two dogs.\n"),
        ("/persona shuffle it", "! there is no file shuffle it; say /persona set"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(line: str, message: str) -> None:
    desk = Desk()
    before = (desk.session.dialog, desk.session.decoding, desk.session.max_history)
    assert desk(line).startswith(message)
    assert (desk.session.dialog, desk.session.decoding, desk.session.max_history) == before
    assert not desk.chat.over


def test_capitals_and_blanks_do_not_matter() -> None:
    desk = Desk("yes")
    desk("hi")
    assert desk("  /UNDO  ") == "(taken back: hi)\n"
    desk("/ quit")
    assert desk.chat.over


def test_persona_is_shown_set_shuffled_and_read(tmp_path: Path) -> None:
    desk = Desk("yes", "yes")
    assert desk("/persona") == (
        "You are talking with somebody who says:\n  i am a nurse.\n  i have two dogs.\n"
    )
    desk("hi")
    shown = desk("/persona set I ski. I row!")
    assert desk.session.persona == Persona(("I ski.", "I row!"))
    assert shown.endswith("  I ski.\n  I row!\n(a new persona: the conversation starts over)\n")
    assert desk.session.turns == ()
    desk("/persona shuffle")
    assert desk.session.persona == BAKER
    (tmp_path / "who am i.txt").write_text("i am a smith.\ni sing.\n")
    desk(f"/persona {tmp_path}/who am i.txt")
    assert desk.session.persona == SMITH
    assert desk("/persona set") == (
        "You are talking with somebody who has no persona.\n(a new persona: the conversation starts over)\n"
    )


def test_a_persona_file_of_several_is_shuffled_too(tmp_path: Path) -> None:
    desk = Desk()
    (tmp_path / "who").write_text("i bake.\n\ni am a smith.\ni sing.\n")
    desk(f"/persona {tmp_path}/who")
    seen = {desk.session.persona}
    desk("/persona shuffle")
    assert seen | {desk.session.persona} == {BAKER, SMITH}


def test_a_persona_that_does_not_fit_leaves_everything_as_it_is() -> None:
    desk = Desk("yes", n_positions=100)
    desk("hi")
    assert desk(f"/persona set {'x' * 90}.").startswith("! persona sentence 1 is too much")
    assert (desk.session.persona, len(desk.session.turns)) == (NURSE, 2)


def test_reset_regenerate_undo() -> None:
    desk = Desk("one", "two", "three")
    assert desk("hi") == "bot> one\n"
    assert desk("/regenerate") == "bot> two\n"
    assert desk("/undo") == "(taken back: hi)\n"
    desk("hi again")
    assert desk("/reset") == "(the conversation starts over)\n"
    assert (desk.session.turns, desk.session.persona) == ((), NURSE)


def test_save_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    desk = Desk("one", "two", "three")
    for message in ("a", "b", "c"):
        desk(message)
    shown = desk("/save ~/my chat.jsonl")
    assert " ".join(shown.split()) == f"(6 turns saved in {tmp_path}/my chat.jsonl)"
    other = Desk()
    shown = other(f"/load {tmp_path}/my chat.jsonl")
    assert shown.splitlines()[-5:] == ["(2 earlier turns)", "you> b", "bot> two", "you> c", "bot> three"]
    assert other.session.dialog == desk.session.dialog


def test_settings_are_listed_and_fit() -> None:
    desk = Desk(temperature=0.7)
    desk("/settings top-k 5")
    lines = desk("/settings").splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line.split()[1 if line[0] == "*" else 0]: line for line in lines if re.match(r"[* ] \w", line)}
    assert rows.keys() == set(decoding.SETTINGS)
    assert [name for name, line in rows.items() if line.startswith("*")] == ["top_k"]
    assert re.match(r"\* top_k +5 +Keep the k most probable", rows["top_k"])


@pytest.mark.parametrize("line", ["/settings top_p 0.5", "/settings top-p=0.5", "/settings  top_p   0.5 "])
def test_a_setting_is_changed(line: str) -> None:
    desk = Desk("yes")
    assert desk(line) == "(top_p 0.5, it was 0.9; from the next reply on)\n"
    assert desk("/settings top_p").startswith("top_p  0.5 Nucleus:")
    desk("hi")
    assert desk.engine.requests[0].config.top_p == 0.5


def test_max_history_and_seed_are_settings_too() -> None:
    desk = Desk("yes")
    assert desk("/settings max_history none").startswith("(max_history none, it was 4;")
    assert desk.session.max_history is None
    desk("/settings max_history 0")
    assert desk.session.max_history == 0
    desk("/settings seed 8")
    desk("hi")
    assert desk.engine.requests[0].config.seed == reply_seed(8, 1)
    desk("/settings seed none")
    assert desk.session.decoding.seed is None


def test_why_shows_input_candidates_scores_and_settings() -> None:
    desk = Desk([("bad", -1.0), ("good", 2.0)], candidates=2, seed=3)
    desk("hi")
    lines = desk("/why").splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "persona     0  <speaker2>  <bos>\n            1  <speaker2>  i| |a|m| |a| |n|u|r|s|e|." in text
    assert "history    30  <speaker1>  <speaker1>|h|i\n" in text
    assert "reply      33  <speaker2>  <speaker2>|a|<eos>\n" in text
    assert f"  a{TIE}{math.exp(-1):.0%} | <eos>{TIE}{math.exp(-1):.0%}\n" in text
    assert "*    2.000    -2.00  good\n    -1.000    -2.00  bad\n" in text
    assert re.search(rf"candidates{TIE}2,\s+seed{TIE}{reply_seed(3, 1)}", text)


def test_why_of_a_stopped_reply_and_a_long_history() -> None:
    desk = Desk("a", "b", ["good ", "m", KeyboardInterrupt()])
    desk.session.max_history = 1
    for message in ("x", "y", "z"):
        desk(message)
    text = desk("/why")
    assert "(this reply was stopped: it has no score)" in text
    assert "(2 older turns are not shown to the model any more; see max_history)" in text


def test_why_of_beam_search_has_no_single_probabilities() -> None:
    agent = tiny_agent(num_beams=2, max_length=4)
    out = io.StringIO()
    session = Session(agent, agent.engine(), NURSE)
    chat = Chat(session, PersonaDeck([BAKER]), Screen(out, width=80), NoKeyboard(), slash.execute)
    chat.handle("hi")
    chat.handle("/why")
    assert "Candidates:" in out.getvalue()
    assert "probable" not in out.getvalue()


def test_why_spells_control_characters_out() -> None:
    desk = Desk("yes")
    desk("caf\u00e9")
    text = desk("/why")
    assert "c|a|f|\ufffd|\ufffd" in text
    row = why._token
    explained = desk.session.explain().rows[0]
    from dataclasses import replace

    assert row(replace(explained, text="a\x1b\n")) == "a\\x1b\\x0a"
    assert row(replace(explained, text="")) == "\ufffd"


@pytest.mark.parametrize(
    ("logprob", "shown"), [(-1.0, "37%"), (-6.0, "0.2%"), (-9.0, "<0.1%"), (0.0, "100%")]
)
def test_percent(logprob: float, shown: str) -> None:
    assert why._percent(logprob) == shown


def test_who_one_was_is_kept_for_other_chats(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        desk, other = Desk(), Desk()
        desk.chat.yous = other.chat.yous = StoredYous(store.scenes, "local")
        assert "Bob" in desk("/user Bob: i am a smith.")
        desk("/user i am nobody you know.")
        assert "/user Bob" in other("/user")
        assert "i am a smith." in other("/user bob")
        assert other.session.conversation.partner == Persona(("i am a smith.",), "Bob")
        other("/user BOB: i row.")
        assert [one.sentences for one in StoredYous(store.scenes, "local").all()] == [
            ("i row.",),
            ("i am nobody you know.",),
        ]
        assert StoredYous(store.scenes, "somebody else").all() == []
        assert "not kept any more" in desk("/user drop Bob")
        assert "nobody is kept as Bob" in desk("/user drop Bob")
        assert desk.session.conversation.partner.sentences == ("i am nobody you know.",)
        desk("/user off")
        assert "nobody in particular" in desk("/user")


def test_quit() -> None:
    desk = Desk()
    assert desk("/quit") == ""
    assert desk.chat.over


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/", [f"/{name} " for name in slash.COMMANDS]),
        ("/re", ["/reset ", "/regenerate "]),
        ("/x", []),
        ("hello /re", []),
        ("", []),
        ("/settings top", ["top_n_sigma ", "top_k ", "top_p "]),
        ("/settings max_h", ["max_history "]),
        ("/settings top_p 0", []),
        ("/persona s", ["shuffle ", "set "]),
        ("/persona set s", []),
        ("/undo ", []),
    ],
)
def test_completion(line: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert slash.complete(line, re.split(r"\s", line)[-1]) == found


def test_files_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chats").mkdir()
    (tmp_path / "chat.jsonl").touch()
    (tmp_path / "odd[1]").touch()
    word = f"{tmp_path}/cha"
    both = [f"{tmp_path}/chat.jsonl", f"{tmp_path}/chats/"]
    for command in ("/save", "/load", "/persona"):
        assert slash.complete(f"{command} {word}", word) == both
    assert slash.complete(f"/load {tmp_path}/odd[", f"{tmp_path}/odd[") == [f"{tmp_path}/odd[1]"]
    assert slash.complete(f"/undo {word}", word) == []


def test_every_decoding_setting_can_be_named() -> None:
    desk = Desk()
    for name, value in {"max_length": 9, "min_p": 0.1, "candidates": 3}.items():
        desk(f"/settings {name} {value}")
        assert getattr(desk.session.decoding, name) == value
    assert isinstance(desk.session.decoding, DecodingConfig)


def test_commands_raise_and_never_print_by_themselves() -> None:
    desk = Desk()
    with pytest.raises(ConvaiError):
        slash.execute(desk.chat, "/nothing")
    assert desk.out.getvalue() == ""
    assert isinstance(desk.engine, ScriptedEngine)


class Remembered(Desk):
    """A desk whose chat has a memory."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        memory = Memory(OpenShelf(), embed=None)
        self.chat.memory = MemoryLearner(memory, "local", lambda: self.session.turns)
        self.session.on_turn = self.chat.memory


def test_memory_is_said_shown_corrected_and_forgotten() -> None:
    desk = Remembered("nice", "oh", "fine")
    assert "nothing yet" in desk("/memory")
    assert "remembered: i live in lima." in desk("i live in lima.") + desk("/memory")
    desk("no, i moved to oslo.")
    assert desk("/memory") == "    1  i moved to oslo.\n"
    assert desk("/memory history") == "x   1  i live in lima.\n    2  i moved to oslo.\n"
    assert "holds again: i live in lima." in desk("/memory back 1")
    assert "remembered" in desk("/memory add my shoe size is 47.")
    assert "that is known" in desk("/memory add my shoe size is 47.")
    assert "it was: i live in lima." in desk("/memory edit 1 i live in Lima, Peru.")
    assert desk("/memory") == "    1  i live in Lima, Peru.\n    2  my shoe size is 47.\n"
    assert "forgotten: my shoe size is 47." in desk("/memory forget 2")
    assert "neither remembered nor recalled" in desk("/memory off")
    desk("i have a dog.")
    assert "the memory is off" in desk("/memory")
    assert "remembered from now on" in desk("/memory on")
    assert "forgotten: 2 facts" in desk("/memory forget all")
    desk("/reset")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/memory forget 9", "there is no fact number '9'"),
        ("/memory forget it", "there is no fact number 'it'"),
        ("/memory edit 1", "say /memory, or /memory history"),
        ("/memory fly", "say /memory, or /memory history"),
        (f"/memory add {'x' * 400}", "400 characters; a fact has at most 300"),
    ],
)
def test_what_memory_cannot_do_is_said_in_a_line(line: str, message: str) -> None:
    shown = Remembered("nice")(line)
    assert message in shown.replace("\n", " ").replace("  ", " ")


def test_a_chat_without_memory_says_so() -> None:
    assert "--memory on" in Desk()("/memory")
