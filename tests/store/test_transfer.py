"""What is exported is imported the same; what is no export is refused by its place, and leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.conversation.saved import ChatSettings, loads
from convai.conversation.session import Session
from convai.core.dialog import AGENT, Persona
from convai.core.errors import DataError
from convai.store import Store
from convai.store.transfer import from_text
from convai.text.corpora import iter_dialogs
from tests.chatting import ScriptedEngine, tiny_agent
from tests.store.helpers import ANN, BOB, Chat, made
from tests.text.corpora.test_json_text import JSON

NURSE = Persona(("i am a nurse.", "i have two dogs."), "Ann")


@pytest.fixture
def chat(store: Store) -> Chat:
    """Two branches, two personas, a reply that was stopped."""
    id = store.create(ANN, persona=NURSE, settings={"top_p": 0.9, "seed": None}, title="dogs").conversation
    chat = Chat(store, id=id)
    first = chat.say("do you have pets?")
    chat.store.append_reply(ANN, id, "yes, two", status="interrupted", details={"score": 1.5, "a": "\ud800"})
    store.edit(ANN, id, first, "hällo 👋")
    chat.reply("hi")
    store.set_persona(ANN, id, Persona(("i bake.",)))
    chat.say("bye")
    return chat


def exported(store: Store, owner: str, id: str) -> dict[str, Any]:
    return whole(store.export_json(owner, id))


def whole(text: str) -> dict[str, Any]:
    """All of a conversation in the line of a file."""
    value: dict[str, Any] = json.loads(text)["labels"]["conversation"]
    return value


def shape(value: dict[str, Any]) -> dict[str, Any]:
    """An export with ids by order, and without the time of the import."""
    order = {message["id"]: i for i, message in enumerate(value["messages"])}
    messages = [
        message | {"id": order[message["id"]], "parent": order.get(message["parent"])}
        for message in value["messages"]
    ]
    return value | {"messages": messages, "leaf": order.get(value["leaf"]), "created": 0, "updated": 0}


def test_a_round_trip_keeps_everything_but_the_ids(chat: Chat) -> None:
    store = chat.store
    text = store.export_json(ANN, chat.id)
    text.encode()
    copy = store.import_json(BOB, text, "file").conversation
    assert shape(exported(store, BOB, copy)) == shape(whole(text))
    assert Chat(store, BOB, copy).shown() == chat.shown()
    assert store.load(BOB, copy).persona == Persona(("i bake.",))
    assert store.personas(BOB, copy) == store.personas(ANN, chat.id)
    ids = {message.id for message in store.tree(ANN, chat.id)}
    assert not ids & {message.id for message in store.tree(BOB, copy)}
    Chat(store, BOB, copy).reply("and it goes on")


def test_an_import_never_touches_what_is_there(chat: Chat) -> None:
    before = chat.store.export_json(ANN, chat.id)
    chat.store.import_json(ANN, before, "file")
    assert chat.store.export_json(ANN, chat.id) == before
    assert len(chat.store.find(ANN).items) == 2


def test_a_request_imports_once(chat: Chat) -> None:
    text = chat.store.export_json(ANN, chat.id)
    ids = {chat.store.import_json(BOB, text, "file", request="r").conversation for _ in range(2)}
    assert len(ids) == 1


def test_a_reply_that_is_being_written_is_exported_as_interrupted(chat: Chat) -> None:
    draft = chat.draft()
    assert len(exported(chat.store, ANN, chat.id)["messages"]) == 5
    chat.store.save_draft(ANN, chat.id, draft, "see")
    last = exported(chat.store, ANN, chat.id)["messages"][-1]
    assert (last["text"], last["status"]) == ("see", "interrupted")


def test_text_is_the_branch_and_is_read_as_a_dialogue(chat: Chat, tmp_path: Path) -> None:
    chat.reply("see you: soon")
    text = chat.store.export_text(ANN, chat.id)
    assert text == "persona: i bake.\nuser: hällo 👋\nagent: hi\nuser: bye\nagent: see you: soon\n"
    file = tmp_path / "chat.txt"
    file.write_text(text, encoding="utf-8")
    (dialog,) = iter_dialogs(file)
    assert [turn.text for turn in dialog.turns] == ["hällo 👋", "hi", "bye", "see you: soon"]
    copy = chat.store.import_text(BOB, "\ufeff" + text.replace("\n", "\r\n"), "chat.txt").conversation
    assert chat.store.export_text(BOB, copy) == text
    assert chat.store.find(BOB).items[0].title == "hällo 👋"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "chat.txt:1: no dialogue"),
        ("hi", "chat.txt:1: a dialogue with one turn"),
        ("hi\nhello\n\nhi\nhello\n", "chat.txt:4: a second dialogue"),
        ("hi\nhel\x00lo\n", "chat.txt:2: control characters"),
        ("x" * 33_554_433, "over 33,554,432 characters"),
    ],
)
def test_what_is_no_text_of_a_conversation(text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        from_text(text, "chat.txt")
    assert says in str(caught.value)


GOOD: dict[str, Any] = {
    "format": "convai.conversation",
    "version": 1,
    "title": "t",
    "created": 1,
    "updated": 2,
    "settings": {"top_p": 0.9},
    "persona": 2,
    "leaf": "b",
    "personas": [
        {"version": 1, "name": "Ann", "sentences": ["i bake."]},
        {"version": 2, "name": "", "sentences": []},
    ],
    "messages": [
        {
            "id": "a",
            "parent": None,
            "speaker": 0,
            "text": "hi",
            "status": "complete",
            "persona": 1,
            "created": 5,
        },
        {"id": "b", "parent": "a", "speaker": 1, "text": "hello", "status": "interrupted", "persona": 2},
    ],
}


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(json.dumps(GOOD))
    change(value)
    return json.dumps(value)


def message(**values: Any) -> str:
    """The good one, but for some fields of its first message."""
    return changed(lambda value: value["messages"][0].update(values))


def test_the_least_that_is_enough() -> None:
    found, _ = loads('\ufeff{"format": "convai.conversation", "version": 1, "messages": []}', "f")
    assert (found.messages, found.leaf, found.personas, found.title) == ((), None, {1: Persona()}, "")
    found, settings = loads(json.dumps(GOOD), "f")
    assert settings == ChatSettings(decoding={"top_p": 0.9})
    assert [(message.id, message.parent, message.interrupted) for message in found.messages] == [
        ("a", None, False),
        ("b", "a", True),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "f: malformed JSON"),
        ("[]", "f: expected an object, found a list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": "other"}', "f: no exported conversation"),
        (changed(lambda v: v.update(version=2)), "exported by a later convai (version 2)"),
        (changed(lambda v: v.update(version=True)), "f, version is True; use a whole number"),
        (changed(lambda v: v.update(colour=1)), 'unknown field "colour"'),
        (changed(lambda v: v.pop("messages")), "'messages' is null"),
        (changed(lambda v: v.update(title=3)), "f, title: expected text"),
        (changed(lambda v: v.update(leaf="c")), "f, leaf: there is no such message"),
        (changed(lambda v: v.update(leaf=["a"])), "f, leaf: there is no such message"),
        (changed(lambda v: v.update(persona=3)), "f, persona: there is no version 3"),
        (changed(lambda v: v.update(settings={"top_p": 2})), "f, settings: top_p=2"),
        (changed(lambda v: v.update(settings={"nonsuch": 2})), "f, settings: there is no setting 'nonsuch'"),
        (changed(lambda v: v["personas"].append(v["personas"][0])), "f, persona 3: a second version 1"),
        (changed(lambda v: v["personas"][0].update(name=1)), "f, persona 1, name: expected text"),
        (
            changed(lambda v: v["personas"][0].update(sentences=[""])),
            "persona 1, persona sentence 1: empty",
        ),
        (
            changed(lambda v: v["messages"].append(v["messages"][0])),
            "message 3: a second one with the id 'a'",
        ),
        (changed(lambda v: v["messages"].reverse()), "f, message 1, parent: no message before this one"),
        (message(parent="a"), "f, message 1, parent: no message before"),
        (message(parent={}), "f, message 1, parent: no message before"),
        (message(speaker=2), "f, message 1, speaker: use 0 for the user"),
        (message(speaker=False), "f, message 1, speaker: use 0"),
        (message(id=""), "f, message 1, id: expected a name"),
        (message(text=" "), "f, message 1: empty text"),
        (
            changed(lambda v: v["messages"][0].update(status="streaming")),
            "f, message 1, status: use complete",
        ),
        (
            changed(lambda v: v["messages"][0].update(status=["complete"])),
            "f, message 1, status: use complete",
        ),
        (
            changed(lambda v: v["messages"][0].update(persona=9)),
            "f, message 1, persona: there is no version 9",
        ),
        (message(created=-1), "f, message 1, created is "),
        (
            changed(lambda v: v["messages"][0].update(created=2**63)),
            "f, message 1, created is ",
        ),
        (message(details=[]), "f, message 1, details: expected an object"),
        (message(extra=1), 'f, message 1: unknown field "extra"'),
        (changed(lambda v: v.update(messages=[{}] * 20_001)), "f: 20,001 messages; at most 20,000"),
        ("x" * 33_554_433, "over 33,554,432 characters"),
    ],
)
def test_what_is_no_export_is_refused_by_its_place(text: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        loads(text, "f")
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_refused_leaves_nothing(store: Store) -> None:
    with pytest.raises(DataError):
        store.import_json(ANN, changed(lambda v: v.update(leaf="c")), "f")
    assert store.find(ANN).items == ()


@given(st.data())
def test_damaged_exports_are_refused_or_imported_never_a_crash(data: st.DataObject) -> None:
    value: Any = json.loads(json.dumps(GOOD))
    for _ in range(data.draw(st.integers(1, 3))):
        place = value
        while isinstance(place, dict | list) and place:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            key = data.draw(st.sampled_from(list(keys)))
            if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
                place[key] = data.draw(JSON)
                break
            place = place[key]
    try:
        found, _ = loads(json.dumps(value), "f")
    except DataError as error:
        line = str(error)
    else:
        line = "f"
        known: set[str | None] = {None}
        for message in found.messages:
            assert message.parent in known
            known.add(message.id)
    assert line.startswith("f")
    assert len(line.splitlines()) == 1


def test_details_survive_whatever_text_they_hold(chat: Chat) -> None:
    interrupted = next(m for m in chat.store.tree(ANN, chat.id) if m.status == "interrupted")
    assert interrupted.details == {"score": 1.5, "a": "\ud800"}
    copy = chat.store.import_json(BOB, chat.store.export_json(ANN, chat.id), "f").conversation
    path, _ = chat.store.branch(BOB, copy)
    root = made(path[0].previous)
    assert chat.store.message(BOB, copy, root).text == "do you have pets?"
    texts = {m.text: m.details for m in chat.store.tree(BOB, copy)}
    assert texts["yes, two"] == interrupted.details


def test_the_terminal_opens_what_the_page_exported(chat: Chat, tmp_path: Path) -> None:
    chat.store.set_settings(ANN, chat.id, {"top_p": 0.3, "seed": 4})
    (tmp_path / "chat.json").write_text(chat.store.export_json(ANN, chat.id))
    session = Session(tiny_agent(), ScriptedEngine("so long"))  # type: ignore[arg-type]
    session.load(tmp_path / "chat.json")
    assert [turn.text for turn in session.turns] == ["hällo 👋", "hi", "bye"]
    assert (session.persona, session.seed, session.decoding.top_p) == (Persona(("i bake.",)), 4, 0.3)
    assert session.max_history == session.agent.max_history
    list(session.regenerate())
    assert session.turns[-1].text == "so long"


@pytest.mark.parametrize("indent", [None, 1])
def test_the_terminal_opens_what_the_page_exported_before(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "chat.json").write_text(json.dumps(GOOD, indent=indent))
    session = Session(tiny_agent(), ScriptedEngine())  # type: ignore[arg-type]
    session.load(tmp_path / "chat.json")
    assert [turn.text for turn in session.turns] == ["hi", "hello"]


def test_the_page_opens_what_the_terminal_saved(store: Store, tmp_path: Path) -> None:
    """With every branch, and the seed in use, so that another reply is the terminal's next one."""
    session = Session(tiny_agent(seed=None), ScriptedEngine("a", "b", "c", "d"), NURSE)  # type: ignore[arg-type]
    session.answer("hi")
    list(session.regenerate())
    session.answer("and?")
    session.undo()
    session.save(tmp_path / "chat.jsonl")
    id = store.import_json(ANN, (tmp_path / "chat.jsonl").read_text(), "chat.jsonl").conversation
    assert Chat(store, ANN, id).shown() == ["hi", "-b"]
    path, _ = store.branch(ANN, id)
    assert store.replies(ANN, id, path[0].id) == (2, ["a", "b"])
    assert sorted(message.text for message in store.tree(ANN, id) if message.speaker == AGENT) == [
        "a",
        "b",
        "c",
    ]
    conversation = store.load(ANN, id)
    assert (conversation.settings["seed"], conversation.persona) == (session.seed, NURSE)
