"""CSV with Persona and chat: alternating speakers, quoting, and lines in errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.text.corpora import Reading, check, read, take
from tests.text.corpora.helpers import assert_refused, talk


def saved(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "chat.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_persona_of_the_second_speaker_and_a_turn_a_line(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        ",Persona,chat\n0, i ski. i have a sled! is that odd?,"
        '"hi , you\nhe said ""no""\nwhy ?\n\n"\n\n1,,"a\nb"\n',
    )
    assert read(file) == [
        talk("hi , you", 'he said "no"', "why ?", persona=("i ski.", "i have a sled!", "is that odd?")),
        talk("a", "b"),
    ]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    assert read(saved(tmp_path, 'CHAT,note,persona\n"a\nb",x,i ski.\n')) == [
        talk("a", "b", persona=("i ski.",))
    ]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("Persona,talk\nx,y\n", 1, "no columns that hold dialogues (found 'Persona', 'talk')"),
        ('Persona,chat\ni ski.,"a\nb"\ni cook.,a\n', 4, "a dialogue with one turn"),
        ("Persona,chat\ni ski.,\n", 2, "a dialogue with no turns"),
        ("Persona,chat\ni ski.\n", 2, "1 cells, fewer than the header has"),
        ('Persona,chat\ni ski.,"a\n\nb"\n', 2, "chat line 2: empty text"),
        ('Persona,chat\ni ski.,"a\nb\n', 2, "malformed CSV"),
        ('Persona,chat\ni ski.,"a"b\n', 2, "malformed CSV"),
        (f'Persona,chat\ni ski.,"a\n{"x" * 200_000}"\n', 2, "malformed CSV (field larger than field limit"),
        ('Persona,chat\ni\x02ski.,"a\nb"\n', 2, "persona: control characters"),
        (f'Persona,chat\n{"y" * 110_000},"a\nb"\n', 2, "persona: 110,000 characters"),
    ],
)
def test_a_row_that_does_not_fit_is_named(text: str, line: int, part: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert_refused(file, "csv", f"{file}:{line}:" if line == 1 else f"{file}:{line}", part)


@pytest.mark.parametrize(
    "text",
    [
        'Persona;chat\n"i ski.";"hi\nhello"\n',
        'Persona\tchat\n"i ski."\t"hi\nhello"\n',
        'Persona,chat\n"i ski.","User 1: hi\nUser 2: hello"\n',
        "persona,conversation\ni ski.,\"['hi', 'hello']\"\n",
        "persona,dialog\ni ski.,hi __eou__ hello __eou__\n",
        "persona,question,answer\ni ski.,hi,hello\n",
        'user 1 personas,user 2 personas,Best Generated Conversation\n,i ski.,"User 1: hi\nUser 2: hello"\n',
    ],
)
def test_the_same_dialogue_in_many_tables(text: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert read(file) == [talk("hi", "hello", persona=("i ski.",))]
    (tmp_path / "chat.txt").write_text(text, encoding="utf-8")
    assert read(tmp_path / "chat.txt") == read(file), "whatever it is called"


def test_both_personas_of_synthetic_persona_chat(tmp_path: Path) -> None:
    head = "user 1 personas,user 2 personas,Best Generated Conversation\n"
    text = head + '"i sew.\ni cook.",i ski.,"User 1: a\nUser 2: b"\n'
    assert read(saved(tmp_path, text)) == [talk("a", "b", persona=("i ski.",), partner=("i sew.", "i cook."))]


def test_a_turn_a_row(tmp_path: Path) -> None:
    head = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    rows = [
        'c1,1,sad,my dog_comma_ is ill,7,my dog is "ill"_comma_ i fear,5,',
        "c1,2,sad,my dog_comma_ is ill,3,oh no,5,",
        "c2,1,joyful,x,3,we won,5,",
        "c2,2,joyful,x,7,great,5,",
    ]
    one, two = read(saved(tmp_path, head + "\n".join(rows) + "\n"))
    assert [(t.speaker, t.text) for t in one.turns] == [(0, 'my dog is "ill", i fear'), (1, "oh no")]
    assert (one.id, dict(one.labels)) == ("c1", {"emotion": "sad", "situation": "my dog, is ill"})
    assert [t.text for t in two.turns] == ["we won", "great"]
    table = "dialogue_id;speaker;text;split\n1;Ann;a;dev\n1;Bo;b;dev\n2;Ann;c;train\n2;Bo;d;train\n"
    found = read(saved(tmp_path, table))
    assert [(d.labels["split"], [t.text for t in d.turns]) for d in found] == [
        ("valid", ["a", "b"]),
        ("train", ["c", "d"]),
    ]


@pytest.mark.parametrize(
    ("text", "said", "first"),
    [
        ("prompt,completion\nhello, my friend,hi\nok,fine\n", ["ok"], "2: 3 cells, more than the header has"),
        ('prompt,completion\nhi,yo\na,"b\nc,d\ne,f\n', ["hi", "c", "e"], "3: malformed CSV"),
        ('"prompt","completion"\n"hi","yo"\n"a","b\n"c","d"\n', ["hi", "c"], "3: malformed CSV"),
        ('prompt,completion\n"x" y,z\nhi,yo\n', ["hi"], "2: malformed CSV"),
        (
            "conversation_id,role,text\n1,user,hi\n1,assistant\n1,user,who?\n1,assistant,me\n"
            "2,user,hey\n2,assistant,ok\n",
            ["hey"],
            "3: 2 cells, fewer than the header has",
        ),
    ],
    ids=["more cells", "open quote", "open quote, all quoted", "quote in a word", "a turn of a dialogue"],
)
def test_one_bad_row_is_one_bad_dialogue(text: str, said: list[str], first: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    found, report = take(file, Reading(skip_bad=True)), check(file)
    assert [d.turns[0].text for d in found.dialogs] == said
    assert (found.left_out, report.dialogues, report.problem_count) == (1, len(said), 1)
    assert found.first_problem.startswith(f"{file}:{first}")


def test_columns_without_names_and_words_may_follow(tmp_path: Path) -> None:
    assert read(saved(tmp_path, "prompt,completion,,\nhi,yo,,\na,b,,\n")) == [
        talk("hi", "yo"),
        talk("a", "b"),
    ]


def test_the_candidates_of_empathetic_dialogues_are_distractors(tmp_path: Path) -> None:
    head = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    rows = (
        "hit:0,1,sad,it rained_comma_ so,1,it rained_comma_ so,5|5,,\n"
        'hit:0,2,sad,it rained_comma_ so,0,was it "cold?,5|5,,no_comma_ never|was it "cold?|a_pipe_b\n'
    )
    [found] = read(saved(tmp_path, head + rows))
    assert [(turn.text, turn.distractors) for turn in found.turns] == [
        ("it rained, so", ()),
        ('was it "cold?', ("no, never", "a|b")),
    ]
