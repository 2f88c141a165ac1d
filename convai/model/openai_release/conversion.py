"""OpenAI's releases into a model folder: find out which one it is, read it, walk it, write it, compare it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from convai.core.errors import CheckpointError
from convai.core.files import read_json
from convai.model.checkpoint import load_config, save_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.openai_release.compare import Comparison, compare, sample_ids
from convai.model.openai_release.openai_shards import SHAPES, OpenAIShards
from convai.model.openai_release.scopes import Walk, walk
from convai.model.openai_release.tensor_bundle import TensorBundle
from convai.model.shape import Shape
from convai.text.tokenizer import Tokenizer

HPARAMS: Final = "hparams.json"
HEAD_SIZE: Final = 64
"""Of both releases; the shards of the first do not say how many heads there are."""
COMPARED: Final = 32
"""Words a row of the comparison."""

_VOCABULARY: Final = {
    "openai-gpt": (("encoder_bpe_40000.json", "vocab.json"), ("vocab_40000.bpe", "merges.txt")),
    "gpt2": (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")),
}
"""Names of the vocabulary's files in the releases, and in a model folder."""

Variables = OpenAIShards | TensorBundle


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a checkpoint: its variables, the model's shape, and how the layers compare."""

    walk: Walk
    config: Shape
    comparison: Comparison


def convert(source: Path, out: Path, *, heads: int | None = None, others: Sequence[Path] = ()) -> Converted:
    """Write the checkpoint in the folder `source` as the model folder `out`, which `convai train` takes.

    The release's vocabulary goes with it; the five special tokens of a dialogue model are added when it is
    tuned. `heads` is for an OpenAI GPT of another width. The result's hidden states are compared with those
    of the source's own arithmetic, of transformers' model, and of the model folders `others`.

    Raises CheckpointError, one line, for anything missing, damaged, or that does not fit together; `out` is
    then not there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CheckpointError(f"{out}: is there already; choose another folder")
    for other in others:
        load_config(other)  # refused now, not after the work
    variables, config = read(source, heads)
    found, model = build(variables, config, str(source))
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        tokenizer = _copy_vocabulary(source, staging, config)
        save_model(model, staging)
        del model
        ids = sample_ids(tokenizer, config.vocab_size, min(COMPARED, config.n_positions))
        comparison = compare(staging, ids, variables, others)
        comparison.check()
        staging.chmod(0o755)
        if out.exists():
            out.rmdir()
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Converted(found, config, comparison)


def read(source: Path, heads: int | None = None) -> tuple[Variables, Shape]:
    """The variables in the folder `source`, and the shape of the model that they are of."""
    if not source.is_dir():
        raise CheckpointError(f"{source}: no such folder; give the folder with the checkpoint's files")
    if (source / SHAPES).exists():
        shards = OpenAIShards(source)
        return shards, _openai_config(shards, source, heads)
    if heads is not None:
        raise CheckpointError(f"{source}: --heads is for OpenAI GPT; {HPARAMS} says it here")
    prefix = _prefix(source)
    bundle = TensorBundle(prefix)
    return bundle, _gpt2_config(bundle, source)


def build(variables: Variables, config: Shape, where: str) -> tuple[Walk, DoubleHeadsModel]:
    """The model of `variables`, its next-sentence head fresh, since the releases have none.

    Raises CheckpointError for a parameter without a variable; variables that are no parameter (an optimizer's
    averages, say) are told in the walk and left out.
    """
    with torch.device("meta"):  # names and shapes first: no memory is asked for what may not be there
        skeleton = DoubleHeadsModel(config)
    found = walk(skeleton.transformer, variables, variables.shape, where)
    if found.missing:
        raise CheckpointError(
            f"{where}: the checkpoint lacks {', '.join(found.missing)}; copy the whole checkpoint"
            + (f" (not used: {', '.join(found.unused)})" if found.unused else "")
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DoubleHeadsModel(config)
    parameters = dict(model.transformer.named_parameters())
    with torch.no_grad():
        for name, parameter in found.found.items():
            values = np.array(variables[name], np.float32)  # a copy: the files are read-only
            if not np.isfinite(values).all():
                raise CheckpointError(f"{where}: {name} holds a number that is none; use another checkpoint")
            target = parameters[parameter]
            target.copy_(torch.from_numpy(values).view(target.shape))
    return found, model.eval()


def _openai_config(shards: OpenAIShards, source: Path, heads: int | None) -> Shape:
    positions, words = shards.shape("model/wpe"), shards.shape("model/wte")
    if len(positions) != 2 or len(words) != 2 or positions[1] != words[1]:
        raise CheckpointError(
            f"{source / SHAPES}: begins with {list(positions)} and {list(words)}, not with the embeddings of "
            "positions and words; copy the file again"
        )
    if heads is None and words[1] % HEAD_SIZE:
        raise CheckpointError(f"{source}: say with --heads how many heads share the width of {words[1]}")
    try:
        return Shape(
            family="openai-gpt",
            vocab_size=words[0],
            n_positions=positions[0],
            n_embd=words[1],
            n_layer=(len(shards) - 2) // 12,
            n_head=heads if heads is not None else words[1] // HEAD_SIZE,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None


def _gpt2_config(bundle: TensorBundle, source: Path) -> Shape:
    path = source / HPARAMS
    values = read_json(path)
    same = {name: name for name in ("n_embd", "n_head", "n_layer")}
    names = {"n_vocab": "vocab_size", "n_ctx": "n_positions", **same}
    if lacking := [name for name in names if name not in values]:
        raise CheckpointError(f"{path}: lacks {', '.join(lacking)}; copy the file again")
    try:
        config = Shape(family="gpt2", **{ours: values[theirs] for theirs, ours in names.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    # held against the variables before a model of that size is thought of
    numbers = {int(m[1]) for name in bundle if (m := re.match(r"model/h(\d{1,6})/", name))}
    if config.n_layer != len(numbers):
        raise CheckpointError(
            f"{path}: n_layer is {config.n_layer}, the checkpoint has the scopes of {len(numbers)} blocks; "
            "take both from the same place"
        )
    return config


def _prefix(source: Path) -> Path:
    """The checkpoint in `source`: the one that its file `checkpoint` names, or the only one."""
    indices = sorted(source.glob("*.index"))
    state = source / "checkpoint"
    if state.is_file():
        try:
            text = state.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""
        named = re.search(r'^model_checkpoint_path:\s*"([^"\n]*)"', text, re.MULTILINE)
        if named:  # a path on the machine where it was saved: only its end means something here
            wanted = re.split(r"[/\\]", named[1])[-1] + ".index"
            indices = [path for path in indices if path.name == wanted] or indices
    if not indices:
        raise CheckpointError(
            f"{source}: holds neither {SHAPES} (OpenAI GPT) nor model.ckpt.index (GPT-2's TensorFlow "
            "checkpoint); copy the release's whole folder"
        )
    if len(indices) > 1:
        raise CheckpointError(
            f"{source}: holds {len(indices)} checkpoints ({', '.join(path.name for path in indices)}); "
            "keep the files of one"
        )
    return indices[0].with_suffix("")


def _copy_vocabulary(source: Path, folder: Path, config: Shape) -> Tokenizer:
    """The release's vocabulary under the names of a model folder, held against the embeddings."""
    for theirs, ours in _VOCABULARY[config.family]:
        try:
            shutil.copyfile(source / theirs, folder / ours)
        except FileNotFoundError:
            raise CheckpointError(f"{source / theirs}: missing; copy the release's whole folder") from None
    try:
        tokenizer, added = Tokenizer.load_pretrained(folder)
    except CheckpointError as error:
        text = str(error)
        for theirs, ours in _VOCABULARY[config.family]:
            text = text.replace(str(folder / ours), str(source / theirs)).replace(ours, theirs)
        raise CheckpointError(text.replace(str(folder), str(source))) from None
    if tokenizer.vocab_size - added != config.vocab_size:
        raise CheckpointError(
            f"{source}: the vocabulary has {tokenizer.vocab_size - added} tokens, the weights have "
            f"{config.vocab_size}; take both from the same place"
        )
    return tokenizer
