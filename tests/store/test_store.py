"""Whole conversations: made, found, renamed, given another persona, deleted; an owner's are nobody else's."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from convai.core.dialog import Persona
from convai.core.errors import ConvaiError, DataError
from convai.store import Draft, NotFound, Store, StoreError
from tests.store.helpers import ANN, BOB, Chat, made

NURSE = Persona(("i am a nurse.", "i have two dogs."), "Ann")


def titles(store: Store, **options: Any) -> list[str]:
    return [item.title for item in store.find(ANN, **options).items]


def test_a_new_conversation(store: Store) -> None:
    settings = {"top_p": 0.9, "seed": None}
    id = store.create(ANN, persona=NURSE, settings=settings, title=" my \n chat ").conversation
    found = store.load(ANN, id)
    assert (found.persona, found.persona_version) == (NURSE, 1)
    assert (found.settings, found.title, found.leaf) == ({"top_p": 0.9, "seed": None}, "my chat", None)
    assert found.created == found.updated > 1_700_000_000_000


def test_personas_are_kept_by_version(store: Store) -> None:
    id = store.create(ANN, persona=NURSE).conversation
    baker = Persona(("i bake.",))
    for persona in (NURSE, baker, baker, NURSE):  # the same one again is no new version
        store.set_persona(ANN, id, persona)
    assert store.load(ANN, id).persona == NURSE
    assert store.personas(ANN, id) == {1: NURSE, 2: baker, 3: NURSE}
    with pytest.raises(DataError, match="persona sentence 2"):
        store.set_persona(ANN, id, Persona(("ok.", " ")))


def test_settings_and_title(store: Store) -> None:
    chat = Chat(store)
    store.set_settings(ANN, chat.id, {"temperature": 0.5})
    assert store.load(ANN, chat.id).settings == {"temperature": 0.5}
    chat.say("what do you do for a living?")
    assert titles(store) == ["what do you do for a living?"]
    store.rename(ANN, chat.id, "work")
    assert titles(store) == ["work"]
    store.rename(ANN, chat.id, " ")
    assert titles(store) == ["what do you do for a living?"]
    store.rename(ANN, chat.id, "x" * 1000)
    assert titles(store) == ["x" * 200]


@pytest.mark.parametrize("settings", [{"a": math.nan}, {"a": object()}, {"a": "x" * 2_000_000}])
def test_what_is_no_json_is_refused(store: Store, settings: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="settings"):
        store.create(ANN, settings=settings)
    assert store.find(ANN).items == ()


@pytest.mark.parametrize("clock", ["runs", "stands", "is set back"])
def test_the_list_is_the_latest_first_and_comes_in_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """Whatever the clock does: that of a fast machine has one tick for many changes."""
    ticks = {
        "stands": itertools.repeat(1_700_000_000_000),
        "is set back": itertools.count(1_700_000_000_000, -1),
    }
    if clock in ticks:
        monkeypatch.setattr("convai.store.writer.now", lambda: next(ticks[clock]))
        monkeypatch.setattr("convai.store.conversations.now", lambda: next(ticks[clock]))
        monkeypatch.setattr("convai.store.replies.now", lambda: next(ticks[clock]))
    chats = [Chat(store) for _ in range(5)]
    for number, chat in enumerate(chats):
        chat.say(f"chat {number}")
    chats[1].reply("the last word")
    page = store.find(ANN, limit=2)
    assert page.more
    assert page.items[0].title == "chat 1"
    seen = list(page.items)
    while page.more:
        page = store.find(ANN, after=page.items[-1].id, limit=2)
        seen += page.items
    assert [item.title for item in seen] == [f"chat {number}" for number in (1, 4, 3, 2, 0)]
    assert (seen[0].preview, seen[0].messages, seen[0].updated) == (
        "the last word",
        2,
        store.load(ANN, chats[1].id).updated,
    )
    for limit in (0, 1001):
        with pytest.raises(StoreError, match="use 1 to 1000"):
            store.find(ANN, limit=limit)


def test_a_draft_that_is_saved_makes_its_conversation_the_latest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_000_000)
    first, second, third = (Chat(store) for _ in range(3))
    for number, chat in enumerate((first, second, third)):
        chat.say(f"chat {number}")
    drafts = [
        Draft(owner=ANN, conversation=chat.id, message=chat.draft(), text="so far")
        for chat in (second, first)
    ]
    for draft in drafts:  # of those that are saved in one moment none is the later one
        store.save_drafts([draft])
    assert titles(store) == ["chat 0", "chat 1", "chat 2"]
    store.create(BOB)
    assert store.find(BOB).items[0].updated == 1_700_000_000_000  # another owner's do not count


def test_search_wants_every_word_in_any_case_and_any_message(store: Store) -> None:
    dogs, cats = Chat(store), Chat(store)
    dogs.say("I have two Dogs")
    dogs.reply("How old are they? ÄPFEL")
    cats.say("I have 100% cats_and \\ more")
    store.rename(ANN, cats.id, "Pets")
    assert titles(store, search="dogs OLD") == ["I have two Dogs"]
    assert titles(store, search="äpfel") == ["I have two Dogs"]
    assert titles(store, search="have")[0] in ("Pets", "I have two Dogs")
    assert len(titles(store, search="have")) == 2
    assert titles(store, search="pets cats") == ["Pets"]
    assert titles(store, search="100%") == ["Pets"]
    assert titles(store, search="s_a") == ["Pets"]
    assert titles(store, search="\\") == ["Pets"]
    assert titles(store, search="1%0") == []
    assert titles(store, search="dogs cats") == []
    assert titles(store, search="\x00'; drop table messages") == []
    assert len(titles(store, search="  ")) == 2


def test_deleted_is_deleted_with_all_that_belongs_to_it(store: Store) -> None:
    chat, other = Chat(store), Chat(store)
    chat.say("a secret")
    other.say("stays")
    store.delete(ANN, chat.id)
    assert titles(store) == ["stays"]
    assert titles(store, search="secret") == []
    with pytest.raises(NotFound):
        store.load(ANN, chat.id)
    with store.database.read() as connection:
        for table in ("messages", "personas"):
            rows = connection.exec_driver_sql(f"SELECT conversation FROM {table}").scalars().all()
            assert set(rows) == {other.id}


def test_a_conversation_of_thousands_of_messages_in_a_row_can_be_read_and_deleted(store: Store) -> None:
    """Deeper than SQLite recurses for a cascade."""
    turns = "".join(f"user: line {i}\n" for i in range(3000))
    id = store.import_text(ANN, turns, "x").conversation
    path, earlier = store.branch(ANN, id, limit=10)
    assert (path[-1].text, len(path), earlier) == ("line 2999", 10, 2990)
    assert store.switch(ANN, id, made(path[0].parent)).message == path[-1].id
    store.delete(ANN, id)
    assert store.find(ANN).items == ()


def test_one_owner_never_reaches_anothers(store: Store) -> None:
    """Every operation, with the right ids and the wrong owner, and with a message of another conversation."""
    chat, own = Chat(store), Chat(store, BOB)
    user = chat.say("ann's secret")
    own.say("bob's own")
    draft = chat.draft()
    before = (store.export_json(ANN, chat.id), store.find(ANN))

    def attempts(owner: str, id: str) -> list[Callable[[], object]]:
        return [
            lambda: store.load(owner, id),
            lambda: store.branch(owner, id, until=user),
            lambda: store.message(owner, id, user),
            lambda: store.switch(owner, id, user),
            lambda: store.edit(owner, id, user, "x"),
            lambda: store.regenerate(owner, id, user),
            lambda: store.continue_reply(owner, id, draft),
            lambda: store.save_draft(owner, id, draft, "x"),
            lambda: store.finish_reply(owner, id, draft, "x"),
            lambda: store.drop_reply(owner, id, draft),
            lambda: store.mark(owner, id, user, "emotion", {}),
        ]

    whole: list[Callable[[], object]] = [
        lambda: store.branch(BOB, chat.id),
        lambda: store.tree(BOB, chat.id),
        lambda: store.replies(BOB, chat.id, user),
        lambda: store.personas(BOB, chat.id),
        lambda: store.append_user(BOB, chat.id, "x"),
        lambda: store.append_reply(BOB, chat.id, "x"),
        lambda: store.say(BOB, chat.id, "x"),
        lambda: store.begin_reply(BOB, chat.id),
        lambda: store.regenerate(BOB, chat.id),
        lambda: store.continue_reply(BOB, chat.id),
        lambda: store.undo(BOB, chat.id),
        lambda: store.set_persona(BOB, chat.id, NURSE),
        lambda: store.set_settings(BOB, chat.id, {}),
        lambda: store.rename(BOB, chat.id, "x"),
        lambda: store.delete(BOB, chat.id),
        lambda: store.export_json(BOB, chat.id),
        lambda: store.export_text(BOB, chat.id),
        lambda: store.find(BOB, after=chat.id),
    ]
    mixed = {"conversation": chat.id, "message": draft, "text": "x"}
    store.save_drafts([Draft(owner=BOB, **mixed), Draft(owner=BOB, **{**mixed, "conversation": own.id})])
    for attempt in [*whole, *attempts(BOB, chat.id), *attempts(BOB, own.id)[1:]]:
        with pytest.raises(NotFound, match=r"there is no (conversation|message)"):
            attempt()
    assert (store.export_json(ANN, chat.id), store.find(ANN)) == before
    assert [item.title for item in store.find(BOB).items] == ["bob's own"]
    assert store.names(BOB) == [own.id]
    assert store.find(BOB, search="secret").items == ()
    store.delete_person(BOB)
    assert store.find(BOB).items == ()
    assert (store.export_json(ANN, chat.id), store.find(ANN)) == before


def test_every_operation_on_a_conversation_is_among_those_that_were_tried(store: Store) -> None:
    """So that a new one cannot be forgotten in the test above."""
    import inspect

    test = inspect.getsource(test_one_owner_never_reaches_anothers)
    public = [name for name, _ in inspect.getmembers(store, inspect.ismethod) if not name.startswith("_")]
    assert len(public) > 20
    free = {"at_one_moment", "close", "create", "import_json", "import_text", "together"}
    assert [name for name in public if name not in free and f"store.{name}(" not in test] == []


@pytest.mark.parametrize("id", ["", "nonsuch", "x" * 100, "a\x00b", "\ud800", "'; --", "é"])
def test_names_that_cannot_be_are_not_found(store: Store, id: str) -> None:
    chat = Chat(store)
    for attempt in (lambda: store.load(ANN, id), lambda: store.message(ANN, chat.id, id)):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.parametrize("owner", ["", "a\x00", "\ud800", "x" * 201, "two\nlines"])
def test_an_owner_is_a_printable_key(store: Store, owner: str) -> None:
    with pytest.raises(StoreError, match="owner's key"):
        store.create(owner)
    with pytest.raises(ConvaiError):
        store.find(owner)
    with pytest.raises(NotFound):
        store.load(owner, Chat(store).id)


class TestRequests:
    def test_a_request_is_done_once(self, store: Store, where: str) -> None:
        first = store.create(ANN, request="r1")
        assert not first.again
        again = store.create(ANN, request="r1")
        assert (again.conversation, again.again) == (first.conversation, True)
        said = store.append_user(ANN, first.conversation, "hi", request="r2")
        with Store(where) as after_a_restart:
            repeated = after_a_restart.append_user(ANN, first.conversation, "hi", request="r2")
        assert (repeated.message, repeated.again) == (said.message, True)
        assert Chat(store, id=first.conversation).shown() == ["hi"]
        assert store.message(ANN, first.conversation, made(said.message)).request == "r2"

    def test_so_is_what_would_do_more_each_time(self, store: Store) -> None:
        chat = Chat(store)
        for text in "abc":
            chat.say(text)
        for _ in range(2):
            store.undo(ANN, chat.id, request="u")
        assert chat.shown() == ["a", "b"]
        drafts = {store.begin_reply(ANN, chat.id, request="d").message for _ in range(2)}
        assert len(drafts) == 1
        for _ in range(2):
            store.delete(ANN, chat.id, request="x")

    def test_what_was_refused_can_be_asked_again(self, store: Store) -> None:
        chat = Chat(store)
        with pytest.raises(NotFound):
            store.switch(ANN, chat.id, "nonsuch", request="r")
        assert not store.append_user(ANN, chat.id, "hi", request="r").again

    def test_names_are_an_owners_own(self, store: Store) -> None:
        first, second = store.create(ANN, request="r"), store.create(BOB, request="r")
        assert first.conversation != second.conversation
        assert not second.again

    @pytest.mark.parametrize("name", ["", "a b", "x" * 65, "\x00"])
    def test_a_name_is_short(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError, match="request's name"):
            store.create(ANN, request=name)

    def test_old_ones_are_forgotten(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with Store(where) as store:
            first = store.create(ANN, request="r")
        monkeypatch.setattr("convai.store.writer.now", lambda: 4_000_000_000_000)
        with Store(where) as store:
            assert store.create(ANN, request="r").conversation != first.conversation

    def test_the_same_one_from_many_threads_at_once(self, store: Store) -> None:
        together = threading.Barrier(8)
        made_ids: list[str] = []

        def ask() -> None:
            together.wait()
            made_ids.append(store.create(ANN, request="r").conversation)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made_ids) == 8
        assert len(set(made_ids)) == 1
        assert len(store.find(ANN).items) == 1


def test_many_threads_write_and_read(store: Store) -> None:
    """Nothing is lost, nothing gets into another's conversation, and readers see whole branches."""
    chats = [Chat(store, f"owner{i}") for i in range(6)]
    wrong: list[object] = []
    done = threading.Event()

    def write(number: int) -> None:
        try:
            for i in range(8):
                chats[number].say(f"word{number} line {i}")
                chats[number].reply(f"word{number} reply {i}")
        except BaseException as error:
            wrong.append(error)

    def read() -> None:
        try:
            while not done.is_set():
                for number, chat in enumerate(chats):
                    lines = chat.shown()
                    wrong.extend(line for line in lines if f"word{number} " not in line)
                    wrong.extend(store.find(BOB).items)
        except BaseException as error:
            wrong.append(error)

    writers = [threading.Thread(target=write, args=(i,)) for i in range(6)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    for number, chat in enumerate(chats):
        assert chat.shown() == [
            line for i in range(8) for line in (f"word{number} line {i}", f"-word{number} reply {i}")
        ]
