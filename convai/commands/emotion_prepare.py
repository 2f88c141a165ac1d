"""`convai emotion vectors | teach | probe | ngrams`: word vectors, and teachers of a network."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.commands.emotion_train import report_epoch, set_threads
from convai.commands.options import add_config_arguments, config_from_args
from convai.commands.reading import add_reading_arguments, reading_from, report_taken
from convai.core.errors import SettingsError

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add_actions(actions: Actions) -> None:
    """The actions vectors, teach, probe and ngrams."""
    from convai.emotion.settings import NgramSettings, ProbeSettings, TeachSettings

    words = actions.add_parser("vectors", help="word vectors from plain text", allow_abbrev=False)
    words.add_argument(
        "data", nargs="+", type=Path, metavar="DATA", help="label sets, whose frequent words get a vector"
    )
    words.add_argument(
        "--texts",
        nargs="+",
        default=[],
        metavar="FILE[@K]",
        help="more to read: text files (.txt), dialogues, label sets; @K takes every K-th text or dialogue",
    )
    add_reading_arguments(words, "train, where a file has it")
    words.add_argument("--beside", type=Path, metavar="FILE.npz", help="vectors to put before these")
    words.add_argument("--size", type=int, default=128, metavar="N", help="numbers a word (default: 128)")
    words.add_argument(
        "--vocab-size", type=int, default=20000, metavar="N", help="most words (default: %(default)s)"
    )
    words.add_argument("--out", type=Path, required=True, metavar="FILE.npz")
    words.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")

    teach = actions.add_parser(
        "teach", help="an encoder tuned on label sets, as a teacher for train", allow_abbrev=False
    )
    teach.add_argument(
        "--base", type=Path, metavar="DIR", help="an encoder's folder, as transformers saves it"
    )
    teach.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    add_config_arguments(teach, TeachSettings, title="tuning")
    fixed = actions.add_parser(
        "probe", help="small networks on an encoder as it is, as a teacher for train", allow_abbrev=False
    )
    fixed.add_argument(
        "--base",
        type=Path,
        required=True,
        metavar="DIR",
        help="an encoder's folder, as transformers saves it",
    )
    add_config_arguments(fixed, ProbeSettings, title="training")
    linear = actions.add_parser(
        "ngrams", help="a linear model of n-grams, as a quick teacher for train", allow_abbrev=False
    )
    add_config_arguments(linear, NgramSettings, title="training")
    _add_teaching(teach, "*", required=False)
    _add_teaching(fixed, "+", required=True)
    _add_teaching(linear, "+", required=True)
    for action in (teach, linear):
        action.add_argument(
            "--weights", nargs="+", type=float, metavar="X", help="how often each is drawn (default: 1 each)"
        )


def _add_teaching(action: argparse.ArgumentParser, sets: str, *, required: bool) -> None:
    """What all teachers take; `required`: nothing else may stand for DATA and --out."""
    action.add_argument("data", nargs=sets, type=Path, metavar="DATA", help="label sets, files or folders")
    action.add_argument("--out", type=Path, required=required, metavar="DIR", help="where the teacher goes")
    action.add_argument(
        "--rows", type=int, default=0, metavar="N", help="first N training texts of each only, for a trial"
    )
    action.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: torch's choice)"
    )


def _vectors(args: argparse.Namespace) -> int:
    from convai.emotion.labelled import TRAIN
    from convai.emotion.readers import read_labelled
    from convai.text.word_vectors import check_name, read_vectors, write_vectors

    if args.size < 1:
        raise SettingsError(f"--size={args.size}: use 1 or more")
    check_name(args.out)  # before the texts are read, which takes minutes
    sets = [read_labelled(path).split(TRAIN).texts for path in args.data]
    set_threads(args.threads)
    from convai.emotion.settings import TrainSettings
    from convai.emotion.vectors import beside, learn_vectors
    from convai.emotion.vocabulary import Vocabulary

    others = dict(zip(*read_vectors(args.beside), strict=True)) if args.beside else {}
    vocabulary = Vocabulary.build(
        (text for texts in sets for text in texts), size=args.vocab_size, min_count=TrainSettings().min_count
    )
    sources = [*map(str, args.data), *args.texts]
    own = learn_vectors(vocabulary, sources, args.size, reading_from(args), report=report_taken)
    vectors = beside(vocabulary, own, others)
    write_vectors(args.out, vocabulary.words, vectors)
    print(f"{args.out}: {len(vectors):,} words, {vectors.shape[1]} numbers each")
    return 0


def _teach(args: argparse.Namespace) -> int:
    from convai.emotion.settings import TeachSettings

    settings = config_from_args(TeachSettings, args)
    names = {field.name for field in dataclasses.fields(TeachSettings)}
    given = args.data or args.base or args.out or args.weights or args.rows
    if args.resume is not None and (given or any(hasattr(args, name) for name in names)):
        raise SettingsError(
            "--resume takes all but --threads from the run itself; leave the other options out"
        )
    if args.resume is None and not (args.data and args.base and args.out):
        raise SettingsError("teach: name label sets, --base DIR and --out DIR, or --resume DIR")
    set_threads(args.threads)
    from convai.emotion.teach import resume_teaching, teach

    if args.resume is not None:
        resume_teaching(args.resume, report=report_epoch)
    else:
        weights = args.weights or [1.0] * len(args.data)
        teach(args.base, args.data, weights, settings, args.out, rows=args.rows, report=report_epoch)
    return _taught(args.resume or args.out)


def _probe(args: argparse.Namespace) -> int:
    from convai.emotion.settings import ProbeSettings

    settings = config_from_args(ProbeSettings, args)
    set_threads(args.threads)
    from convai.emotion.probe import probe
    from convai.emotion.tables import read_to_train

    data = read_to_train(args.data, args.rows, settings.held_out, settings.seed)
    probe(args.base, data, settings, args.out, report=report_epoch)
    return _taught(args.out)


def _ngrams(args: argparse.Namespace) -> int:
    from convai.emotion.settings import NgramSettings

    settings = config_from_args(NgramSettings, args)
    set_threads(args.threads)
    from convai.emotion.tables import read_to_train
    from convai.emotion.teach import teach_ngrams

    data = read_to_train(args.data, args.rows, settings.held_out, settings.seed)
    weights = args.weights or [1.0] * len(args.data)
    teach_ngrams(data, weights, settings, args.out, report=report_epoch)
    return _taught(args.out)


def _taught(folder: Path) -> int:
    print(f"{folder}: its scores: convai emotion evaluate DATA --model {folder}")
    return 0


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "vectors": _vectors,
    "teach": _teach,
    "probe": _probe,
    "ngrams": _ngrams,
}
