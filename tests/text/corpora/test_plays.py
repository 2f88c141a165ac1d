"""Plays and screenplays: who speaks is no word, what happens is nobody's words, and a scene is a dialogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.text.corpora import check, detect, read, take
from tests.text.corpora.helpers import talk

FED = talk("have you fed the geese?", "i fed them at six.", "then have some bread.", "gladly.")


def saved(folder: Path, text: str, name: str = "a.txt") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


POINT_ON_A_LINE = """ACT I

SCENE I. A yard.

Enter MEG and TOM.

MEG.
have you fed
the geese?

TOM.
i fed them at six.

[_He sits
down._]

MEG. [_Aside._]
then have some bread.

TOM.
gladly. [_Exit._]
"""
COLON_ON_A_LINE = """First Farmer:
have you fed the geese?

Tom Bell:
i fed them at six.

First Farmer:
then have some bread.

Tom Bell:
gladly.
"""
SCREENPLAY = """FADE IN:

1  INT. KITCHEN - DAY

MEG, 50, cuts bread.

               MEG
     have you fed
     the geese?

               TOM (O.S.)
     i fed them at six.

He comes in.

               MEG (CONT'D)
          (kindly)
     then have some bread.

               TOM
     gladly.

                              CUT TO:
"""
FOUNTAIN = """Title: Geese

EXT. YARD - DAY

MEG
have you fed the geese?

TOM
(sits)
i fed them at six.

MEG
then have some bread.

TOM
gladly.
"""
BEFORE_A_POINT = """MEG. have you fed the geese?
TOM. i fed them at six. (He sits.)
MEG. then have some bread.
TOM. gladly.
"""
BEHIND_NAMES = """Meg (coming in): have you fed the geese?
Dr. Bell (sits): i fed them at six.
Meg: then have some bread.
Dr. Bell [low]: gladly.
"""
BETWEEN = """MEG: have you fed the geese?

(Tom sits down.)

TOM: i fed them at six.

MEG: then have some bread.

TOM: gladly.
"""


@pytest.mark.parametrize(
    "text",
    [POINT_ON_A_LINE, COLON_ON_A_LINE, SCREENPLAY, FOUNTAIN, BEFORE_A_POINT, BEHIND_NAMES, BETWEEN],
    ids=["point", "colon", "screenplay", "fountain", "before", "behind", "between"],
)
def test_only_what_is_spoken_is_read(text: str, tmp_path: Path) -> None:
    file = saved(tmp_path, text)
    assert (detect(file), read(file)) == ("play", [FED])
    assert read(file, "play") == [FED]
    assert read(saved(tmp_path, text, "a.fountain")) == [FED]


def test_an_interview_has_blank_lines_between_answers_of_several(tmp_path: Path) -> None:
    text = "# With Meg\n\n**Meg:** have you fed\nthe geese?\n\n**Dr. Bell:** i fed them\n\nat six.\n\n"
    text += "**Meg:** then have some bread.\n\n**Dr. Bell:** gladly.\n"
    taken = take(saved(tmp_path, text))
    assert (taken.dialogs, taken.omitted) == ([FED], {"line of description": 1})


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    taken = take(saved(tmp_path, SCREENPLAY))
    assert taken.omitted == {"line of description": 2, "stage direction": 3}
    assert take(saved(tmp_path, POINT_ON_A_LINE)).omitted == {"stage direction": 4}


def test_a_scene_is_a_dialogue_and_so_is_what_others_say_when_one_has_left(tmp_path: Path) -> None:
    text = "ACT I. SCENE 1.\n\nMEG.\ntea?\n\nTOM.\nyes.\n\n" + "MEG.\none.\n\nWILL.\ntwo.\n\n" * 6
    text += "ACT I. SCENE 2.\n\nWILL.\nwho?\n\nMEG.\nme.\n"
    assert read(saved(tmp_path, text)) == [
        talk("tea?", "yes."),
        talk(*["one.", "two."] * 6),
        talk("who?", "me."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "HELLO\nhi there\n\nOK\nwhat is up\n\nHELLO\nnot you again\n",  # somebody writes in capitals
        "OK. fine\nNO. never\nOK. so be it\nNO. stop\n",
        "Speaker (1): hi\nSpeaker (2): hello\nSpeaker (1): tea?\nSpeaker (2): yes\n",  # what tells them apart
        "Ann (Mom): hi\nAnn (Boss): hello\nAnn (Mom): tea?\nAnn (Boss): yes\n",
        "Ann: hi\nBo: hello (waves)\nAnn: tea?\nBo: yes\n",
        "A. tea\nB. coffee\nA. milk\nB. wine\n",
        "user: hi (waves)\nagent: hello\nuser: tea?\nagent: yes\n",
    ],
)
def test_other_talk_is_no_play(text: str, tmp_path: Path) -> None:
    assert detect(saved(tmp_path, text)) == "text"


def test_a_persona_is_not_left_out_as_a_description(tmp_path: Path) -> None:
    report = check(saved(tmp_path, "persona: i bake.\nAnn: hi\nBo: hello\n(laughs)\nAnn: tea?\nBo: yes\n"))
    assert "nobody's name before this turn" in report.problems[0]
