"""Plain text: prefixes or alternation, persona lines, blocks; documents and personas by the same lines."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora import PlainDocument, iter_documents, read, read_personas
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str, name: str = "chat.txt") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        "hi\nhello\nhow are you?\n",
        "user: hi\nagent: hello\nuser: how are you?\n",
        "Human: hi\nAssistant: hello\nHuman: how are you?\n",
        "Dr. Ann O'Neil: hi\nbo: hello\ndr. ann o'neil: how are you?",
        "\n\n  hi \n\thello\nhow are\tyou?\n   \n\n",
        "speaker1 : hi\nspeaker2 : hello\nspeaker1 : how are you?\n",
        "you> hi\nbot> hello\nyou> how are you?\n",
        "[User]: hi\n[Bot]: hello\n[User]: how are you?\n",
        "(ann) hi\n(bo) hello\n(ann) how are you?\n",
        "ann - hi\nbo - hello\nann - how are you?\n",
        "User:\nhi\n\nAssistant:\nhello\n\nUser:\nhow are\n\nyou?\n",
        "**User**\nhi\n**Assistant**\nhello\n\n**User**\nhow are you?\n",
        "### Human\n\nhi\n\n### AI\n\nhello\n\n### Human\nhow are you?\n",
        "- hi\n- hello\n- how are you?\n",
        "— hi\n— hello\n— how are you?\n",
        "1. hi\n2. hello\n3. how are you?\n",
        "**Human:** hi\n\n**Claude:** hello\n\n**Human:** how are you?\n",
        "cy: hi\nassistant: hello\ncy: how are you?\n",
        "#Person1#: hi\n#Person2#: hello\n#Person1#: how are you?\n",
        "> hi\nhello\n> how are you?\n",
        "1) ann: hi\n2) bo: hello\n3) ann: how are you?\n",
    ],
)
def test_the_same_dialogue_in_many_ways(text: str, tmp_path: Path) -> None:
    assert read(saved(tmp_path, text), "text") == [talk("hi", "hello", "how are you?")]


@pytest.mark.parametrize(
    "rule",
    ["---", "=====", "* * *", "<|endoftext|>", "# Dialog 2", "== Conversation 17 ==", "[chat #3]", "</s>"],
)
def test_a_rule_stands_between_dialogues(rule: str, tmp_path: Path) -> None:
    assert read(saved(tmp_path, f"ann: a\nbo: b\n{rule}\nbo: c\nann: d\n{rule}\n")) == [
        talk("a", "b"),
        talk("c", "d"),
    ]


def test_under_heads_only_a_rule_divides(tmp_path: Path) -> None:
    file = saved(tmp_path, "User:\na\n\nBot:\nb\n---\nUser:\nc\nd\n\nBot:\ne\n", "chat.md")
    assert read(file) == [talk("a", "b"), talk("c d", "e")]
    assert_refused(saved(tmp_path, "User:\na\nBot:\n\nUser:\nc\n"), None, ":3:", "empty text")


def test_what_looks_like_a_mark_and_is_none_is_said(tmp_path: Path) -> None:
    text = "1. hi\nand 2.\n- yes\n3 > 2\n-- oh\nsession two is over\n2024. what a year\n"
    (found,) = read(saved(tmp_path, text))
    assert [turn.text for turn in found.turns] == text.split("\n")[:-1]
    text = "well - yes\nno - never\n(laughs) ok\n(sighs) oh\n"
    (found,) = read(saved(tmp_path, text))
    assert [turn.text for turn in found.turns] == text.split("\n")[:-1]
    (found,) = read(saved(tmp_path, "(laughs) ok\n(sighs) oh\n"))
    assert [turn.text for turn in found.turns] == ["(laughs) ok", "(sighs) oh"]
    (found,) = read(saved(tmp_path, "> one\n> two\n"))
    assert [turn.text for turn in found.turns] == ["> one", "> two"]
    (found,) = read(saved(tmp_path, "2. second\n3. third\n"))
    assert [turn.text for turn in found.turns] == ["2. second", "3. third"]


def test_a_turn_without_its_name_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path, "a tale of two\nann: hi\nbo: hello\nann: tea?\nbo: yes\n")
    assert_refused(file, "text", f"{file}:1:", "nobody's name before this turn, though 'ann' and 'bo' speak")


def test_prefixes_allow_two_turns_in_a_row_and_an_agent_first(tmp_path: Path) -> None:
    file = saved(tmp_path, "bot: hi\nbot: you?\nuser: hello\n\nuser: a\nuser: b\nagent: c\n")
    first, second = read(file)
    assert [t.speaker for t in first.turns] == [1, 1, 0]
    assert second == talk("a", "+b", "c")


def test_the_second_name_is_the_agent_and_the_third_a_partner(tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, "ann: a\nbo: b\ncy: c\nbo: d\nann: e\n"))
    assert [t.speaker for t in found.turns] == [0, 1, 0, 1, 0]


def test_a_colon_alone_does_not_make_a_name(tmp_path: Path) -> None:
    file = saved(tmp_path, "listen: it rains\nsee https://example.org\n12: 30 is fine\nok\n")
    assert read(file) == [talk("listen: it rains", "see https://example.org", "12: 30 is fine", "ok")]


def test_persona_lines(tmp_path: Path) -> None:
    text = "persona: i ski.\nYour persona: i cook.\npartner's persona: i sew.\nhi\nhello\n"
    assert read(saved(tmp_path, text)) == [
        talk("hi", "hello", persona=("i ski.", "i cook."), partner=("i sew.",))
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("a\nb\n\nalone\n", 4, "a dialogue with one turn"),
        ("persona: i ski.\n", 1, "a dialogue with no turns"),
        ("persona:\na\nb\n", 1, "persona: empty text"),
        ("user: a\nagent:\n", 2, "empty text"),
        ("user: a\nb\nuser: c\n", 2, "no 'user:' or 'agent:' before this turn"),
        ("user: a\nann: b\nbo: c\n", 2, "no 'user:' or 'agent:' before this turn"),
        ("a\nb\x07\n", 2, "control characters"),
        (f"a\n{'x' * 10_000_000}\n", 2, "10,000,000 characters in one utterance"),
    ],
)
def test_a_line_that_does_not_fit_is_named(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert_refused(file, "text", f"{file}:{line}", part)


def test_documents(tmp_path: Path) -> None:
    text = "a first  line\nanother\n\n\nsecond document\n"
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(text.encode()))
    saved(tmp_path, "third\n", "c.txt")
    saved(tmp_path, "not text", "a.csv")
    one, two, three = (
        PlainDocument(("a first line", "another")),
        PlainDocument(("second document",)),
        PlainDocument(("third",)),
    )
    assert list(iter_documents(tmp_path / "b.txt.xz")) == [one, two]
    assert list(iter_documents(tmp_path)) == [one, two, three]


def test_documents_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.txt files"):
        list(iter_documents(tmp_path))
    with pytest.raises(DataError, match=r"nowhere\.txt: no such file"):
        list(iter_documents(tmp_path / "nowhere.txt"))
    with pytest.raises(DataError, match=r"blank\.txt:1: no text"):
        list(iter_documents(saved(tmp_path, "\n \n", "blank.txt")))
    with pytest.raises(DataError, match=r"bad\.txt:3: control characters"):
        list(iter_documents(saved(tmp_path, "a\n\nb\x01\n", "bad.txt")))


def test_personas(tmp_path: Path) -> None:
    file = saved(tmp_path, "i ski.\ni cook. and i sew.\n\n\ni sleep.\n", "personas.txt")
    assert [p.sentences for p in read_personas(file)] == [("i ski.", "i cook. and i sew."), ("i sleep.",)]
    with pytest.raises(DataError, match=r"empty\.txt:1: no persona"):
        read_personas(saved(tmp_path, "\n", "empty.txt"))
    with pytest.raises(DataError, match=r"bad\.txt:2: control characters"):
        read_personas(saved(tmp_path, "i ski.\nx\x1b[0m\n", "bad.txt"))


@pytest.mark.parametrize(
    "text",
    [
        "Q1. hi\nA1. hello\nQ2. who?\nA2. me\n",
        "Q1: hi\nA1: hello\nQ2: who?\nA2: me\n",
        "Turn 1 (User): hi\nTurn 2 (Bot): hello\nTurn 3 (User): who?\nTurn 4 (Bot): me\n",
        "\U0001f431 Ann: hi\n\U0001f436 Bo: hello\n\U0001f431 Ann: who?\n\U0001f436 Bo: me\n",
        "\u2764\ufe0f User: hi\n\U0001f916 Bot: hello\n\u2764\ufe0f User: who?\n\U0001f916 Bot: me\n",
        ">>> hi\n<<< hello\n>>> who?\n<<< me\n",
        "> hi\n< hello\n> who?\n< me\n",
        "Human: hi\n\nAssistant: hello\n\nHuman: who?\n\nAssistant: me\n",
        "hi <sep> hello <sep> who? <sep> me\n",
        "hi[SEP]hello[SEP]who?[SEP]me[SEP]\n",
        "hi<|endoftext|>hello<|endoftext|>who?<|endoftext|>me<|endoftext|>\n",
        "hi </s> hello </s> who? </s> me </s>\n",
    ],
)
def test_marks_of_who_speaks_are_no_words(text: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(text, encoding="utf-8")
    assert read(file) == [talk("hi", "hello", "who?", "me")]


def test_a_reply_of_several_paragraphs(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text("Human: hi\n\nAssistant: hello.\n\nI bake.\nI ski.\n\nHuman: bye\n\nAssistant: bye\n")
    assert read(file) == [talk("hi", "hello. I bake. I ski.", "bye", "bye")]


def test_two_dialogues_stay_two(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text("User: hi\nBot: hello\n\nUser: bye\nBot: see you\n")
    assert read(file) == [talk("hi", "hello"), talk("bye", "see you")]
