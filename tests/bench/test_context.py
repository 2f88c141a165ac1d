"""What a scene costs a chat, counted: new tokens, and those that are computed again."""

from __future__ import annotations

from convai.bench.context import Cost, figures


def test_what_is_computed_beside_the_new_is_computed_again() -> None:
    full = Cost(prompt=[10, 20, 30], computed=[10, 12, 30], new=[10, 10, 10])
    bare = Cost(prompt=[10, 15, 20], computed=[10, 5, 5], new=[10, 5, 5])
    found = figures({"with": full, "without": bare})
    assert (found["again_with"], found["again_without"]) == (22, 0)
    assert found["computed_ratio"] == 52 / 20
    assert found["first_token_ratio"] == 21 / 30
