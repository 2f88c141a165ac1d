from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.core.errors import SettingsError
from convai.text.history import fit_history
from convai.text.segments import EncodedTurn, build_prefix, build_prompt
from tests.tiny import FRAME, SPECIAL, personas, turns

LIKE = [[1, 2, 3], [4]]


def user(*ids: int) -> EncodedTurn:
    return EncodedTurn(USER, ids)


def agent(*ids: int) -> EncodedTurn:
    return EncodedTurn(AGENT, ids)


@given(
    persona=personas,
    told=turns(),
    n_positions=st.integers(1, 60),
    reserve=st.integers(0, 20),
)
def test_history_fits_or_says_why(
    persona: list[list[int]], told: list[EncodedTurn], n_positions: int, reserve: int
) -> None:
    own = 1 + sum(map(len, persona))
    alone = own + 1 + len(told[-1].ids) + reserve
    try:
        kept = fit_history(FRAME, persona, told, n_positions=n_positions, reserve=reserve)
    except SettingsError:
        assert alone > n_positions, "persona and last turn would have fitted"
        return
    assert alone <= n_positions
    assert len(build_prefix(FRAME, persona, kept)) + reserve <= n_positions
    assert kept
    assert list(kept) == told[len(told) - len(kept) :], "what is left is the end, in order"
    if len(kept) < len(told):
        # it begins where somebody asks something, unless only the last turn is left
        assert kept[0].speaker == USER or len(kept) == 1
        # and nothing was dropped needlessly: the exchange before would have been too much
        gone = told[: len(told) - len(kept)]
        last = max((i for i, t in enumerate(gone) if t.speaker == USER), default=0)
        longer = build_prefix(FRAME, persona, [*gone[last:], *kept])
        assert len(longer) + reserve > n_positions


def test_the_oldest_exchange_goes_first() -> None:
    told = [user(1), agent(2), user(3), agent(4), user(5)]
    size = 1 + 4 + 10  # <bos>, the persona, five turns of one word
    for room, left in ((15, 5), (14, 3), (11, 3), (10, 1), (7, 1)):
        assert len(fit_history(FRAME, LIKE, told, n_positions=room, reserve=0)) == left, f"{size} into {room}"


def test_a_dropped_exchange_takes_all_answers_with_it() -> None:
    told = [user(1), agent(2), agent(3), user(4)]
    assert fit_history(FRAME, [], told, n_positions=8, reserve=0) == [user(4)]
    assert fit_history(FRAME, [], [agent(2), user(4)], n_positions=4, reserve=0) == [user(4)]


def test_what_does_not_fit_is_named() -> None:
    long = [[1] * 3, [2] * 9, [3]]
    with pytest.raises(
        SettingsError, match=r"^persona sentence 2 is too much: the model has 10 positions, 2 of"
    ):
        fit_history(FRAME, long, [user(1)], n_positions=10, reserve=2)
    with pytest.raises(
        SettingsError, match=r"^the last message is too long: 8 tokens, 5 fit beside the persona"
    ):
        fit_history(FRAME, [[1]], [user(1), agent(2), user(*[3] * 8)], n_positions=10, reserve=2)
    with pytest.raises(SettingsError, match=r"nothing is left for the prompt; ask for a shorter reply"):
        fit_history(FRAME, [], [], n_positions=10, reserve=10)
    assert fit_history(FRAME, [[1]], [user(*[3] * 5)], n_positions=10, reserve=2) == [user(*[3] * 5)]


def test_a_conversation_may_not_have_begun() -> None:
    assert fit_history(FRAME, LIKE, [], n_positions=10, reserve=2) == []
    assert build_prompt(FRAME, [], []).ids == [SPECIAL.bos_id, SPECIAL.speaker2_id]


def cuts(*, always: int, told: int = 60, lore: int = 0, positions: int = 200) -> list[int]:
    """Where the history begins as a conversation grows turn by turn, in a long context.

    `lore`: tokens that a turn calls for, every third one of the user's; they stay before that turn.
    """
    said = [user(*range(8)) if place % 2 == 0 else agent(*range(8)) for place in range(told)]
    beside = [lore if place % 6 == 0 else 0 for place in range(told)]
    found = []
    for length in range(1, told + 1, 2):
        kept = fit_history(
            FRAME,
            LIKE,
            said[:length],
            n_positions=positions,
            reserve=20,
            in_steps=True,
            beside=beside[:length],
            always=always,
        )
        found.append(length - len(kept))
    return found


@pytest.mark.parametrize(("always", "lore"), [(0, 0), (0, 9), (40, 0), (40, 9)])
def test_a_cut_never_moves_back(always: int, lore: int) -> None:
    """What was computed stays valid until the next cut, whatever a lorebook adds to the last turn."""
    begins = cuts(always=always, lore=lore)
    assert begins == sorted(begins)
    assert 1 < len(set(begins)) < len(begins) // 2


def test_tokens_that_come_and_go_move_no_cut() -> None:
    """A note that is a few tokens longer now and then leaves the history where it is."""
    assert cuts(always=40) == cuts(always=38) == cuts(always=36)


def test_where_something_is_always_shown_the_history_is_cut_less_often() -> None:
    """Two thirds go instead of half: in about the same room fewer cuts, and less is computed again."""
    assert len(set(cuts(always=40, positions=240))) < len(set(cuts(always=0, positions=200)))
