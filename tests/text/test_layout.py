"""What is added to a prompt: where it stands in every frame, what fits, and what each token is counted as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import SettingsError
from convai.text.frames import Frame
from convai.text.insertions import Insertion, repeated
from convai.text.layout import Layout, lay_out
from convai.text.segments import EncodedTurn, build_prompt
from tests.chat_templates import TEMPLATES, chat_bytes, chat_kind
from tests.tiny import FRAME, SPECIAL, personas, turns

CHATML = chat_bytes().frame
GEMMA = chat_kind("gemma3").frame
FRAMES = [FRAME, *(chat_kind(name).frame for name in sorted(TEMPLATES))]
TOLD = [EncodedTurn(USER, [*b"hi"]), EncodedTurn(AGENT, [*b"hello"]), EncodedTurn(USER, [*b"why?"])]
PERSONA = [[*b"a"], [*b"b"]]

kinds = st.sampled_from(["lore", "note", "memory", "summary", "system", "odd"])
insertions = st.builds(
    Insertion,
    st.text("xyz", min_size=1, max_size=3),
    st.none() | st.integers(0, 8),
    kinds,
    st.booleans(),
    role=st.sampled_from(["system", "user", "assistant"]),
)
added = st.lists(st.tuples(insertions, st.lists(st.integers(0, 20), min_size=1, max_size=6)), max_size=6)
dialogues = st.lists(turns(), max_size=2)


def shown(layout: Layout) -> bytes:
    """Ids of ChatML over bytes as text: a control token is a blank line's worth of a sign."""
    return bytes(id if id < 256 else {261: ord("<"), 262: ord(">")}[id] for id in layout.prompt.ids)


def written(*given: tuple[Insertion, bytes], told: list[EncodedTurn] = TOLD, room: int = 1000) -> Layout:
    return lay_out(
        CHATML, PERSONA, told, [(one, [*text]) for one, text in given], n_positions=room, reserve=10
    )


@pytest.mark.parametrize("frame", FRAMES)
@given(persona=personas, told=turns(), speaker=st.sampled_from([USER, AGENT]))
def test_without_additions_it_is_the_prompt_builders(
    frame: Frame, persona: list[list[int]], told: list[EncodedTurn], speaker: int
) -> None:
    layout = lay_out(frame, persona, told, speaker=speaker, n_positions=10_000, reserve=0)
    assert layout.prompt == build_prompt(frame, persona, told, speaker)
    assert sum(span.size for span in layout.spans) == len(layout.prompt)


def test_where_things_stand_in_chatml() -> None:
    layout = written(
        (Insertion("L", None, "lore"), b"L"),
        (Insertion("S", None, "system", ahead=True), b"S"),
        (Insertion("N", 1, "note"), b"N"),
        (Insertion("D", 9, "summary"), b"D"),
        (Insertion("P", 0, "post_history"), b"P"),
        (Insertion("F", 9, "memory", fades=True), b"F"),
    )
    assert shown(layout) == (
        b"<system\nS\na\nb\nL>\n<system\nD>\n<user\nhi>\n<assistant\nhello>\n"
        b"<system\nN>\n<user\nwhy?>\n<system\nP>\n<assistant\n"
    )
    words: dict[str, list[bytes]] = {}
    place = 0
    for span in layout.spans:
        words.setdefault(span.part, []).append(shown(layout)[place : place + span.size])
        place += span.size
    assert words["note"] == [b"<system\nN>\n"]
    assert words["lore"] == [b"\nL>\n"]
    assert words["persona"] == [b"\na", b"\nb"]
    assert words["history"] == [b"<user\nhi>\n", b"<assistant\nhello>\n", b"<user\nwhy?>\n"]
    assert layout.tokens()["reply"] == len("<assistant\n")
    assert "F" not in {one.text for one in layout.insertions}
    said = [turn for turn in layout.prompt.turn if turn > 0]
    assert max(said) == 3, "what is added is no turn"
    assert not layout.missing


def test_an_insertion_in_somebodys_words_is_no_turn() -> None:
    layout = written(
        (Insertion("U", 1, "note", role="user"), b"U"),
        (Insertion("A", 0, "lore", role="assistant"), b"A"),
        (Insertion("H", None, "lore", role="user"), b"H"),
    )
    assert shown(layout) == (
        b"<system\na\nb\nH>\n<user\nhi>\n<assistant\nhello>\n"
        b"<user\nU>\n<user\nwhy?>\n<assistant\nA>\n<assistant\n"
    )
    assert max(layout.prompt.turn) == 3
    assert layout.tokens()["note"] == len("<user\nU>\n")
    tight = written((Insertion("A", 0, "lore", role="assistant"), b"A" * 99), room=120)
    assert [one.text for one in tight.missing] == ["A"]


def test_a_template_without_a_system_role_has_it_in_the_users_turn() -> None:
    added = [(Insertion("N", 2, "note"), [7]), (Insertion("P", 0, "post_history"), [8])]
    layout = lay_out(GEMMA, [], TOLD, added, n_positions=1000, reserve=10)
    hi, hello, why = TOLD
    assert layout.prompt.ids == [
        *GEMMA.start,
        *GEMMA.openings[USER],
        7,
        *GEMMA.after_persona,
        *hi.ids,
        *GEMMA.closings[USER],
        *GEMMA.openings[AGENT],
        *hello.ids,
        *GEMMA.closings[AGENT],
        *GEMMA.openings[USER],
        8,
        *GEMMA.after_persona,
        *why.ids,
        *GEMMA.closings[USER],
        *GEMMA.openings[AGENT],
    ]


def test_the_blogs_frame_has_it_among_the_words_of_the_persona() -> None:
    added = [
        (Insertion("n", 1, "note"), [7]),
        (Insertion("o", None, "lore"), [8]),
        (Insertion("n", 2, "note"), [7]),
    ]
    layout = lay_out(FRAME, [[1]], [EncodedTurn(USER, [2])] * 3, added, n_positions=100, reserve=10)
    assert layout.prompt.ids[:4] == [SPECIAL.bos_id, 1, 8, 7], "said once"
    assert layout.prompt.turn[1:4] == [0, 0, 0]


def test_examples_are_turns_and_the_first_to_go() -> None:
    talk = [[EncodedTurn(USER, [*b"ex"]), EncodedTurn(AGENT, [*b"am"])], [EncodedTurn(AGENT, [*b"ple"])]]
    layout = lay_out(CHATML, PERSONA, TOLD, (), talk, n_positions=1000, reserve=10)
    assert b"<user\nex>\n<assistant\nam>\n<assistant\nple>\n<user\nhi>" in shown(layout)
    tight = len(layout.prompt) - len(CHATML.openings[AGENT]) + 10
    shorter = lay_out(CHATML, PERSONA, TOLD, (), talk, n_positions=tight - 1, reserve=10)
    assert (shorter.examples, shorter.examples_left_out) == (talk[1:], 1)
    assert len(shorter.turns) == 3
    none = lay_out(CHATML, PERSONA, TOLD, (), talk, n_positions=tight - 1, reserve=10, in_steps=True)
    assert (list(none.examples), len(none.turns)) == ([], 3)


@pytest.mark.parametrize("frame", [FRAME, CHATML, GEMMA])
@given(
    persona=personas,
    told=turns(),
    extra=added,
    examples=dialogues,
    n_positions=st.integers(1, 220),
    reserve=st.integers(0, 20),
    in_steps=st.booleans(),
    speaker=st.sampled_from([USER, AGENT]),
)
def test_it_fits_and_every_token_is_accounted_for(
    frame: Frame,
    persona: list[list[int]],
    told: list[EncodedTurn],
    extra: list[tuple[Insertion, list[int]]],
    examples: list[list[EncodedTurn]],
    n_positions: int,
    reserve: int,
    in_steps: bool,
    speaker: int,
) -> None:
    reserve += frame.around_reply
    try:
        lay_out(frame, persona, told, n_positions=n_positions, reserve=reserve)
    except SettingsError:
        return  # not even without them
    layout = lay_out(
        frame,
        persona,
        told,
        extra,
        examples,
        speaker=speaker,
        n_positions=n_positions,
        reserve=reserve,
        in_steps=in_steps,
    )
    assert len(layout.prompt) - len(frame.openings[speaker]) + reserve <= n_positions
    assert sum(span.size for span in layout.spans) == len(layout.prompt)
    assert layout.prompt.positions == list(range(len(layout.prompt)))
    assert list(layout.turns) == told[len(told) - len(layout.turns) :]
    faded = [one for one, _ in extra if one.fades]
    for one, _ in extra:
        assert one in layout.insertions or one in layout.missing or one in faded or frame is FRAME


def test_the_less_important_goes_first() -> None:
    sizes = 200
    given = [(Insertion(kind * 2, None, kind), b"x" * sizes) for kind in ("lore", "memory", "note", "system")]
    layout = written(*given, room=700)
    assert [one.kind for one in layout.insertions] == ["note", "system"]
    assert [one.kind for one in layout.missing] == ["lore", "memory"]


def test_one_text_in_pieces_has_no_gap() -> None:
    texts = ("a" * 9, "b" * 900, "c" * 9)
    pieces = [(Insertion(text, None, "description"), text.encode()) for text in texts]
    layout = written(*pieces, room=500)
    assert tuple(one.text for one in layout.missing) == texts[1:]


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(SettingsError, match="depth=-1: use 0"):
        Insertion("x", -1, "note")


@given(depth=st.integers(1, 6), length=st.integers(1, 90), begins=st.sampled_from([USER, AGENT]))
def test_a_repeated_note_never_moves_and_is_never_far(depth: int, length: int, begins: int) -> None:
    """From turn to turn nothing is taken away, and what is new stands before the last turn."""
    before: set[int] = set()
    told: list[Turn] = []
    for number in range(1, length + 1):
        told.append(Turn((begins + number - 1) % 2, "x"))
        if told[-1].speaker == AGENT:
            continue
        found = repeated("n", depth, "note", told, number)
        places = {number - (one.depth or 0) for one in found}
        assert before <= places <= before | {number - 1}
        assert [one.fades for one in found] == [True] * (len(found) - 1) + [False]
        assert number - max(places) <= max(2 * depth, 2)
        before = places


def test_a_note_at_depth_0_is_behind_everything() -> None:
    assert repeated("n", 0, "note", [Turn(USER, "x")], 1) == [Insertion("n", 0, "note")]
