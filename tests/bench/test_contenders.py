"""All contenders compute the same model: where nothing is drawn, they say the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from convai.bench.contenders.base import Setup, Timing, Together, one_after_another
from convai.bench.contenders.ours import Ours
from convai.bench.contenders.registry import BASELINES, KINDS, OURS
from convai.bench.random_model import made_up_tokenizer
from convai.bench.workload import BenchChat, Workload, chats
from convai.conversation.agent import Agent
from convai.model.double_heads import DoubleHeadsModel
from convai.model.shape import Shape
from tests.tiny import randomize

VOCAB = 300
TOKENIZER = made_up_tokenizer(VOCAB)
GREEDY = dataclasses.replace(Workload().quick(), temperature=0.0, reply=6)
ASKED = chats(GREEDY, VOCAB, 3, seed=1)


SHAPES: dict[str, Shape] = {
    "gpt2": Shape(vocab_size=VOCAB, n_positions=64, n_embd=64, n_layer=2, n_head=2),
    "llama": Shape(
        family="llama",
        vocab_size=VOCAB,
        n_positions=64,
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_kv_head=2,
        n_inner=96,
        rope_theta=100.0,
    ),
}


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> DoubleHeadsModel:
    model = DoubleHeadsModel(SHAPES[request.param].without_dropout())
    randomize(model)
    with torch.no_grad():
        if model.config.rotary:
            model.transformer.segment_gate.zero_()  # as it comes: the others know of no segments
        model.transformer.wte.weight[-5:] *= 0.1  # control ids, which only some of them forbid, are unlikely
    return model.eval()


@pytest.fixture(scope="module")
def folder(model: DoubleHeadsModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    Agent(model, TOKENIZER).save(folder)
    return folder


Run = Callable[..., Timing]


@pytest.fixture
def run(folder: Path, model: DoubleHeadsModel) -> Run:
    def answer(name: str, work: Workload = GREEDY, asked: list[BenchChat] = ASKED) -> Timing:
        kind = KINDS[name]
        if (reason := kind.missing(model.config.family)) is not None:
            pytest.skip(reason)
        contender = kind.make(Setup(folder, work, 1, len(asked), "float32"))
        try:
            return contender.run(asked, 0)
        finally:
            contender.close()

    return answer


def greedy(model: DoubleHeadsModel, chat: BenchChat, length: int, segments: bool) -> tuple[int, ...]:
    """The best tokens, everything computed again for each."""
    prompt = chat.prompt(TOKENIZER.frame)
    words, last = list(prompt.ids), prompt.segments[-1]
    while len(words) < len(prompt) + length:
        n = len(words)
        types = torch.tensor([prompt.segments + [last] * (n - len(prompt))]) if segments else None
        with torch.no_grad():
            hidden = model(torch.tensor([words]), torch.arange(n)[None], types)
            logits = model.lm_logits(hidden[0, -1])
        logits[-5:] = -torch.inf
        words.append(int(logits.argmax()))
    return tuple(words[len(prompt) :])


@pytest.mark.parametrize("name", [OURS, "recompute", "transformers", "transformers_batched"])
def test_with_segments_they_say_what_the_model_does(name: str, run: Run, model: DoubleHeadsModel) -> None:
    expected = tuple(greedy(model, chat, GREEDY.reply, segments=True) for chat in ASKED)
    assert run(name).replies == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("name", ["ctranslate2_float32", "llamacpp_f16"])
def test_those_without_segments_are_the_same_model(name: str, run: Run, model: DoubleHeadsModel) -> None:
    expected = tuple(greedy(model, chat, GREEDY.reply, segments=False) for chat in ASKED)
    assert run(name).replies == expected


@pytest.mark.parametrize("name", ["ctranslate2", "llamacpp"])
def test_eight_bits_begin_alike(name: str, run: Run, model: DoubleHeadsModel) -> None:
    """Rounding may turn a reply, but hardly the first token of all three."""
    first = [greedy(model, chat, 1, segments=False)[0] for chat in ASKED]
    assert sum(reply[0] == token for reply, token in zip(run(name).replies, first, strict=True)) >= 2


@pytest.mark.parametrize("name", list(KINDS))
def test_drawn_replies_are_as_long_as_asked_for_and_timed(name: str, run: Run) -> None:
    work = dataclasses.replace(GREEDY, temperature=0.7, reply=5)
    timing = run(name, work)
    assert [len(reply) for reply in timing.replies] == [5, 5, 5]
    assert timing.tokens == 15
    assert all(0 < first <= last for first, last in zip(timing.first, timing.last, strict=True))
    assert max(timing.last) <= timing.seconds
    assert timing.rate == pytest.approx(15 / timing.seconds)


def test_a_conversation_computes_what_is_new(folder: Path) -> None:
    work = dataclasses.replace(Workload().quick(), persona=6, reply=2)
    ours = Ours(Setup(folder, work, 1, 1, "float32"))
    turns = ours.conversation(2, seed=5)
    assert [prompt for _, prompt, _ in turns] == [1 + 6 + 17 + 1 + i * (2 + 17 + 1) for i in range(2)]
    assert all(first > 0 for first, _, _ in turns)
    assert turns[0][2] <= 1
    assert turns[1][2] >= turns[0][1], "what came before the reply is known"
    other = ours.conversation(1, seed=6)
    assert other[0][2] <= 1, "a new conversation is new"
    ours.close()


def test_new_chats_are_waited_for_alone_and_among_others(folder: Path) -> None:
    ours = Ours(Setup(folder, GREEDY, 1, 4, "float32"))
    for busy in (0, 3):
        waits = ours.first_tokens(busy, 2, seed=1)
        assert len(waits) == 2
        assert all(wait > 0 for wait in waits)
    ours.close()


def test_memory_is_that_of_chats_that_fill_the_context(folder: Path) -> None:
    ours = Ours(Setup(folder, GREEDY, 1, 2, "float32"))
    peak, tokens = ours.memory(2, seed=1)
    assert peak > 50_000_000, "bytes, of a process that has loaded torch"
    assert tokens == ours._agent.positions - 1, "and the end of the reply"
    ours.close()


def test_one_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KINDS[OURS].missing() is None
    kind = dataclasses.replace(KINDS["llamacpp"], needs=(("no_such_module", "llama-cpp-python"),))
    assert kind.missing() == "llama-cpp-python not installed (pip install 'convai[bench]')"
    assert set(BASELINES) | {OURS} == set(KINDS)


def test_asking_who_is_there_loads_nobody() -> None:
    code = (
        "import sys; from convai.bench.contenders.registry import KINDS; "
        "[k.missing() for k in KINDS.values()];"
        "print({'torch', 'transformers', 'ctranslate2', 'llama_cpp', 'gguf'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_times_count_from_the_question() -> None:
    times = Together(10.0, 2)
    for chat, token, now in ((0, 5, 11.0), (1, 6, 12.0), (0, 7, 13.0), (1, 8, 16.0)):
        times.token(chat, token, now)
    timing = times.timing(16.5)
    assert timing == Timing(6.5, (1.0, 2.0), (3.0, 6.0), ((5, 7), (6, 8)))
    assert timing.decode_rate == pytest.approx((1 / 2 + 1 / 4) / 2)
    both = one_after_another([Timing(2.0, (1.0,), (2.0,), ((1,),)), Timing(3.0, (1.5,), (3.0,), ((2, 3),))])
    assert both == Timing(5.0, (1.0, 1.5), (2.0, 3.0), ((1,), (2, 3)))
    assert both.rate == pytest.approx(3 / 5)
