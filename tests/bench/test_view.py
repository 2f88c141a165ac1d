"""What each change means to a reader, and what a reader refuses."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from convai.bench.view import View
from convai.server.protocol import Change, ProtocolError
from convai.server.protocol.answers import Pong
from convai.server.protocol.changes import (
    DecodingSet,
    Deleted,
    Failed,
    FinishedReply,
    Marks,
    Path,
    PersonaSet,
    Started,
    State,
    Stopped,
    Suggestions,
    TitleSet,
    TokenDrawn,
)
from convai.server.protocol.values import Message, PersonaCard, Resume, Suggestion

HI = Message(id="m1", role="user", text="hi", time=1)
DRAFT = Message(id="m2", parent="m1", role="agent", text="", status="streaming", time=2)
HELLO = replace(DRAFT, text="hello", status="complete")
STATE = State(
    n=7,
    stream="s",
    conversation="c",
    title="t",
    persona=PersonaCard(name="Ann"),
    settings={"top_p": 0.9},
    messages=(HI,),
    earlier=3,
)


def shown(*changes: Change, state: State = STATE) -> View:
    view = View()
    assert view.take(state)
    for n, change in enumerate(changes, state.n + 1):
        assert view.take(replace(change, n=n))
    return view


def texts(view: View) -> list[str]:
    return [message.text for message in view.messages]


def test_the_state_is_the_whole() -> None:
    view = shown()
    assert (view.conversation, view.title, view.persona.name, view.earlier) == ("c", "t", "Ann", 3)
    assert (view.settings, view.messages) == ({"top_p": 0.9}, [HI])
    assert view.resume() == Resume(conversation="c", stream="s", last=7)
    assert View().resume() is None


def test_a_reply_grows_and_ends() -> None:
    tokens = [TokenDrawn(message="m2", text=text) for text in ("he", "llo")]
    view = shown(Started(message=DRAFT), *tokens)
    assert texts(view) == ["hi", "hello"]
    assert view.writing == "m2"
    assert view.take(FinishedReply(n=11, message=HELLO, reason="stop"))
    assert view.messages == [HI, HELLO]
    assert view.writing is None


def test_a_reply_that_is_stopped_stays_as_far_as_it_came_or_goes() -> None:
    begun = (Started(message=DRAFT), TokenDrawn(message="m2", text="he"))
    rest = replace(DRAFT, text="he", status="interrupted")
    assert shown(*begun, Stopped(id="m2", by="client", message=rest)).messages == [HI, rest]
    assert shown(Started(message=DRAFT), Stopped(id="m2", by="left")).messages == [HI]
    assert shown(Started(message=DRAFT), Failed(id="m2", code="internal", error="x")).messages == [HI]


def test_another_reply_stands_in_the_place_of_the_old_one() -> None:
    other = replace(DRAFT, id="m3")
    view = shown(state=replace(STATE, messages=(HI, HELLO)))
    assert view.take(Started(n=8, message=other))
    assert [message.id for message in view.messages] == ["m1", "m3"]
    assert view.take(Stopped(n=9, id="m3", by="client"))
    assert view.take(Path(n=10, keep="m1", messages=(HELLO,)))
    assert view.messages == [HI, HELLO]


def test_a_reply_goes_on_from_its_text() -> None:
    begun = replace(DRAFT, text="he")
    assert texts(shown(Started(message=begun), TokenDrawn(message="m2", text="y"))) == ["hi", "hey"]


def test_a_path_moves_the_branch() -> None:
    other = replace(HI, id="m9", text="bye")
    assert shown(Path(keep="m1", messages=(HELLO,))).messages == [HI, HELLO]
    view = shown(Path(keep=None, messages=(other,)))
    assert (view.messages, view.earlier) == ([other], 0)
    assert shown(Path(keep=None, messages=())).messages == []


def test_what_stands_beside_the_messages() -> None:
    lines = (Suggestion(text="why?", score=1),)
    view = shown(
        Suggestions(message="m1", lines=lines),
        Marks(message="m1", kind="emotion", data={"a": 1}),
        Marks(message="m1", kind="coref", data={"b": 2}),
        PersonaSet(persona=PersonaCard(name="Bob")),
        DecodingSet(settings={"top_p": 0.5}),
        TitleSet(title="new"),
    )
    assert view.suggestions == lines
    assert view.marks == {"m1": {"emotion": {"a": 1}, "coref": {"b": 2}}}
    assert (view.persona.name, view.settings, view.title) == ("Bob", {"top_p": 0.5}, "new")
    assert view.take(Started(n=14, message=DRAFT))
    assert not view.suggestions


def test_marks_come_with_the_state_as_well() -> None:
    marked = replace(HI, marks={"emotion": {"a": 1}})
    assert shown(state=replace(STATE, messages=(marked,))).marks == {"m1": {"emotion": {"a": 1}}}


def test_a_deleted_conversation_is_gone() -> None:
    view = shown(Deleted())
    assert (view.conversation, view.messages, view.resume()) == (None, [], None)


def test_seen_before_is_ignored_and_a_gap_is_told() -> None:
    view = shown(Started(message=DRAFT), TokenDrawn(message="m2", text="he"))
    assert not view.take(TokenDrawn(n=9, message="m2", text="he"))
    assert not view.take(Pong(request="r"))
    assert texts(view) == ["hi", "he"]
    with pytest.raises(ProtocolError, match="token 11 follows 9: frames are missing"):
        view.take(TokenDrawn(n=11, message="m2", text="o"))
    assert view.last == 9


@pytest.mark.parametrize(
    "change",
    [
        TokenDrawn(message="m2", text="x"),
        FinishedReply(message=HELLO, reason="stop"),
        Stopped(id="m2", by="client"),
        Path(keep="m77", messages=()),
        Started(message=replace(DRAFT, parent="m77")),
    ],
)
def test_a_change_that_does_not_fit_is_refused_and_changes_nothing(change: Change) -> None:
    view = shown()
    with pytest.raises(ProtocolError):
        view.take(replace(change, n=8))
    assert (view.messages, view.last) == ([HI], 7)


def test_nothing_comes_before_a_state() -> None:
    with pytest.raises(ProtocolError, match="before any state"):
        View().take(TitleSet(n=1, title="x"))
