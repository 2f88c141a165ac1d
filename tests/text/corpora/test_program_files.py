"""Files of messengers, role-play programs and collections: right turns, and a count of what has no words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convai.core.dialog import Dialog
from convai.text.corpora import Reading, check, detect, read, take
from tests.text.corpora.helpers import assert_refused, talk


def saved(folder: Path, value: Any, name: str = "a.json") -> Path:
    file = folder / name
    file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return file


def turns(dialog: Dialog) -> list[tuple[int, str]]:
    return [(turn.speaker, turn.text) for turn in dialog.turns]


def post(name: str, at: int, text: str | None = None, **more: Any) -> dict[str, Any]:
    content = {} if text is None else {"content": text}
    return {"sender_name": name, "timestamp_ms": at * 60_000 + 10**12, **content, **more}


# -- messengers ----------------------------------------------------------------------------------------


def test_facebooks_bytes_are_letters_and_its_order_is_turned(tmp_path: Path) -> None:
    garbled = "caf\u00c3\u00a9 \u00e2\u0098\u0095"  # each byte of UTF-8 as a character
    chat = {
        "participants": [{"name": "Zo\u00c3\u00ab"}, {"name": "Bo"}],
        "title": "Zo\u00c3\u00ab",
        "messages": [
            post("Bo", 9, photos=[{"uri": "x"}]),
            post("Bo", 8, "Reacted \u00e2\u009d\u00a4 to your message "),
            post("Bo", 7, "", call_duration=3),
            post("Zo\u00c3\u00ab", 6, "d\u00e9j\u00e0 vu"),  # written rightly
            post("Bo", 5, garbled),
            post("Zo\u00c3\u00ab", 4, "hi"),
        ],
    }
    file = saved(tmp_path, chat)
    assert detect(file) == "facebook"
    taken = take(file)
    assert [turns(dialog) for dialog in taken.dialogs] == [
        [(0, "hi"), (1, "café \u2615"), (0, "d\u00e9j\u00e0 vu")]
    ]
    assert taken.omitted == {"wordless message": 2, "notice": 1}
    assert taken.line().endswith("; left out of dialogues: 2 wordless messages, 1 notice")
    assert check(file).omitted == taken.omitted


def test_messengers_newer_export(tmp_path: Path) -> None:
    said = [("Ann", 2, "hello"), ("Bo", 1, "hi")]
    messages = [
        {"senderName": name, "timestamp": 10**12 + at * 1000, "text": text, "type": "text", "isUnsent": False}
        for name, at, text in said
    ]
    file = saved(tmp_path, {"participants": ["Bo", "Ann"], "threadName": "Bo_12", "messages": messages})
    assert [turns(dialog) for dialog in read(file)] == [[(0, "hi"), (1, "hello")]]


def test_discords_bot_is_the_agent(tmp_path: Path) -> None:
    def message(name: str, minute: int, text: str, kind: str = "Default", bot: bool = False) -> Any:
        author = {"id": name, "name": name.lower(), "nickname": name, "isBot": bot}
        at = f"2026-01-01T10:{minute:02}:00.1234567+00:00"
        return {"type": kind, "timestamp": at, "content": text, "author": author}

    messages = [
        message("Helper", 1, "good day", bot=True),
        message("Ann", 2, "hi"),
        message("Bo", 3, "me too", "Reply"),
        message("Bo", 4, ""),
        message("Bo", 5, "Pinned a message.", "ChannelPinnedMessage"),
        message("Helper", 6, "oh", bot=True),
    ]
    file = saved(tmp_path, {"guild": {"name": "g"}, "channel": {"name": "c"}, "messages": messages})
    taken = take(file)
    assert [turns(d) for d in taken.dialogs] == [[(1, "good day"), (0, "hi"), (0, "me too"), (1, "oh")]]
    assert (taken.format, taken.omitted) == ("discord", {"wordless message": 1, "notice": 1})


def test_slacks_marks_become_words(tmp_path: Path) -> None:
    messages = [
        {"type": "message", "subtype": "channel_join", "user": "U1", "text": "<@U1> joined", "ts": "1.1"},
        {"type": "message", "user": "U2", "text": "fine &amp; well <@U1>", "ts": "3.1"},
        {
            "type": "message",
            "user": "U1",
            "text": "see <https://example.org|this>",
            "ts": "2.1",
            "user_profile": {"display_name": "", "real_name": "Ann"},
        },
    ]
    said = [[(0, "see this"), (1, "fine & well @Ann")]]
    for value in (messages, {"ok": True, "messages": messages}):
        file = saved(tmp_path, value)
        assert detect(file) == "slack"
        assert [turns(dialog) for dialog in read(file)] == said
    bot = [{"type": "message", "subtype": "bot_message", "text": "beep", "ts": "1.1", "username": "robo"}]
    assert [turns(d) for d in read(saved(tmp_path, [*bot, *messages]))] == [
        [(0, "beep"), (1, "see this"), (0, "fine & well @Ann")]
    ]


SKYPE = [
    {"from": name, "messagetype": kind, "content": text, "originalarrivaltime": f"2024-01-05T10:{minute}:00Z"}
    for name, kind, text, minute in (
        ("8:ann", "RichText", "hel <b>&amp;</b> lo", 17),
        ("8:ann", "Event/Call", "<x/>", 16),
        ("8:bo", "RichText", "hi", 15),
    )
]


@pytest.mark.parametrize(
    ("value", "omitted"),
    [
        ({"userId": "8:ann", "conversations": [{"id": "x", "displayName": "8:bo", "MessageList": SKYPE}]}, 1),
        (
            {
                "messages": [
                    {"creator": {"name": name, "email": "x"}, "created_date": "Friday", "text": text}
                    for name, text in (("Bo", "hi"), ("Ann", "hel & lo"))
                ]
            },
            0,
        ),
        (
            {
                "room_name": "x",
                "messages": [
                    {"type": kind, "sender": name, "content": content, "origin_server_ts": 17 * 10**11 + i}
                    for i, (kind, name, content) in enumerate(
                        (
                            ("m.room.member", "@ann:x", {"membership": "join"}),
                            ("m.room.message", "@bo:x", {"msgtype": "m.text", "body": "hi"}),
                            ("m.room.message", "@ann:x", {"msgtype": "m.text", "body": "hel & lo"}),
                        )
                    )
                ],
            },
            1,
        ),
    ],
    ids="skype google-chat matrix".split(),
)
def test_more_messengers(value: Any, omitted: int, tmp_path: Path) -> None:
    taken = take(saved(tmp_path, value))
    assert (taken.format, [turns(dialog) for dialog in taken.dialogs]) == (
        "facebook",
        [[(0, "hi"), (1, "hel & lo")]],
    )
    assert taken.omitted.total() == omitted


def test_signal_calls_the_owner_me(tmp_path: Path) -> None:
    rows = [("Me", "09", "hi"), ("Bo", "10", "hello"), ("Bo", "11", ""), ("Bo", "23", "anybody?")]
    lines = [{"date": f"2026-01-01 {h}:00:00", "sender": n, "body": b, "quote": ""} for n, h, b in rows]
    file = saved(tmp_path, "\n".join(map(json.dumps, lines)), "data.json")
    taken = take(file)
    assert [turns(dialog) for dialog in taken.dialogs] == [[(1, "hi"), (0, "hello")]]
    assert taken.omitted == {"wordless message": 1, "unanswered message": 1}
    assert [turns(d) for d in read(saved(tmp_path, lines))] == [[(1, "hi"), (0, "hello")]]


def _version(role: str, text: str, steps: bool) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    own = {"steps": [{"type": "contentBlock", "content": content}]} if steps else {"content": content}
    return {"role": role, "type": "x", **own}


def _asked(id: str, parent: str, text: str, user: bool, *below: Any) -> dict[str, Any]:
    said = {"messageId": id, "parentMessageId": parent, "text": text, "isCreatedByUser": user, "sender": "x"}
    return {**said, "children": list(below)}


@pytest.mark.parametrize(
    "value",
    [
        {
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [{"text": "hello"}]},
            ],
            "systemInstruction": {"parts": [{"text": "I am Lu."}]},
        },
        {
            "system": [{"text": "I am Lu."}],
            "messages": [
                {"role": "user", "content": [{"text": "hi"}]},
                {"role": "assistant", "content": [{"text": "hello"}]},
            ],
        },
        {
            "systemPrompt": "I am Lu.",
            "messages": [
                {
                    "versions": [_version("user", "no", False), _version("user", "hi", False)],
                    "currentlySelected": 1,
                },
                {"versions": [_version("assistant", "hello", True)], "currentlySelected": 0},
            ],
        },
    ],
    ids="gemini bedrock lm-studio".split(),
)
def test_a_system_prompt_beside_the_messages_is_kept(value: Any, tmp_path: Path) -> None:
    assert read(saved(tmp_path, value)) == [talk("hi", "hello", persona=["I am Lu."])]


def test_librechats_tree_is_read_to_its_last_message(tmp_path: Path) -> None:
    other = _asked("b", "a", "go", False)
    nested = [_asked("a", "0", "hi", True, other, _asked("c", "a", "hello", False))]
    flat = [{**item, "children": []} for item in (nested[0], other, _asked("c", "a", "hello", False))]
    for messages in (nested, flat):
        file = saved(tmp_path, {"conversationId": "x", "title": "t", "messages": messages})
        assert [turns(dialog) for dialog in read(file)] == [[(0, "hi"), (1, "hello")]]


def test_who_speaks_in_a_list_beside_the_texts(tmp_path: Path) -> None:
    for names in ("speakers", "roles"):
        value = {"dialogue": ["hi", "are you there?", "hello"], names: ["Ann", "Ann", "Bo"]}
        assert [turns(d) for d in read(saved(tmp_path, value))] == [
            [(0, "hi"), (0, "are you there?"), (1, "hello")]
        ]


def test_what_a_question_is_about_is_not_lost(tmp_path: Path) -> None:
    for question in ("instruction", "question"):
        value = {question: "who is it?", "context": "ann wrote it.", "response": "ann"}
        assert read(saved(tmp_path, value, "a.jsonl")) == [talk("who is it? ann wrote it.", "ann")]


# -- role-play -----------------------------------------------------------------------------------------


def test_characterais_chosen_candidates_oldest_first(tmp_path: Path) -> None:
    def turn(human: bool, at: str, *texts: str) -> dict[str, Any]:
        candidates = [{"candidate_id": str(i), "raw_content": text} for i, text in enumerate(texts)]
        author = {"name": "Bo" if human else "Ann", "is_human": human}
        chosen = str(len(texts) - 1)
        return {
            "author": author,
            "create_time": at,
            "candidates": candidates,
            "primary_candidate_id": chosen,
        }

    newest = [turn(True, "3", ""), turn(False, "2", "no", "hello"), turn(True, "1", "hi")]
    file = saved(tmp_path, {"turns": newest})
    (found,) = read(file)
    assert (detect(file), turns(found)) == ("roleplay", [(0, "hi"), (1, "hello")])
    assert found.personas[1].name == "Ann"


def test_pippas_bots_are_who_their_definitions_say(tmp_path: Path) -> None:
    value = {
        "bot_name": "Ann",
        "bot_description": "Ann is a smith.",
        "bot_definitions": "She likes tea.\n{{user}}: hi\n{{char}}: hm",
        "conversation": [
            {"message": "hello", "is_human": False},
            {"message": "hi", "is_human": True},
            {"message": "tea?", "is_human": False},
        ],
    }
    file = saved(tmp_path, value, "pippa.jsonl")
    (found,) = read(file)
    assert (detect(file), turns(found)) == ("roleplay", [(1, "hello"), (0, "hi"), (1, "tea?")])
    assert (found.persona.name, found.persona.sentences) == (
        "Ann",
        ("my name is Ann.", "i am a smith.", "i like tea."),
    )


@pytest.mark.parametrize(
    "value",
    [
        {
            "name": "x",
            "greeting": "",
            "messages": [{"userId": "u", "msg": "hi"}, {"characterId": "c", "msg": "hello"}],
        },
        {
            "type": "risuChat",
            "ver": 1,
            "data": {"message": [{"role": "user", "data": "hi"}, {"role": "char", "data": "hello"}]},
        },
    ],
    ids=["agnai", "risu"],
)
def test_other_role_play_programs(value: Any, tmp_path: Path) -> None:
    assert read(saved(tmp_path, value)) == [talk("hi", "hello")]


@pytest.mark.parametrize(
    "save",
    [
        {"prompt": "\n{{[INPUT]}}\nhi\n{{[OUTPUT]}}\n", "actions": ["hello", "\n{{[INPUT]}}\nand\nyou?"]},
        {
            "prompt": "### Instruction:\nhi",
            "actions": ["\n### Response:\nhello", "\n### Instruction:\nand\nyou?"],
            "savedsettings": {
                "instruct_starttag": "\\n### Instruction:\\n",
                "instruct_endtag": "### Response:",
            },
        },
        {
            "prompt": "You: hi\n",
            "actions": ["Ann: hello", "\nYou: and\nyou?"],
            "savedsettings": {"chatname": "You", "chatopponent": "Ann||$||Cy"},
        },
        {
            "prompt": "You: hi",
            "actions": {
                "action_count": 2,
                "actions": {"0": {"Selected Text": "\nAnn: hello"}, "1": "\nYou: and\nyou?"},
            },
        },
    ],
    ids=["marks", "tags", "names", "numbers"],
)
def test_kobolds_stories_in_which_people_talk(save: dict[str, Any], tmp_path: Path) -> None:
    file = saved(tmp_path, {"gamestarted": True, "memory": "", **save})
    (found,) = read(file)
    assert (detect(file), turns(found)) == ("kobold", [(0, "hi"), (1, "hello"), (0, "and you?")])


def test_a_story_of_kobolds_is_refused_by_name(tmp_path: Path) -> None:
    story = {"gamestarted": True, "prompt": "It rained.", "memory": "", "actions": [" He slept.", " Then:"]}
    assert_refused(
        saved(tmp_path, story), None, "a story of KoboldAI's in which nobody speaks", "--text FILE"
    )


def test_textgens_first_histories(tmp_path: Path) -> None:
    history = [["<|BEGIN-VISIBLE-CHAT|>", "good day"], ["hi", "hello"]]
    (found,) = read(saved(tmp_path, {"data": history, "data_visible": history}))
    assert turns(found) == [(1, "good day"), (0, "hi"), (1, "hello")]


# -- collections ---------------------------------------------------------------------------------------


def row(id: str, parent: str | None, text: str, rank: int | None = None, **more: Any) -> dict[str, Any]:
    role = "prompter" if id.startswith("p") else "assistant"
    return {"message_id": id, "parent_id": parent, "text": text, "role": role, "rank": rank, **more}


ROWS = [
    row("a2", "p1", "second best", 1),
    row("p1", None, "hi", message_tree_id="t", split="train"),
    row("a3", "p1", "gone", 0, deleted=True),
    row("a1", "p1", "best", 0),
    row("p2", "a1", "and?"),
    row("p3", "a1", "turned down", -1, review_result=False),
    row("a9", "elsewhere", "lost"),
]


def test_openassistants_messages_by_rank(tmp_path: Path) -> None:
    lines = "\n".join(map(json.dumps, ROWS))
    for file in (saved(tmp_path, lines, "a.jsonl"), saved(tmp_path, ROWS)):
        taken = take(file)
        assert [turns(dialog) for dialog in taken.dialogs] == [[(0, "hi"), (1, "best"), (0, "and?")]]
        assert (taken.dialogs[0].id, taken.dialogs[0].labels) == ("t", {"split": "train"})
        assert taken.omitted == {"alternative message": 3, "orphaned message": 1}
        assert check(file).omitted == taken.omitted
    table = saved(
        tmp_path,
        "message_id,parent_id,text,role,rank,deleted\np1,,hi,prompter,,False\na1,p1,gone,assistant,0.0,True\n"
        "a2,p1,worse,assistant,2.0,False\na3,p1,best,assistant,1.0,False\n",
        "a.csv",
    )
    assert [turns(dialog) for dialog in read(table)] == [[(0, "hi"), (1, "best")]]


def test_openassistants_trees_by_rank(tmp_path: Path) -> None:
    prompt = {**row("p1", None, "hi"), "replies": [row("a2", "p1", "worse", 1), row("a1", "p1", "best", 0)]}
    bad = {"message_tree_id": "u", "prompt": {**prompt, "replies": []}}
    file = saved(
        tmp_path, "\n".join(map(json.dumps, [{"message_tree_id": "t", "prompt": prompt}, bad])), "a.jsonl"
    )
    report = check(file)
    assert (report.format, report.dialogues, report.omitted) == ("oasst", 1, {"alternative message": 1})
    assert report.problems == [f"{file}:2: a dialogue with one turn; it needs something said and a reply"]
    odd = {"message_tree_id": "t", "prompt": {**prompt, "role": "judge"}}
    assert_refused(saved(tmp_path, odd), "oasst", "'role' is 'judge'; use prompter or assistant")


def test_topical_chats_turns_tell_who_speaks(tmp_path: Path) -> None:
    def turn(agent: str, text: str) -> dict[str, Any]:
        return {"message": text, "agent": agent, "sentiment": "Happy", "knowledge_source": ["FS1"]}

    spoken = [
        turn("agent_2", "hi"),
        turn("agent_1", "hello"),
        turn("agent_1", "trains?"),
        turn("agent_2", "yes"),
    ]
    talks = {f"t_{i}": {"article_url": "x", "config": "C", "content": spoken} for i in range(400)}
    file = saved(tmp_path, talks)  # longer than what a format is told from
    assert file.stat().st_size > 65536
    taken = take(file)
    assert (taken.format, len(taken.dialogs)) == ("topical-chat", 400)
    assert turns(taken.dialogs[0]) == [(0, "hi"), (1, "hello"), (1, "trains?"), (0, "yes")]
    assert check(file).dialogues == 400
    bad = {"t_1": {"content": [turn("agent_1", "hi"), {"agent": "agent_2", "message": None}]}}
    assert_refused(saved(tmp_path, bad), "topical-chat", "turn 2: expected text")


@pytest.mark.parametrize(
    "value",
    [
        {"A.json": {"goal": {}, "log": [{"text": "a room"}, {"text": "when?"}, {"text": "today"}]}},
        [
            {
                "dialogue_idx": "A",
                "dialogue": [
                    {"system_transcript": "", "transcript": "a room", "turn_idx": 0},
                    {"system_transcript": "when?", "transcript": "today", "turn_idx": 1},
                ],
            }
        ],
        {
            "dialogue_id": "A",
            "services": ["hotel"],
            "turns": {
                "turn_id": ["0", "1", "2"],
                "speaker": [0, 1, 0],
                "utterance": ["a room", "when?", "today"],
            },
        },
        [
            {
                "dialogue_id": 7,
                "dial": [
                    {"turn": 0, "usr": {"transcript": "a room"}, "sys": {"sent": "when?"}},
                    {"turn": 1, "usr": {"transcript": "today"}},
                ],
            }
        ],
    ],
)
def test_multiwoz_of_every_version(tmp_path: Path, value: Any) -> None:
    file = saved(tmp_path, value)
    taken = take(file)
    assert taken.format == "multiwoz"
    assert [turns(dialog) for dialog in taken.dialogs] == [[(0, "a room"), (1, "when?"), (0, "today")]]
    assert check(file).dialogues == 1


def test_multiwoz_says_where_it_is_wrong(tmp_path: Path) -> None:
    columns = {"turns": {"speaker": [0, 2], "utterance": ["a room", "when?"]}}
    assert_refused(saved(tmp_path, columns), "multiwoz", "turns 2: 'speaker' is '2'; use 0 or 1")
    columns = {"turns": {"speaker": [0], "utterance": ["a room", "when?"]}}
    assert_refused(saved(tmp_path, columns), "multiwoz", "1 speakers of 2 turns; give each turn one")


def test_examples_of_a_character(tmp_path: Path) -> None:
    text = (
        "a sailor of few words.\n{{char}}: welcome aboard.\n{{random_user_1}}: where to?\n"
        "{{char}}: to the end,\nand beyond.\n\nEND_OF_DIALOG\n{{user}}: who are you?\n{{char}}: bo.\n"
        "END_OF_DIALOG\n{{char}}: ahoy!\n"
    )
    file = saved(tmp_path, text, "bo.txt")
    taken = take(file)
    assert taken.format == "examples"
    assert [turns(dialog) for dialog in taken.dialogs] == [
        [(1, "welcome aboard."), (0, "where to?"), (1, "to the end, and beyond.")],
        [(0, "who are you?"), (1, "bo.")],
    ]
    assert taken.omitted == {"descriptive line": 1, "one-turn example": 1}
    assert check(file).dialogues == 2


def test_examples_with_names_have_the_character_in_all_of_them(tmp_path: Path) -> None:
    text = "Bo: ahoy!\nAnn: hi\nEND_OF_DIALOG\nCy: where to?\nBo: home.\nEND_OF_DIALOG\nYou: bye\nBo: bye\n"
    found = [turns(dialog) for dialog in read(saved(tmp_path, text, "bo.txt"))]
    assert found == [[(1, "ahoy!"), (0, "hi")], [(0, "where to?"), (1, "home.")], [(0, "bye"), (1, "bye")]]
    for mark in ("<START>", "{{start}}"):
        text = f"{mark}\n{{{{user}}}}: hi\n{{{{char}}}}: hello\n{mark}\n<user>: who?\n<bot>: bo\n"
        found = [turns(dialog) for dialog in read(saved(tmp_path, text, "bo.txt"))]
        assert found == [[(0, "hi"), (1, "hello")], [(0, "who?"), (1, "bo")]]


CLAUDE = [{"uuid": "m", "text": "hi", "sender": "human"}, {"uuid": "n", "text": "ho", "sender": "assistant"}]
GEMINI = [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "ho"}]}]
CHATGPT = [
    {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}},
    {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["ho"]}},
]


@pytest.mark.parametrize(
    "value",
    [
        [{"uuid": "c", "name": "a chat", "chat_messages": CLAUDE}],
        {"contents": GEMINI},
        [{"conversations": GEMINI}],
        {"messages": CHATGPT},
        {"train": {"0": {"dialog": ["hi", "ho"]}}},
        {"0": {"dialog": ["hi", "ho"]}},
    ],
)
def test_messages_as_assistants_keep_them(tmp_path: Path, value: Any) -> None:
    file = saved(tmp_path, value)
    assert [turns(dialog) for dialog in read(file)] == [[(0, "hi"), (1, "ho")]]
    assert check(file).ok


@pytest.mark.parametrize(
    "value",
    [
        {"dialog": ["hi", "ho"], "your_persona": ["i ski."], "partner's persona": ["i sew."]},
        {"dialogue": "A: hi\nB: ho", "persona_b": "i ski.", "Persona A": ["i sew."]},
        {"prompt": "hi", "completion": "ho", "bot persona": "i ski.", "user_persona": "i sew."},
    ],
)
def test_personas_beside_the_turns_are_kept(tmp_path: Path, value: Any) -> None:
    assert read(saved(tmp_path, value)) == [talk("hi", "ho", persona=["i ski."], partner=["i sew."])]


def test_a_split_has_more_names_than_one(tmp_path: Path) -> None:
    lines = [
        {"set": part, "turns": [{"speaker": 0, "text": "hi"}, {"speaker": 1, "text": part}]}
        for part in ("train", "val")
    ]
    for file in (
        saved(tmp_path, "\n".join(map(json.dumps, lines)), "a.jsonl"),
        saved(tmp_path, "partition,prompt,completion\ntrain,hi,train\nval,hi,val\n", "a.csv"),
    ):
        assert [turns(dialog) for dialog in take(file, Reading(split="valid")).dialogs] == [
            [(0, "hi"), (1, "val")]
        ]
        assert not check(file).warnings


def test_a_tables_turns_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    rows = "conversation_id,turn,speaker,text\n1,10,B,there\n1,9,A,hi\n1,11,A,bye\n2,1,A,b\n2,1,B,a\n"
    first, second = read(saved(tmp_path, rows, "a.csv"))
    assert [text for _, text in turns(first)] == ["hi", "there", "bye"]
    assert [text for _, text in turns(second)] == ["b", "a"]


def test_messages_in_a_cell(tmp_path: Path) -> None:
    cell = '[{""role"": ""system"", ""content"": ""i ski.""}, {""role"": ""user"", ""content"": ""hi"", '
    cell += '""weight"": null}, '
    cell += '{""role"": ""assistant"", ""content"": ""ho""}]'
    assert read(saved(tmp_path, f'messages\n"{cell}"\n', "a.csv")) == [talk("hi", "ho", persona=["i ski."])]


def test_sessions_and_blended_talk(tmp_path: Path) -> None:
    session = {
        "personas": [["i ski."], ["i bake."]],
        "dialog": [{"id": "Speaker 1", "text": "hi again"}, {"id": "Speaker 2", "text": "hello"}],
        "previous_dialogs": [{"dialog": [{"text": "long ago"}]}],
        "metadata": {"session_id": 1},
    }
    unnamed = {
        **session,
        "dialog": [{"text": "hi again"}, {"text": "hello"}],
        "personas": [],
        "init_personas": [[], []],
    }
    file = saved(tmp_path, f"{json.dumps(session)}\n{json.dumps(unnamed)}\n", "train.txt")
    taken = take(file)
    assert taken.format == "parlai-json"
    assert taken.dialogs == [
        talk("hi again", "hello", persona=["i bake."], partner=["i ski."]),
        talk("hi again", "hello"),
    ]
    assert taken.omitted == {"earlier session": 2}
    blended = {
        "personas": [["i ski."], ["i bake."]],
        "context_dataset": "wizard_of_wikipedia",
        "additional_context": "Bread",
        "free_turker_utterance": "what do you do?",
        "guided_turker_utterance": "i bake.",
        "dialog": [[0, "bread?"], [1, "and cake"]],
    }
    (found,) = read(saved(tmp_path, [blended]))
    assert found.turns == talk("what do you do?", "i bake.", "bread?", "and cake").turns
    assert [p.sentences for p in found.personas] == [("i ski.",), ("i bake.",)]
    assert found.labels == {"context": "Bread"}
    odd = {**blended, "dialog": [[0, "hi"], [2, "x"]]}
    assert_refused(saved(tmp_path, [odd]), None, "turn 2: not a speaker and a text")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "dialog,act,emotion\n\"['hi , you .' \"\"it's me .\"\"\n 'a \\'so\\' .']\",[1 2],[0 0]\n"),
        ("a.csv", "id,dialogue,summary\n7,\"Ann: hi , you .\nBo: it's me .\nAnn: a 'so' .\",a greeting\n"),
        ("a.csv", "sep=;\r\nPersona;chat\r\n;\"hi , you .\r\nit's me .\r\na 'so' .\"\r\n"),
    ],
    ids=["dailydialog", "samsum", "sep"],
)
def test_tables_of_chats(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode())
    assert [d.turns for d in read(file)] == [talk("hi , you .", "it's me .", "a 'so' .").turns]


def test_a_line_about_the_delimiter_counts_as_a_line(tmp_path: Path) -> None:
    file = saved(tmp_path, "sep=;\nprompt;completion\nhi;hello\nalone;\n", "a.csv")
    assert_refused(file, None, f"{file}:4: no answer")
