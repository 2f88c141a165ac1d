"""Readers: every known format from a few made-up lines, tables of one's own, errors by file and line."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.emotion.labelled import TRAIN, VALID, LabelSet, Texts
from convai.emotion.readers import read_labelled
from convai.emotion.tables import read_table, with_validation


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode()
    path.write_bytes(lzma.compress(data) if path.suffix == ".xz" else data)
    return path


def rows(data: LabelSet, split: str = TRAIN) -> list[tuple[str, list[str]]]:
    texts = data.splits[split]
    return [
        (text, [data.labels[i] for i in target])
        for text, target in zip(texts.texts, texts.targets, strict=True)
    ]


def problem(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    return str(caught.value)


def test_tweeteval(tmp_path: Path) -> None:
    folder = tmp_path / "tweeteval_emotion"
    write(folder / "train_text.txt.xz", "so mad\nyay\u2028you\n\n")
    write(folder / "train_labels.txt", "0\n1\n1\n")
    write(folder / "val_text.txt", "hm\n")
    write(folder / "val_labels.txt", "3\n")
    data = read_labelled(folder)
    assert (data.name, data.role, data.multi) == ("tweet_emotion", "emotions", False)
    assert rows(data) == [("so mad", ["anger"]), ("yay\u2028you", ["joy"]), ("", ["joy"])]
    assert rows(data, VALID) == [("hm", ["sadness"])]
    write(folder / "mapping.txt", "0\t\u2764\ufe0f\t_red_heart_\n1\tx\n")
    assert "val_labels.txt:1: '3' is no label number; use 0 to 1" in problem(folder)
    write(folder / "train_labels.txt", "0\n")
    assert "3 texts, but 1 labels" in problem(folder)


def test_goemotions(tmp_path: Path) -> None:
    write(tmp_path / "go" / "train.tsv.xz", "nice\t0,17\ta1\nok\t27\ta2\n")
    write(tmp_path / "go" / "dev.tsv", "x\t1\tb\n")
    data = read_labelled(tmp_path / "go")
    assert (data.name, data.multi, len(data.labels)) == ("goemotions", True, 28)
    assert rows(data) == [("nice", ["admiration", "joy"]), ("ok", ["neutral"])]
    write(tmp_path / "go" / "dev.tsv", "x\t28\tb\n")
    assert "dev.tsv:1: '28' is no label number" in problem(tmp_path / "go")
    write(tmp_path / "go" / "dev.tsv", "x\n")
    assert "dev.tsv:1: expected text, tab" in problem(tmp_path / "go")


def test_carer_isear_and_meld(tmp_path: Path) -> None:
    write(tmp_path / "carer" / "train.txt", "text;label_name\ni feel; fine;joy\n")
    assert rows(read_labelled(tmp_path / "carer")) == [("i feel; fine", ["joy"])]
    write(tmp_path / "carer" / "val.txt", "text;label_name\nx;glee\n")
    assert "val.txt:2: 'glee' is none of" in problem(tmp_path / "carer")

    table = write(tmp_path / "isear.csv", "ID|Field1|SIT|STATE|\n1|shame|I \u00e1 lied | twice.|1|\n")
    assert rows(read_labelled(table)) == [("I lied | twice.", ["shame"])]
    write(table, "ID|Field1|SIT|STATE|\n1|pride|x|1|\n")
    assert "isear.csv:2: 'pride' is none of" in problem(table)

    head = "Sr No.,Utterance,Speaker,Emotion\n"
    write(tmp_path / "meld" / "train_sent_emo.csv", head + '1,"Oh, no!",A,sadness\n')
    assert rows(read_labelled(tmp_path / "meld")) == [("Oh, no!", ["sadness"])]
    write(tmp_path / "meld" / "train_sent_emo.csv", head + "1,x,A,glum\n")
    assert "train_sent_emo.csv:2: expected columns" in problem(tmp_path / "meld")


def test_emoji_are_taken_out_of_the_texts_they_label(tmp_path: Path) -> None:
    table = write(
        tmp_path / "reddit_emoji.tsv",
        "haha \U0001f602\U0001f602 you\t0\n\u2665\ufe0f\t24\na \u2764\ufe0f\t8,0\n",
    )
    data = read_labelled(table)
    assert (data.name, data.role, data.multi) == ("deepmoji", "emoji", True)
    assert rows(data) == [("haha you", ["\U0001f602"]), ("a", ["\U0001f602", "\u2764"])]


def test_torchmojis_sets(tmp_path: Path) -> None:
    file = write(
        tmp_path / "SCv1.jsonl",
        '{"text": "a", "label": 1, "split": "val"}\n{"text": "b", "label": 0, "split": "train"}\n',
    )
    data = read_labelled(file)
    assert rows(data, VALID) == [("a", ["sarcastic"])]
    file = write(tmp_path / "Olympic.jsonl", '{"text": "a", "labels": [0, 1, 1], "split": "train"}\n')
    data = read_labelled(file)
    assert (data.multi, data.labels) == (True, ("0", "1", "2"))
    assert rows(data) == [("a", ["1", "2"])]
    for bad in ("{", "[]", '{"text": "a", "split": "train"}'):
        assert "Olympic.jsonl:1: expected an object" in problem(write(file, bad))


def test_what_is_none_of_them(tmp_path: Path) -> None:
    assert "no such file" in problem(tmp_path / "nowhere")
    assert "not a data set that is known" in problem(tmp_path)
    assert "not a data set that is known" in problem(write(tmp_path / "x.txt", "hello\n"))
    (tmp_path / "y.jsonl").write_bytes(b"\xe9\n")
    assert "y.jsonl:1: not UTF-8" in problem(tmp_path / "y.jsonl")
    (tmp_path / "z.tsv.xz").write_bytes(b"nothing")
    assert "z.tsv.xz: named .xz but not compressed so" in problem(tmp_path / "z.tsv.xz")


# -- tables ----------------------------------------------------------------------------------------


def test_tables_of_ones_own(tmp_path: Path) -> None:
    path = write(
        tmp_path / "my.csv",
        '\ufefftext,label,split\n"so, happy",good,train\nsad,bad,val\n"two\nlines",good,\n',
    )
    data = read_table(path)
    assert data.labels == ("bad", "good")
    assert rows(data) == [("so, happy", ["good"]), ("two\nlines", ["good"])]
    assert rows(data, VALID) == [("sad", ["bad"])]
    assert read_table(path, labels=["good", "bad", "ugly"]).labels == ("good", "bad", "ugly")
    path = write(tmp_path / "my.tsv", "said\tas\na\tx|y\nb\t\n")
    data = read_table(path, text_column="said", label_column="as", separator="|")
    assert data.multi
    assert rows(data) == [("a", ["x", "y"]), ("b", [])]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,mood\na,b\n", r"my.csv:1: there is no column 'label' \(there are: text, mood\)"),
        ("", r"my.csv:1: there is no column 'text' \(there are: none\)"),
        ("text,label\n", "no rows below the header"),
        ("text,label\na,good\n ,good\n", "my.csv:3: the text is empty"),
        ("text,label\na,\n", "my.csv:2: the label is empty"),
        ("text,label\na\n", "my.csv:2: the label is empty"),
        ("text,label\na,ugly\n", "my.csv:2: the label 'ugly' is none of good, bad"),
        ("text,label,split\na,good,later\n", "my.csv:2: the split 'later' is none of"),
    ],
)
def test_tables_that_are_wrong(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "my.csv", content), labels=["good", "bad"])


def test_one_class_is_nothing_to_learn() -> None:
    train = Texts(["a", "b"], [(0,), (0,)])
    with pytest.raises(DataError, match="every training text is labelled 'x'"):
        LabelSet("s", ("x", "y"), splits={TRAIN: train}, source="f").check()
    with pytest.raises(DataError, match="no training text has any label"):
        LabelSet("s", ("x", "y"), True, splits={TRAIN: Texts(["a"], [()])}, source="f").check()
    with pytest.raises(DataError, match=r"has no train split \(there are: valid\)"):
        LabelSet("s", ("x", "y"), splits={VALID: train}, source="f").check()


def test_validation_has_every_class_and_nothing_twice() -> None:
    targets: list[tuple[int, ...]] = [*[(0,)] * 90, *[(1,)] * 8, *[(2,)] * 2]
    data = LabelSet("s", ("a", "b", "c"), splits={TRAIN: Texts([str(i) for i in range(100)], targets)})
    held = with_validation(data, 0.1)
    assert held.splits[VALID].counts(3) == [9, 1, 1]
    assert held.splits[TRAIN].counts(3) == [81, 7, 1]
    assert {*held.splits[TRAIN].texts, *held.splits[VALID].texts} == set(data.splits[TRAIN].texts)
    assert with_validation(data, 0.1).splits[VALID].texts == held.splits[VALID].texts
    assert with_validation(held, 0.5) is held
    data.splits[TRAIN].targets[-1] = (1,)
    with pytest.raises(DataError, match="only one text is labelled 'c'"):
        with_validation(data, 0.1)


def test_the_real_sets(convai_data: Path) -> None:
    folder = convai_data / "emotion"
    sizes = {
        "tweeteval_emoji": 45000, "tweeteval_emotion": 3257, "tweeteval_irony": 2862, "goemotions": 43410,
        "carer": 16000, "isear.csv": 7666, "reddit_emoji.tsv.xz": 41747, "meld": 9989,
        "tweeteval_sentiment_semeval2017": 47339, "torchmoji/Olympic.jsonl": 200, "torchmoji/SCv1.jsonl": 800,
    }  # fmt: skip
    for name, size in sizes.items():
        data = read_labelled(folder / name)
        data.check()
        assert len(data.splits[TRAIN]) == size, name
