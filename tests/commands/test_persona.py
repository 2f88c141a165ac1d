"""`convai persona`: cards in, cards out, cards shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convai.__main__ import main
from convai.text.cards import load_card

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "ann.json"
    data = {
        "name": "Ann",
        "description": "{{char}} is a nurse. She has two dogs.",
        "personality": "kind",
        "first_mes": "*She nods.*\n\nhello {{user}}",
        "creator_notes": "a \x1b[31mnote\nfor you",
        "extensions": {"x": 1, "talkativeness": 0},
    }
    path.write_text(json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data}))
    return path


def test_import_prints_a_persona_and_notes_go_to_stderr(card: Path, capsys: Capture) -> None:
    assert main(["persona", "import", str(card), "--sentences", "2", "--user", "Bo"]) == 0
    out, err = capsys.readouterr()
    assert out == "my name is Ann.\ni am a nurse.\n"
    assert err.splitlines() == [
        "convai: note: 2 of 4 sentences were left out; they do not fit",
        "convai: note: not in the persona, but in a chat with the card itself: creator_notes, "
        "extensions.talkativeness, first_mes",
        "convai: note: not used: extensions.x",
    ]


def test_import_writes_a_file_that_is_a_persona(card: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "ann.txt"
    assert main(["persona", "import", str(card), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 4 sentences\n"
    assert main(["persona", "export", str(out), str(tmp_path / "b.png"), "--name", "Ann"]) == 0
    assert load_card(tmp_path / "b.png").text("description") == "i am a nurse.\ni have two dogs.\nkind."


def test_export_keeps_what_the_base_has(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.json"
    text = "my name is Ann. i sail."
    assert main(["persona", "export", text, str(out), "--base", str(card), "--spec", "2"]) == 0
    data = json.loads(out.read_text())["data"]
    assert (data["description"], data["personality"], data["extensions"]) == (
        "i sail.",
        "",
        {"x": 1, "talkativeness": 0},
    )
    assert (data["name"], data["creator_notes"]) == ("Ann", "a \x1b[31mnote\nfor you")


def test_show_tells_what_is_used_and_steers_no_terminal(card: Path, capsys: Capture) -> None:
    assert main(["persona", "show", str(card), "--chars", "35"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "name       Ann",
        "version    2",
        "notes      a [31mnote for you",
        "greeting   *She nods.*",
        "",
        "           hello",
        "persona",
        "  my name is Ann.",
        "  i am a nurse.",
        "left out",
        "  i have two dogs.",
        "  kind.",
        "greetings  1",
        "used       creator_notes, description, extensions.talkativeness, first_mes, name, personality",
        "not used   extensions.x",
        "the file's spec, spec_version",
        "note       2 of 4 sentences were left out; they do not fit",
    ]
    assert main(["persona", "show", str(card), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(card.read_text())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["import", "none.png"], "none.png: cannot be opened"),
        (["export", "i bake.", "card.gif"], "card.gif: a card is a .png or a .json file"),
        (["export", "none.txt", "card.png"], "there is no file none.txt"),
        (["import", "ann.json", "--sentences", "0"], "'0' is not a number of 1 to 100,000"),
        (["show", "empty.json"], "no character card"),
        (["import", "hollow.json"], "says nothing of who somebody is"),
    ],
)
def test_what_is_wrong_is_one_line(
    card: Path,
    args: list[str],
    says: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(card.parent)
    Path("empty.json").write_text("{}")
    Path("hollow.json").write_text('{"first_mes": "hi"}')
    assert main(["persona", *args]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
