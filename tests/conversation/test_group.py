"""A group: who speaks next, what each of them is shown, whose words a reply holds; and saving it."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convai.conversation.group import Group, Member, answering, due, next_one, seen_by
from convai.conversation.own_words import OwnWords, own_words, stops_of
from convai.conversation.session import Session
from convai.core.character import Character
from convai.core.dialog import AGENT, USER, Persona, Turn
from convai.core.errors import ConvaiError, DataError, SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Finished, Request
from convai.engine.messages import Begun
from tests.chatting import ScriptedEngine, ended, tiny_agent
from tests.conversation.test_characters import chatml, shown

ANN = Character("Ann", description="Ann is a baker.", greetings=("Hi.",), group_greetings=("Hi all.", "Ho."))
BOB = Character("Bob Smith", description="{{char}} is a smith. {{group}} are friends.", greetings=("Yo.",))
CID = Character("Cid", ("i ski.",), talkativeness=0.0)


def group_of(*talkativeness: float, order: Any = "talk") -> Group:
    names = ("Ann", "Bob Smith", "Cid", "Dee")
    members = [Member(n, name, p) for n, (name, p) in enumerate(zip(names, talkativeness, strict=False), 1)]
    return Group(tuple(members), order)


def said(*texts: str) -> list[Turn]:
    """`Ann: hi` is hers, what has no name the user's."""
    turns = []
    for text in texts:
        name, colon, words = text.partition(": ")
        turns.append(Turn(AGENT, words, name=name) if colon else Turn(USER, text))
    return turns


def names(members: list[Member]) -> list[str]:
    return [one.name for one in members]


def scripted(*script: str, order: str = "chosen") -> tuple[Session, ScriptedEngine]:
    engine = ScriptedEngine(*script)
    session = Session(chatml(), engine)  # type: ignore[arg-type]
    session.members().gather([ANN, BOB, CID], order)
    return session, engine


# -- who speaks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("bob, ann? bob!", ["Bob Smith", "Ann"]),
        ("what does Mrs SMITH say", ["Bob Smith"]),
        ("bobby annoys me", []),
        ("hello", []),
    ],
)
def test_whole_words_of_names_call_their_owners_in_order(text: str, called: list[str]) -> None:
    assert names(answering(group_of(0.5, 0.5, order="chosen"), said(text), 1, 0)) == called


def test_what_several_are_called_names_none_of_them() -> None:
    group = Group((Member(1, "Captain Ann"), Member(2, "Captain Bob"), Member(3, "The Doctor")), "chosen")
    assert names(answering(group, said("captain, the door!"), 1, 0)) == []
    assert names(answering(group, said("captain bob and the doctor"), 1, 0)) == ["Captain Bob", "The Doctor"]


def test_talkativeness_is_the_chance_to_answer() -> None:
    group, counts = group_of(1.0, 0.3, 0.0), Counter[str]()
    for seed in range(2000):
        found = names(answering(group, said("hello"), 1, seed))
        counts.update(found)
        assert found == names(answering(group, said("hello"), 1, seed))
    assert counts["Ann"] == 2000
    assert counts["Cid"] == 0
    assert 500 < counts["Bob Smith"] < 700
    assert names(answering(group, said("Cid?"), 1, 0))[0] == "Cid"


def test_somebody_answers_even_where_nobody_is_talkative() -> None:
    found = Counter(names(answering(group_of(0.0, 0.0), said("hello"), 1, seed))[0] for seed in range(200))
    assert set(found) == {"Ann", "Bob Smith"}
    assert {names(answering(group_of(0.0, 0.01), said("a"), 1, s))[0] for s in range(200)} == {"Bob Smith"}


def test_by_turn_the_list_goes_round() -> None:
    group, turns = group_of(0.5, 0.5, 0.5, order="turn"), list[Turn]()
    spoken = []
    for number in range(5):
        turns += said(f"message {number}")
        one = due(group, turns, len(turns), 0)
        assert one is not None
        spoken.append(one.name)
        turns.append(Turn(AGENT, "well", name=one.name))
        assert due(group, turns, len(turns), 0) is None
    assert spoken == ["Ann", "Bob Smith", "Cid", "Ann", "Bob Smith"]
    group = group.muting("bob")
    assert names(answering(group, said("Ann: hi", "go on"), 2, 0)) == ["Cid"]
    assert next_one(group, said("go on", "Cid: no"), 2, 0).name == "Ann"


def test_everybody_who_answers_does_so_once() -> None:
    group = group_of(1.0, 1.0, 1.0)
    for seed in range(20):
        turns = said("hello")
        while (one := due(group, turns, len(turns) + 40, seed)) is not None:
            turns.append(Turn(AGENT, "well", name=one.name))
        assert sorted(turn.name for turn in turns[1:]) == ["Ann", "Bob Smith", "Cid"]
        # who was let by hand has spoken
        first = due(group, said("hello", "Cid: x"), 42, seed)
        assert first is not None
        assert first.name != "Cid"


def test_who_is_chosen_waits_for_it() -> None:
    group = group_of(1.0, 1.0, order="chosen")
    assert due(group, said("hello"), 1, 0) is None
    assert next_one(group, said("hello"), 1, 0).name == "Ann"
    quiet = group.muting("Ann").muting("Bob")
    assert due(quiet, said("hello Ann"), 1, 0) is None
    with pytest.raises(SettingsError, match="everybody in the group is muted"):
        next_one(quiet, said("hello"), 1, 0)


def test_nobody_answers_themselves() -> None:
    for seed in range(50):
        assert (
            next_one(group_of(1.0, 1.0), said("hi", "Ann: x", "Bob Smith: I am Bob"), 3, seed).name == "Ann"
        )


def test_members_are_refused_in_a_line() -> None:
    group = group_of(0.5, 0.5)
    for name, problem in (("ann", "there is a ann in the group already"), (" ", "needs a name")):
        with pytest.raises(SettingsError, match=problem):
            group.with_member(Member(9, name))
    with pytest.raises(SettingsError, match="no 'Eve' in the group; there are Ann, Bob Smith"):
        group.one("Eve")
    assert [group.one(name).name for name in ("BOB", "smi")] == ["Bob Smith"] * 2
    with pytest.raises(SettingsError, match="the last one"):
        group.without("Ann").without("Bob")
    assert group.without("ann").with_member(Member(9, "Ann")).one("ann").version == 9
    session = Session(chatml(), ScriptedEngine())  # type: ignore[arg-type]
    for characters, problem in (([], "a group of nobody"), ([ANN, ANN], "there is a Ann in the group")):
        with pytest.raises(SettingsError, match=problem):
            session.members().gather(characters)
    with pytest.raises(SettingsError, match="no order 'loud'; use talk, turn, chosen"):
        session.members().gather([ANN], "loud")
    with pytest.raises(SettingsError, match="there is no group"):
        session.speak("Ann")
    assert not session.group


# -- whose words a reply holds -------------------------------------------------------------------------

STOPS = stops_of(("Bob Smith", "Cid"), "Tom")


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Ann: hello", "hello"),
        (" ann:  Ann: hello", "hello"),
        ("hello. Bob Smith: hi", "hello."),
        ("hello!\nCid: hi", "hello!"),
        ("hello\nTom: hi", "hello"),
        ("Bob: hi", ""),
        ("Ann:\nBob: hi", ""),
        ("I told Bob: go home", "I told Bob: go home"),
        ("Bobby: no", "Bobby: no"),
        ("Announce: x", "Announce: x"),
        ("hello. You: fine", "hello."),
        ("An", "An"),
        ("hello. Bob", "hello. Bob"),
    ],
)
def test_a_reply_is_its_speakers_own_words(text: str, own: str) -> None:
    assert own_words(text, ("Ann",), STOPS).strip() == own


def test_however_it_is_cut_the_words_are_the_same() -> None:
    rng = random.Random(7)
    parts = ["Ann", ":", " ", "\n", ".", "Bob", " Smith", "hi", "Tom", "You", "A", '"', "*", "Cid:", "Ann: "]
    for _ in range(3000):
        text = "".join(rng.choices(parts, k=rng.randrange(1, 14)))
        whole = own_words(text, ("Ann",), STOPS)
        words, pieces, rest = OwnWords(("Ann",), STOPS), list[str](), text
        while rest:
            cut = rng.randrange(1, len(rest) + 1)
            pieces.append(words.push(rest[:cut]))
            rest = rest[cut:]
        assert whole.startswith("".join(pieces))
        assert "".join([*pieces, words.end()]) == whole, text


def test_a_reply_in_a_group_shows_neither_its_name_nor_another_ones_words() -> None:
    session, engine = scripted("Ann: hello you. Bob: hi!", "Bob: nothing", "fine", order="chosen")
    events = [*session.say("Ann?")]
    assert "".join(event.text for event in events[:-1]) == "hello you."
    assert events[-1].text == "hello you."
    assert ended(session.say("Ann, and?")).text == "fine", "one that speaks for Bob alone is drawn again"
    assert [request.stops[:1] for request in engine.requests] == [("\nBob Smith:",)] * 3
    assert [turn.name for turn in session.turns] == ["", "Ann", "", "Ann"]


def test_the_engine_ends_a_reply_at_a_stop() -> None:
    """The same tokens up to there, also where it goes on from what another engine has drawn."""
    agent = chatml()
    config = DecodingConfig(min_length=20, max_length=20, temperature=1.0, seed=3)
    prompt = Session(agent, ScriptedEngine("x"))  # type: ignore[arg-type]
    prompt.answer("hi")
    with agent.engine() as engine:
        request = Request(prompt._last.reply.source.prompt, config)  # type: ignore[union-attr]
        free = [*engine.stream(request)]
        stop = free[-1].text[4:6]
        cut = [*engine.stream(replace(request, stops=("nothing", stop)))]
        assert 2 < len(cut) < len(free)
        assert [event.id for event in cut[:-1]] == [event.id for event in free[: len(cut) - 1]]  # type: ignore[union-attr]
        end = cut[-1]
        assert isinstance(end, Finished)
        assert end.reason == "stop"
        assert stop in end.text
        for known in (2, len(end.ids)):
            begun = replace(request, stops=(stop,), begun=(Begun(0, end.ids[:known]),))
            again = [*engine.stream(begun)][-1]
            assert isinstance(again, Finished)
            assert (again.ids, again.score) == (end.ids, pytest.approx(end.score, abs=1e-4))
        first = next(event.text for event in free if event.text)[0]
        begin = [*engine.stream(replace(request, stops=("\n" + first,)))][-1]
        assert isinstance(begin, Finished)
        assert begin.text.startswith(first), "a reply begins as a line does"
        assert len(begin.ids) <= len(end.ids)


# -- what each of them is shown --------------------------------------------------------------------------


def test_the_others_are_named_and_are_not_the_agent() -> None:
    turns = said("hi", "Ann: hello", "Bob: yo", "well")
    assert seen_by(turns, "Ann") == (turns[0], turns[1], Turn(USER, "Bob: yo", name="Bob"), turns[3])
    assert [turn.speaker for turn in seen_by(turns, "Bob")] == [USER, USER, AGENT, USER]


def test_each_speaks_with_its_own_card() -> None:
    session, _ = scripted("hello", "yo", "brr")
    session.conversation.partner = Persona((), "Tom")
    texts = []
    for name in ("Ann", "Bob", "Cid"):
        session.answer("Hi there.") if not session.turns else None
        ended(session.speak(name))
        texts.append(shown(session))
    line = " are in this conversation, too; what they say begins with their names. You speak as "
    assert texts[0].startswith(
        f"|system\nAnn is a baker.\nBob Smith and Cid{line}Ann alone.\nThe user is called Tom.|\n"
        "|user\nHi there.|\n|assistant\n"
    )
    assert texts[1].startswith("|system\nBob Smith is a smith. Bob Smith, Ann, Cid are friends.\n")
    assert texts[1].endswith("|user\nHi there.|\n|user\nAnn: hello|\n|assistant\n")
    assert texts[2].startswith("|system\ni ski.\nAnn and Bob Smith are in")
    assert texts[2].endswith("|user\nAnn: hello|\n|user\nBob Smith: yo|\n|assistant\n")
    assert "group" in session.explain().account.tokens


def test_joined_cards_are_all_there_and_swapped_ones_are_not() -> None:
    session, _ = scripted("hello", "hello", "hello")
    session.members().cards("join")
    session.answer("Ann?")
    text = shown(session)
    assert "Ann is a baker.\nBob Smith and Cid are" in text
    assert "You speak as Ann alone.\nBob Smith is a smith." in text
    assert "Cid says: i ski." in text
    session.members().mute("cid")
    session.answer("Ann?")
    assert "i ski." not in shown(session)
    session.members().cards("swap")
    session.answer("Ann?")
    assert "smith." not in shown(session)


def test_a_group_in_the_blogs_frame() -> None:
    engine = ScriptedEngine("hello", "hm")
    session = Session(tiny_agent(), engine)  # type: ignore[arg-type]
    session.members().gather([ANN, CID], "chosen", "join")
    session.answer("Ann?")
    ended(session.speak("cid"))
    assert shown(session) == "|i ski.|Ann?|Ann: hello|"


def test_cards_that_are_too_much_together_are_refused() -> None:
    long = [Character(name, description=f"{name} has a thing. " * 40) for name in ("Ann", "Bob")]
    session = Session(chatml(n_positions=1000), ScriptedEngine())  # type: ignore[arg-type]
    session.members().gather(long)
    with pytest.raises(SettingsError, match=r"the cards of Ann, Bob take [\d,]+ tokens together, and 7\d\d"):
        session.members().cards("join")
    assert session.group.cards == "swap"
    with pytest.raises(SettingsError, match="Dee: persona sentence 1 is too much"):
        session.members().join(Character("Dee", ("i ski. " * 300,)))
    assert [one.name for one in session.group.members] == ["Ann", "Bob"]


def test_swapping_costs_the_new_turns_alone() -> None:
    """Each speaker's prompt stays in the cache: what is computed is what was said since it spoke last."""
    agent = chatml(min_length=8)
    engine = agent.engine()
    session = Session(agent, engine)
    session.members().gather([ANN, BOB], "turn")
    for number in range(4):
        session.answers(f"message {number}")
    before = engine.stats().tokens_computed
    for number in range(4, 12):
        session.answers(f"message {number}")
    turns = session.turns[8:]
    # each turn once for either of them, with what is around it; the replies once more as they are drawn
    most = sum(3 * (len(turn.text.encode()) + len("|assistant\nBob Smith: |\n")) for turn in turns)
    assert engine.stats().tokens_computed - before < most


# -- what may be done in it ------------------------------------------------------------------------------


def test_several_answer_one_message_and_one_is_let_speak() -> None:
    session, _ = scripted("a baker", "a smith", "again", "alone", order="talk")
    assert session.answers("Bob and Ann, what are you?")[:2] == [("Bob Smith", "a baker"), ("Ann", "a smith")]
    assert ended(session.regenerate()).text == "again"
    assert session.turns[-1].name == session.speaker() == "Ann"
    ended(session.speak())
    assert session.turns[-1].name in ("Bob Smith", "Cid")
    assert [turn.text for turn in session.undo()] == [
        "Bob and Ann, what are you?",
        "a baker",
        "again",
        "alone",
    ]


def test_nobody_answers_where_nobody_was_chosen() -> None:
    session, engine = scripted("well")
    assert [*session.say("hello")] == []
    assert session.answers("hello") == []
    assert [turn.text for turn in session.turns] == ["hello", "hello"]
    assert engine.requests == []
    ended(session.regenerate())
    assert [turn.name for turn in session.turns] == ["", "", "Ann"]


def test_members_come_leave_and_are_muted() -> None:
    engine = ScriptedEngine(*"abcdefgh")
    session = Session(chatml(), engine)  # type: ignore[arg-type]
    session.set_character(ANN)
    session.answer("hi")
    assert session.members().join(BOB) == "Bob Smith"
    assert [one.name for one in session.group.here] == ["Ann", "Bob Smith"]
    session.members().order("turn")
    session.answers("so")
    assert [turn.name for turn in session.turns] == ["", "Ann", "", "Bob Smith"]
    session.members().leave("ann")
    session.answers("and?")
    assert session.turns[-1].name == "Bob Smith"
    assert "|user\nAnn: a|" in shown(session)
    session.members().mute("bob")
    assert session.answers("hm") == []
    ended(session.speak("Bob"))
    session.members().mute("bob", False)
    session.set_character(CID)
    assert not session.group
    session.answer("hi")
    assert session.speaker() == ""


def test_a_member_needs_a_name() -> None:
    session = Session(chatml(), ScriptedEngine(), Persona(("i bake.",)))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="needs a name"):
        session.members().join(ANN)


def test_everybody_greets_and_a_group_has_greetings_of_its_own() -> None:
    session, _ = scripted()
    assert session.greet() == "Hi all."
    assert [(turn.name, turn.text) for turn in session.turns] == [("Ann", "Hi all."), ("Bob Smith", "Yo.")]
    session.reset()
    assert [one.name for one in session.group.here] == ["Ann", "Bob Smith", "Cid"]
    session.members().mute("Bob")
    session.greet(1)
    assert [turn.text for turn in session.turns] == ["Ho."]
    said = [ended(session.regenerate()).text for _ in range(3)]
    assert said == ["Hi all.", "Hi.", "Hi all."]
    assert [turn.name for turn in session.turns] == ["Ann"]


def test_a_saved_group_goes_on_as_it_would_have(tmp_path: Path) -> None:
    agent = chatml(min_length=4)
    engine = agent.engine()
    first = Session(agent, engine)
    first.members().gather([ANN, BOB, CID, replace(CID, name="Dee", talkativeness=0.9)])
    first.members().mute("dee")
    first.members().leave("cid")
    first.greet()
    first.answers("Bob, hello")
    first.save(tmp_path / "group.jsonl")
    second = Session(agent, engine)
    second.load(tmp_path / "group.jsonl")
    assert second.group == first.group
    assert second.turns == first.turns
    for text in ("and?", "what about Ann?"):
        assert second.answers(text) == first.answers(text)
    assert ended(second.regenerate()) == replace(ended(first.regenerate()), timings=...)  # type: ignore[arg-type]
    assert shown(second) == shown(first)


def test_the_seed_says_who_speaks() -> None:
    agent = chatml(min_length=4)
    found = []
    for seed in (5, 5, 6):
        session = Session(agent, agent.engine())
        session.members().gather([ANN, BOB, CID])
        session.decoding = replace(agent.decoding, seed=seed)
        found.append([session.answers(f"message {number}") for number in range(6)])
    assert found[0] == found[1] != found[2]
    assert len({name for said in found[0] for name, _ in said}) > 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"members": []}, "there is nobody in it"),
        ({"order": "loud"}, "no order 'loud'"),
        ({"members": [{"persona": 9, "name": "x"}]}, "no version 9"),
        ({"members": [{"persona": 1}]}, "needs a name"),
        ({"members": [{"persona": 1, "name": "x"}] * 2}, "is in it twice"),
        ({"members": [{"persona": 1, "name": "x", "talkativeness": 2}]}, "use 0 to 1"),
    ],
)
def test_a_damaged_group_is_refused_in_a_line(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    session, _ = scripted("hi")
    session.answer("Ann?")
    path = tmp_path / "group.jsonl"
    session.save(path)
    entry = json.loads(path.read_text())
    entry["labels"]["conversation"]["group"].update(change)
    path.write_text(json.dumps(entry))
    with pytest.raises(DataError, match=problem) as caught:
        session.load(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_group_is_as_it_was() -> None:
    session = Session(chatml(), ScriptedEngine("Ann: hi. Bob: ho"))  # type: ignore[arg-type]
    session.set_character(ANN)
    assert session.answer("hi") == "Ann: hi. Bob: ho"
    assert session.turns[-1].name == ""
    assert session.explain().account.tokens.keys().isdisjoint({"group"})
    with pytest.raises(ConvaiError):
        session.greet()
