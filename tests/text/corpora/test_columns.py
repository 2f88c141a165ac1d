"""Tables and JSON with names of their own: read where somebody says what is what, else refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora import Reading, check, take
from convai.text.corpora.columns import parse_columns
from tests.text.corpora.helpers import assert_refused, talk

ROWS = "Gespräch;Sprecher;Nachricht\n1;Anna;hallo\n1;Bert;wie geht es?\n2;Bert;na?\n2;Anna;gut\n"


def saved(folder: Path, text: str, name: str = "a.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "name", "given", "read"),
    [
        (
            ROWS,
            "a.csv",
            ["Gespräch=conversation", "sprecher=speaker", " Nachricht = TEXT "],
            [talk("hallo", "wie geht es?", id="1"), talk("na?", "gut", id="2")],
        ),
        ("質問\t回答\n元気?\tはい\n", "a.tsv", ["質問=prompt", "回答=completion"], [talk("元気?", "はい")]),
        ("text,was\nx y,hallo\n", "a.csv", ["was=text", "text=completion"], None),
        (
            "frage,prompt,antwort\nna?,1,gut\n",
            "a.csv",
            ["frage=prompt", "antwort=completion"],
            [talk("na?", "gut")],
        ),
        ("wer\tprofil\nhi\nho\tich.\n", "a.tsv", ["wer=chat", "profil=persona"], None),
        (
            '[{"frage": "na?", "antwort": "gut"}]',
            "a.json",
            ["frage=prompt", "antwort=completion"],
            [talk("na?", "gut")],
        ),
        (
            '{"gespräch": [{"wer": "Anna", "was": "na?"}, {"wer": "Bert", "was": "gut"}]}\n' * 2,
            "a.jsonl",
            ["gespräch=conversation", "wer=speaker", "was=text"],
            [talk("na?", "gut")] * 2,
        ),
    ],
)
def test_what_is_said_of_columns_is_done(
    text: str, name: str, given: list[str], read: list[object] | None, tmp_path: Path
) -> None:
    file, columns = saved(tmp_path, text, name), parse_columns(given)
    report = check(file, columns=columns)
    if read is None:
        assert not report.ok
        with pytest.raises(DataError):
            take(file, Reading(columns=columns))
        return
    assert take(file, Reading(columns=columns)).dialogs == read
    assert (report.ok, report.dialogues) == (True, len(read))
    assert not check(file).ok, "nothing of it is kept for the next file"


def test_unknown_columns_are_named_with_the_option(tmp_path: Path) -> None:
    file = saved(tmp_path, ROWS)
    assert_refused(file, None, ":1:", "'Gespräch', 'Sprecher', 'Nachricht'", "--column", "conversation")
    assert_refused(saved(tmp_path, '[{"frage": "na?"}]', "a.json"), None, "'frage'", "--column Frage=prompt")


def test_a_column_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path, "prompt,completion,art\nhi,hello,x\n")
    with pytest.raises(DataError, match=r":1: no column 'profil', which --column names \(found 'prompt'"):
        take(file, Reading(columns={"profil": "persona"}))


@pytest.mark.parametrize("given", ["Frage", "=prompt", "Frage=question", "Frage="])
def test_what_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(DataError, match="write NAME=WHAT, WHAT being one of prompt, completion"):
        parse_columns([given])
    with pytest.raises(DataError, match="a second column that is prompt"):
        parse_columns(["a=prompt", "b=prompt"])
