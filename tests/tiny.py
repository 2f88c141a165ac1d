"""Tiny random models, control ids and encoded dialogues for the tests of everything above the tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from hypothesis import strategies as st

from convai.core.dialog import AGENT, USER
from convai.model.double_heads import DoubleHeadsModel
from convai.model.hf_config import FULL, SLIDING
from convai.model.shape import Family, Shape
from convai.text import segments
from convai.text.frames import TEMPLATE, Frame
from convai.text.segments import EncodedDialog, EncodedTurn, dialogue_tree, utterance_sequences

FAMILIES: tuple[Family, ...] = ("gpt2", "openai-gpt")

WORDS = 30
"""Ids below are words; the five control ids follow."""


class Special:
    """Control ids of a vocabulary of WORDS + 5."""

    bos_id, eos_id, speaker1_id, speaker2_id, pad_id = range(WORDS, WORDS + 5)
    vocab_size = WORDS + 5


SPECIAL = Special()
FRAME = Frame.blog(
    bos_id=SPECIAL.bos_id,
    eos_id=SPECIAL.eos_id,
    speakers=(SPECIAL.speaker1_id, SPECIAL.speaker2_id),
    pad_id=SPECIAL.pad_id,
)


START, END, USER_WORD, AGENT_WORD, LINE = range(WORDS, WORDS + 5)
CHAT = Frame(
    name=TEMPLATE,
    start=(),
    before_persona=(START, 0, LINE),
    separator=(LINE,),
    after_persona=(END, LINE),
    openings=((START, USER_WORD, LINE), (START, AGENT_WORD, LINE)),
    closings=((END, LINE), (END, LINE)),
    end_id=END,
    stop_ids=(END,),
    segments=(USER_WORD, AGENT_WORD),
    pad_id=END,
)
"""As ChatML writes: a block for the persona, and turns that are closed."""
IN_TURN = dataclasses.replace(
    CHAT,
    start=(1,),
    before_persona=(START, USER_WORD, LINE),
    after_persona=(LINE, LINE),
    in_first_turn=True,
)
"""As Gemma's template: the persona begins the first message."""
FRAMES = {"blog": FRAME, "chat": CHAT, "in turn": IN_TURN}


def tiny_config(
    family: Family = "gpt2", vocab_size: int = SPECIAL.vocab_size, n_positions: int = 160
) -> Shape:
    """Two layers of two heads, no dropout; Gemma's first layer sees four tokens."""
    shape = Shape(
        family=family, vocab_size=vocab_size, n_positions=n_positions, n_embd=16, n_layer=2, n_head=2
    )
    if family == "gemma3_text":
        shape = shape.replace(sliding_window=4, layer_types=(SLIDING, FULL), query_scale=5.0)
    return shape.without_dropout()


def randomize(model: torch.nn.Module, seed: int = 0) -> None:
    """Weights large enough for every mistake to show: with GPT-2's own, a wrong mask changes 1e-5."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            mean = 1.0 if p.dim() == 1 and p.mean() == 1 else 0.0  # norms
            p.copy_(mean + 0.3 * torch.randn(p.shape, generator=generator))


def tiny_model(
    family: Family = "gpt2", vocab_size: int = SPECIAL.vocab_size, n_positions: int = 160, seed: int = 0
) -> DoubleHeadsModel:
    """A random model in evaluation mode."""
    model = DoubleHeadsModel(tiny_config(family, vocab_size, n_positions))
    randomize(model, seed)
    return model.eval()


words = st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=5)
personas = st.lists(words, max_size=3)


def _turn(speaker: int, ids: list[int], wrong: list[list[int]]) -> EncodedTurn:
    # what is the reply itself is no distractor: it would tie with it, and rounding decide
    return EncodedTurn(speaker, ids, tuple(w for w in wrong if w != ids))


def turns(max_size: int = 7) -> st.SearchStrategy[list[EncodedTurn]]:
    """Turns by anybody in any order, the agent's with up to three wrong replies."""

    def said_by(speaker: int) -> st.SearchStrategy[EncodedTurn]:
        wrong = st.lists(words, max_size=3 if speaker == AGENT else 0)
        return st.builds(_turn, st.just(speaker), words, wrong)

    return st.lists(st.sampled_from([USER, AGENT]).flatmap(said_by), min_size=1, max_size=max_size)


dialogs = st.builds(EncodedDialog, personas, turns())


def inputs(rows: int = 3, length: int = 11, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Words, positions (from a different place in each row) and segments `[rows, length]`."""
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(0, SPECIAL.vocab_size, (rows, length), generator=g)
    positions = torch.arange(length) + 5 * torch.arange(rows)[:, None]
    return words, positions, torch.randint(0, SPECIAL.vocab_size, (rows, length), generator=g)


CORPUS = [
    EncodedDialog(
        [[1, 2, 3], [4]],
        [
            EncodedTurn(USER, [5, 6]),
            EncodedTurn(AGENT, [7, 8], ([9, 10, 11], [12])),
            EncodedTurn(USER, [13]),
            EncodedTurn(USER, [14, 15]),
            EncodedTurn(AGENT, [16], ([17], [16, 18], [19] * 6)),
            EncodedTurn(AGENT, [20, 21]),
        ],
    ),
    EncodedDialog([], [EncodedTurn(AGENT, [1]), EncodedTurn(AGENT, [2, 2], ([2],))]),
    EncodedDialog([[3] * 9], [EncodedTurn(USER, [1]), EncodedTurn(USER, [2])]),
    EncodedDialog([[5]], [EncodedTurn(USER, [22] * 12), EncodedTurn(AGENT, [23] * 7, ([24] * 3,))]),
]
"""One speaker twice in a row, a beginning without a question, no reply at all, several lengths."""


def as_trees(corpus: Sequence[EncodedDialog], frame: Frame = FRAME) -> list[segments.TokenSequence]:
    return [dialogue_tree(frame, d.persona, d.turns) for d in corpus]


def as_utterances(
    corpus: Sequence[EncodedDialog], frame: Frame = FRAME
) -> tuple[list[segments.TokenSequence], list[int]]:
    """The sequences of all agent replies that answer something, and how many candidates each has."""
    rows: list[segments.TokenSequence] = []
    groups = []
    for d in corpus:
        for i, turn in enumerate(d.turns):
            if i and turn.speaker == AGENT:
                candidates = utterance_sequences(frame, d.persona, d.turns[:i], turn)
                rows += candidates
                groups.append(len(candidates))
    return rows, groups


def close(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-4) -> bool:
    """Whether two tensors agree, shapes included."""
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=0, atol=atol))


def plain(dialog: EncodedDialog) -> tuple[list[list[int]], list[tuple[int, list[int], list[list[int]]]]]:
    """A dialogue as lists, to compare with ==."""

    def lists(parts: Sequence[Sequence[int]]) -> list[list[int]]:
        return [list(ids) for ids in parts]

    return lists(dialog.persona), [(t.speaker, list(t.ids), lists(t.distractors)) for t in dialog.turns]


Layout = Literal["dialogue", "utterance"]
