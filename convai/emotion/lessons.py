"""What teachers say of texts: probabilities of the labels of every head, from which a student learns.

The targets of a student are its labels and its teachers' probabilities, mixed (Hinton et al. 2015, arXiv
1503.02531, §2, at temperature 1). Several teachers say the mean of their probabilities. A text teaches every
head that a teacher has, whether it has labels of that set or none at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import atomic_write
from convai.emotion.batches import HeadTexts, Lesson, in_order
from convai.emotion.checkpoint import load_emotion_model
from convai.emotion.config import Head
from convai.emotion.labelled import Texts
from convai.emotion.model import Network, probabilities
from convai.emotion.ngrams import DESCRIPTION as NGRAMS
from convai.emotion.ngrams import NgramTeacher
from convai.emotion.teacher import DESCRIPTION, EmotionTeacher
from convai.emotion.vocabulary import WordEncoder
from convai.model.products import quick_products

_TOGETHER: Final = 64
FILE: Final = "lessons.safetensors"

Said = Mapping[str, Mapping[str, Tensor]]
"""Source of texts → head → probabilities `[texts, labels]`."""


def load_network(name: Path | str | None) -> tuple[Network, WordEncoder]:
    """A teacher's folder or an emotion model's (None: the embedded one), and what it reads with.

    Raises CheckpointError as `load_emotion_model` and the teachers do.
    """
    if name is not None and (Path(name) / DESCRIPTION).is_file():
        teacher = EmotionTeacher.load(Path(name))
        return teacher, teacher.pieces
    if name is not None and (Path(name) / NGRAMS).is_file():
        linear = NgramTeacher.load(Path(name))
        return linear, linear.pieces
    return load_emotion_model(name)


@torch.inference_mode()
def chances(network: Network, words: WordEncoder, texts: Sequence[str], name: str = "") -> dict[str, Tensor]:
    """Head → probabilities `[texts, labels]`. `name` is shown beside the progress."""
    network.eval()
    heads = network.config.heads
    found = {head.name: torch.zeros(len(texts), len(head.labels)) for head in heads}
    plain = Texts(list(texts), [(0,)] * len(texts))  # the targets count nothing here
    task = HeadTexts.encode(heads[0], plain, words, network.config.max_words)
    batches = -(-len(task) // _TOGETHER)
    for rows, batch in tqdm(
        in_order(task, _TOGETHER), total=batches, desc=name, leave=False, dynamic_ncols=True
    ):
        features = network(batch.ids.to(network.device), batch.lengths).features
        for head in heads:
            found[head.name][rows] = probabilities(network.logits(features, head), head).cpu()
    return found


def taught(
    teachers: Mapping[str, tuple[Network, WordEncoder]],
    heads: Sequence[Head],
    texts: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, Tensor]]:
    """For every list of `texts`, by its name: head → the mean of what the teachers who have it say, in half
    precision. `teachers` by the names that errors and progress show.

    Raises SettingsError for a teacher with none of the heads, or with other labels than a head of its name.
    """
    wanted = {head.name: head for head in heads}
    for name, (network, _) in teachers.items():
        own = [head for head in network.config.heads if head.name in wanted]
        if not own:
            there = ", ".join(head.name for head in network.config.heads) or "none"
            raise SettingsError(f"--teacher {name}: has none of the heads to learn (it has: {there})")
        for head in own:
            if head.labels != wanted[head.name].labels or head.multi != wanted[head.name].multi:
                raise SettingsError(f"--teacher {name}: its {head.name} has other labels than the data")
    found: dict[str, dict[str, Tensor]] = {}
    for source, lines in texts.items():
        said = []
        for name, teacher in teachers.items():
            with quick_products() if isinstance(teacher[0], EmotionTeacher) else nullcontext():
                said.append(chances(*teacher, lines, f"{name}: {source}"))
        found[source] = {
            head: torch.stack([one[head] for one in said if head in one]).mean(0).half()
            for head in wanted
            if any(head in one for one in said)
        }
    return found


def of_source(said: Mapping[str, Tensor], heads: Sequence[Head]) -> tuple[Lesson, ...]:
    """What `taught` gives for one source, as its Task takes it: heads in the student's order."""
    return tuple((head, said[head.name]) for head in heads if head.name in said)


def save_lessons(found: Said, folder: Path) -> None:
    """Keep what was `taught` in a run's folder. Raises OSError."""
    state = {f"{source}/{head}": p for source, said in found.items() for head, p in said.items()}
    atomic_write(folder / FILE, lambda part: save_file(state, part))


def load_lessons(folder: Path) -> dict[str, dict[str, Tensor]]:
    """What `save_lessons` kept. Raises CheckpointError."""
    try:
        state = load_file(folder / FILE)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / FILE}: missing or damaged ({error}); start the run again") from None
    found: dict[str, dict[str, Tensor]] = {}
    for name, p in state.items():
        source, _, head = name.rpartition("/")
        found.setdefault(source, {})[head] = p
    return found
