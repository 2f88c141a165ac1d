"""The same dialogue as programs spell it: templates, exports in many languages, tables, encodings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.errors import DataError
from convai.text.corpora import read
from tests.text.corpora.helpers import talk

SAID = ("good morning", "morning, you", "tea?", "yes please")
TWO = SAID[:2]


def saved(folder: Path, name: str, content: str | bytes | list[Any] | dict[str, Any]) -> Path:
    file = folder / name
    if isinstance(content, list | dict):
        content = json.dumps(content)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("text", "persona"),
    [
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nI am Lu.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\ngood morning<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nmorning, you<|eot_id|>",
            ["I am Lu."],
        ),
        (
            "<bos><start_of_turn>user\ngood morning<end_of_turn>\n"
            "<start_of_turn>model\nmorning, you<end_of_turn>\n",
            [],
        ),
        (
            "<|system|>\nI am Lu.</s>\n<|user|>\ngood morning</s>\n<|assistant|>\nmorning, you</s>",
            ["I am Lu."],
        ),
        ("<|user|>\ngood morning<|end|>\n<|assistant|>\nmorning, you<|end|>\n", []),
        (
            "<s>[INST] <<SYS>>\nI am Lu.\n<</SYS>>\n\ngood morning [/INST] morning, you </s>",
            ["I am Lu."],
        ),
        ("I am Lu. USER: good morning ASSISTANT: morning, you</s>", ["I am Lu."]),
        (
            "<|start|>system<|message|>I am Lu.<|end|><|start|>user<|message|>good morning<|end|><|start|>"
            "assistant<|channel|>analysis<|message|>they greet<|end|><|start|>assistant<|channel|>final"
            "<|message|>morning, you<|return|>",
            ["I am Lu."],
        ),
        (
            "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>I am Lu.<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>good morning<|END_OF_TURN_TOKEN|>"
            "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>morning, you<|END_OF_TURN_TOKEN|>",
            ["I am Lu."],
        ),
        (
            "<｜begin▁of▁sentence｜>I am Lu.<｜User｜>good morning"
            "<｜Assistant｜>morning, you<｜end▁of▁sentence｜>",
            ["I am Lu."],
        ),
        ("<|system|>I am Lu.<|user|>good morning<|model|>morning, you", ["I am Lu."]),
        (
            "Below is an instruction that describes a task. Write a response.\n\n"
            "### Instruction:\ngood morning\n\n### Response:\nmorning, you",
            [],
        ),
    ],
    ids="llama3 gemma zephyr phi llama2 vicuna gpt-oss command-r deepseek metharme alpaca".split(),
)
def test_marks_of_templates_are_no_words(text: str, persona: list[str], tmp_path: Path) -> None:
    assert read(saved(tmp_path, "t.jsonl", {"text": text})) == [talk(*TWO, persona=persona)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("13/01/2024 à 21:05 - Ann: ", "13/01/2024 à 21:06 - Bo: "),
        ("13.1.2024 klo 21.05 - Ann: ", "13.1.2024 klo 21.06 - Bo: "),
        ("2024년 1월 13일 오후 9:05, Ann : ", "2024년 1월 13일 오후 9:06, Bo : "),
        ("2024/1/13 下午9:05 - Ann: ", "2024/1/13 下午9:06 - Bo: "),
        ("١٣\u200f/١\u200f/٢٠٢٤، ٩:٠٥ م - Ann: ", "١٣\u200f/١\u200f/٢٠٢٤، ٩:٠٦ م - Bo: "),
        ("13/1/24, 9:05 p. m. - Ann: ", "13/1/24, 9:06 p. m. - Bo: "),
    ],
    ids=["fr", "fi", "ko", "zh", "ar", "es"],
)
def test_a_messengers_time_in_other_languages(first: str, second: str, tmp_path: Path) -> None:
    file = saved(tmp_path, "chat.txt", f"{first}{TWO[0]}\n{second}{TWO[1]}\n")
    assert read(file) == [talk(*TWO)]


@pytest.mark.parametrize(
    "notice",
    [
        "Bo: Mensagem apagada",
        "Bo: Diese Nachricht wurde gelöscht.",
        "Bo: Ce message a été supprimé",
        "Bo: \u200eBild weggelassen",
        "Ann: \u200eMessages and calls are end-to-end encrypted. No one outside of this chat can read them.",
        'Ann changed the subject from "tea: when" to "tea: now"',
    ],
)
def test_a_messengers_notices_are_not_said(notice: str, tmp_path: Path) -> None:
    at = "13/01/2024, 21:05 - "
    file = saved(tmp_path, "chat.txt", f"{at}Ann: {TWO[0]}\n{at}{notice}\n{at}Bo: {TWO[1]}\n")
    assert read(file) == [talk(*TWO)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sender,message\nAnn,good morning\nBo,morning%you\n"),
        ("a.csv", "id,speaker,utterance\n7,USER,good morning\n7,SYSTEM,morning%you\n"),
        (
            "a.csv",
            "AuthorID,Author,Date,Content\n1,ann,2024-01-01,good morning\n2,bo,2024-01-01,morning%you\n",
        ),
    ],
)
def test_a_table_of_turns_without_names_of_conversations(name: str, content: str, tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, name, content.replace("morning%you", '"morning, you"')))
    assert found.turns == talk(*TWO).turns


def test_a_table_of_reviews_is_no_talk(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no columns that hold dialogues"):
        read(saved(tmp_path, "a.csv", "author,rating,text\nAnn,5,good tea\nBo,1,bad tea\n"))


@pytest.mark.parametrize(
    "text",
    [
        "Dr. O'Neil (PhD): good morning\n李雷: morning, you\nDr. O'Neil (PhD): tea?\n李雷: yes please\n",
        "**Ann:** good morning\n**Bo:** morning, you\n**Ann:** tea?\n**Bo:** yes please\n",
        "李雷：good morning\n韩梅：morning, you\n李雷：tea?\n韩梅：yes please\n",
        "Human: good morning\n\nAI: morning, you\n\nHuman: tea?\n\nAI: yes please\n",
        "Ann: good morning\r\nBo: morning, you\r\nAnn: tea?\r\nBo: yes please\r\n",
    ],
    ids=["odd names", "bold", "full width", "blank lines", "crlf"],
)
def test_names_before_turns(text: str, tmp_path: Path) -> None:
    assert read(saved(tmp_path, "a.txt", text)) == [talk(*SAID)]


@pytest.mark.parametrize(
    "value",
    [
        {"c1": {"messages": [{"role": "user", "content": TWO[0]}, {"role": "assistant", "content": TWO[1]}]}},
        {"c1": {"instruction": TWO[0], "input": "", "output": TWO[1]}},
        [
            {
                "custom_id": "1",
                "body": {
                    "messages": [
                        {"role": "user", "content": TWO[0]},
                        {"role": "assistant", "content": TWO[1]},
                    ]
                },
            }
        ],
        [{"data": list(TWO)}],
        [{"dialogue": f"Ann: {TWO[0]}\r\nBo: {TWO[1]}", "summary": "a greeting"}],
        [
            {
                "services": ["tea"],
                "turns": [
                    {"speaker": "USER", "utterance": TWO[0], "frames": []},
                    {"speaker": "SYSTEM", "utterance": TWO[1], "frames": []},
                ],
            }
        ],
    ],
    ids=["by name", "by number", "batch", "data", "summed up", "task"],
)
def test_wrappers_and_words_of_other_collections(value: Any, tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, "a.json", value))
    assert found.turns == talk(*TWO).turns


def test_a_whole_dialogue_may_stand_in_what_is_asked(tmp_path: Path) -> None:
    asked = "Lu: i am Lu.</s>\nUser: good morning</s>\nLu: morning, you"
    entry = {"instruction": asked, "input": "", "output": ""}
    (found,) = read(saved(tmp_path, "a.jsonl", entry))
    assert [(t.speaker, t.text) for t in found.turns] == [(1, "i am Lu."), (0, TWO[0]), (1, TWO[1])]


@pytest.mark.parametrize(
    ("prompt", "completion", "right"),
    [
        ("Human: hi\n\nAssistant:", " hello", ("hi", "hello")),
        ("USER: hi ASSISTANT:", "hello</s>", ("hi", "hello")),
        ("### Human: hi\n### Assistant:", "hello", ("hi", "hello")),
        ("Question: hi?\nAnswer:", "hello", ("hi?", "hello")),
        ("[INST] hi [/INST]", "hello </s>", ("hi", "hello")),
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "hello<|im_end|>", ("hi", "hello")),
        ("To French: tea\nFrench:", "thé", ("To French: tea French:", "thé")),  # nobody's names
        ("what is </s>?", "an end", ("what is </s>?", "an end")),
    ],
)
def test_who_is_to_answer_is_no_word(
    prompt: str, completion: str, right: tuple[str, str], tmp_path: Path
) -> None:
    entry = {"prompt": prompt, "completion": completion}
    assert read(saved(tmp_path, "a.json", [entry])) == [talk(*right)]


def test_of_several_outputs_the_first_is_the_reply(tmp_path: Path) -> None:
    (found,) = read(saved(tmp_path, "a.jsonl", {"instruction": "hi", "output": ["hello", "go away"]}))
    assert [turn.text for turn in found.turns] == ["hi", "hello"]
    assert found.turns[1].distractors == ("go away",)


def test_a_reply_of_sillytavern_that_was_stopped_at_once_is_left_out(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"user_name": "Me", "character_name": "Lu"},
        {"name": "Me", "is_user": True, "mes": TWO[0]},
        {"name": "Lu", "is_user": False, "mes": ""},
        {"name": "Lu", "is_user": False, "mes": TWO[1]},
    ]
    (found,) = read(saved(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert found.turns == talk(*TWO).turns


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_spreadsheets_save(encoding: str, tmp_path: Path) -> None:
    file = saved(tmp_path, "a.csv", f'prompt;completion\r\n"{TWO[0]}";"{TWO[1]}"\r\n'.encode(encoding))
    assert read(file) == [talk(*TWO)]


MESSAGES = [{"role": "user", "content": TWO[0]}, {"role": "assistant", "content": TWO[1]}]


def capitals(value: Any) -> Any:
    """The same with keys that begin with capitals, as .NET writes them."""
    if isinstance(value, dict):
        return {key.capitalize(): capitals(item) for key, item in value.items()}
    return [capitals(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "entry",
    [
        {"messages": MESSAGES},
        {"conversations": [{"from": "human", "value": TWO[0]}, {"from": "gpt", "value": TWO[1]}]},
        {"turns": [{"speaker": 0, "text": TWO[0]}, {"speaker": 1, "text": TWO[1]}]},
        {"personality": ["i bake."], "utterances": [{"candidates": ["no", TWO[1]], "history": [TWO[0]]}]},
        {"prompt": TWO[0], "chosen": [MESSAGES[1]], "rejected": "no"},
    ],
    ids=["openai", "sharegpt", "own", "personachat", "preference"],
)
def test_keys_in_capitals(entry: dict[str, Any], tmp_path: Path) -> None:
    plain = read(saved(tmp_path, "plain.json", [entry]))
    assert [turn.text for turn in plain[0].turns] == list(TWO)
    assert read(saved(tmp_path, "pascal.json", [capitals(entry)])) == plain


def test_entries_under_a_key_that_also_names_dialogues(tmp_path: Path) -> None:
    """Only their answers were read, as the turns of one dialogue."""
    entries = [{"instruction": text, "input": "", "output": f"{text}?"} for text in SAID]
    wanted = [talk(text, f"{text}?") for text in SAID]
    for key in ("conversations", "items", "data"):
        assert read(saved(tmp_path, f"{key}.json", {key: entries})) == wanted


def test_messages_beside_notes_about_them(tmp_path: Path) -> None:
    notes = {"model": "m", "created": 3, "data": MESSAGES}
    assert read(saved(tmp_path, "one.json", notes)) == [talk(*TWO)]


def test_blank_rows_and_lines_of_a_table_say_nothing(tmp_path: Path) -> None:
    rows = f"\n\nprompt,completion\n{TWO[0]},ok\n,\n , \n{SAID[2]},well\n,,\n"
    assert read(saved(tmp_path, "a.csv", rows)) == [talk(TWO[0], "ok"), talk(SAID[2], "well")]
    assert read(saved(tmp_path, "b.csv", rows.lstrip().replace(",", ";"))) == [
        talk(TWO[0], "ok"),
        talk(SAID[2], "well"),
    ]


def test_the_end_that_dos_writes_is_no_word(tmp_path: Path) -> None:
    line = json.dumps({"messages": MESSAGES})
    for name, text in (
        ("a.jsonl", f"{line}\r\n\x1a"),
        ("a.json", f"[{line}]\x1a"),
        ("a.txt", f"{TWO[0]}\n{TWO[1]}\n\x1a"),
        ("b.txt", f"{TWO[0]}\n{TWO[1]}\x1a"),
    ):
        assert read(saved(tmp_path, name, text)) == [talk(*TWO)], name


@pytest.mark.parametrize("blank", ["\u00a0", "\u202f"])
def test_narrow_blanks_in_whatsapps_dates(blank: str, tmp_path: Path) -> None:
    lines = f"12/31/25, 9:00 AM - Bo: {TWO[0]}\n12/31/25, 9:01 AM - Ann: {TWO[1]}\n"
    for text in (lines.replace(", ", f",{blank}"), lines.replace(" AM", f"{blank}AM")):
        assert read(saved(tmp_path, "chat.txt", text)) == [talk(*TWO)]
