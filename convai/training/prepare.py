"""From files to a training's data: reading, the tokenizer, encoding with a cache, the hold-out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from convai.core.dialog import AGENT, Dialog, Turn
from convai.core.errors import DataError
from convai.core.settings import TrainConfig
from convai.text import corpora
from convai.text.corpora import Reading, Taken
from convai.text.corpora.notes import counted
from convai.text.lengths import Rows, replies_too_long
from convai.text.prompt import encode_dialogs
from convai.text.segments import EncodedDialog
from convai.text.tokenizer import Tokenizer
from convai.training.corpus import EncodedCorpus, cached_arrays, file_digest
from convai.training.dialogues import DialogueData, StepSource
from convai.training.packed import StreamData, make_stream
from convai.training.remembered import second_sessions

HELD_OUT = 200
"""At most this many dialogues are held out for validation when no file is given for it."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a run learns from: dialogue files, running text, and a validation file (or none).

    `preferences`: dialogues whose replies are to become likelier than the wrong ones beside them.
    """

    dialogs: tuple[Path, ...] = ()
    text: tuple[Path, ...] = ()
    valid: Path | None = None
    reading: Reading = field(default_factory=Reading)
    preferences: tuple[Path, ...] = ()

    def all(self) -> tuple[Path, ...]:
        return (*self.dialogs, *self.preferences, *self.text, *((self.valid,) if self.valid else ()))

    def describe(self) -> dict[str, Any]:
        """Paths and digests, as run.json keeps them. Raises DataError for a missing file."""
        for path in self.all():
            if not path.is_file():
                raise DataError(f"{path}: no such file; check the path (a folder is given file by file)")
        return {
            "dialogs": [{"path": str(p), "sha256": file_digest(p)} for p in self.dialogs],
            "text": [{"path": str(p), "sha256": file_digest(p)} for p in self.text],
            "preferences": [{"path": str(p), "sha256": file_digest(p)} for p in self.preferences],
            "valid": {"path": str(self.valid), "sha256": file_digest(self.valid)} if self.valid else None,
            "reading": asdict(self.reading),
        }

    @classmethod
    def from_description(cls, values: dict[str, Any]) -> Files:
        """The files of a run that goes on. Raises DataError where one is gone or has changed."""
        valid = values["valid"]
        preferences = values.get("preferences", [])  # earlier versions had none
        for entry in [*values["dialogs"], *preferences, *values["text"], *([valid] if valid else [])]:
            path = Path(entry["path"])
            if not path.is_file():
                raise DataError(
                    f"{path}: the run learnt from this file and it is gone; put it back to resume"
                )
            if file_digest(path) != entry["sha256"]:
                raise DataError(
                    f"{path}: has changed since the run began; start a new run, or put the old one back"
                )
        return cls(
            tuple(Path(e["path"]) for e in values["dialogs"]),
            tuple(Path(e["path"]) for e in values["text"]),
            Path(valid["path"]) if valid else None,
            # runs of earlier versions took everything
            Reading(**values.get("reading", {"split": "all"})),
            tuple(Path(e["path"]) for e in preferences),
        )

    def take(self, path: Path) -> Taken:
        """The dialogues of a training file that are to be learnt from."""
        return corpora.take(path, self.reading, "train")

    def take_valid(self) -> list[Taken]:
        """The dialogues to validate on: of the file for it, or else what the training files keep apart."""
        if self.valid is not None:
            return [corpora.take(self.valid, replace(self.reading, split=None), "valid")]
        if self.reading.split is not None:
            return []
        kept = replace(self.reading, split="valid")
        return [corpora.take(path, kept) for path in self.dialogs if self.take(path).parts["valid"]]


def texts(files: Files) -> Iterator[str]:
    """Everything that is said or written in the training files: what a tokenizer is trained on."""
    for path in files.dialogs:
        for dialog in files.take(path).dialogs:
            for persona in dialog.personas:
                yield from persona.sentences
            for turn in dialog.turns:
                yield turn.text
    for path in files.text:
        for document in corpora.iter_documents(path):
            yield from document.paragraphs


def both_chairs(dialogs: Iterable[Dialog]) -> Iterator[Dialog]:
    """Every dialogue, and again with the chairs swapped unless that would lose the only persona."""
    for dialog in dialogs:
        yield dialog
        user, agent = dialog.personas
        if user or not agent:
            yield dialog.swapped()


def encode_file(
    path: Path,
    tokenizer: Tokenizer,
    *,
    both_sides: bool = False,
    text: bool = False,
    cache: Path | None = None,
    reading: Reading | None = None,
    memory: float = 0.0,
    seed: int = 0,
) -> EncodedCorpus:
    """The file's dialogues (or documents, each a monologue of the agent's) as ids, cached where wanted."""
    key = ["corpus 2", file_digest(path), tokenizer.fingerprint, f"both_sides={both_sides}", f"text={text}"]
    key.append(repr(reading))
    if memory:
        key.append(f"memory 2, {memory}, {seed}")

    def make() -> dict[str, Any]:
        dialogs: Iterable[Dialog]
        if text:
            dialogs = (
                Dialog(tuple(Turn(AGENT, p) for p in document.paragraphs))
                for document in corpora.iter_documents(path)
            )
        else:
            dialogs = corpora.take(path, reading, "train").dialogs
        chairs = both_chairs(dialogs) if both_sides else dialogs
        if memory and not text:
            chairs = second_sessions(chairs, memory, seed, blocks=tokenizer.frame.has_blocks)
        return EncodedCorpus.pack(encode_dialogs(tokenizer, chairs)).arrays

    return EncodedCorpus(cached_arrays(cache, key, make))


@dataclass(frozen=True, slots=True)
class Prepared:
    """The steps of a training, and the encoded dialogues it is validated on (with 19 distractors)."""

    source: StepSource
    valid: list[EncodedDialog]
    notes: tuple[str, ...] = ()
    """What was taken and what was left out, a line each."""
    personas: tuple[tuple[str, ...], ...] = ()
    """The different personas of the training dialogues, the first two of them."""


def prepare(
    files: Files, tokenizer: Tokenizer, config: TrainConfig, *, cache: Path | None = None
) -> Prepared:
    """Read and encode everything that `config` asks for.

    A file that divides itself gives its `train` part, and its `valid` part to validate on. Without that,
    and without a validation file, a twentieth of the dialogues (at most HELD_OUT) is held out, chosen by the
    seed, unless there are fewer than two. Raises DataError for files that cannot be used.
    """
    if not (files.dialogs or files.preferences or files.text):
        raise DataError("no data: name at least one dialogue file (or --text FILE with --layout stream)")
    if files.text and config.layout != "stream":
        raise DataError("--text is for language-model pre-training: add --layout stream, or leave it out")
    valid: list[EncodedDialog] = []
    apart = files.take_valid() if files.valid is not None or config.layout != "stream" else []
    taken = [files.take(path) for path in files.dialogs]
    rated = [files.take(path) for path in files.preferences]
    notes = [f"training: {one.line(one.path.name)}" for one in (*taken, *rated)]
    notes += [f"validation: {one.line(one.path.name)}" for one in apart]
    out: list[EncodedDialog] = []
    if not apart and config.layout != "stream":
        encoded, out = held_out([one.dialogs for one in taken], tokenizer, config)
        valid = out[: config.eval_dialogs]
        notes.append("validation: dialogues held out of the training files")
    else:
        how: dict[str, Any] = {"both_sides": config.both_sides, "cache": cache, "reading": files.reading}
        how |= {"memory": config.memory, "seed": config.seed}
        encoded = [encode_file(p, tokenizer, **how) for p in files.dialogs]
        encoded += [encode_file(p, tokenizer, text=True, cache=cache) for p in files.text]
    rated_from = len(encoded)
    encoded += [with_wrong_ones(one, tokenizer, config.layout) for one in rated]
    corpus = EncodedCorpus.concatenate(encoded)
    if apart:
        valid = validation_dialogs([d for one in apart for d in one.dialogs], tokenizer, config.eval_dialogs)
    common: dict[str, Any] = {
        "n_positions": config.row_tokens,
        "batch_tokens": config.batch_tokens,
        "accumulation": config.accumulation * idist.get_world_size(),
        "seed": config.seed,
    }
    source: StepSource
    if config.layout == "stream":
        stream = cached_arrays(
            cache,
            [
                "stream 2",
                tokenizer.fingerprint,
                repr(tokenizer.frame),
                f"both_sides={config.both_sides}",
                repr(files.reading),
                *map(file_digest, files.all()),
            ],
            lambda: make_stream([corpus], tokenizer.frame),
        )
        source = StreamData(stream, **common)
    else:
        try:
            source = DialogueData(
                corpus,
                tokenizer.frame,
                layout=config.layout,
                targets=config.targets,
                distractors=config.distractors,
                hard_distractors=config.hard_distractors,
                random_start=config.random_start,
                max_history=config.max_history,
                rated_from=rated_from,
                **common,
            )
        except DataError as error:
            raise DataError(f"{', '.join(map(str, (*files.dialogs, *files.preferences)))}: {error}") from None
        kept_apart = sum(1 for d in out for _ in replies_too_long(tokenizer.frame, d, config.row_tokens))
        if source.too_long + kept_apart:
            notes.append(
                f"training: {counted(source.too_long + kept_apart, 'reply')} left out, which do not fit into "
                f"{config.row_tokens} tokens beside the persona and what they answer"
                + (f" ({kept_apart:,} of them in dialogues held out)" if kept_apart else "")
            )
    return Prepared(source, valid, tuple(notes), _some_personas(taken))


def _some_personas(taken: Sequence[Taken]) -> tuple[tuple[str, ...], ...]:
    known = dict.fromkeys(d.persona.sentences for one in taken for d in one.dialogs)
    return tuple(itertools.islice(known, 2))


def validation_dialogs(dialogs: Sequence[Dialog], tokenizer: Tokenizer, most: int) -> list[EncodedDialog]:
    """The first `most` dialogues, with distractors drawn from all of them as `convai evaluate` does."""
    chosen = with_wrong_replies(dialogs)
    return list(encode_dialogs(tokenizer, chosen[:most]))


def with_wrong_replies(dialogs: Sequence[Dialog]) -> list[Dialog]:
    """19 wrong replies beside each right one, from the other dialogues; a lone dialogue has none."""
    return corpora.with_distractors(dialogs, 19, seed=0) if len(dialogs) > 1 else list(dialogs)


def _to_hold_out(dialogs: Sequence[Dialog], count: int, rows: Rows, seed: int) -> list[int]:
    rng = random.Random(f"hold out {seed}")
    chosen = rng.sample(range(len(dialogs)), count)
    rest = sorted(set(range(len(dialogs))) - set(chosen))
    if not all(rows.hold_some(dialogs[i]) for i in chosen):
        order = iter([*chosen, *rng.sample(rest, len(rest))])
        chosen = list(itertools.islice((i for i in order if rows.hold_some(dialogs[i])), count))
        rest = list(order)
    return sorted(chosen) if any(rows.hold_some(dialogs[i]) for i in rest) else []


def with_wrong_ones(taken: Taken, tokenizer: Tokenizer, layout: str) -> EncodedCorpus:
    """The dialogues of a file of preferences, whose replies without a wrong one beside them are no targets.

    Raises DataError where no reply has one, and for a layout that has no replies.
    """
    if layout == "stream":
        raise DataError("--preferences compares replies, and --layout stream has none; leave one of them out")
    dialogs = [
        replace(
            dialog, turns=tuple(replace(t, target=t.target and bool(t.distractors)) for t in dialog.turns)
        )
        for dialog in taken.dialogs
    ]
    if not any(True for dialog in dialogs for _ in dialog.replies()):
        raise DataError(
            f"{taken.path}: no reply has a wrong one beside it (rejected, or distractors); give pairs to "
            "--preferences, and what is only to be learnt among DATA"
        )
    return EncodedCorpus.pack(encode_dialogs(tokenizer, dialogs))


def held_out(
    by_file: Sequence[Sequence[Dialog]], tokenizer: Tokenizer, config: TrainConfig
) -> tuple[list[EncodedCorpus], list[EncodedDialog]]:
    """Each file's corpus without a twentieth of all dialogues (both chairs of each), and those.

    They are dialogues with a reply that can be measured. Of fewer than two such dialogues none is held out.
    """
    dialogs = [d for group in by_file for d in group]
    count = min(HELD_OUT, max(1, len(dialogs) // 20)) if len(dialogs) > 1 else 0
    chosen = _to_hold_out(dialogs, count, Rows(tokenizer, config.row_tokens), config.seed)
    out = set(chosen)
    kept, number = [], 0
    for group in by_file:
        rest = [d for i, d in enumerate(group, number) if i not in out]
        number += len(group)
        chairs = iter(both_chairs(rest) if config.both_sides else rest)
        if config.memory:
            chairs = second_sessions(chairs, config.memory, config.seed, blocks=tokenizer.frame.has_blocks)
        kept.append(EncodedCorpus.pack(encode_dialogs(tokenizer, chairs)))
    if not chosen:
        return kept, []
    # the wrong replies of a few dialogues are drawn from the others' too
    ranked = with_wrong_replies(dialogs)
    valid = encode_dialogs(tokenizer, (ranked[i] for i in chosen))
    return kept, list(valid)
