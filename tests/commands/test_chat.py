"""`convai chat`: options, personas and seeds, shipped settings, and one line for what is wrong."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convai import __main__ as cli
from convai.conversation.agent import load_agent
from convai.conversation.cast import Note
from convai.conversation.session import Session
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.settings import DecodingConfig
from convai.text.personas import PersonaDeck
from tests.chatting import NURSE, tiny_agent

ROOT = Path(__file__).parent.parent.parent
NURSE_TEXT = "i am a nurse. i have two dogs."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ships with a temperature and a history of its own."""
    folder = tmp_path_factory.mktemp("model")
    tiny_agent(temperature=0.9, max_length=9).save(folder)
    return folder


class Door:
    """Stands in for the terminal: keeps what `convai chat` would talk with."""

    session: Session
    deck: PersonaDeck
    greeting: int

    def __call__(
        self,
        session: Session,
        deck: PersonaDeck,
        source: object,
        out: object,
        mood: object = None,
        links: object = None,
        memory: object = None,
        yous: object = None,
        *,
        greeting: int = 1,
    ) -> None:
        self.session, self.deck, self.greeting = session, deck, greeting


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    door = Door()
    monkeypatch.setattr("convai.interact.interact", door)
    return door


def run(model: Path, *options: str) -> int:
    return cli.main(["chat", "--model", str(model), *options])


def error(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("convai: error: ")


# -- what is set up --------------------------------------------------------------------------------


def test_a_model_brings_its_settings_and_options_are_laid_over_them(model: Path, door: Door) -> None:
    assert run(model) == 0
    shipped = load_agent(model).decoding
    assert (door.session.decoding, door.session.max_history) == (shipped, 4)
    assert shipped.temperature == 0.9
    run(model, "--top-p", "0.5", "--seed", "3", "--candidates", "2", "--max-history", "1")
    assert door.session.decoding == replace(shipped, top_p=0.5, seed=3, candidates=2)
    assert (door.session.max_history, door.session.seed) == (1, 3)
    run(model, "--max-history", "none", "--temperature", str(DecodingConfig().temperature))
    assert door.session.max_history is None
    assert door.session.decoding.temperature == DecodingConfig().temperature


def test_a_persona_is_given_as_text_or_file(model: Path, door: Door, tmp_path: Path) -> None:
    run(model, "--persona", NURSE_TEXT)
    assert door.session.persona == NURSE
    run(model, "--persona", "")
    assert door.session.persona == Persona()
    (tmp_path / "who.txt").write_text("i am a nurse.\ni have two dogs.\n")
    run(model, "--persona", str(tmp_path / "who.txt"))
    assert door.session.persona == NURSE
    assert door.deck.draw() != NURSE, "a shuffle draws from the samples"


def test_a_model_tuned_as_one_person_talks_as_that_one(model: Path, door: Door, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned"
    shutil.copytree(model, tuned)
    own = ["i am griotte.", "i bake bread."]
    (tuned / "run.json").write_text(json.dumps({"personas": [own]}), encoding="utf-8")
    for seed in range(3):
        assert run(tuned, "--seed", str(seed)) == 0
        assert door.session.persona == Persona(tuple(own))
    run(tuned, "--persona", NURSE_TEXT)
    assert door.session.persona == NURSE, "unless somebody says otherwise"
    (tuned / "run.json").write_text(json.dumps({"personas": [own, ["i row."]]}), encoding="utf-8")
    run(tuned, "--persona-seed", "1")
    assert door.session.persona != Persona(tuple(own))


def test_one_of_several_personas_in_a_file_is_drawn(model: Path, door: Door, tmp_path: Path) -> None:
    (tmp_path / "who.txt").write_text("i bake.\n\ni ski.\n")
    seen = set()
    for seed in range(12):
        run(model, "--persona", str(tmp_path / "who.txt"), "--persona-seed", str(seed))
        seen.add(door.session.persona)
    assert seen == {Persona(("i bake.",)), Persona(("i ski.",))}


def test_the_seed_of_the_replies_does_not_fix_the_persona(model: Path, door: Door) -> None:
    seen = set()
    for _ in range(8):
        run(model, "--seed", "1")
        seen.add(door.session.persona)
    assert len(seen) > 1
    seen = set()
    for seed in range(4):
        run(model, "--persona-seed", "7", "--seed", str(seed))
        seen.add(door.session.persona)
    assert len(seen) == 1


def test_a_conversation_is_loaded_and_options_come_before_its_settings(
    model: Path, door: Door, tmp_path: Path
) -> None:
    run(model, "--persona", NURSE_TEXT, "--seed", "3", "--top-k", "5", "--max-history", "2")
    door.session.answer("hi")
    saved = door.session
    saved.save(tmp_path / "chat.jsonl")
    run(model, "--load", str(tmp_path / "chat.jsonl"))
    assert door.session.dialog == saved.dialog
    assert (door.session.decoding, door.session.max_history) == (saved.decoding, 2)
    assert door.session.answer("why?") == saved.answer("why?")
    run(model, "--load", str(tmp_path / "chat.jsonl"), "--top-k", "9", "--persona", "i ski.")
    assert door.session.decoding == replace(saved.decoding, top_k=9)
    assert door.session.persona == Persona(("i ski.",))
    assert len(door.session.turns) == 2


def test_a_group_that_is_loaded_is_not_replaced(
    model: Path, door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("Ann", "Bob"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"name": name, "description": "bakes."}))
    ann, bob = (str(tmp_path / f"{name}.json") for name in ("Ann", "Bob"))
    run(model, "--character", ann, "--character", bob, "--seed", "3")
    file = tmp_path / "group.jsonl"
    door.session.save(file)
    run(model, "--load", str(file))
    assert [one.name for one in door.session.group.members] == ["Ann", "Bob"]
    for more in (["--character", ann], ["--character", ann, "--character", bob], ["--persona", "i ski."]):
        assert run(model, "--load", str(file), *more) == 2
        assert "it is a group (Ann and Bob), which these would replace" in error(capsys)


def test_bf16_computes_in_bf16(model: Path, door: Door) -> None:
    run(model, "--seed", "1", "--persona", NURSE_TEXT)
    plain = [event.logprob for event in door.session.say("hi")]
    run(model, "--seed", "1", "--persona", NURSE_TEXT, "--precision", "float32")
    assert [event.logprob for event in door.session.say("hi")] == plain
    run(model, "--seed", "1", "--persona", NURSE_TEXT, "--precision", "bf16")
    rough = [event.logprob for event in door.session.say("hi")]
    assert rough[0] != plain[0]
    assert rough[0] == pytest.approx(plain[0], abs=0.5)


def test_small_models_take_one_thread_unless_told_otherwise(
    model: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    run(model)
    assert asked == [], "OMP_NUM_THREADS is set"
    run(model, "--threads", "3")
    monkeypatch.delenv("OMP_NUM_THREADS")
    run(model)
    assert asked == [3, 1]
    monkeypatch.setattr("convai.commands.chat._SMALL", 10)
    run(model)
    assert asked == [3, 1]


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--persona", "nowhere/who.txt"], "--persona: there is no file nowhere/who.txt; check the path"),
        (["--persona", "i am \x07. so."], "--persona, persona: control characters"),
        (["--persona", "x" * 1000], "persona sentence 1 is too much: the model has 400 positions"),
        (["--load", "nowhere.jsonl"], "nowhere.jsonl: no such file; check the name"),
        (["--top-p", "2"], "--top-p=2.0: use a number above 0, up to 1 (off)"),
        (["--top-p", "hot"], "argument --top-p: 'hot' is not a number; see 'convai chat --help'"),
        (["--max-history", "-1"], "argument --max-history: '-1' is not a number of exchanges"),
        (["--threads", "0"], "argument --threads: '0' is not a number of threads, 1 or more"),
        (["--precision", "int4"], "argument --precision: invalid choice"),
        (["--max-len", "3"], "unrecognized arguments: --max-len 3"),
    ],
)
def test_wrong_options_are_one_line(
    model: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert run(model, *options) == 2
    assert error(capsys).startswith(message)


def test_wrong_models_are_one_line(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nowhere") == 2
    assert error(capsys).startswith(f"{tmp_path}/nowhere: no such model folder")
    assert run(tmp_path) == 2
    assert str(tmp_path) in error(capsys)
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert run(broken) == 2
    assert error(capsys).startswith(f"{weights}: damaged or cut short")


def test_a_resolved_history_needs_its_model(
    tmp_path: Path, model: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("spacy")
    assert run(model, "--resolved", "--coref-model", str(tmp_path)) == 2
    assert "no coreference model here" in capsys.readouterr().err
    assert run(model, "--resolved") == 0
    turns = [Turn(USER, "My sister has a dog."), Turn(AGENT, "Does she love it?")]
    assert door.session.history is not None
    assert [turn.text for turn in door.session.history(turns)] == [
        "My sister has a dog.",
        "Does your sister love the dog?",
    ]


@pytest.mark.parametrize("name", ["stdin", "stdout"])
def test_closed_streams(model: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hi\n"))
    monkeypatch.setattr(sys, name, None)
    assert run(model) == (2 if name == "stdin" else 0)
    err = capsys.readouterr().err
    assert err == (
        "convai: error: standard input is closed; give a terminal, a pipe or a file\n" * (name == "stdin")
    )


def test_a_model_of_one_person_talks_as_that_one(tmp_path: Path, door: Door) -> None:
    tiny_agent().save(tmp_path)
    run_json = tmp_path / "run.json"
    run_json.write_text(json.dumps({"personas": [list(NURSE.sentences)]}), encoding="utf-8")
    assert run(tmp_path) == 0
    assert door.session.persona.sentences == NURSE.sentences
    assert run(tmp_path, "--persona", "i row.") == 0
    assert door.session.persona == Persona(("i row.",))


# -- the whole, in a process of its own ------------------------------------------------------------


def chat(model: Path, text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "convai", "chat", "--model", str(model), *options]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, timeout=120)


def test_piped_lines_are_answered_line_by_line(model: Path) -> None:
    options = ["--persona", NURSE_TEXT, "--seed", "1"]
    done = chat(model, b"hi\nwhat do you do for a living?\n", *options)
    assert (done.returncode, done.stderr) == (0, b"")
    agent = load_agent(model)
    session = Session(agent, agent.engine(), NURSE, decoding=replace(agent.decoding, seed=1))
    expected = [session.answer("hi"), session.answer("what do you do for a living?")]
    assert done.stdout.decode().splitlines() == expected


def test_a_bad_piped_line_ends_it_with_one_line(model: Path) -> None:
    done = chat(model, b"hi\n\xff\xfe\nbye\n", "--seed", "1")
    assert done.returncode == 2
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.startswith(b"convai: error: stdin:2: not UTF-8 (byte 0xff);")
    assert done.stderr.count(b"\n") == 1


def test_a_chat_loads_no_more_than_it_needs(model: Path, tmp_path: Path) -> None:
    """Neither transformers nor what training and plots need: it answers within seconds of its start."""
    code = (
        "import json, sys; from convai.__main__ import main; main(sys.argv[1:]); "
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "chat", "--model", str(model), "--seed", "1"],
        cwd=ROOT,
        input="hi\n",
        text=True,
        capture_output=True,
        timeout=120,
    )
    assert done.stdout.count("\n") == 1
    unwanted = {
        "transformers",
        "ignite",
        "matplotlib",
        "tensorboard",
        "convai.training.loop",
        "convai.training.dialogues",
    }
    assert unwanted & set(json.loads(done.stderr)) == set()


def test_a_card_is_all_that_it_says(
    tmp_path: Path, model: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    card, book = tmp_path / "ann.json", tmp_path / "world.json"
    card.write_text(
        '{"name": "Ann", "description": "Ann bakes.", "first_mes": "Hi, {{user}}.", "scenario": "shop"}'
    )
    book.write_text('{"entries": {"0": {"key": ["rye"], "content": "Rye is dear.", "sticky": 3}}}')
    options = [
        "--user",
        "Bob: i am a smith.",
        "--note",
        "It rains.",
        "--note-depth",
        "2",
        "--lore",
        str(book),
    ]
    assert run(model, "--persona", str(card), *options, "--greeting", "0") == 0
    session = door.session
    assert session.character is not None
    assert (session.character.scenario, session.greetings) == ("shop", ("Hi, Bob.",))
    assert (session.conversation.partner, session.conversation.note) == (
        Persona(("i am a smith.",), "Bob"),
        Note("It rains.", 2),
    )
    assert [entry.content for entry in session.conversation.books[0].entries] == ["Rye is dear."]
    assert door.greeting == 0
    assert f"{book}: not used: entries.sticky" in capsys.readouterr().err


def test_a_book_is_no_card(
    tmp_path: Path, model: Path, door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "world.json"
    book.write_text('{"entries": {"0": {"key": ["rye"], "content": "Rye is dear."}}}')
    assert run(model, "--persona", str(book)) == 2
    assert "a lorebook and no card" in capsys.readouterr().err
