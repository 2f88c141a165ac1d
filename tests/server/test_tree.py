"""A conversation is a tree: branches, siblings, undo; and everybody who has it open sees the same."""

from __future__ import annotations

from convai.server.protocol.answers import Conversations, Earlier
from convai.server.protocol.changes import DecodingSet, Deleted, Path, PersonaSet, State, TitleSet
from tests.server.serving import Chat, Running


def opened_again(server: Running, chat: Chat) -> list[object]:
    """The messages as somebody sees them who opens the conversation now."""
    with server.chat() as other:
        other.done("open", conversation=chat.view.conversation)
        other.until(State)
        return list(other.view.messages)


def test_another_reply_is_a_sibling_and_one_can_go_back(server: Running, chat: Chat) -> None:
    chat.new(settings={"seed": 1})
    first = chat.say("hi")
    chat.done("regenerate")
    second = chat.reply()
    assert second.text != first
    assert (second.siblings.index, second.siblings.count) == (1, 2)
    assert chat.shown == ["hi", second.text]
    assert second.siblings.previous is not None
    chat.done("switch", message=second.siblings.previous)
    chat.until(Path)
    assert chat.shown == ["hi", first]
    third = chat.say("and then?")
    assert chat.shown == ["hi", first, "and then?", third]
    assert opened_again(server, chat) == chat.view.messages


def test_an_edited_message_is_a_branch_and_the_old_one_stays(server: Running, chat: Chat) -> None:
    chat.new(settings={"seed": 2})
    first = chat.say("one")
    second = chat.say("two")
    old = chat.view.messages[0].id
    answer = chat.done("edit", message=old, text="uno")
    other = chat.reply()
    assert chat.shown == ["uno", other.text]
    assert chat.view.messages[0].id == answer.message
    assert chat.view.messages[0].siblings.previous == old
    chat.done("switch", message=old)
    chat.until(Path)
    assert chat.shown == ["one", first, "two", second]
    reply = chat.view.messages[1].id
    chat.done("edit", message=reply, text="better said")
    chat.until(Path)
    assert chat.shown == ["one", "better said"], "a reply that is edited is not answered"
    assert opened_again(server, chat) == chat.view.messages


def test_undo_goes_back_and_deletes_nothing(server: Running, chat: Chat) -> None:
    id = chat.new()
    chat.say("one")
    before = chat.shown
    chat.say("two")
    chat.done("undo")
    chat.until(Path)
    assert chat.shown == before
    chat.done("undo")
    chat.until(Path)
    assert chat.shown == []
    assert chat.refused("undo") == "conflict"
    assert len(server.store.tree("local", id)) == 4


def test_a_reply_to_a_message_on_another_branch(server: Running, chat: Chat) -> None:
    chat.new()
    chat.say("one")
    other = chat.view.messages[0].id
    chat.done("edit", message=other, text="two")
    chat.reply()
    chat.done("regenerate", message=other)
    reply = chat.reply()
    assert chat.shown == ["one", reply.text]
    assert opened_again(server, chat) == chat.view.messages


def test_a_message_has_one_place(chat: Chat) -> None:
    chat.new()
    chat.say("one")
    assert chat.refused("send", text="x", after="nowhere") == "conflict"
    chat.done("send", text="two", after=chat.view.messages[-1].id)
    chat.reply()
    assert chat.refused("switch", message="nowhere") == "not_found"
    assert chat.refused("edit", message="nowhere", text="x") == "not_found"
    assert chat.refused("regenerate", message="nowhere") == "not_found"
    assert chat.refused("continue", message=chat.view.messages[0].id) == "conflict"


def test_persona_settings_and_title_are_told_and_kept(server: Running, chat: Chat) -> None:
    id = chat.new()
    chat.done("set_persona", persona={"name": "Bo", "sentences": ["i bake bread."]})
    chat.until(PersonaSet)
    chat.done("set_decoding", settings={"temperature": 0.5, "seed": 9})
    chat.until(DecodingSet)
    assert (chat.view.settings["temperature"], chat.view.settings["seed"]) == (0.5, 9)
    chat.done("set_title", title="bread")
    chat.until(TitleSet)
    chat.say("hello there")
    with server.chat() as other:
        other.done("open", conversation=id)
        state = other.until(State)
        assert (state.persona, state.settings, state.title) == (
            chat.view.persona,
            chat.view.settings,
            "bread",
        )
    chat.done("set_title", title=" ")
    assert chat.until(TitleSet).title == "hello there"
    too_much = {"sentences": ["very long " * 40] * 3}
    assert chat.refused("set_persona", persona=too_much) == "refused"
    assert chat.refused("set_decoding", settings={"top_p": 2.0}) == "bad_field"
    assert chat.refused("set_decoding", settings={"min_length": 500}) == "refused"
    assert chat.view.persona.name == "Bo"


def test_a_new_conversation_draws_a_sample_persona(chat: Chat) -> None:
    chat.done("new")
    assert chat.until(State).persona.sentences


def test_lists_earlier_messages_and_deletion(server: Running, chat: Chat) -> None:
    id = chat.new(title="about zebras")
    for text in ("one", "two", "three"):
        chat.say(text)
    found = chat.ask("list", search="zebras")
    assert isinstance(found, Conversations)
    assert [(item.id, item.title, item.messages) for item in found.items] == [(id, "about zebras", 6)]
    page = chat.ask("history", before=chat.view.messages[4].id, limit=3)
    assert isinstance(page, Earlier)
    assert list(page.messages) == chat.view.messages[1:4]
    assert page.more
    with server.chat() as other:
        other.done("open", conversation=id)
        other.until(State)
        chat.done("delete", conversation=id)
        other.until(Deleted)
        assert other.refused("send", text="is anybody there?") == "order"
    assert chat.ask("list", search="zebras").items == ()
    assert chat.refused("open", conversation=id) == "not_found"


def test_two_windows_show_the_same(server: Running, chat: Chat) -> None:
    id = chat.new()
    with server.chat() as other:
        other.done("open", conversation=id)
        other.until(State)
        for text in ("one", "two"):
            chat.say(text)
        chat.done("undo")
        chat.until(Path)
        while other.view.last < chat.view.last:
            other.read()
        assert other.view.messages == chat.view.messages


def test_a_long_conversation_fits_into_frames(server: Running, chat: Chat) -> None:
    id = chat.new()
    for number in range(130):
        server.store.append_user("local", id, f"message {number}")
        server.store.append_reply("local", id, f"reply {number}")
    with server.chat() as other:
        other.done("open", conversation=id)
        state = other.until(State)
        assert len(state.messages) + state.earlier == 260
        assert state.messages[-1].text == "reply 129"
        earlier = other.ask("history", before=state.messages[0].id, limit=200)
        assert [*earlier.messages, *state.messages][0].text == "message 0"
        tree = server.store.tree("local", id)
        other.done("edit", message=tree[2].id, text="anew")
        other.reply()
        assert sum(isinstance(frame, State) for frame in other.frames) == 2, "the change is too far back"
        assert other.shown[:3] == ["message 0", "reply 0", "anew"]
