"""`convai emotion`: what a text feels like, as emoji and emotions; feature vectors; models of one's own."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from convai.commands import emotion_prepare, emotion_train, emotion_transfer
from convai.core.errors import ConvaiError, SettingsError

if TYPE_CHECKING:
    from convai.emotion.classifier import EmotionClassifier, Prediction

HELP = "emoji and emotions of texts: predict, encode, tune on labels of one's own"

_PRECISIONS: Final = ("float32", "bf16", "int8")
_TOGETHER: Final = 256
"""Lines read before they are answered, where stdin is no terminal: together they take less time each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions predict, encode, labels, convert, and those of training."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    predict = actions.add_parser("predict", help="emoji and emotions of every line", allow_abbrev=False)
    _add_input(predict)
    predict.add_argument("--json", action="store_true", help="a JSON object a line")
    predict.add_argument(
        "--top", type=_top, default=5, metavar="N", help="emoji to show (default: 5); 0 shows all"
    )
    predict.add_argument(
        "--negation",
        action=argparse.BooleanOptionalAction,
        default=True,
        help='read what is denied ("not happy"); without, what the network says is shown (default: on)',
    )
    encode = actions.add_parser("encode", help="feature vectors of every line", allow_abbrev=False)
    _add_input(encode)
    encode.add_argument(
        "--out",
        type=Path,
        metavar="FILE.npy",
        help="write a numpy array (default: JSON lists to stdout)",
    )
    labels = actions.add_parser("labels", help="the model's label tables", allow_abbrev=False)
    labels.add_argument("--model", metavar="DIR", help="a model folder (default: the embedded model)")
    labels.add_argument("--json", action="store_true", help="one JSON object")
    convert = actions.add_parser("convert", help="torchMoji's weights to a model folder", allow_abbrev=False)
    convert.add_argument("weights", type=Path, metavar="pytorch_model.bin")
    convert.add_argument("--vocabulary", type=Path, required=True, metavar="vocabulary.json")
    convert.add_argument("--out", type=Path, required=True, metavar="DIR")
    convert.add_argument(
        "--labels", nargs="+", metavar="NAME", help="names of the outputs (default: DeepMoji's 64 emoji)"
    )
    emotion_train.add_actions(actions)
    emotion_prepare.add_actions(actions)
    emotion_transfer.add_action(actions)


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="*", metavar="TEXT", help="texts (default: the lines of stdin)")
    parser.add_argument("--model", metavar="DIR", help="a model folder (default: the embedded model)")
    parser.add_argument(
        "--precision",
        choices=_PRECISIONS,
        default="float32",
        help="what the LSTMs compute in; int8 is fastest (default: %(default)s)",
    )


def _top(text: str) -> int | None:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of emoji, 0 or more")
    return int(text) or None


def run(args: argparse.Namespace) -> int:
    """Carry out the action. Returns the exit code."""
    longer = emotion_train.ACTIONS | emotion_prepare.ACTIONS
    if args.action in longer:
        return longer[args.action](args)
    if args.action == "transfer":
        return emotion_transfer.run(args)
    if args.action == "convert":
        return _convert(args)
    if args.action == "labels":
        return _labels(args)
    return _predict(args) if args.action == "predict" else _encode(args)


def _predict(args: argparse.Namespace) -> int:
    classifier = _classifier(args)
    for lines in _inputs(args.text):
        for prediction in classifier.predict(lines, args.top):
            print(_as_json(prediction) if args.json else _as_text(prediction))
        sys.stdout.flush()
    return 0


def _as_json(prediction: Prediction) -> str:
    return json.dumps(prediction.to_json(), ensure_ascii=False)


def _as_text(prediction: Prediction) -> str:
    """One line: the emoji with their shares, and the strongest emotions, or labels where there are none."""
    parts = ["  ".join(f"{emoji} {p:.0%}" for emoji, p in prediction.emoji)]
    for chances in [prediction.emotions] if prediction.emotions else prediction.labels.values():
        best = sorted(chances.items(), key=lambda pair: -pair[1])[:3]
        parts.append(", ".join(f"{label} {p:.0%}" for label, p in best))
    return "   ".join(part for part in parts if part)


def _encode(args: argparse.Namespace) -> int:
    if args.out is not None and args.out.suffix != ".npy":
        raise SettingsError(f"--out={args.out}: end the name in .npy, which it will be")
    classifier = _classifier(args)
    if args.out is None:
        for lines in _inputs(args.text):
            for vector in classifier.encode(lines).tolist():
                print(json.dumps([round(value, 6) for value in vector]))
            sys.stdout.flush()
        return 0
    import numpy as np

    from convai.core.files import atomic_write

    parts = [classifier.encode(lines).numpy() for lines in _inputs(args.text)]
    vectors = np.concatenate([np.zeros((0, classifier.config.feature_size), np.float32), *parts])

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, vectors, allow_pickle=False)

    atomic_write(args.out, write)
    print(f"{args.out}: {len(vectors)} vectors of {vectors.shape[1]}")
    return 0


def _labels(args: argparse.Namespace) -> int:
    from convai.emotion.checkpoint import load_emotion_model
    from convai.emotion.labels import emoji_name

    heads = load_emotion_model(args.model)[0].config.heads
    if args.json:
        print(json.dumps({head.name: list(head.labels) for head in heads}, ensure_ascii=False))
        return 0
    for head in heads:
        kind = "any number of" if head.multi else "one of"
        print(f"{head.name}: {kind} {len(head.labels)} ({head.role})")
        for i, label in enumerate(head.labels):
            print(f"{i:>4}  {label}" + (f"  {emoji_name(label)}" if head.role == "emoji" else ""))
    return 0


def _convert(args: argparse.Namespace) -> int:
    from convai.emotion.checkpoint import convert_torchmoji

    config = convert_torchmoji(args.weights, args.vocabulary, args.out, args.labels)
    outputs = len(config.heads[0].labels) if config.heads else 0
    print(
        f"{args.out}: {config.vocab_size:,} words, features of {config.feature_size:,}, {outputs} outputs; "
        f"use it: convai emotion predict --model {args.out}"
    )
    return 0


def _classifier(args: argparse.Namespace) -> EmotionClassifier:
    if not args.text and sys.stdin is None:
        raise ConvaiError("standard input is closed; give texts, a pipe or a file")
    from convai.emotion.classifier import EmotionClassifier

    return EmotionClassifier.load(args.model, args.precision, negation=getattr(args, "negation", True))


def _inputs(texts: list[str]) -> Iterator[list[str]]:
    """The texts given, or the lines of stdin: one by one from a terminal, many at a time from a pipe."""
    if texts:
        yield texts
        return
    together = 1 if sys.stdin.isatty() else _TOGETHER
    lines: list[str] = []
    while line := sys.stdin.readline():
        lines.append(line.removesuffix("\n"))
        if len(lines) >= together:
            yield lines
            lines = []
    if lines:
        yield lines
