"""The model that learns: how it begins, what an encoder reads for a step, what of it the optimizer moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from convai.core.errors import SettingsError
from convai.coref.encoder import WordEncoder, pretrained
from convai.coref.examples import Example
from convai.coref.model import Context, CorefConfig, CorefModel
from convai.coref.pairs import Floats, Window
from convai.coref.settings import CorefTrainSettings
from convai.coref.words import SPECIAL, WordIds
from convai.model.products import quick_products


def new_model(
    words: Sequence[str], vectors: Floats, settings: CorefTrainSettings, context: Context | None = None
) -> tuple[CorefModel, WordIds]:
    """A model with random weights, and its words."""
    ids = WordIds(words)
    table = np.concatenate((np.zeros((SPECIAL, vectors.shape[1]), np.float32), vectors))
    config = CorefConfig(
        words=len(ids),
        vector=vectors.shape[1],
        learnt=min(settings.learnt, len(ids)),
        learnt_size=settings.learnt_size,
        mention=settings.mention_size,
        pair=settings.pair_size,
        second=settings.second_size,
        window=Window(settings.window, settings.matching, settings.reach),
        context=context,
    )
    torch.manual_seed(settings.seed)
    return CorefModel(config, torch.from_numpy(table), settings.dropout), ids


def grown_model(
    start: CorefModel, words: WordIds, settings: CorefTrainSettings, context: Context | None
) -> CorefModel:
    """A model that begins as `start`, with its words, sizes and weights; what a context adds is fresh.

    Raises SettingsError where `start` takes the states of another layer or base.
    """
    if context is None and start.encoder is not None:
        context = start.config.context  # it goes on with its own
    if start.config.context not in (None, context):
        raise SettingsError("--start: a model with another --context or --context-layer; give it the same")
    torch.manual_seed(settings.seed)
    config = dataclasses.replace(start.config, words=len(words), context=context)
    pieces = () if start.encoder is None else start.encoder.pieces
    model = CorefModel(config, start.vectors.clone(), settings.dropout, pieces)
    model.load_state_dict(start.state_dict(), strict=False)
    return model


def with_encoder(model: CorefModel, words: WordIds, folder: Path, settings: CorefTrainSettings) -> CorefModel:
    """The model with the lower layers of a pretrained encoder, whose states say nothing yet.

    Raises SettingsError where it has a context already, CheckpointError for what is no encoder.
    """
    if model.config.context is not None:
        raise SettingsError("--encoder: the model of --start has states already; leave --encoder out")
    torch.manual_seed(settings.seed)
    encoder = pretrained(folder, settings.encoder_layers, words.words, settings.encoder_pieces)
    sizes = (settings.encoder_layers, encoder.width, settings.products, settings.product_size)
    config = dataclasses.replace(model.config, context=Context(None, *sizes, encoder.shape))
    grown = CorefModel(config, model.vectors.clone(), settings.dropout, encoder.pieces)
    grown.load_state_dict(model.state_dict(), strict=False)
    assert grown.encoder is not None
    grown.encoder.load_state_dict(encoder.state_dict())
    return grown


def scored(
    model: CorefModel, example: Example, states: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of an example's pairs and of its mentions alone; `states`: those of an encoder."""
    if states is None and example.states is not None:
        states = example.states.float()
    mentions = model.encode(example.words, example.span, example.categories, example.tokens, states)
    later, earlier = model.sides(mentions, states)
    scores = model.score_pairs(
        later, earlier, example.later, example.earlier, example.features(), example.cross
    )
    return scores, model.score_alone(mentions, example.summary)


def encoded(
    encoder: WordEncoder, batch: Sequence[Example], dropout: float
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """What an encoder makes of a step: states of all words, the same cut off from how they came about,
    and of each example those of its mentions' heads, from the latter.

    Its products are taken in bfloat16 where the processor multiplies that natively.
    """
    chunks = [chunk for example in batch for chunk in example.chunks or ()]
    with quick_products():
        states = encoder(chunks, dropout)
    leaf, found, begin = states.detach().requires_grad_(), [], 0
    for example in batch:
        assert example.heads is not None
        found.append(leaf[begin + example.heads])
        begin += sum(len(chunk.ends) for chunk in example.chunks or ())
    return states, leaf, found


def learning(model: CorefModel, settings: CorefTrainSettings) -> torch.optim.AdamW:
    """The optimizer of what learns: an encoder at a rate of its own, in the second group."""
    inner = [] if model.encoder is None else [p for p in model.encoder.parameters() if p.requires_grad]
    own = {id(p) for p in (() if model.encoder is None else model.encoder.parameters())}
    groups = [{"params": [p for p in model.parameters() if id(p) not in own]}]
    if inner:
        groups.append({"params": inner, "lr": settings.encoder_lr})  # type: ignore[dict-item]
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
