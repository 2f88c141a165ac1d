"""`convai train`: tune the embedded model (or another) on one's own dialogues, or train a fresh one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from pathlib import Path

from convai.commands.options import add_config_arguments, config_from_args
from convai.commands.reading import add_reading_arguments, reading_from
from convai.core.errors import SettingsError
from convai.core.settings import TrainConfig

HELP = "train a model on dialogues of your own, or from scratch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Positional files, where to start from, and an option for every field of TrainConfig."""
    parser.add_argument(
        "data", nargs="*", type=Path, metavar="DATA", help="dialogue files, in any readable format"
    )
    parser.add_argument(
        "--text", nargs="+", type=Path, default=[], metavar="FILE", help="running text, for --layout stream"
    )
    parser.add_argument(
        "--preferences",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="replies with wrong ones beside them (chosen and rejected), which are to become less likely",
    )
    parser.add_argument(
        "--valid", type=Path, metavar="FILE", help="dialogues to validate on (default: some of DATA)"
    )
    parser.add_argument(
        "--model", metavar="DIR|NAME", help="the model to tune: a folder, an embedded model, gpt2, openai-gpt"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="train a fresh model of this shape (a config.json)"
    )
    parser.add_argument(
        "--tokenizer", type=Path, metavar="DIR", help="with --config: use this tokenizer, train none"
    )
    parser.add_argument(
        "--teacher",
        metavar="DIR|NAME",
        help="distil: learn from this larger model too; both have one tokenizer (--config takes it over)",
    )
    add_reading_arguments(parser, "train, where a file has it; its valid is validated on")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the run and its model go")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep encoded corpora here (default: nowhere)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: torch's choice)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="S",
        help="with torchrun: seconds that a process waits for another one within a step (default: 600)",
    )
    add_config_arguments(
        parser, TrainConfig, title="training (what a model brings for its tuning comes before these defaults)"
    )


def run(args: argparse.Namespace) -> int:
    """Train or resume. Returns the exit code."""
    if args.resume is not None:
        given = [field.name for field in dataclasses.fields(TrainConfig) if hasattr(args, field.name)]
        if args.data or args.out or args.model or args.config or args.teacher or given:
            raise SettingsError("--resume takes everything from the run itself; leave the other options out")
    elif args.out is None:
        raise SettingsError("--out DIR is missing: say where the run and its model go")
    elif args.tokenizer is not None and args.config is None:
        raise SettingsError("--tokenizer goes with --config; a model that is tuned brings its own")
    if args.timeout <= 0:
        raise SettingsError(f"--timeout={args.timeout:g}: use a number of seconds above 0")
    config_from_args(TrainConfig, args)  # a wrong option is told before anything is loaded
    import torch

    from convai.training.processes import is_first, process_group

    if args.threads is not None:
        if args.threads < 1:
            raise SettingsError(f"--threads={args.threads}: use 1 or more")
        torch.set_num_threads(args.threads)
    with process_group(args.timeout):
        out = _train(args)
        if is_first():
            persona = _only_persona(out)
            also = f" --persona {shlex.quote(persona)}" if persona else ""
            print(f"{out}: done; talk with it: convai chat --model {shlex.quote(str(out))}{also}")
    return 0


def _only_persona(out: Path) -> str:
    """The persona that all of a run's dialogues have, as text; empty where there is not just one."""
    found = json.loads((out / "run.json").read_text("utf-8")).get("personas") or []
    return " ".join(found[0]) if len(found) == 1 else ""


def _train(args: argparse.Namespace) -> Path:
    """Train or resume; the folder of the run."""
    from convai.model.shipped import training_config
    from convai.train import new_run, resume_run
    from convai.training.prepare import Files
    from convai.training.start import Start, local_folder

    if args.resume is not None:
        resume_run(args.resume, cache=args.cache)
        return Path(args.resume)
    # a model may say what suits its own tuning; what is typed comes before that
    base = TrainConfig() if args.config else training_config(local_folder(args.model))
    config = config_from_args(TrainConfig, args, base=base)
    new_run(
        Files(tuple(args.data), tuple(args.text), args.valid, reading_from(args), tuple(args.preferences)),
        Start(args.model, args.config, args.tokenizer, args.teacher),
        config,
        args.out,
        cache=args.cache,
        command=shlex.join(["convai", *sys.argv[1:]]),
    )
    return Path(args.out)
