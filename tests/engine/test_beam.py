from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from convai.core.errors import ConvaiError, SettingsError
from convai.engine.beam import BeamState, Hypothesis

EOS = 0


def table(seed: int, vocabulary: int = 4, sharpness: float = 1.5) -> dict[tuple[int, ...], Tensor]:
    """A toy language: log-probabilities [V] for every context, drawn when first asked for."""

    class Lazy(dict[tuple[int, ...], Tensor]):
        def __missing__(self, context: tuple[int, ...]) -> Tensor:
            generator = torch.Generator().manual_seed(hash((seed, *context)) % 2**31)
            self[context] = (torch.randn(vocabulary, generator=generator) * sharpness).log_softmax(-1)
            return self[context]

    return Lazy()


def search(language: dict[tuple[int, ...], Tensor], batch: int = 1, **settings: object) -> BeamState:
    state = BeamState(batch, eos_id=EOS, **settings)  # type: ignore[arg-type]
    rows: list[tuple[int, ...]] = [()] * (batch * state.beams)
    while not state.done:
        parents, tokens = state.step(torch.stack([language[row] for row in rows]))
        rows = [(*rows[p], t) for p, t in zip(parents.tolist(), tokens.tolist(), strict=True)]
        if not state.done:
            assert rows == list(state.running())
    return state


def every_reply(language: dict[tuple[int, ...], Tensor], longest: int, alpha: float) -> list[Hypothesis]:
    """Brute force: each reply that ends by itself or is cut at `longest`, best first."""
    found = []
    for length in range(1, longest + 1):
        for body in itertools.product(range(1, 4), repeat=length - 1):
            for last in range(4) if length == longest else [EOS]:
                reply = (*body, last)
                total = sum(language[reply[:i]][token].item() for i, token in enumerate(reply))
                found.append(Hypothesis(reply, total, total / length**alpha))
    return sorted(found, key=lambda h: -h.score)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_wide_enough_it_finds_the_best_of_all(seed: int, alpha: float) -> None:
    language = table(seed)
    state = search(language, beams=64, max_length=4, length_penalty=alpha)
    expected = every_reply(language, 4, alpha)
    assert state.best(0).tokens == expected[0].tokens
    assert state.best(0).score == pytest.approx(expected[0].score, abs=1e-5)
    found = [h.score for h in state.hypotheses(0)]
    assert found == pytest.approx([h.score for h in expected[: len(found)]], abs=1e-5)


def test_stopping_when_nothing_can_improve_loses_nothing() -> None:
    """The bound on unfinished replies is right: running on to the end finds no better reply."""

    class Endless(BeamState):
        def _can_improve(self, row: int, log_prob: float) -> bool:
            return True

    stopped_early = 0
    for seed, alpha in itertools.product(range(6), (0.0, 0.5, 1.0)):
        language = table(seed, sharpness=3.0)
        state = search(language, beams=3, max_length=7, length_penalty=alpha)
        endless = Endless(1, 3, eos_id=EOS, max_length=7, length_penalty=alpha)
        while not endless.done:
            endless.step(torch.stack([language[row] for row in endless.running()]))
        assert endless.length == 7
        assert state.hypotheses(0) == endless.hypotheses(0)
        stopped_early += state.length < 7
    assert stopped_early


@pytest.mark.parametrize("seed", range(5))
def test_one_beam_is_greedy(seed: int) -> None:
    language = table(seed)
    reply: tuple[int, ...] = ()
    while len(reply) < 6 and EOS not in reply:
        reply = (*reply, int(language[reply].argmax()))
    assert search(language, beams=1, max_length=6, early_stopping=True).best(0).tokens == reply


def test_hypotheses_are_scored_as_documented() -> None:
    language = table(1)
    for found in search(language, beams=4, max_length=5, length_penalty=0.7).hypotheses(0):
        total = sum(language[found.tokens[:i]][token].item() for i, token in enumerate(found.tokens))
        assert found.log_prob == pytest.approx(total, abs=1e-5)
        assert found.score == pytest.approx(total / len(found.tokens) ** 0.7, abs=1e-5)


def test_searches_of_a_batch_are_independent() -> None:
    first, second = table(1), table(2, sharpness=4.0)
    together = BeamState(2, 3, eos_id=EOS, max_length=6)
    while not together.done:
        rows = list(together.running())
        log_probs = [first[row] for row in rows[:3]] + [second[row] for row in rows[3:]]
        parents, tokens = together.step(torch.stack(log_probs))
        assert parents.shape == tokens.shape == (6,)
        assert all(0 <= p < 3 for p in parents[:3])
        assert all(3 <= p < 6 for p in parents[3:])
    for row, language in enumerate((first, second)):
        alone = search(language, beams=3, max_length=6)
        assert together.hypotheses(row) == alone.hypotheses(0)


@pytest.fixture(scope="module")
def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    # large initial weights: a peaked distribution, so that orders are not decided by rounding
    config = GPT2Config(vocab_size=37, n_positions=40, n_embd=16, n_layer=2, n_head=2, initializer_range=0.6)
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_as_transformers(gpt2: GPT2LMHeadModel, seed: int, alpha: float, early_stopping: bool) -> None:
    batch, beams, longest, eos = 2, 4, 12, 5
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randint(6, 37, (batch, 4), generator=generator)

    def nudged(log_probs: Tensor) -> Tensor:
        # the end must be likely enough to be met: without it nothing is finished early
        log_probs = log_probs.clone()
        log_probs[:, eos] += 3.0
        return log_probs.log_softmax(-1)

    theirs = gpt2.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        num_beams=beams,
        num_return_sequences=beams,
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=eos,
        pad_token_id=eos,
        length_penalty=alpha,
        early_stopping=True if early_stopping else "never",
        logits_processor=[lambda ids, log_probs: nudged(log_probs)],
        return_dict_in_generate=True,
        output_scores=True,
    )

    state = BeamState(
        batch, beams, eos_id=eos, max_length=longest, length_penalty=alpha, early_stopping=early_stopping
    )
    rows = prompt.repeat_interleave(beams, 0)
    with torch.no_grad():
        while not state.done:
            log_probs = nudged(gpt2(rows).logits[:, -1].log_softmax(-1))
            parents, tokens = state.step(log_probs)
            rows = torch.cat([rows[parents], tokens[:, None]], 1)

    ended = 0
    for row in range(batch):
        ours = state.hypotheses(row)
        assert len(ours) == beams
        for rank, found in enumerate(ours):
            sequence = theirs.sequences[row * beams + rank, prompt.size(1) :].tolist()
            assert sequence[: len(found.tokens)] == list(found.tokens)
            assert set(sequence[len(found.tokens) :]) <= {eos}
            assert found.score == pytest.approx(theirs.sequences_scores[row * beams + rank].item(), abs=1e-4)
            ended += found.tokens[-1] == eos
    assert ended, "no reply ended by itself: the test would not notice how ends are handled"


def test_forbidden_tokens_are_never_taken() -> None:
    state = BeamState(1, 2, eos_id=EOS, max_length=3)
    log_probs = torch.tensor([-1.0, -math.inf, -2.0, -0.1]).expand(2, 4)
    while not state.done:
        state.step(log_probs)
    assert all(1 not in hypothesis.tokens for hypothesis in state.hypotheses(0))


def test_a_dead_end_finishes_what_there_is() -> None:
    state = BeamState(1, 2, eos_id=EOS, max_length=9)
    state.step(torch.tensor([-math.inf, -0.5, -1.0]).expand(2, 3))
    state.step(torch.full((2, 3), -math.inf))
    assert state.done
    assert [h.tokens for h in state.hypotheses(0)] == [(1,), (2,)]
    assert [h.score for h in state.hypotheses(0)] == pytest.approx([-0.5, -1.0])


def test_only_the_end_is_allowed() -> None:
    state = BeamState(1, 3, eos_id=EOS, max_length=9)
    only_end = torch.tensor([0.0, -math.inf]).expand(3, 2)
    for _ in range(2):
        state.step(only_end)
    assert state.done
    assert [h.tokens for h in state.hypotheses(0)] == [(EOS,)]


def test_a_search_that_is_done_keeps_still() -> None:
    state = BeamState(1, 2, eos_id=EOS, max_length=1)
    state.step(torch.tensor([-1.0, -2.0, -3.0]).expand(2, 3))
    found = state.hypotheses(0)
    assert [h.tokens for h in found] == [(0,), (1,)]
    parents, tokens = state.step(torch.zeros(2, 3))
    assert parents.tolist() == [0, 1]
    assert tokens.tolist() == [EOS, EOS]
    assert state.hypotheses(0) == found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beams": 0}, "num_beams=0"),
        ({"max_length": 0}, "max_length=0"),
        ({"length_penalty": -1.0}, "length_penalty=-1"),
        ({"length_penalty": math.inf}, "length_penalty=inf"),
        ({"length_penalty": math.nan}, "length_penalty=nan"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        BeamState(1, **{"beams": 2, "max_length": 3, "eos_id": 0, **settings})  # type: ignore[arg-type]


def test_broken_log_probs() -> None:
    state = BeamState(1, 2, eos_id=EOS, max_length=3)
    with pytest.raises(ConvaiError, match="row 1"):
        state.step(torch.tensor([[0.0, 0.0], [math.nan, 0.0]]))
    with pytest.raises(SettingsError, match="greedy"):
        state.step(torch.zeros(2, 1))
