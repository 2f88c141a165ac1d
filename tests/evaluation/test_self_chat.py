"""The model in both chairs: who says what, what each chair sees, and what is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convai.conversation.agent import Agent
from convai.conversation.conversation import reply_seed
from convai.conversation.reply import TRIES
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Finished, Request
from convai.evaluation.evaluate import numbered_seed
from convai.evaluation.self_chat import OPENERS, SelfChat, self_chats, tally
from convai.text.prompt import encode_persona, encode_turns
from convai.text.segments import build_prompt
from convai.text.tokenizer import Tokenizer
from tests.tiny import tiny_model

PERSONAS = [Persona(("i am a diver.",)), Persona(("i sell hats.", "i sing.")), Persona(("i row.",))]


@pytest.fixture(scope="module")
def agent() -> Agent:
    model = tiny_model(vocab_size=261, n_positions=400)
    return Agent(model, Tokenizer.byte_level(), DecodingConfig(max_length=5, temperature=1.0))


def chats(
    agent: Agent, count: int = 2, *, turns: int = 3, seed: int = 0, history: int | None = None
) -> list[SelfChat]:
    return list(self_chats(agent, PERSONAS, count, turns=turns, seed=seed, max_history=history))


def test_the_chairs_take_turns_and_the_user_opens(agent: Agent) -> None:
    for conversation in chats(agent):
        dialog = conversation.dialog
        assert [turn.speaker for turn in dialog.turns] == [USER, AGENT] * 3
        assert dialog.turns[0].text in OPENERS
        assert len(conversation.replies) == 3
        assert dialog.personas[USER] in PERSONAS
        assert dialog.personas[AGENT] in PERSONAS
        assert dialog.personas[USER] != dialog.personas[AGENT]


@pytest.mark.parametrize("history", [None, 1])
def test_each_chair_sees_the_conversation_as_the_agent_of_its_own_persona(
    agent: Agent, history: int | None
) -> None:
    """Every turn is what a fresh engine says after the turns before it, roles exchanged for the user."""
    seed, number, tokenizer = 3, 1, agent.tokenizer
    dialog = chats(agent, turns=4, seed=seed, history=history)[number].dialog
    for i in range(1, len(dialog.turns)):
        seen = dialog if dialog.turns[i].speaker == AGENT else dialog.swapped()
        turns = encode_turns(tokenizer, seen.turns[:i])
        window = turns if history is None else turns[-3:]
        prompt = build_prompt(tokenizer.frame, encode_persona(tokenizer, seen.persona), window)
        own_seed = numbered_seed(seed, number)
        own = [turn.ids for turn in turns if turn.speaker == AGENT]
        tries = (replace(agent.decoding, seed=reply_seed(own_seed, i, 0, retry)) for retry in range(TRIES))
        said = (agent.engine().best(Request(prompt, decoding, own)).text for decoding in tries)
        assert " ".join(dialog.turns[i].text.split()) == dialog.turns[i].text
        assert dialog.turns[i].text.isprintable()
        assert _letters(dialog.turns[i].text) == next(filter(None, map(_letters, said)), "...")


def _letters(text: str) -> str:
    return "".join(char for char in text if char.isprintable() and not char.isspace())


def test_a_conversation_depends_on_seed_and_number_alone(agent: Agent) -> None:
    assert chats(agent, 3) == chats(agent, 3)
    # more conversations side by side change the rounding of scores, not what is said
    assert [c.dialog for c in chats(agent, 1)] == [c.dialog for c in chats(agent, 3)[:1]]
    assert chats(agent, 3) != chats(agent, 3, seed=1)
    first, longer = chats(agent, 1, turns=2)[0].dialog, chats(agent, 1, turns=4)[0].dialog
    assert longer.turns[:4] == first.turns


def test_one_persona_sits_in_both_chairs(agent: Agent) -> None:
    (conversation,) = self_chats(agent, PERSONAS[:1], 1, turns=1, seed=0, max_history=2)
    assert conversation.dialog.personas == (PERSONAS[0], PERSONAS[0])


def test_a_persona_that_fills_the_model_is_refused(agent: Agent) -> None:
    with pytest.raises(SettingsError, match="persona sentence 1 is too much"):
        list(self_chats(agent, [Persona(("x" * 500,))], 1, turns=1, seed=0, max_history=2))


def test_the_counts() -> None:
    said = [
        (USER, "Good day to you"),
        (AGENT, "do you like my red boat?"),
        (USER, "i do"),
        (AGENT, "You like my red boat"),  # all its 4-grams were said before
        (USER, "hm"),
        (AGENT, "do you like my red boat"),  # said before
        (USER, "is that so"),
        (AGENT, "Good day to you!"),  # the partner's words
        (USER, "yes"),
        (AGENT, ""),
    ]
    texts = [text for speaker, text in said if speaker == AGENT]
    replies = tuple(Finished(0, (), text, 0.0, 0.0, "stop") for text in texts)
    cut = replace(replies[0], reason="length")
    dialog = Dialog(tuple(Turn(speaker, text or "...") for speaker, text in said))
    record = tally([SelfChat(dialog, (cut, *replies[1:]))])
    assert record == pytest.approx(
        {
            "conversations": 1,
            "replies": 5,
            "contradicting": 0,
            "contradicting_share": 0.0,
            "distinct_1": 11 / 21,
            "distinct_2": 9 / 17,
            "repeated_replies": 1,
            "repeated_reply_share": 1 / 5,
            "repeated_4gram_share": (2 + 3) / (3 + 2 + 3 + 1),
            "echoed_replies": 1,
            "empty": 1,
            "cut_off": 1,
            "questions": 1 / 5,
            "words_per_reply": 21 / 5,
        }
    )
