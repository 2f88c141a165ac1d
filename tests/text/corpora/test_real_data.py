"""Real corpora in the folder CONVAI_DATA: every file is read, and the counts are those published with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.text.corpora import check, detect, iter_dialogs, overlap, read_personas, stats

pytestmark = pytest.mark.slow

PERSONACHAT = {
    # file: (format, dialogues, turns, words, dialogues with a persona)
    "train_self_original.csv": ("csv", 1072, 15830, 186128, 1072),
    "valid_self_original.txt": ("parlai", 500, 7814, 91994, 500),
    "valid_both_original.txt": ("parlai", 500, 7814, 91994, 500),
    "valid_self_revised.txt": ("parlai", 500, 7814, 91994, 500),
    "valid_none_original.txt": ("parlai", 500, 7814, 91994, 0),
    "dummy_with_candidates.txt": ("parlai", 67, 1048, 12462, 67),
}
DIALOGUES = {
    # file: (dialogues, turns, words)
    "msc_test.jsonl.xz": (2002, 24349, 511715),
    "synthetic_persona_chat_test.jsonl.xz": (576, 15016, 139508),
    "dailydialog.jsonl.xz": (11941, 93774, 1051690),
    "empathetic.jsonl.xz": (5294, 16664, 259376),
    "esconv.jsonl.xz": (607, 17303, 248980),
    "topical_chat.jsonl.xz": (2156, 46903, 920440),
    "self_dialogue.jsonl.xz": (24122, 372425, 3642548),
    "switchboard.jsonl.xz": (1154, 199628, 1457156),
    "meld_friends.jsonl.xz": (1547, 16507, 129465),
    "mutual_train.jsonl.xz": (7007, 40169, 690499),
    "dream.jsonl.xz": (6352, 29777, 390027),
    "taskmaster.jsonl.xz": (3686, 13828, 132486),
    "sgd.jsonl.xz": (17193, 312248, 3040558),
    "chatterbot.jsonl.xz": (800, 1951, 12357),
}


def test_every_file_is_counted_here(convai_data: Path) -> None:
    assert {f.name for f in (convai_data / "personachat").iterdir()} == {*PERSONACHAT, "personas_train.txt"}
    assert {f.name for f in (convai_data / "dialogues").iterdir()} == set(DIALOGUES)


@pytest.mark.parametrize("name", PERSONACHAT)
def test_personachat(name: str, convai_data: Path) -> None:
    file = convai_data / "personachat" / name
    total = stats(iter_dialogs(file))
    counted = (detect(file), total.dialogues, total.turns, total.words, total.dialogues_with_persona)
    assert counted == PERSONACHAT[name]
    if name == "dummy_with_candidates.txt":
        assert (total.replies_with_candidates, total.fewest_candidates, total.most_candidates) == (
            524,
            20,
            20,
        )


def test_personas(convai_data: Path) -> None:
    personas = read_personas(convai_data / "personachat" / "personas_train.txt")
    assert len(personas) == 1184
    assert sum(len(p.sentences) for p in personas) == 5207


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogues(name: str, convai_data: Path) -> None:
    total = stats(iter_dialogs(convai_data / "dialogues" / name))
    assert (total.dialogues, total.turns, total.words) == DIALOGUES[name]


def test_the_checker_accepts_a_real_file(convai_data: Path) -> None:
    report = check(convai_data / "dialogues" / "meld_friends.jsonl.xz")
    assert (report.ok, report.dialogues) == (True, 1547)


def test_training_and_validation_do_not_overlap(convai_data: Path) -> None:
    valid = convai_data / "personachat" / "valid_self_original.txt"
    assert overlap([convai_data / "personachat" / "train_self_original.csv"], [valid]) == []
    again = overlap([convai_data / "personachat" / "valid_none_original.txt"], [valid])
    assert len(again) == 500
    assert all(one.whole for one in again)
