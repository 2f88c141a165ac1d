"""A training from beginning to end: files in, a finished model folder out, resumable in between."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from convai import __version__
from convai.conversation.agent import Agent
from convai.core.errors import CheckpointError, DataError, SettingsError, TrainingError
from convai.core.settings import DecodingConfig, TrainConfig
from convai.evaluation.validation import check_valid, validator
from convai.model import adapters as lora
from convai.model import native
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import BaseReference, is_adapter, load_base
from convai.model.run_folder import RUN, RunFolder
from convai.model.shipped import CONTEXT, default_history
from convai.text.tokenizer import Tokenizer
from convai.training.autocast import settled
from convai.training.distillation import Distiller
from convai.training.loop import Trainer, memory_mends
from convai.training.model_card import write_card
from convai.training.prepare import Files, Prepared, prepare
from convai.training.processes import barrier, from_first, is_first
from convai.training.reporting import Reporter, draw_curves, note
from convai.training.start import Start, build, describe_base, local_folder, prepared_for_training
from convai.training.teacher import Teacher


def new_run(
    files: Files,
    start: Start,
    config: TrainConfig,
    out: Path,
    *,
    cache: Path | None = None,
    command: str = "",
) -> None:
    """Train on `files` and leave the model in `out`, with card, curves and log.

    Raises DataError, CheckpointError or TrainingError, one line each; nothing is written before the data
    and the model have been read.
    """
    torch.manual_seed(config.seed)
    described = files.describe()
    same_files(described)
    if (out / RUN).exists():
        raise TrainingError(f"{out}: holds a run already; go on with --resume {out}, or choose another --out")
    teacher = Teacher.load(start.teacher) if start.teacher is not None else None
    if teacher is not None and start.shape is not None and start.tokenizer is None:
        start = dataclasses.replace(start, tokenizer=teacher.folder)  # one vocabulary for both
    with memory_mends(config):
        model, tokenizer, settings, base = build(files, start, config)
    positions = [m.config.n_positions for m in (model, teacher.model if teacher else model)]
    values: dict[str, Any] = {
        "row_tokens": min(config.row_tokens, *positions),
        "precision": from_first(settled(config.precision, model.device)),
    }
    config = dataclasses.replace(config, **values)
    distiller = teacher.distiller(model, tokenizer, config) if teacher is not None else None
    prepared = prepare(files, tokenizer, config, cache=cache)
    notes = list(prepared.notes)
    if prepared.valid:
        notes += check_valid(prepared.valid, tokenizer, model.config.n_positions, files)
    for line in notes:
        note(line)
    folder = RunFolder(out)
    trainer = make_trainer(model, tokenizer, settings, prepared, config, folder, distiller, base)
    barrier()  # everybody has looked whether the folder is free
    if is_first():
        folder.start(
            {
                "convai": __version__,
                "command": command,
                "processes": idist.get_world_size(),
                "files": described,
                "config": dataclasses.asdict(config),
                "started_from": start.model or (None if start.shape else local_folder(None).name),
                "base": None if start.shape else describe_base(local_folder(start.model)),
                "notes": notes,
                "personas": prepared.personas,
                "teacher": teacher.describe() if teacher is not None else None,
                "settings": settings,
            }
        )
    barrier()
    _run(trainer)


def resume_run(out: Path, *, cache: Path | None = None) -> None:
    """Go on with the run in `out` from its last checkpoint, to the same weights as without the break.

    Another number of processes shares the same steps. Raises SettingsError where they cannot be shared.
    """
    folder = RunFolder(out)
    description = folder.description()
    if "convai" not in description:
        raise CheckpointError(
            f"{out / RUN}: not written by convai; give --resume the --out folder of a `convai train`"
        )
    try:
        # JSON has no tuples
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in description["config"].items()
        }
        config = spread(TrainConfig(**values), description.get("processes", 1), out)
        files = Files.from_description(description["files"])
        settings = description["settings"]
        taught = description.get("teacher")  # runs of earlier versions had none
        teacher = Teacher.from_description(taught) if taught is not None else None
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{out / RUN}: not written by this version of convai ({error})") from None
    same_files(description["files"])
    checkpoints = folder.checkpoints()
    if not checkpoints:
        raise CheckpointError(f"{out}: no checkpoint was completed; delete the folder and start again")
    last = checkpoints[-1]
    state = folder.load_state(last)
    torch.manual_seed(config.seed)
    model = load_base(last) if is_adapter(last) else load_model(last)
    tokenizer = Tokenizer.load(last)
    model = prepared_for_training(model, config)
    if config.lora_rank:
        lora.load_adapter(model, last if is_adapter(last) else last / lora.ADAPTER, config)
    distiller = teacher.distiller(model, tokenizer, config) if teacher is not None else None
    prepared = prepare(files, tokenizer, config, cache=cache)
    base = BaseReference.read(last) if is_adapter(last) else None
    trainer = make_trainer(model, tokenizer, settings, prepared, config, folder, distiller, base)
    if state["step"] >= trainer.total_steps:
        raise TrainingError(
            f"{out}: the run is finished ({state['step']} steps); start a new one with --model {out}"
        )
    trainer.load_state(state)
    barrier()  # everybody has read what the first one is about to write
    if is_first():
        folder.rewind(state["step"])
    _run(trainer)


def spread(config: TrainConfig, processes: int, out: Path) -> TrainConfig:
    """`config` of a run begun by `processes`, for as many as there are now: the same passes a step."""
    passes, world = config.accumulation * processes, idist.get_world_size()
    if passes % world:
        fitting = ", ".join(str(n) for n in range(1, passes + 1) if passes % n == 0)
        raise SettingsError(
            f"{out}: a step of this run is {passes} forward passes (--accumulation {config.accumulation}, "
            f"processes: {processes}), which {world} processes cannot share evenly: start a number out of "
            f"{fitting} (torchrun --nproc-per-node), or a new run with another --accumulation"
        )
    return dataclasses.replace(config, accumulation=passes // world)


def same_files(description: dict[str, Any]) -> None:
    """Raise DataError where this process' files are not those of the first one (another machine's, say)."""
    groups = [*description["dialogs"], *description["text"], description["valid"]]
    here = " ".join(entry["sha256"] for entry in groups if entry)
    if from_first(here) != here:
        raise DataError(
            f"{socket.gethostname()}: the files here are not those of the first process; copy them to every "
            "machine"
        )


def make_trainer(
    model: DoubleHeadsModel,
    tokenizer: Tokenizer,
    settings: dict[str, Any],
    prepared: Prepared,
    config: TrainConfig,
    folder: RunFolder,
    distiller: Distiller | None = None,
    base: BaseReference | None = None,
) -> Trainer:
    """The trainer of a new or resumed run, with its way to save and to validate.

    `base`: what the adapters of a run belong to, where they are saved without it.
    """
    decoding = DecodingConfig(**settings.get("decoding", {}))

    def shipped(network: DoubleHeadsModel) -> Agent:
        history = settings.get("max_history", default_history(network.config.n_positions))
        agent = Agent(network, tokenizer, decoding, history, context=settings.get(CONTEXT))
        agent.training = settings.get("training", {})
        return agent

    def save(network: DoubleHeadsModel, path: Path) -> None:
        shipped(network).save(path)

    def save_adapter(network: DoubleHeadsModel, path: Path) -> None:
        assert base is not None
        lora.save_adapter(network, path)
        shipped(network).save_beside(path, base)

    def save_parts(network: DoubleHeadsModel, path: Path) -> None:
        lora.save_adapter(network, path / lora.ADAPTER)
        save(lora.base(network), path)

    def save_sum(network: DoubleHeadsModel, path: Path) -> None:
        lora.save_adapter(network, path / lora.ADAPTER)
        save(lora.merged(network), path)

    validate = validator(prepared.valid, tokenizer, config) if prepared.valid else None
    trainer = Trainer(model, prepared.source, config, folder, save, validate, distiller=distiller)
    if lora.is_adapted(model):
        trainer.save_model, trainer.ship = save_parts, save_sum
        if base is not None:
            trainer.save_model = trainer.ship = save_adapter
    return trainer


def finish(trainer: Trainer) -> None:
    """The finished model, its curves and its card, in the run's folder."""
    folder = trainer.folder
    if trainer.validate is None:
        trainer.save_finished()
    records = folder.records()
    draw_curves(records, folder.path / "curves.png")
    write_card(folder.path, folder.description(), trainer.model.config, records)


def _run(trainer: Trainer) -> None:
    if trainer.model.device.type == "cpu":
        native.keep_freed()
    reporter = None
    if is_first():
        reporter = Reporter(trainer.folder.path, trainer.total_steps, trainer.progress.step)
        trainer.report = reporter
    try:
        trainer.fit()
    finally:
        if reporter is not None:
            reporter.close()
    if is_first():
        finish(trainer)
    barrier()
