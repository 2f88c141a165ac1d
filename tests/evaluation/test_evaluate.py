"""The evaluation of a model: figures that can be worked out by hand, and what is asked of the engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from convai.conversation.agent import Agent
from convai.core.dialog import AGENT, USER, Dialog, Persona, Turn
from convai.core.errors import CheckpointError, DataError, SettingsError
from convai.core.evaluation_settings import EvaluateConfig, SelfChatConfig
from convai.core.settings import DecodingConfig
from convai.engine import Finished
from convai.evaluation import evaluate as module
from convai.evaluation.evaluate import (
    baseline_scores,
    draw_replies,
    evaluate,
    mean_f1,
    prepare,
    reply_request,
    variety,
)
from convai.evaluation.windows import reply_windows
from convai.text.prompt import encode_dialogs
from convai.text.tokenizer import Tokenizer
from tests.text.corpora.helpers import talk
from tests.tiny import tiny_model

DIALOGS = [
    talk("hi", "hello", "any pets?", "two owls", persona=["i keep owls."]),
    talk("tea?", "yes please", "milk?", "no", "sugar?", "never", persona=["i like tea."]),
    talk("where to?", "to the sea", "+and back", "why?", "for the waves"),
]
FAST = DecodingConfig(max_length=6)


@pytest.fixture(scope="module")
def agent() -> Agent:
    return Agent(tiny_model(vocab_size=261), Tokenizer.byte_level(), FAST, name="tiny")


def config(metrics: str = "hits,ppl", **changes: Any) -> EvaluateConfig:
    return EvaluateConfig(metrics=metrics, candidates=3, **changes)


def wrong_replies(dialogs: Sequence[Dialog]) -> list[tuple[str, ...]]:
    return [turn.distractors for dialog in dialogs for _, turn in dialog.replies()]


# -- what is measured ------------------------------------------------------------------------------


def test_candidates_are_drawn_from_the_other_dialogues() -> None:
    prepared = prepare(DIALOGS, config(), rank=True)
    for number, dialog in enumerate(prepared):
        others = {turn.text for n, d in enumerate(DIALOGS) if n != number for _, turn in d.replies()}
        for _, turn in dialog.replies():
            assert len(set(turn.distractors)) == 2
            assert set(turn.distractors) <= others


def test_fewer_dialogues_have_the_same_candidates() -> None:
    whole = prepare(DIALOGS, config(), rank=True)
    assert prepare(DIALOGS, config(dialogs=2), rank=True) == whole[:2]
    assert prepare(DIALOGS, config(dialogs=9), rank=True) == whole
    assert prepare(DIALOGS, config(seed=1), rank=True) != whole


def test_candidates_of_the_file_are_taken_less_the_reply_itself() -> None:
    reply = Turn(AGENT, "b", ("x", "b", "y", "z"))
    dialog = Dialog((Turn(USER, "a"), reply))
    assert wrong_replies(prepare([dialog], config(), rank=True)) == [("x", "y")]
    assert wrong_replies(prepare([dialog], EvaluateConfig(candidates=9), rank=True)) == [("x", "y", "z")]
    assert wrong_replies(prepare([dialog], config(), rank=False)) == [()]


def test_a_file_that_cannot_be_ranked_or_holds_no_reply_is_refused() -> None:
    with pytest.raises(DataError, match=r"only one dialogue .* or leave hits out of --metrics"):
        prepare(DIALOGS[:1], config(), rank=True)
    assert prepare(DIALOGS[:1], config("ppl"), rank=False) == DIALOGS[:1]
    for nothing in ([], [Dialog((Turn(AGENT, "hi"), Turn(USER, "hello")))]):
        with pytest.raises(DataError, match="no reply of the agent"):
            prepare(nothing, config(), rank=False)


# -- both heads ------------------------------------------------------------------------------------


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary() -> None:
    """All weights 0: every token has probability 1/261, all candidates tie, and a tie is a miss."""
    model = tiny_model(vocab_size=261)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    blank = Agent(model, Tokenizer.byte_level())
    result = evaluate(blank, prepare(DIALOGS, config(), rank=True), config())
    texts = ["hello", "two owls", "yes please", "no", "never", "to the sea", "and back", "for the waves"]
    n_bytes, n_words = sum(map(len, texts)), 15
    tokens = n_bytes + len(texts)  # and an <eos> each
    assert result.counts == {
        "dialogs": 3,
        "replies": 8,
        "left_out": 0,
        "words": n_words,
        "tokens": tokens,
        "bytes": n_bytes,
        "ranked": 8,
        "candidates": 3,
    }
    assert result.scores == pytest.approx(
        {
            "hits@1": 0.0,
            "chance": 1 / 3,
            "ppl": 261,
            "word_ppl": 261 ** (tokens / n_words),
            "bits_per_byte": math.log2(261) * tokens / n_bytes,
        },
        rel=1e-4,
    )


def test_hits_count_the_replies_that_the_second_head_puts_first(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = module.ReplyScores(
        nll=[1.0] * 4, tokens=[1] * 4, choices=[[0.1, 0.2, 0.3], [0.5, 0.2, 0.3], [], [-2, -1]]
    )
    dialogs = [talk("a", "b", "c", "d"), talk("a", "b", "c", "d")]
    monkeypatch.setattr(module, "score_windows", lambda *args, **kwargs: scores)
    result = evaluate(agent, dialogs, config("hits"))
    assert result.scores == pytest.approx({"hits@1": 2 / 3, "chance": (1 / 3 + 1 / 3 + 1 / 2) / 3})
    assert (result.counts["ranked"], result.counts["candidates"]) == (3, 3)
    scores.choices = [[]] * 4
    with pytest.raises(DataError, match="no reply has a wrong one"):
        evaluate(agent, dialogs, config("hits"))


def test_the_history_changes_the_perplexity(agent: Agent) -> None:
    found = {
        history: evaluate(agent, DIALOGS, config("ppl", max_history=history)).scores["ppl"]
        for history in (0, 1, 2, None)
    }
    assert len({found[0], found[1], found[2]}) == 3
    assert found[2] == found[None]  # nothing here is longer


def test_another_history_changes_what_is_read_and_not_what_is_measured(agent: Agent) -> None:
    other = [replace(d, turns=tuple(replace(t, text=t.text.upper()) for t in d.turns)) for d in DIALOGS]
    encoded, told = (list(encode_dialogs(agent.tokenizer, dialogs)) for dialogs in (DIALOGS, other))
    plain = reply_windows(agent.tokenizer.frame, encoded, max_history=None, n_positions=160)
    for before, window in zip(
        plain,
        reply_windows(agent.tokenizer.frame, encoded, max_history=None, n_positions=160, histories=told),
        strict=True,
    ):
        assert window.reply == before.reply
        read, was = ([agent.tokenizer.decode(t.ids) for t in w.history] for w in (window, before))
        assert read == [text.upper() for text in was]
    measured = {
        name: evaluate(agent, DIALOGS, config("ppl"), histories=histories)
        for name, histories in (("none", None), ("same", DIALOGS), ("other", other))
    }
    assert measured["none"] == measured["same"]
    assert measured["other"].counts == measured["none"].counts
    assert measured["other"].scores != measured["none"].scores


def test_weights_that_are_no_numbers_are_refused(agent: Agent) -> None:
    broken = replace(agent, model=tiny_model(vocab_size=261))
    with torch.no_grad():
        broken.model.transformer.wte.weight[0] = math.nan
    with pytest.raises(CheckpointError, match="tiny: the model's scores are no finite numbers"):
        evaluate(broken, DIALOGS, config("ppl"))


def test_what_does_not_fit_is_left_out_and_said(agent: Agent) -> None:
    long = talk("hi", "x" * 500, "y", "z")
    result = evaluate(agent, [*DIALOGS, long], config("ppl", max_history=0))
    assert (result.counts["replies"], result.counts["left_out"]) == (9, 1)
    with pytest.raises(DataError, match="no reply fits the model's 160 positions"):
        evaluate(agent, [talk("hi", "x" * 500)], config("ppl"))


# -- replies ---------------------------------------------------------------------------------------


def drawn(agent: Agent, dialogs: Sequence[Dialog], seed: int = 0, most: int | None = 2) -> list[Finished]:
    encoded = list(encode_dialogs(agent.tokenizer, dialogs))
    windows = list(reply_windows(agent.tokenizer.frame, encoded, max_history=most, n_positions=160))
    return draw_replies(agent, encoded, windows, seed=seed)


def test_each_reply_is_what_a_fresh_engine_gives_for_its_request(agent: Agent) -> None:
    """Nothing is carried over from one reply to the next, and each has a seed of its own."""
    encoded = list(encode_dialogs(agent.tokenizer, DIALOGS))
    windows = list(reply_windows(agent.tokenizer.frame, encoded, max_history=1, n_positions=160))
    expected = []
    for number, window in enumerate(windows):
        decoding = replace(FAST, seed=module.numbered_seed(7, number))
        request = reply_request(agent, encoded[window.dialog], window, decoding)
        expected.append(agent.engine().best(request).ids)
    assert [reply.ids for reply in drawn(agent, DIALOGS, seed=7, most=1)] == expected
    assert len(set(expected)) == len(expected)


def test_drawing_is_deterministic_and_the_seed_counts(agent: Agent) -> None:
    assert drawn(agent, DIALOGS) == drawn(agent, DIALOGS)
    assert drawn(agent, DIALOGS) != drawn(agent, DIALOGS, seed=1)
    # what is computed beside a reply changes the rounding of its probability, not what is said
    first, all_of_them = drawn(agent, DIALOGS[:1]), drawn(agent, DIALOGS)
    assert [(r.ids, r.text) for r in first] == [(r.ids, r.text) for r in all_of_them[:2]]
    assert [r.score for r in first] == pytest.approx([r.score for r in all_of_them[:2]], abs=1e-5)


def test_the_same_dialogue_twice_gets_different_replies(agent: Agent) -> None:
    """A seed that did not count the replies would draw the same ones, and distinct-n would suffer."""
    once, again = (drawn(agent, [DIALOGS[1]] * 2)[i : i + 3] for i in (0, 3))
    assert all(a.ids != b.ids for a, b in zip(once, again, strict=True))


def test_the_request_knows_all_earlier_turns_of_the_agent_and_the_window_of_the_history(agent: Agent) -> None:
    encoded = list(encode_dialogs(agent.tokenizer, DIALOGS[1:2]))
    *_, last = reply_windows(agent.tokenizer.frame, encoded, max_history=0, n_positions=160)
    request = reply_request(agent, encoded[0], last, replace(FAST, no_repeat_own_ngram=0))
    assert [agent.tokenizer.decode(ids) for ids in request.own_turns] == ["yes please", "no"]
    assert agent.tokenizer.decode(request.prompt.ids) == "i like tea.sugar?"
    assert request.prompt.ids[-1] == agent.tokenizer.speaker2_id


def test_f1_and_variety_are_of_the_drawn_replies(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    says = ["hello", "owls", "yes", "yes", "maybe", "the sea", "the sea", "waves and waves"]
    replies = [Finished(0, (), text, 0.0, 0.0, "stop") for text in says]
    monkeypatch.setattr(module, "draw_replies", lambda *args, **kwargs: replies)
    result = evaluate(agent, DIALOGS, config("f1,distinct"))
    each = [1, 2 / 3, 2 / 3, 0, 0, 2 / 2, 0, 2 / 4]
    each[5] = 2 * 1 / (1 + 2)  # "the" is no word: sea / to sea
    each[7] = 2 * 1 / (3 + 2)  # waves and waves / for waves
    assert result.scores == pytest.approx(
        {
            "f1": sum(each) / 8,
            "distinct_1": 8 / 12,
            "distinct_2": 3 / 4,
            "repeated_replies": 2,
            "repeated_reply_share": 2 / 8,
            "repeated_4gram_share": 0.0,
        }
    )
    assert result.replies == replies


def test_repetition_is_counted_within_a_conversation_only() -> None:
    same = "i have two big dogs at home"
    apart, together = variety([[same], [same]]), variety([[same, same]])
    assert (apart["repeated_replies"], together["repeated_replies"]) == (0, 1)
    assert (apart["repeated_4gram_share"], together["repeated_4gram_share"]) == (0.0, 0.5)
    assert apart["distinct_1"] == together["distinct_1"] == 0.5


def test_mean_f1_takes_equal_numbers_of_both() -> None:
    assert mean_f1(["a cat", "no"], ["the cat", "yes"]) == 0.5
    with pytest.raises(ValueError, match="shorter"):
        mean_f1(["a", "b"], ["a"])


def test_work_that_was_not_asked_for_is_not_done(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_replies", never)
        evaluate(agent, DIALOGS, config("ppl"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "score_windows", never)
        evaluate(agent, DIALOGS, config("f1"))

    given: list[int] = []
    score = module.score_windows
    monkeypatch.setattr(
        module,
        "score_windows",
        lambda model, special, windows, **rest: (
            given.extend(len(w.reply.distractors) for w in windows) or score(model, special, windows, **rest)
        ),
    )
    evaluate(agent, prepare(DIALOGS, config(), rank=True), config("ppl"))
    assert set(given) == {0}


def test_progress_names_the_work_and_comes_to_its_end(agent: Agent) -> None:
    told: dict[str, tuple[int, int]] = {}
    dialogs = prepare(DIALOGS, config(), rank=True)
    evaluate(
        agent,
        dialogs,
        config("hits,ppl,f1"),
        progress=lambda what, done, of: told.update({what: (done, of)}),
    )
    assert told == {"ranking": (8, 8), "replies": (8, 8)}


# -- baselines -------------------------------------------------------------------------------------


def test_baselines_tell_what_persona_and_history_are_worth() -> None:
    """Here the persona gives every reply away, and the last turn gives none."""
    animals = ["owl", "otter", "badger"]
    dialogs = [
        Dialog(
            (
                Turn(USER, f"hello {n}, what is it like?"),
                Turn(AGENT, f"my {animal} sleeps", tuple(f"my {a} sleeps" for a in animals if a != animal)),
            ),
            (Persona(), Persona((f"i keep an {animal}.",))),
        )
        for n, animal in enumerate(animals)
    ]
    scores = baseline_scores(dialogs, [])
    assert scores["tfidf_hits@1"] == scores["tfidf_persona_hits@1"] == 1.0
    assert scores["tfidf_history_hits@1"] == 0.0
    assert not any("gram" in name for name in scores)
    learnt = baseline_scores(dialogs, DIALOGS)
    assert {"1-gram_word_ppl", "3-gram_word_ppl", "5-gram_word_ppl"} <= learnt.keys()


def test_without_training_dialogues_the_replies_themselves_teach_nothing() -> None:
    dialogs = [
        talk("red red red", "blue blue blue"),
        talk("red", "blue"),
    ]
    assert baseline_scores(dialogs, [])["constant_f1"] == 0.0
    assert baseline_scores(dialogs, dialogs)["constant_f1"] > 0.5


# -- settings --------------------------------------------------------------------------------------


def test_the_metrics_asked_for() -> None:
    assert EvaluateConfig().chosen == {"hits", "ppl", "f1", "distinct"}
    assert EvaluateConfig(metrics="ppl, f1").chosen == {"ppl", "f1"}
    assert EvaluateConfig(metrics="none").chosen == set()


@pytest.mark.parametrize(
    "settings",
    [
        {"metrics": "hits,bleu"},
        {"metrics": ""},
        {"metrics": "none,ppl"},
        {"candidates": 1},
        {"max_history": -1},
        {"dialogs": -1},
        {"batch_tokens": 3},
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(SettingsError, match=f"^{name}="):
        EvaluateConfig(**settings)


def test_a_conversation_has_turns() -> None:
    with pytest.raises(SettingsError, match=r"^turns=0"):
        SelfChatConfig(turns=0)
