"""The rows of /why: exactly what the model was given, and what it gave to each token of its reply."""

from __future__ import annotations

import pytest
import torch

from convai.conversation.explain import token_text
from convai.conversation.session import Session
from convai.text.textnorm import join_spaced
from convai.text.tokenizer import Tokenizer
from tests.chatting import NURSE, tiny_agent
from tests.tokenizer_kinds import KINDS, kind


def test_rows_are_the_exact_input_and_the_reply() -> None:
    agent = tiny_agent(seed=1)
    session = Session(agent, agent.engine(), NURSE)
    session.answer("hi")
    session.answer("why?")
    rows = session.explain().rows
    turns = [[*b"hi"], [*session.turns[1].text.encode()], [*b"why?"]]
    k = agent.tokenizer
    prompt = [k.bos_id, *b"i am a nurse.", *b"i have two dogs."]
    for speaker, turn in zip((k.speaker1_id, k.speaker2_id, k.speaker1_id), turns, strict=True):
        prompt += [speaker, *turn]
    prompt.append(k.speaker2_id)
    assert [row.id for row in rows[: len(prompt)]] == prompt
    assert [row.position for row in rows] == list(range(len(rows)))
    parts = [row.part for row in rows]
    assert parts.index("history") == 1 + len("i am a nurse.i have two dogs.")
    assert parts.index("reply") == len(prompt) - 1
    assert {row.segment for row in rows if row.part == "persona"} == {"<speaker2>"}
    assert [row.segment for row in rows if row.part == "history"][:4] == ["<speaker1>"] * 3 + ["<speaker2>"]
    items = {(row.part, row.item) for row in rows}
    assert items == {
        ("persona", 0),
        ("persona", 1),
        ("history", 0),
        ("history", 1),
        ("history", 2),
        ("reply", 0),
    }
    assert [row.text for row in rows[:3]] == ["<bos>", "i", " "]


@pytest.mark.computes
@pytest.mark.parametrize("decoding", [{}, {"candidates": 3}, {"max_length": 3, "min_length": 3}])
def test_the_probabilities_are_the_models(decoding: dict[str, int]) -> None:
    """Computed again from the rows alone, in one pass without cache; they add up to the candidate's."""
    agent = tiny_agent(seed=2, **decoding)
    session = Session(agent, agent.engine(), NURSE)
    session.answer("hi")
    explained = session.explain()
    rows = explained.rows
    names = {"<speaker1>": agent.tokenizer.speaker1_id, "<speaker2>": agent.tokenizer.speaker2_id}
    with torch.inference_mode():
        hidden = agent.model(
            torch.tensor([[row.id for row in rows]]),
            torch.tensor([[row.position for row in rows]]),
            torch.tensor([[names[row.segment] for row in rows]]),
        )
        log_probs = agent.model.lm_logits(hidden)[0].log_softmax(-1)
    drawn = [(i, row) for i, row in enumerate(rows) if row.logprob is not None]
    assert drawn
    for i, row in drawn:
        assert row.logprob == pytest.approx(float(log_probs[i - 1, row.id]), abs=1e-4)
    assert explained.chosen is not None
    chosen = explained.candidates[explained.chosen]
    assert sum(row.logprob or 0.0 for _, row in drawn) == pytest.approx(chosen.logprob, abs=1e-4)
    assert (rows[-1].text == "<eos>") == (chosen.reason == "stop")


def test_beam_search_has_no_probabilities_of_single_tokens() -> None:
    agent = tiny_agent(num_beams=3, max_length=5)
    session = Session(agent, agent.engine(), NURSE)
    session.answer("hi")
    explained = session.explain()
    assert all(row.logprob is None for row in explained.rows)
    ids = [row.id for row in explained.rows if row.part == "reply"][1:]
    assert tuple(ids[: len(explained.candidates[0].ids)]) == explained.candidates[0].ids


@pytest.mark.parametrize("name", KINDS)
def test_token_texts_add_up(name: str) -> None:
    """Blanks included, whichever end of a token they are at."""
    tokenizer = kind(name)
    ids = tokenizer.encode("hello, how are you")
    texts = [token_text(tokenizer, id) for id in ids]
    assert join_spaced("".join(texts)).strip() == tokenizer.decode(ids).strip()
    assert any(" " in text.strip("\n") for text in texts)


def test_control_tokens_have_names_and_parts_of_characters_no_text() -> None:
    k = Tokenizer.byte_level()
    names = [token_text(k, id) for id in (k.bos_id, k.eos_id, k.speaker1_id, k.speaker2_id, k.pad_id)]
    assert names == ["<bos>", "<eos>", "<speaker1>", "<speaker2>", "<pad>"]
    assert token_text(k, 0xC3) == ""
