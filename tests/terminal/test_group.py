"""A group in the terminal: who speaks is named, members come and go, several answer; a pipe has one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from convai.__main__ import main
from convai.conversation.session import Session
from convai.interact import answer_lines
from convai.terminal import slash
from tests.chatting import ScriptedEngine
from tests.conversation.test_characters import chatml
from tests.conversation.test_group import ANN, BOB, CID
from tests.terminal.test_slash import Desk


def desk(*script: Any, order: str = "chosen") -> Desk:
    made = Desk(*script)
    made.session.agent = chatml()
    made.session.members().gather([ANN, BOB, CID], order)
    return made


def card(folder: Path, name: str, **more: Any) -> str:
    path = folder / f"{name}.json"
    data = {"name": name, "description": f"{name} is a smith.", **more}
    path.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    return str(path)


def test_who_speaks_is_named_and_several_answer() -> None:
    type_in = desk("hello", "yo", "again", "brr")
    assert type_in("Bob, Ann?") == "Bob Smith> hello\nAnn> yo\n"
    assert type_in("/regenerate") == "Ann> again\n"
    assert type_in("/speak cid") == "Cid> brr\n"
    assert type_in("well?") == "(nobody answers; /speak NAME lets one speak)\n"
    assert [turn.text for turn in type_in.session.turns][-1] == "well?"


def test_members_come_leave_and_are_muted(tmp_path: Path) -> None:
    type_in = Desk("a", "b", "c")
    type_in.session.set_character(ANN)
    assert type_in("/group").startswith("(no group; /group add CARD")
    shown = type_in(f"/group add {card(tmp_path, 'Dee', extensions={'talkativeness': 0.8})}")
    assert "(Dee is there, too)" in shown
    assert "  Dee                  talkative 0.8" in shown
    assert "Ann                  talkative 0.5, muted" in type_in("/group mute ann")
    assert type_in("hi Ann") == "Dee> a\n"
    assert "(Ann speaks again)" in type_in("/group unmute Ann")
    assert "the next one" in type_in("/group order turn")
    assert "everybody's card" in type_in("/group cards join")
    assert "(Dee has left)" in type_in("/group remove dee")
    assert [one.name for one in type_in.session.group.here] == ["Ann"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/group order loud", "there is no order 'loud'; use talk, turn, chosen"),
        ("/group remove Eve", "there is no 'Eve' in the group; there are Ann, Bob Smith, Cid"),
        ("/group dance Ann", "there is no /group dance"),
        ("/group mute", "/group mute: say /group add CARD"),
        ("/speak Eve", "there is no 'Eve'"),
        ("/regenerate zebra", "the last reply does not say 'zebra'"),
    ],
)
def test_what_cannot_be_done_is_said(line: str, message: str) -> None:
    shown = desk()(line)
    assert shown.startswith("! ")
    assert message in " ".join(shown.split())


def test_without_a_group_there_is_nobody_to_mute() -> None:
    assert "there is no group" in Desk()("/group mute Ann")
    assert "there is no group" in Desk()("/speak")


def test_words_and_cards_are_completed(tmp_path: Path) -> None:
    assert slash.complete("/group m", "m") == ["mute "]
    path = card(tmp_path, "Dee")
    assert slash.complete(f"/group add {path[:-3]}", path[:-3]) == [path]


def test_a_pipe_has_a_line_for_what_all_say() -> None:
    out, engine = io.StringIO(), ScriptedEngine("hello", "yo")
    session = Session(chatml(), engine)  # type: ignore[arg-type]
    session.members().gather([ANN, BOB], "chosen")
    answer_lines(session, io.StringIO("Bob, Ann?\nwell\n"), out)
    assert out.getvalue() == "Bob Smith: hello\tAnn: yo\n\n"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("Dee", "Dee"), "there is a Dee in the group already"),
        (("Dee", "nowhere.json"), "there is no file"),
        (("Dee", "--persona"), "use one of them"),
    ],
)
def test_wrong_characters_are_told_at_once(
    tmp_path: Path, names: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [card(tmp_path, name) if name.isalpha() else name for name in names]
    options = [word for one in given if one != "--persona" for word in ("--character", one)]
    if "--persona" in given:
        options += ["--persona", "i ski."]
    assert main(["chat", "--model", "nowhere", *options]) == 2
    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1


def test_a_reply_begins_as_the_last_one_did() -> None:
    type_in = Desk("i like red wine", "old cheese")
    type_in("hi")
    shown = type_in("/regenerate red")
    assert type_in.engine.requests[-1].prompt.ids != type_in.engine.requests[0].prompt.ids
    assert shown == "bot> i like" + "a" * 4 + "\n", "the engine of the script says a's"
    assert type_in.session.turns[-1].text == "i like" + "a" * 4
    type_in.session.undo()


def test_lines_for_the_user_begin_with_the_hint() -> None:
    type_in = Desk("hello", [("am here", 0.5), ("think so", 0.9)])
    type_in("hi")
    assert type_in("/suggest I") == "  Ia\n"
