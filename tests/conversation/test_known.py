"""What is known of a speaker, and how well an answer tells it."""

from __future__ import annotations

import pytest

from convai.conversation.known import ELSEWHERE, Known
from convai.core.dialog import AGENT, USER, Turn

PERSONA = ("my twin ottilie is a nun.", "i grow lavender.", "do i snore? no idea.")


def turns(*texts: str) -> list[Turn]:
    return [Turn((USER, AGENT)[i % 2], text) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("ask", "answer", "worth"),
    [
        ("what does your twin do?", "she's a nun.", 1.0),
        ("what does your twin do?", "she's a teacher.", 0.0),
        ("what does your twin do?", "i grow lavender.", ELSEWHERE),
        ("what does your twin do?", "my twin?", 0.0),  # the question's own words are no answer
        ("What do you grow?", "Lavender!", 1.0),
        ("what do you grow", "lavender!", 0.0),  # not a question, as far as can be told
        ("what did i say my twin does?", "she's a nun.", 0.0),  # about the user
        ("nice weather, isn't it?", "i grow lavender.", 0.0),  # about neither
        ("oh. and what did you buy?", "a globe.", 1.0),  # said before
        ("did you like the film?", "i bought a globe.", ELSEWHERE),
    ],
)
def test_an_answer_is_worth_what_it_tells(ask: str, answer: str, worth: float) -> None:
    said = turns("hello", "i bought a globe today. do you like globes?", ask)
    assert Known(PERSONA, said).told_in(answer) == worth


def test_nothing_is_known_before_anything_was_said() -> None:
    assert Known(PERSONA, []).told_in("a nun") == 0.0
    for nothing in ("?", "??", "...?"):
        assert Known(PERSONA, turns("hi", "hello", nothing)).told_in("a nun") == 0.0
    assert Known((), turns("who are you?")).told_in("a nun") == 0.0
    assert Known(PERSONA, turns("hi", "what do you grow?")).told_in("lavender") == 0.0
