"""Trees of messages: saying, replying, editing, drawing again, going back, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from convai.core.dialog import AGENT, USER
from convai.core.errors import DataError
from convai.store import Conflict, Draft, NotFound, Store
from tests.store.helpers import ANN, Chat, made


@pytest.fixture
def chat(store: Store) -> Chat:
    return Chat(store)


def test_what_was_said_is_there_in_order(chat: Chat, where: str) -> None:
    chat.say("  hi \n there ")
    chat.reply("hello")
    chat.say("how are you?")
    assert chat.shown() == ["hi there", "-hello", "how are you?"]
    with Store(where) as another:
        assert Chat(another, id=chat.id).shown() == ["hi there", "-hello", "how are you?"]


def test_two_servers_may_write_the_same_conversation(chat: Chat, where: str) -> None:
    """Whoever waited for the other one goes on from what is there then."""
    count, failed = 12, list[BaseException]()

    def write() -> None:
        try:
            with Store(where) as own:
                for _ in range(count):
                    own.append_user(ANN, chat.id, "hi")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(chat.shown()) == 4 * count


def test_a_reply_is_whole_only_when_it_is_finished(chat: Chat) -> None:
    chat.say("hi")
    draft = chat.draft()
    assert chat.shown() == ["hi"]
    chat.store.save_draft(ANN, chat.id, draft, "hel")
    assert chat.shown() == ["hi", "-hel_"]
    chat.store.save_draft(ANN, chat.id, draft, " ")
    assert chat.shown() == ["hi", "-hel_"]
    chat.store.finish_reply(
        ANN, chat.id, draft, "hello", details={"candidates": [{"text": "hello", "score": 1.5}]}
    )
    assert chat.shown() == ["hi", "-hello"]
    reply = chat.store.message(ANN, chat.id, draft)
    assert reply.details == {"candidates": [{"text": "hello", "score": 1.5}]}
    assert (reply.speaker, reply.status) == (AGENT, "complete")


def test_drafts_are_saved_many_at_once(store: Store) -> None:
    chats = [Chat(store) for _ in range(5)]
    drafts = []
    for number, chat in enumerate(chats):
        chat.say("hi")
        message = chat.draft()
        drafts.append(Draft(owner=ANN, conversation=chat.id, message=message, text=f"reply {number}"))
    store.finish_reply(ANN, chats[1].id, drafts[1].message, "whole")
    store.drop_reply(ANN, chats[2].id, drafts[2].message)
    store.delete(ANN, chats[3].id)
    store.save_drafts([*drafts[:4], replace(drafts[4], text=" ")])
    assert chats[0].shown() == ["hi", "-reply 0_"]
    assert chats[1].shown() == ["hi", "-whole"]
    assert chats[2].shown() == ["hi"]
    assert chats[4].shown() == ["hi"], "nothing but blanks"
    store.save_drafts([])
    with pytest.raises(DataError):
        store.save_drafts([replace(drafts[0], text="a\x00b")])


def test_what_is_found_in_a_message_is_kept_with_it(chat: Chat) -> None:
    said = chat.say("hi")
    other = Chat(chat.store)
    other.say("later")
    order = [item.id for item in chat.store.find(ANN).items]
    chat.store.mark(ANN, chat.id, said, "emotion", {"emoji": [["❤", 0.5]]})
    chat.store.mark(ANN, chat.id, said, "other", {})
    kept = chat.store.message(ANN, chat.id, said).details
    assert kept == {"marks": {"emotion": {"emoji": [["❤", 0.5]]}, "other": {}}}
    assert [item.id for item in chat.store.find(ANN).items] == order
    draft = chat.draft()
    chat.store.mark(ANN, chat.id, draft, "emotion", {})
    chat.store.finish_reply(ANN, chat.id, draft, "hello", details={"reason": "stop"})
    chat.store.mark(ANN, chat.id, draft, "emotion", {"emotions": {"joy": 1.0}})
    kept = chat.store.message(ANN, chat.id, draft).details
    assert kept == {"reason": "stop", "marks": {"emotion": {"emotions": {"joy": 1.0}}}}


def test_a_stopped_reply_can_be_gone_on_with(chat: Chat) -> None:
    chat.say("hi")
    draft = chat.draft()
    chat.store.finish_reply(ANN, chat.id, draft, "hel", status="interrupted")
    assert chat.shown() == ["hi", "-hel..."]
    assert chat.store.continue_reply(ANN, chat.id).message == draft
    assert chat.shown() == ["hi", "-hel_"]
    chat.store.finish_reply(ANN, chat.id, draft, "hello")
    assert chat.shown() == ["hi", "-hello"]


def test_a_dropped_draft_is_gone_and_one_that_had_been_saved_is_interrupted(chat: Chat) -> None:
    user = chat.say("hi")
    assert chat.store.drop_reply(ANN, chat.id, chat.draft()) == user
    assert [m.text for m in chat.store.tree(ANN, chat.id)] == ["hi"]
    draft = chat.draft()
    chat.store.save_draft(ANN, chat.id, draft, "hel")
    assert chat.store.drop_reply(ANN, chat.id, draft) == draft
    assert chat.shown() == ["hi", "-hel..."]
    chat.store.continue_reply(ANN, chat.id)
    chat.store.drop_reply(ANN, chat.id, draft)
    assert chat.shown() == ["hi", "-hel..."]


def test_a_draft_of_a_store_that_died_is_interrupted_or_gone(chat: Chat, where: str) -> None:
    chat.say("hi")
    saved = chat.draft()
    chat.store.save_draft(ANN, chat.id, saved, "hel")
    other = Chat(chat.store)
    other.say("hi")
    empty = other.draft()
    with Store(where) as later:
        assert Chat(later, id=chat.id).shown() == ["hi", "-hel..."]
        assert Chat(later, id=other.id).shown() == ["hi"]
        with pytest.raises(NotFound):
            later.message(ANN, other.id, empty)
        with pytest.raises(Conflict, match="not being written here"):
            later.finish_reply(ANN, chat.id, saved, "hello")
        assert made(later.begin_reply(ANN, other.id).message) != empty
        assert len(later.tree(ANN, other.id)) == 2
        later.append_user(ANN, chat.id, "go on")
        assert Chat(later, id=chat.id).shown() == ["hi", "-hel...", "go on"]
    with pytest.raises(Conflict):  # it was taken away meanwhile
        chat.store.finish_reply(ANN, chat.id, saved, "hello")


def test_another_reply_stands_beside_the_first(chat: Chat) -> None:
    chat.say("hi")
    first = chat.reply("hello")
    draft = made(chat.store.regenerate(ANN, chat.id).message)
    assert chat.shown() == ["hi", "-hello"]
    chat.store.finish_reply(ANN, chat.id, draft, "hey")
    assert chat.shown() == ["hi", "-hey"]
    second = chat.store.message(ANN, chat.id, draft)
    assert (second.index, second.siblings, second.previous, second.next) == (1, 2, first, None)
    assert chat.store.switch(ANN, chat.id, first).message == first
    assert chat.shown() == ["hi", "-hello"]
    assert chat.store.message(ANN, chat.id, first).next == draft


def test_a_dropped_second_reply_leaves_the_first_in_its_place(chat: Chat) -> None:
    chat.say("hi")
    chat.reply("hello")
    draft = made(chat.store.regenerate(ANN, chat.id).message)
    chat.store.drop_reply(ANN, chat.id, draft)
    assert chat.shown() == ["hi", "-hello"]


def test_regenerate_answers_a_message_without_a_reply(chat: Chat) -> None:
    user = chat.say("hi")
    draft = made(chat.store.regenerate(ANN, chat.id).message)
    assert chat.store.message(ANN, chat.id, draft).parent == user


def test_editing_makes_a_branch_and_keeps_the_old_one(chat: Chat) -> None:
    first = chat.say("hi")
    chat.reply("hello")
    last = chat.say("bye")
    edited = made(chat.store.edit(ANN, chat.id, first, "good morning").message)
    assert chat.shown() == ["good morning"]
    chat.reply("and to you")
    assert chat.store.message(ANN, chat.id, edited).previous == first
    assert chat.store.switch(ANN, chat.id, first).message == last
    assert chat.shown() == ["hi", "-hello", "bye"]
    assert len(chat.store.tree(ANN, chat.id)) == 5


def test_a_reply_can_be_edited_too(chat: Chat) -> None:
    chat.say("hi")
    reply = chat.reply("hello")
    chat.store.edit(ANN, chat.id, reply, "howdy")
    assert chat.shown() == ["hi", "-howdy"]


def test_undo_goes_back_before_the_last_thing_the_user_said(chat: Chat) -> None:
    chat.say("hi")
    reply = chat.reply("hello")
    said = chat.say("bye")
    chat.reply("see you")
    assert chat.store.undo(ANN, chat.id).message == reply
    assert chat.shown() == ["hi", "-hello"]
    chat.store.undo(ANN, chat.id)
    assert chat.shown() == []
    with pytest.raises(Conflict, match="nothing to take back"):
        chat.store.undo(ANN, chat.id)
    chat.store.switch(ANN, chat.id, said)
    assert chat.shown() == ["hi", "-hello", "bye", "-see you"]


def test_switch_goes_to_the_newest_end(chat: Chat) -> None:
    root = chat.say("a")
    chat.reply("b")
    chat.say("c")
    chat.store.undo(ANN, chat.id)
    newest = chat.say("d")
    chat.store.edit(ANN, chat.id, root, "e")
    assert chat.store.switch(ANN, chat.id, root).message == newest
    assert chat.shown() == ["a", "-b", "d"]


def test_a_message_for_another_end_is_refused(chat: Chat) -> None:
    chat.store.append_user(ANN, chat.id, "hi", after=None)
    reply = chat.reply("hello")
    chat.store.append_user(ANN, chat.id, "fine", after=reply)
    for stale in (None, reply):
        with pytest.raises(Conflict, match="moved on"):
            chat.store.append_user(ANN, chat.id, "too late", after=stale)
    assert chat.shown() == ["hi", "-hello", "fine"]


def test_while_a_reply_is_written_nothing_else_happens_to_the_tree(chat: Chat) -> None:
    user = chat.say("hi")
    reply = chat.reply("hello")
    draft = made(chat.store.regenerate(ANN, chat.id).message)
    store, id = chat.store, chat.id
    refused: list[Callable[[], object]] = [
        lambda: store.append_user(ANN, id, "x"),
        lambda: store.append_reply(ANN, id, "x"),
        lambda: store.begin_reply(ANN, id),
        lambda: store.regenerate(ANN, id),
        lambda: store.continue_reply(ANN, id, reply),
        lambda: store.edit(ANN, id, user, "x"),
        lambda: store.undo(ANN, id),
        lambda: store.switch(ANN, id, reply),
    ]
    for operation in refused:
        with pytest.raises(Conflict, match="a reply is being written"):
            operation()
    store.finish_reply(ANN, id, draft, "hey")
    assert chat.shown() == ["hi", "-hey"]


@pytest.mark.parametrize("text", ["", "  \n", "a\x00b", "x" * 100_001, "\ud800"])
def test_what_is_no_message_is_refused_and_changes_nothing(chat: Chat, text: str) -> None:
    user = chat.say("hi")
    draft = chat.draft()
    for operation in (
        lambda: chat.store.append_user(ANN, chat.id, text),
        lambda: chat.store.edit(ANN, chat.id, user, text),
        lambda: chat.store.finish_reply(ANN, chat.id, draft, text),
    ):
        with pytest.raises(DataError):
            operation()
    assert chat.shown() == ["hi"]


def test_what_cannot_be_is_refused(chat: Chat) -> None:
    store, id = chat.store, chat.id
    with pytest.raises(Conflict, match="say something first"):
        store.regenerate(ANN, id)
    with pytest.raises(Conflict, match="say something first"):
        store.continue_reply(ANN, id)
    user = chat.say("hi")
    reply = chat.reply("hello")
    with pytest.raises(Conflict, match="last message is a reply"):
        store.begin_reply(ANN, id)
    with pytest.raises(Conflict, match="only a reply"):
        store.continue_reply(ANN, id, user)
    with pytest.raises(Conflict, match="not being written here"):
        store.finish_reply(ANN, id, reply, "x")
    chat.say("more")
    with pytest.raises(Conflict, match="said after this reply"):
        store.continue_reply(ANN, id, reply)
    assert chat.shown() == ["hi", "-hello", "more"]


def test_the_agent_may_speak_first(chat: Chat) -> None:
    draft = chat.draft()
    chat.store.finish_reply(ANN, chat.id, draft, "welcome")
    chat.say("thanks")
    assert chat.shown() == ["-welcome", "thanks"]


def test_a_message_knows_the_persona_it_was_said_under(chat: Chat) -> None:
    from convai.core.dialog import Persona

    user = chat.say("hi")
    chat.store.set_persona(ANN, chat.id, Persona(("i bake.",)))
    reply = chat.reply("hello")
    assert chat.store.message(ANN, chat.id, user).persona == 1
    assert chat.store.message(ANN, chat.id, reply).persona == 2
    assert chat.store.message(ANN, chat.id, user).speaker == USER


def test_the_end_of_a_long_branch(chat: Chat) -> None:
    ids = [chat.say(f"line {i}") for i in range(7)]
    path, earlier = chat.store.branch(ANN, chat.id, limit=3)
    assert ([m.text for m in path], earlier) == (["line 4", "line 5", "line 6"], 4)
    path, earlier = chat.store.branch(ANN, chat.id, until=ids[3], limit=2)
    assert ([m.text for m in path], earlier) == (["line 2", "line 3"], 2)
    path, earlier = chat.store.branch(ANN, chat.id, limit=7)
    assert (len(path), earlier) == (7, 0)


def test_first_messages_are_siblings_too(chat: Chat) -> None:
    first = chat.say("a")
    chat.store.undo(ANN, chat.id)
    second = chat.say("b")
    message = chat.store.message(ANN, chat.id, second)
    assert (message.index, message.siblings, message.previous) == (1, 2, first)
