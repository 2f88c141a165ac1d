"""`convai evaluate` from end to end, on a tiny model in a folder."""

from __future__ import annotations

import io
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from convai.__main__ import main
from convai.conversation.agent import Agent
from convai.core.dialog import AGENT, USER, Dialog, Turn
from convai.core.settings import DecodingConfig
from convai.evaluation.report import json_line, report
from convai.text import corpora
from convai.text.tokenizer import Tokenizer
from tests.text.corpora.helpers import talk
from tests.tiny import tiny_model

DIALOGS = [
    talk("hi", "hello", "any pets?", "two owls", persona=["i keep owls."]),
    talk("tea?", "yes please", "milk?", "no", "sugar?", "never", persona=["i like tea."]),
    talk("where to?", "to the sea", "+and back", "why?", "for the waves"),
]
SHIPPED = DecodingConfig(max_length=4, temperature=0.9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evaluate")
    model = tiny_model(vocab_size=261, n_positions=400)
    Agent(model, Tokenizer.byte_level(), SHIPPED, max_history=3).save(path / "tiny")
    corpora.write(path / "talk.jsonl", DIALOGS)
    return path


@pytest.fixture
def evaluate(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the command in the folder; returns the lines of stdout. Nothing may be on stderr."""
    monkeypatch.chdir(folder)

    def run(line: str, *, code: int = 0) -> list[str]:
        assert main(["evaluate", *line.split()]) == code
        out, err = capsys.readouterr()
        if code:
            assert out == ""
            assert err.startswith("convai: error: ")
            return err.splitlines()
        assert err == ""
        return out.splitlines()

    return run


ALL = "--model tiny --data talk.jsonl --candidates 3"


def test_a_table_then_one_line_of_json(evaluate: Any) -> None:
    lines = evaluate(ALL)
    record = json.loads(lines[-1])
    scores = ["hits@1", "ppl", "word_ppl", "bits_per_byte", "f1", "distinct_1", "distinct_2"]
    counts = {
        "dialogs": 3,
        "replies": 8,
        "words": 15,
        "tokens": 69,
        "bytes": 61,
        "candidates": 3,
        "left_out": 0,
    }
    assert all(math.isfinite(record[name]) for name in scores)
    assert {name: record[name] for name in counts} == counts
    assert (record["model"], record["data"], record["max_history"], record["seed"]) == (
        "tiny",
        "talk.jsonl",
        2,
        0,
    )
    assert record["decoding"]["temperature"] == SHIPPED.temperature
    assert lines[0] == "talk.jsonl: 3 dialogues, 8 replies, 15 words; history 2"
    heading, row = (line for line in lines[1:4] if line)
    assert heading.split() == "hits@1 ppl word ppl bits/byte F1 distinct-1 distinct-2 said again".split()
    assert row.startswith("tiny ")
    assert f"{record['ppl']:,.2f}" in row
    assert f"{record['f1']:.4f}" in row


def test_json_alone_and_the_same_every_time(evaluate: Any) -> None:
    (alone,) = evaluate(f"{ALL} --json")
    assert evaluate(ALL)[-1] == evaluate(f"{ALL} --json --threads 1")[0] == alone


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ("hits", {"hits@1", "chance"}),
        ("ppl", {"ppl", "word_ppl", "bits_per_byte"}),
        ("f1", {"f1"}),
        ("distinct,ppl", {"distinct_1", "distinct_2", "ppl", "word_ppl", "bits_per_byte"}),
    ],
)
def test_only_what_was_asked_for_is_reported(evaluate: Any, metrics: str, names: set[str]) -> None:
    full = json.loads(evaluate(f"{ALL} --json")[0])
    record = json.loads(evaluate(f"{ALL} --json --metrics {metrics}")[0])
    scores = {"hits@1", "chance", "ppl", "word_ppl", "bits_per_byte", "f1", "distinct_1", "distinct_2"}
    assert record.keys() & scores == names
    for name in names:
        assert record[name] == pytest.approx(full[name], rel=1e-5)


def test_candidates_of_the_file_come_first_and_are_drawn_otherwise(evaluate: Any, folder: Path) -> None:
    own = [
        replace(
            d, turns=tuple(replace(t, distractors=("oh", "ah", "eh")) if t.speaker else t for t in d.turns)
        )
        for d in DIALOGS[:1]
    ]
    corpora.write(folder / "own.jsonl", own)
    line = "--model tiny --data own.jsonl --metrics hits --json"
    assert json.loads(evaluate(line)[0])["candidates"] == 4
    assert json.loads(evaluate(f"{line} --candidates 2")[0])["chance"] == 0.5
    drawn = json.loads(evaluate("--model tiny --data talk.jsonl --metrics hits --json")[0])
    assert (drawn["candidates"], drawn["ranked"]) == (7, 8), "those that differ"
    assert drawn["chance"] > 1 / 20
    shown = "\n".join(evaluate("--model tiny --data talk.jsonl --metrics hits"))
    assert "no more than that differ, of 20 asked for" in shown


def test_the_history_and_the_number_of_dialogues(evaluate: Any) -> None:
    line = f"{ALL} --metrics ppl --json --max-history"
    ppl = [json.loads(evaluate(f"{line} {history}")[0])["ppl"] for history in (0, 1, 2, "none")]
    assert len(set(ppl[:3])) == 3
    assert ppl[3] == ppl[2]
    record = json.loads(evaluate(f"{ALL} --metrics ppl --json --dialogs 1")[0])
    assert (record["dialogs"], record["replies"]) == (1, 2)


def test_the_model_can_read_a_resolved_history(evaluate: Any, folder: Path) -> None:
    pytest.importorskip("spacy")
    dialog = talk("my sister is a nurse.", "does she like it?", "she loves it.", "good for her")
    corpora.write(folder / "who.jsonl", [dialog])
    line = "--model tiny --data who.jsonl --metrics ppl --json"
    plain, resolved = (json.loads(evaluate(f"{line}{option}")[0]) for option in ("", " --resolved"))
    assert (plain["resolved"], resolved["resolved"]) == (False, True)
    assert plain["ppl"] != resolved["ppl"]
    assert plain["tokens"] == resolved["tokens"]


def test_decoding_options_are_laid_over_what_the_model_ships_with(evaluate: Any) -> None:
    """`--candidates` is the number to rank and `--samples` the number to draw: two different things."""
    line = f"{ALL} --metrics f1 --seed 5 --json"
    shipped = json.loads(evaluate(line)[0])["decoding"]
    assert (shipped["candidates"], shipped["max_length"]) == (1, 4)
    given = json.loads(evaluate(f"{line} --samples 2 --top-p 0.5")[0])["decoding"]
    assert given == {**shipped, "candidates": 2, "top_p": 0.5}


def test_precision_is_an_option(evaluate: Any) -> None:
    line = f"{ALL} --metrics ppl,f1 --json --precision"
    exact, rough = (json.loads(evaluate(f"{line} {name}")[0]) for name in ("float32", "bf16"))
    assert rough["ppl"] != exact["ppl"]
    assert rough["ppl"] == pytest.approx(exact["ppl"], rel=0.1)
    assert json.loads(evaluate(f"{line} auto")[0])["ppl"] in (exact["ppl"], rough["ppl"])


def test_baselines_stand_in_the_table_and_in_the_json(evaluate: Any) -> None:
    lines = evaluate(f"{ALL} --metrics ppl --baselines --train talk.jsonl")
    beside = json.loads(lines[-1])["baselines"]
    assert beside.keys() == {
        *("tfidf_hits@1", "tfidf_persona_hits@1", "tfidf_history_hits@1"),
        *("1-gram_word_ppl", "3-gram_word_ppl", "5-gram_word_ppl", "constant_f1"),
    }
    table = "\n".join(lines[:-1])
    for title in ("tiny", "TF-IDF, persona alone", "3-gram", "the same words always"):
        assert f"\n{title} " in table
    assert f"{beside['3-gram_word_ppl']:,.2f}" in table
    assert "hits@1" not in json.loads(lines[-1])


def test_baselines_alone_need_no_model(evaluate: Any) -> None:
    record = json.loads(evaluate("--data talk.jsonl --metrics none --baselines --model nowhere --json")[0])
    assert record["model"] is None
    assert record["baselines"].keys() == {
        *("tfidf_hits@1", "tfidf_persona_hits@1", "tfidf_history_hits@1", "constant_f1")
    }


def test_baselines_learn_from_the_train_part_without_bad_dialogues(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ("train", "valid", "test")
    divided = [replace(d, labels={"split": part}) for d, part in zip(DIALOGS, parts, strict=True)]
    corpora.write(folder / "divided.jsonl", divided)
    corpora.write(folder / "first.jsonl", DIALOGS[:1])
    corpora.write(folder / "second.jsonl", DIALOGS[1:2])
    with (folder / "divided.jsonl").open("a", encoding="utf-8") as more:
        more.write("nonsense\n")

    def measured(data: str, train: str, *more: str) -> dict[str, Any]:
        how = "--metrics none --baselines --json".split()
        paths = ["--data", str(folder / data), "--train", str(folder / train)]
        assert main(["evaluate", *how, *paths, *more]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    both = measured("divided.jsonl", "divided.jsonl", "--skip-bad")
    apart = measured("second.jsonl", "first.jsonl")
    assert both["baselines"] == apart["baselines"]
    assert (both["split"], both["dialogs"]) == ("valid", 1)
    args = ["evaluate", "--metrics", "none", "--baselines", "--data", str(folder / "second.jsonl")]
    assert main([*args, "--train", str(folder / "divided.jsonl")]) == 2
    assert "divided.jsonl:4: malformed JSON" in capsys.readouterr().err


def test_baselines_of_a_single_dialogue_rank_nothing(evaluate: Any, folder: Path) -> None:
    corpora.write(folder / "one.jsonl", DIALOGS[:1])
    record = json.loads(evaluate("--data one.jsonl --metrics none --baselines --json")[0])
    assert record["baselines"].keys() == {"constant_f1"}


# -- self-chat -------------------------------------------------------------------------------------


def test_self_chat_writes_what_it_shows(evaluate: Any, folder: Path) -> None:
    lines = evaluate("--model tiny --self-chat 2 --turns 3 --out said.jsonl")
    record = json.loads(lines[-1])
    assert (record["conversations"], record["replies"], record["max_history"]) == (2, 6, 3)
    dialogs = corpora.read(folder / "said.jsonl")
    assert [len(dialog.turns) for dialog in dialogs] == [6, 6]
    sample = corpora.read_personas(Path(__file__).parent.parent.parent / "data" / "personas.txt")
    for dialog in dialogs:
        assert set(dialog.personas) <= set(sample)
        for turn in dialog.turns:
            assert f"  {'agent:' if turn.speaker == AGENT else 'user: '} {turn.text}" in lines
    assert json.loads(evaluate("--model tiny --self-chat 2 --turns 3 --json")[0]) == record


def test_self_chat_takes_other_personas_and_another_history(evaluate: Any, folder: Path) -> None:
    (folder / "who.txt").write_text("i am a diver.\n")
    lines = evaluate("--model tiny --self-chat 1 --turns 1 --personas who.txt --max-history 0")
    assert "  (agent: i am a diver.)" in lines
    assert json.loads(lines[-1])["max_history"] == 0


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--model tiny", "--data FILE is missing"),
        ("--model tiny --self-chat 1 --personas talk.jsonl", "no cards and no groups"),
        ("--model tiny --data nowhere.jsonl", "nowhere.jsonl"),
        ("--model nowhere --data talk.jsonl", "nowhere: no such model folder"),
        ("--model tiny --data empty.jsonl", "empty.jsonl: the file is empty"),
        ("--model tiny --data user.jsonl", "user.jsonl: no reply of the agent"),
        ("--model tiny --data one.jsonl", "one.jsonl: only one dialogue has replies"),
        (f"{ALL} --metrics bleu", "--metrics='bleu': use some of hits, ppl"),
        (f"{ALL} --metrics none", "--metrics=none: nothing is left to do"),
        ("--data talk.jsonl --candidates 1", "--candidates=1: use 2"),
        ("--data talk.jsonl --top-p 2 --model tiny", "--top-p=2.0"),
        (f"{ALL} --threads 0", "--threads=0"),
        (f"{ALL} --precision fp8", "--precision: 'fp8' is not one of"),
        (f"{ALL} --train talk.jsonl", "--train goes with --baselines"),
        (f"{ALL} --turns 3", "--turns goes with --self-chat"),
        (f"{ALL} --self-chat 2", "--self-chat needs no dialogues"),
        ("--self-chat 1 --metrics f1", "--self-chat needs no dialogues"),
        ("--self-chat 0", "--self-chat=0"),
        ("--model tiny --self-chat 1 --out no/where.jsonl", "there is no folder no"),
        ("--model tiny --self-chat 1 --personas empty.jsonl", "empty.jsonl:1: no persona"),
    ],
)
def test_bad_input_is_one_clear_line(evaluate: Any, folder: Path, line: str, says: str) -> None:
    (folder / "empty.jsonl").write_text("\n")
    corpora.write(folder / "one.jsonl", DIALOGS[:1])
    corpora.write(folder / "user.jsonl", [Dialog((Turn(USER, "hi"), Turn(USER, "anybody?")))])
    (error,) = evaluate(line, code=2)
    assert says in error


def test_a_broken_model_is_named(evaluate: Any, folder: Path) -> None:
    model = tiny_model(vocab_size=261)
    with torch.no_grad():
        model.transformer.wte.weight[0] = math.nan
    Agent(model, Tokenizer.byte_level()).save(folder / "broken")
    (error,) = evaluate("--model broken --data talk.jsonl --metrics ppl", code=2)
    assert "broken: the model's scores are no finite numbers" in error


# -- what is shown ---------------------------------------------------------------------------------


def test_a_progress_bar_is_for_people_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.chdir(folder)
    for screen, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", screen)
        assert main(["evaluate", *ALL.split(), "--json"]) == 0
        assert ("ranking" in screen.getvalue(), "replies" in screen.getvalue()) == (shown, shown)


def test_json_knows_no_infinity() -> None:
    assert (
        json_line({"ppl": math.inf, "deep": {"x": math.nan}, "n": 1})
        == '{"ppl": null, "deep": {"x": null}, "n": 1}'
    )


def test_what_was_left_out_is_said() -> None:
    counts = {"dialogs": 1, "replies": 2, "words": 3, "left_out": 1_000}
    text = report(Path("x"), "m", {"f1": 0.5}, counts, {}, None)
    assert "history all that fits" in text
    assert text.splitlines()[-1] == "left out: 1,000 replies that do not fit the model's positions"


def test_probes(evaluate: Any, folder: Path) -> None:
    probe = {
        "persona": ["i am a smith."],
        "probes": [{"kind": "job", "ask": "what are you?", "must": ["smith"]}],
    }
    (folder / "probes.jsonl").write_text(json.dumps(probe) + "\n", encoding="utf-8")
    lines = evaluate("--model tiny --probes probes.jsonl --draws 2 --answers said.jsonl")
    record = json.loads(lines[-1])
    assert record["job"] == record["all"]
    assert record["all"]["answers"] == 2
    assert record["max_history"] == 3
    assert lines[-2].split()[0] == "all"
    assert len((folder / "said.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert evaluate("--model tiny --probes probes.jsonl --draws 2 --json") == [lines[-1]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--probes nowhere.jsonl", "nowhere.jsonl"),
        ("--draws 2 --data talk.jsonl", "--draws goes with --probes"),
        ("--probes talk.jsonl --data talk.jsonl", "leave out --data"),
        ("--probes talk.jsonl --self-chat 2", "leave one of them out"),
        ("--probes talk.jsonl", "talk.jsonl:1: unknown key"),
        ("--probes talk.jsonl --answers nowhere/said.jsonl", "there is no folder nowhere"),
    ],
)
def test_probes_that_cannot_be_asked(evaluate: Any, line: str, message: str) -> None:
    assert message in evaluate(f"--model tiny {line}", code=2)[0]


def test_the_check_of_self_chats_is_measured(evaluate: Any, folder: Path) -> None:
    said = {"persona": ["i have two dogs."], "ask": "any pets?", "reply": "no, none."}
    pairs = [said | {"contradicts": True}, said | {"reply": "i have no pets.", "contradicts": True}]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs), encoding="utf-8")
    lines = evaluate("--contradictions pairs.jsonl")
    assert lines[0] == "missed: i have two dogs. | any pets? | no, none."
    assert json.loads(lines[-1])["all"]["recall"] == 0.5
    assert set(json.loads(evaluate("--contradictions --json")[0])) == {
        "tune",
        "test",
        "later",
        "last",
        "data",
    }
