"""Text is read as talk only where it looks like talk; what looks like something else is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.text.corpora import detect, read
from tests.text.corpora.helpers import assert_refused

PROSE = """It was a bright cold day in the harbour town, and the clocks on the old
church were striking noon while the fishermen carried their nets over the
stones. Nobody had seen the boat since the storm, and those who waited for
it had long since stopped looking out to sea, although none of them would
have said so to the widow who kept the lamp.
"""


@pytest.mark.parametrize(
    ("text", "name", "part"),
    [
        (
            PROSE,
            "x.txt",
            "running text with its lines broken; running text goes to `convai train",
        ),
        ("word " * 90 + "\n" + "word " * 70 + "\n", "x.txt", "running text, a paragraph a line"),
        ("categories:\n- a\nconversations:\n- - hi\n  - hello\n", "x.yml", "ChatterBot's YAML"),
        (
            "From: Ann\nSent: 2026-01-01 10:00\n\nhi\n\nFrom: Bo\nSent: 2026-01-01 10:01\n\nhello\n",
            "x.txt",
            "letters with heads (mail)",
        ),
        ("3 4 2 2 2\n3 2 3 4\n", "x.txt", "numbers or signs more than words"),
        ("hi\thello\nbye\tcu\n", "x.txt", "a table without known columns"),
        ('{"intents": [{"tag": "a", "patterns": ["hi"]}]}', "x.json", "intents of a classifier"),
        ('{"name": "Bo", "definition": "hi"}', "x.json", "a character of character.ai's"),
        ("name: Ann\ngreeting: Hello!\ncontext: Ann bakes.\n", "x.txt", "a character in YAML"),
        ("{'messages': [{'role': 'user'}]}\n", "x.txt", "Python's dictionaries, which are no JSON"),
        ("port: 1\nhost: a\nuser: b\nlevel: c\npath: d\n", "x.txt", "fields with values (port, host, user)"),
        ("1\tAlice\tAlice\tPROPN\n2\tsings\tsing\tVERB\n", "x.txt", "a column file of parsed"),
        ("#begin document (a); part 000\na 0 0 x\n", "x.conll", "a column file of parsed"),
        ("<html><body>\n<p>hi</p>\n", "x.txt", "HTML or XML"),
        ("1\n00:00:01,000 --> 00:00:02,000\nhi\n", "x.txt", "subtitles"),
        ("[10:01] <ann> hi\n[10:02] <ann> anybody?\n", "x.txt", "a log of a chat room"),
        (
            "L2 +++$+++ u0 +++$+++ m0 +++$+++ AN +++$+++ No\nL1 +++$+++ u2 +++$+++ m0 +++$+++ BO +++$+++ I\n",
            "x.txt",
            "lines of the Cornell Movie-Dialogs Corpus, which are in no order",
        ),
        (
            "# a\n1 your persona: i bake.\n2 hi\thello\n",
            "x.txt",
            "ParlAI's text, but not numbered as that is",
        ),
        ("your persona: i bake.\nhi\thello\n", "x.txt", "write '1 your persona: i bake.', '2 hi<tab>hello'"),
        (3 * "2026-01-01 10:00:00 INFO started\n", "x.txt", "a log"),
        ("i love it\t17\tx\nso sad\t3\ty\noh\t1\tz\n", "x.tsv.txt", "a table without known columns"),
        ("a,b,c\nd,e,f\ng,h,i\n", "x.txt", "a table (cells between ',')"),
        ("import os\ndef f(x):\n    return x\nclass A:\n", "x.txt", "a program"),
        ("1 2 3 4\n5 6 7 8\n9 1 2 3\n", "x.txt", "numbers or signs more than words"),
        ("apple\n" * 25, "x.txt", "a list of words"),
    ],
)
def test_what_is_no_talk_is_named(text: str, name: str, part: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert_refused(file, None, "looks like", part)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"PAR1\x15\x04", "a Parquet table; save it as JSON lines"),
        (b"%PDF-1.7", "a PDF"),
        (b"PK\x03\x04\x14", "a zip archive"),
        (b"SQLite format 3\0", "an SQLite database"),
        (b"\x80\x04\x95", "a pickle, which is never loaded"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, part: str, tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(data)
    assert_refused(file, None, "looks like", part)


@pytest.mark.parametrize(
    "text",
    [
        "hi\nhello\nhow are you?\nfine , and you ?\n",
        "ann: hi\nbo: hello\nann: what do you do?\nbo: i bake.\n",
        "hi\nhello\n\nyes\nno\n",
        "10 green bottles\n9 green bottles\n",
        "do you like apples, pears, and plums?\nyes, no, and sometimes.\nwhy, though, really?\n",
        "*waves* hello there!\n:) hi!\nwhat a day...\n(smiles)\n",
    ],
)
def test_talk_is_talk(text: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(text, encoding="utf-8")
    assert detect(file) == "text"


def test_a_named_format_reads_it_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(PROSE, encoding="utf-8")
    assert len(read(file, "text")[0].turns) == 5
