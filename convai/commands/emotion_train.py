"""`convai emotion train | finetune | evaluate | export`: models of one's own, and their worth."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import add_config_arguments, config_from_args
from convai.commands.reading import add_reading_arguments, reading_from, report_taken
from convai.core.errors import DataError, SettingsError

if TYPE_CHECKING:
    from convai.emotion.labelled import LabelSet

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

_DTYPES: Final = ("float16", "bfloat16", "float32")


def add_actions(actions: Actions) -> None:
    """The actions train, finetune, evaluate and export."""
    from convai.emotion.settings import FinetuneSettings, TrainSettings

    train = actions.add_parser("train", help="a network from nothing, on label sets", allow_abbrev=False)
    train.add_argument("data", nargs="*", type=Path, metavar="DATA", help="label sets, files or folders")
    train.add_argument(
        "--weights", nargs="+", type=float, metavar="X", help="how often each is drawn (default: 1 each)"
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="where the run and its model go")
    train.add_argument("--model", metavar="DIR", help="an emotion model to start from, not fresh weights")
    train.add_argument(
        "--teacher",
        nargs="+",
        default=[],
        metavar="DIR",
        help="learn from what these think as well: folders of probe, teach, ngrams or emotion models",
    )
    train.add_argument(
        "--texts",
        nargs="+",
        default=[],
        metavar="FILE[@K]",
        help="texts without labels to learn the teachers' opinion of; @K takes every K-th text or dialogue",
    )
    add_reading_arguments(train, "train, where a file of --texts has it")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    train.add_argument(
        "--rows", type=int, default=0, metavar="N", help="first N training texts of each only, for a trial"
    )
    train.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")
    add_config_arguments(train, TrainSettings, title="training")

    tune = actions.add_parser("finetune", help="teach a model labels of one's own", allow_abbrev=False)
    tune.add_argument(
        "data", type=Path, metavar="DATA", help="a CSV or TSV file with text and label, or a label set"
    )
    tune.add_argument("--model", metavar="DIR", help="what to start from (default: the embedded model)")
    tune.add_argument("--out", type=Path, metavar="DIR", help="where the model goes (default: nowhere)")
    tune.add_argument(
        "--labels", nargs="+", metavar="NAME", help="all labels that may occur (default: those found)"
    )
    tune.add_argument("--text-column", default="text", metavar="NAME", help="(default: %(default)s)")
    tune.add_argument("--label-column", default="label", metavar="NAME", help="(default: %(default)s)")
    tune.add_argument(
        "--separator", metavar="C", help="cuts a cell into several labels (default: one label each)"
    )
    tune.add_argument(
        "--class-average", action="store_true", help="class-average F1: a model a class; nothing is saved"
    )
    tune.add_argument(
        "--runs", type=int, default=1, metavar="N", help="with N seeds, for the spread (default: 1)"
    )
    tune.add_argument(
        "--rows", type=int, default=0, metavar="N", help="first N training texts only, for a trial"
    )
    tune.add_argument("--json", action="store_true", help="the scores as one JSON object")
    tune.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")
    add_config_arguments(tune, FinetuneSettings, title="tuning")

    score = actions.add_parser("evaluate", help="a model's scores on label sets", allow_abbrev=False)
    score.add_argument("data", nargs="*", type=Path, metavar="DATA", help="label sets, files or folders")
    score.add_argument(
        "--negations",
        nargs="?",
        const="",
        metavar="FILE.jsonl",
        help="instead: whether emotions of texts with negations are right (default: convai's own texts)",
    )
    score.add_argument(
        "--model", metavar="DIR", help="a model's folder or a teacher's (default: the embedded model)"
    )
    score.add_argument(
        "--split", choices=("train", "valid", "test"), default="valid", help="(default: valid)"
    )
    score.add_argument("--json", action="store_true", help="one JSON object")

    export = actions.add_parser("export", help="a copy with smaller weights", allow_abbrev=False)
    export.add_argument("model", type=Path, metavar="DIR")
    export.add_argument("out", type=Path, metavar="OUT")
    export.add_argument("--heads", nargs="+", metavar="NAME", help="label sets to keep (default: all)")
    export.add_argument(
        "--split-hashtags", action="store_true", help="the copy reads unknown hashtags as their words"
    )
    export.add_argument(
        "--thresholds",
        nargs="+",
        default=[],
        type=Path,
        metavar="DATA",
        help="choose the thresholds of these multi-label sets anew, on all their training texts",
    )
    export.add_argument("--dtype", choices=_DTYPES, default="float16", help="(default: %(default)s)")


def set_threads(count: int | None) -> None:
    """Compute on so many threads; None leaves it to torch. Raises SettingsError."""
    if count is None:
        return
    if count < 1:
        raise SettingsError(f"--threads={count}: use 1 or more")
    import torch

    torch.set_num_threads(count)


def _train(args: argparse.Namespace) -> int:
    from convai.emotion.settings import TrainSettings

    settings = config_from_args(TrainSettings, args)
    names = {field.name for field in dataclasses.fields(TrainSettings)} - {"epochs"}
    given = any(hasattr(args, name) for name in names)
    given = given or args.model is not None or args.teacher or args.texts
    given = given or args.format or args.split or args.skip_bad
    if args.resume is not None and (args.data or args.out or args.weights or args.rows or given):
        raise SettingsError(
            "--resume takes all but --epochs from the run itself; leave the other options out"
        )
    if args.resume is None and args.out is None:
        raise SettingsError("--out DIR is missing: say where the run and its model go")
    set_threads(args.threads)
    from convai.emotion.train import new_run, resume_run

    if args.resume is not None:
        resume_run(args.resume, epochs=getattr(args, "epochs", None), report=report_epoch)
    else:
        new_run(
            args.data,
            args.weights or [1.0] * len(args.data),
            settings,
            args.out,
            rows=args.rows,
            start=args.model,
            teachers=args.teacher,
            texts=args.texts,
            reading=reading_from(args),
            took=report_taken,
            report=report_epoch,
        )
    print(
        f"{args.resume or args.out}: done; try it: convai emotion predict --model {args.resume or args.out}"
    )
    return 0


def report_epoch(record: dict[str, Any]) -> None:
    """Say on stderr what an epoch reached."""
    found = ", ".join(f"{name} {value:.3f}" for name, value in record["macro_f1"].items())
    print(
        f"epoch {record['epoch']}: loss {record['loss']:.3f}, F1 {found}, {record['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _finetune(args: argparse.Namespace) -> int:
    from convai.emotion.settings import FinetuneSettings

    settings = config_from_args(FinetuneSettings, args)
    if args.runs < 1:
        raise SettingsError(f"--runs={args.runs}: use 1 or more")
    if args.class_average and args.out:
        raise SettingsError("--class-average trains a model a class and saves none; leave out --out")
    data = _labelled(args)  # before torch is loaded: a wrong file is told at once
    set_threads(args.threads)
    from convai.emotion.checkpoint import load_emotion_model, save_emotion_model
    from convai.emotion.finetune import class_average, finetune

    model, vocabulary = load_emotion_model(args.model)
    found = []
    for run in range(args.runs):
        own = config_from_args(FinetuneSettings, argparse.Namespace(seed=settings.seed + run), base=settings)
        if args.class_average:
            found.append(class_average(model, vocabulary, data, own, report=_progress))
            continue
        tuned = finetune(model, vocabulary, data, own, report=_progress)
        found.append(tuned.scores)
        if args.out and run == 0:
            save_emotion_model(tuned.model, tuned.vocabulary, args.out)
    _show(args, found)
    return 0


def _labelled(args: argparse.Namespace) -> LabelSet:
    """A table of one's own, or one of the known label sets; cut to --rows."""
    from convai.emotion.labelled import TRAIN
    from convai.emotion.readers import read_labelled
    from convai.emotion.tables import read_table

    path: Path = args.data
    if path.suffix in (".csv", ".tsv") and path.name != "isear.csv":
        data = read_table(
            path,
            text_column=args.text_column,
            label_column=args.label_column,
            labels=args.labels,
            separator=args.separator,
        )
    else:
        data = read_labelled(path)
        if args.labels and set(args.labels) != set(data.labels):
            raise DataError(f"{path}: its labels are {', '.join(data.labels)}; leave out --labels")
    if args.rows:
        train = data.split(TRAIN)
        data.splits[TRAIN] = train.taken(range(min(args.rows, len(train))))
    data.check()
    return data


def _progress(record: dict[str, Any]) -> None:
    label = f"{record['label']}, " if "label" in record else ""
    print(
        f"{label}{record['stage']}, epoch {record['epoch']}: loss {record['loss']:.4f}, "
        f"validation {record['valid_loss']:.4f}",
        file=sys.stderr,
        flush=True,
    )


def _show(args: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    if args.json:
        print(json.dumps({"runs": found}, ensure_ascii=False))
        return
    if args.class_average:
        _spread("class-average F1", [one["class_average_f1"] for one in found])
        return
    for split in found[0]:
        for name in ("accuracy", "macro_f1"):
            _spread(f"{split} {name}", [one[split][name] for one in found])
        for label in found[0][split]["f1"]:
            _spread(f"{split} F1 of {label}", [one[split]["f1"][label] for one in found])
    if args.out:
        print(f"{args.out}: try it: convai emotion predict --model {args.out}")


def _spread(name: str, values: list[float]) -> None:
    """One score; over several seeds its mean and standard deviation."""
    more = f" ± {statistics.stdev(values):.3f} ({len(values)} seeds)" if len(values) > 1 else ""
    print(f"{name}: {statistics.mean(values):.3f}{more}")


def _evaluate_negations(args: argparse.Namespace) -> int:
    from convai.core.resources import emotion_negation_path
    from convai.emotion.classifier import EmotionClassifier
    from convai.emotion.evaluate import read_denied, score_denied

    if args.data:
        raise SettingsError("--negations has texts of its own; leave the label sets out")
    texts = read_denied(Path(args.negations) if args.negations else emotion_negation_path())
    found = {
        name: score_denied(EmotionClassifier.load(args.model, negation=negation), texts)
        for name, negation in (("read", True), ("network alone", False))
    }
    if args.json:
        print(json.dumps(found))
        return 0
    print(f"{'':<16}{'part':<10}{'texts':>7}{'right':>8}   95 % interval")
    for name, parts in found.items():
        for part, of in parts.items():
            interval = f"{of['low']:.3f} to {of['high']:.3f}"
            print(f"{name:<16}{part:<10}{of['texts']:>7}{of['share']:>8.3f}   {interval}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    if args.negations is not None:
        return _evaluate_negations(args)
    if not args.data:
        raise SettingsError("name label sets, files or folders, or ask for --negations")
    from convai.emotion.readers import read_labelled

    sets = [read_labelled(path) for path in args.data]
    from convai.emotion.evaluate import evaluate
    from convai.emotion.lessons import load_network

    model, vocabulary = load_network(args.model)
    found = {data.name: evaluate(model, vocabulary, data, args.split) for data in sets}
    if args.json:
        print(json.dumps(found, ensure_ascii=False))
        return 0
    print(f"{'set':<20}{'texts':>7}{'accuracy':>10}{'macro-F1':>10}")
    for name, one in found.items():
        print(f"{name:<20}{one['texts']:>7}{one['accuracy']:>10.3f}{one['macro_f1']:>10.3f}")
    return 0


def _export(args: argparse.Namespace) -> int:
    import torch

    from convai.emotion.checkpoint import WEIGHTS, load_emotion_model, save_emotion_model
    from convai.emotion.evaluate import choose_thresholds
    from convai.emotion.model import with_heads
    from convai.emotion.readers import read_labelled
    from convai.emotion.vocabulary import Vocabulary

    if args.out.exists() and args.out.resolve() == args.model.resolve():
        raise SettingsError(f"{args.out}: is the model itself; export to another folder")
    sets = [read_labelled(path) for path in args.thresholds]
    model, vocabulary = load_emotion_model(args.model)
    if args.heads:
        model = with_heads(model, args.heads)
    if args.split_hashtags:
        model.config = model.config.replace(split_hashtags=True)
        vocabulary = Vocabulary(vocabulary.words, split_hashtags=True)
    for data in sets:
        choose_thresholds(model, vocabulary, data)
    save_emotion_model(model, vocabulary, args.out, getattr(torch, args.dtype))
    print(f"{args.out}: {(args.out / WEIGHTS).stat().st_size / 1e6:.1f} MB of {args.dtype} weights")
    return 0


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "train": _train,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "export": _export,
}
