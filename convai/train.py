"""A training from beginning to end: files in, a finished model folder out, resumable in between."""

from __future__ import annotations

import dataclasses
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch

from convai import __version__
from convai.conversation.agent import Agent
from convai.core.dialog import AGENT
from convai.core.errors import CheckpointError, DataError, SettingsError, TrainingError
from convai.core.files import read_json
from convai.core.settings import DecodingConfig, TrainConfig
from convai.evaluation.metrics import hits_at_k, perplexity
from convai.evaluation.scoring import WholeTrees, score_windows
from convai.evaluation.windows import reply_windows
from convai.model import adapters as lora
from convai.model import native
from convai.model.checkpoint import load_model
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import SETTINGS, BaseReference, is_adapter, load_base, model_folder
from convai.model.run_folder import RUN, RunFolder
from convai.model.shape import Shape
from convai.model.shipped import CONTEXT, default_history, read_settings, training_config
from convai.text.corpora.reading import counted
from convai.text.history import LONG, default_context
from convai.text.segments import EncodedDialog
from convai.text.tokenizer import Tokenizer
from convai.training import apex
from convai.training.autocast import autocast_dtype, settled
from convai.training.corpus import file_digest
from convai.training.distillation import Distiller
from convai.training.loop import Trainer, memory_mends
from convai.training.model_card import write_card
from convai.training.prepare import Files, Prepared, prepare, texts
from convai.training.processes import barrier, first_here, from_first, is_first, reduced
from convai.training.reporting import Reporter, draw_curves, note
from convai.training.teacher import Teacher

WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
_LICENCE = re.compile(r"^licen[cs]e\s*:\s*(.+)$|^#+ *licen[cs]es?\s*\n+(.+)$", re.IGNORECASE | re.MULTILINE)
HUB_NAMES = ("gpt2", "openai-gpt", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a model comes from: the folder (or hub name) to tune, or the shape of a fresh one."""

    model: str | None = None
    shape: Path | None = None
    tokenizer: Path | None = None
    teacher: str | None = None


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
        model, tokenizer, settings = build(files, start, config)
    base = reference_of(start, config, model)
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


def build(
    files: Files, start: Start, config: TrainConfig
) -> tuple[DoubleHeadsModel, Tokenizer, dict[str, Any]]:
    """Model, tokenizer and shipped settings that a new run begins with."""
    if start.shape is not None:
        if start.model is not None:
            raise TrainingError("--model and --config exclude each other: tune a model, or train a fresh one")
        if config.lora_rank or config.last_blocks is not None:
            option = "--lora-rank" if config.lora_rank else "--last-blocks"
            raise TrainingError(
                f"{option}: most of a fresh model would never learn; leave it out, or tune a --model"
            )
        shape = Shape.from_hf(read_json(start.shape), str(start.shape))
        if start.tokenizer is not None:
            tokenizer = Tokenizer.load(start.tokenizer)
        else:
            # one process trains it, the others wait
            made = Tokenizer.train(texts(files), shape.vocab_size).to_json() if is_first() else ""
            tokenizer = Tokenizer.from_json(from_first(made))
        fresh = DoubleHeadsModel(shape.replace(vocab_size=tokenizer.vocab_size))
        fresh.init_weights(positions="sinusoid")
        return prepared_for_training(fresh, config), tokenizer, {}
    folder = local_folder(start.model)
    adapted = is_adapter(folder)
    if adapted and not config.lora_rank:
        raise TrainingError(
            f"{folder}: an adapter goes on learning as one: add --lora-rank, or make a model of it first "
            "(convai models merge)"
        )
    model = load_base(folder) if adapted else load_model(folder)
    tokenizer, added = Tokenizer.load_pretrained(folder, config.frame)
    if added and config.frame == "auto":
        note(
            f"{folder.name}: no chat template, so dialogues are written in the blog post's frame, "
            f"with {added} new control tokens"
        )
    if tokenizer.vocab_size - added > model.config.vocab_size:
        raise CheckpointError(
            f"{folder}: the model knows {model.config.vocab_size} tokens, its tokenizer gives "
            f"{tokenizer.vocab_size - added}; take both from the same place"
        )
    if tokenizer.vocab_size > model.config.vocab_size:
        model.resize_vocabulary(tokenizer.vocab_size)
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
    read_settings(folder)  # refuse damaged settings now, not after the training
    training_config(folder)
    model = prepared_for_training(model, config)
    if added and config.last_blocks is not None:
        raise TrainingError(
            f"--last-blocks: {folder.name} does not know the control tokens yet, and its embeddings "
            "have to learn them; leave it out (--lora-rank learns them too)"
        )
    if adapted:
        lora.load_adapter(model, folder, config)
    elif config.lora_rank:
        lora.adapt(model, config, fresh=range(tokenizer.vocab_size - added, tokenizer.vocab_size))
    return model, tokenizer, settings


def describe_base(folder: Path) -> dict[str, str]:
    """The model that a run begins with: its name, the digest of its weights, the licence its card names."""
    weights = next((p for name in WEIGHTS if (p := folder / name).exists()), None)
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.exists() else ""
    licence = _LICENCE.search(text)
    return {
        "name": folder.name,
        "sha256": file_digest(weights) if weights else "",
        "licence": (licence[1] or licence[2]).strip() if licence else "",
    }


def reference_of(start: Start, config: TrainConfig, model: DoubleHeadsModel) -> BaseReference | None:
    """What the run's adapters will be saved as belonging to; None where whole models are saved.

    The rotary families' bases are large and stay where they are; OpenAI's GPTs are small, and a tuned one is
    saved whole, with the adapter beside it.
    """
    if not config.lora_rank or not model.config.rotary:
        return None
    folder = local_folder(start.model)
    return BaseReference.read(folder) if is_adapter(folder) else BaseReference.of(load_model(folder), folder)


def local_folder(model: str | None) -> Path:
    """The folder of `model`; the well-known names are fetched from the Hugging Face hub."""
    if model in HUB_NAMES and not Path(str(model)).exists():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        patterns = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer*.json"]
        try:
            with first_here():
                return Path(
                    snapshot_download(
                        str(model), allow_patterns=patterns, local_files_only=idist.get_local_rank() > 0
                    )
                )
        except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"{model}: cannot be fetched from the hub ({reason}); name a folder with its files"
            ) from None
    return model_folder(model)


def prepared_for_training(model: DoubleHeadsModel, config: TrainConfig) -> DoubleHeadsModel:
    """`model` with the run's dropout and match head, on this process' device."""
    shape = model.config
    if config.dropout is not None:
        shape = shape.replace(embd_pdrop=config.dropout, resid_pdrop=config.dropout, attn_pdrop=0.0)
    if config.match_size is not None:
        shape = shape.replace(match_size=config.match_size)
    if shape != model.config:
        # a block keeps the rate it was built with: rebuild around the same weights
        changed = DoubleHeadsModel(shape)
        same_head = shape.match_size == model.config.match_size
        kept = {n: p for n, p in model.state_dict().items() if same_head or not n.startswith("match_head.")}
        changed.load_state_dict(kept, strict=False)
        model = changed
    model.gradient_checkpointing = config.gradient_checkpointing
    if (config.apex_adam or config.apex_layer_norm) and idist.device().type != "cuda":
        option = "--apex-adam" if config.apex_adam else "--apex-layer-norm"
        raise SettingsError(f"{option}: apex computes on NVIDIA GPUs, and there is none here; leave it out")
    if config.apex_layer_norm:
        apex.fuse_layer_norms(model)
    return model.float().to(idist.device())


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


def validator(
    dialogs: list[EncodedDialog], tokenizer: Tokenizer, config: TrainConfig
) -> Callable[[DoubleHeadsModel], dict[str, float]]:
    """A function that scores a model on `dialogs`, as `convai evaluate` does.

    That is with a history of 2 exchanges, or with all of it in a long context.

    Every process scores its share of the replies and returns the scores of all.
    """

    def validate(model: DoubleHeadsModel) -> dict[str, float]:
        positions = model.config.n_positions
        windows = list(
            reply_windows(
                tokenizer.frame,
                dialogs,
                max_history=None if positions >= LONG else 2,
                n_positions=default_context(positions),
            )
        )
        scores = score_windows(
            WholeTrees(
                model,
                tokenizer.frame.pad_id,
                batch_tokens=config.batch_tokens,
                autocast=autocast_dtype(config.precision, model.device),
            ),
            tokenizer.frame,
            windows[idist.get_rank() :: idist.get_world_size()],
        )
        ranked = [c for c in scores.choices if c]
        hits = hits_at_k(ranked, [len(c) - 1 for c in ranked]) * len(ranked) if ranked else 0.0
        choice = -sum(float(torch.tensor(c).log_softmax(0)[-1]) for c in ranked)
        mine = [sum(scores.nll), sum(scores.tokens), choice, hits, len(ranked)]
        nll, tokens, choice, hits, n_ranked = reduced(torch.tensor(mine, dtype=torch.float64)).tolist()
        n_tokens = max(1, round(tokens))
        lm = nll / n_tokens
        result = {"loss": config.lm_coef * lm, "lm_loss": lm, "ppl": perplexity(nll, n_tokens)}
        if n_ranked and config.layout != "stream":
            mc = choice / n_ranked
            result["hits@1"] = hits / n_ranked
            result["mc_loss"] = mc
            result["loss"] += config.mc_coef * mc
        return result

    return validate


def check_valid(
    dialogs: list[EncodedDialog], tokenizer: Tokenizer, positions: int, files: Files
) -> list[str]:
    """What of the validation dialogues cannot be measured. Raises DataError where nothing can."""
    where = ", ".join(map(str, (files.valid,) if files.valid else files.dialogs))
    replies = sum(1 for d in dialogs for i, t in enumerate(d.turns) if i and t.speaker == AGENT and t.target)
    windows = reply_windows(tokenizer.frame, dialogs, max_history=2, n_positions=positions)
    left = replies - sum(1 for _ in windows)
    if not replies:
        raise DataError(
            f"{where}: no reply of the agent to validate on; check who speaks, or name another --valid"
        )
    if left == replies:
        raise DataError(
            f"{where}: no validation reply fits the model's {positions} positions with its persona and the "
            "utterance it answers; shorten the texts, or name another --valid"
        )
    return (
        [f"validation: {counted(left, 'reply')} left out, too long for {positions} positions"] if left else []
    )


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
