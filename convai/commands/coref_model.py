"""`convai coref train | vectors | predict | resolve`: the coreference model itself."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.options import add_config_arguments, config_from_args
from convai.commands.reading import add_reading_arguments, reading_from, report_taken
from convai.core.errors import ConvaiError, SettingsError

if TYPE_CHECKING:
    from convai.coref.document import Document
    from convai.coref.resolver import CorefResolver, ResolveSettings
    from convai.coref.scorer.gap import ParsedExample

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

_NAMED: Final = re.compile(r"(?P<name>[^\s:][^:]{0,39}):\s+(?P<text>.*)")


def add_actions(actions: Actions) -> None:
    """The actions train, vectors, predict and resolve."""
    from convai.coref.settings import CorefTrainSettings

    train = actions.add_parser("train", help="a model on column files of one's own", allow_abbrev=False)
    train.add_argument(
        "data",
        nargs="*",
        type=Path,
        metavar="DATA",
        help="CoNLL-2012 or CorefUD (.conllu) column files, and tables of ambiguous pronouns as GAP's (.tsv)",
    )
    train.add_argument(
        "--dev", nargs="+", type=Path, default=[], metavar="FILE", help="what tells when to stop"
    )
    train.add_argument(
        "--vectors", type=Path, metavar="FILE.npz", help="word vectors (default: the embedded model's)"
    )
    train.add_argument(
        "--skip", nargs="+", default=[], metavar="TEXT", help="leave out training documents so named"
    )
    train.add_argument("--out", type=Path, metavar="DIR", help="where the run and its model go")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    train.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")
    train.add_argument(
        "--context",
        metavar="DIR|NAME",
        help="a base model whose states of words the model takes, as smollm2-135m (default: none)",
    )
    train.add_argument(
        "--encoder",
        type=Path,
        metavar="DIR",
        help="a pretrained encoder of BERT's kind (MiniLM) whose lower layers learn with the model",
    )
    train.add_argument(
        "--start",
        metavar="DIR|NAME",
        help="a model whose words, sizes and weights it begins with, as coref-mini (default: fresh weights)",
    )
    _add_parser(train)
    add_config_arguments(train, CorefTrainSettings, title="training")

    vectors = actions.add_parser(
        "vectors", help="word vectors from plain text, for train", allow_abbrev=False
    )
    vectors.add_argument(
        "texts", nargs="+", type=Path, metavar="FILE", help=".txt, or dialogues in any format"
    )
    vectors.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="where they go")
    vectors.add_argument(
        "--words", type=int, default=24000, metavar="N", help="the commonest (default: %(default)s)"
    )
    vectors.add_argument(
        "--size", type=int, default=64, metavar="N", help="numbers a word (default: %(default)s)"
    )
    add_reading_arguments(vectors, "train, where a file has it")

    predict = actions.add_parser("predict", help="find the chains of a column file", allow_abbrev=False)
    predict.add_argument(
        "source", type=Path, metavar="IN", help="CoNLL-2012 columns, or CoNLL-U; old chains are ignored"
    )
    predict.add_argument(
        "out", type=Path, metavar="OUT", help="the same with the chains found (.conllu, .conll: in that form)"
    )
    _add_use(predict)

    resolve = actions.add_parser("resolve", help="who is meant, in a text or a dialogue", allow_abbrev=False)
    resolve.add_argument(
        "text",
        nargs="*",
        metavar="TEXT",
        help="turns; 'name: text', or a chat's log, says who speaks (default: the lines of stdin)",
    )
    resolve.add_argument(
        "--speaker", nargs="+", default=[], metavar="NAME", help="who speaks each TEXT; fewer take turns"
    )
    resolve.add_argument("--rewrite", action="store_true", help="also print the text with pronouns replaced")
    resolve.add_argument("--json", action="store_true", help="one JSON object")
    _add_use(resolve)


def _add_parser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parser",
        metavar="DIR|NAME",
        help="a spaCy pipeline, or 'installed' for one of spaCy's own (default: the embedded one)",
    )


def _add_use(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="DIR", help="a model folder (default: the embedded model)")
    _add_parser(parser)
    parser.add_argument(
        "--greedyness",
        type=float,
        default=0.5,
        metavar="X",
        help="from 0 to 1: how readily it links (default: 0.5)",
    )
    parser.add_argument(
        "--max-dist", type=int, metavar="N", help="mentions looked back (default: as trained)"
    )
    parser.add_argument(
        "--max-dist-match",
        type=int,
        metavar="N",
        help="the same for those with the same head (default: as trained)",
    )
    parser.add_argument("--blacklist", action="store_true", help="leave I, we and you alone")
    parser.add_argument(
        "--define",
        nargs="+",
        default=[],
        metavar="WORD=WORD,WORD",
        help="what unknown words mean, as Deepika=woman,actress",
    )


def _resolver(args: argparse.Namespace) -> CorefResolver:
    from convai.coref.checkpoint import load_resolver

    return load_resolver(args.model, _settings(args), _definitions(args.define))


def _settings(args: argparse.Namespace) -> ResolveSettings:
    from convai.coref.resolver import ResolveSettings

    try:
        return ResolveSettings(args.greedyness, args.max_dist, args.max_dist_match, args.blacklist)
    except SettingsError as error:
        name, equals, rest = str(error).partition("=")
        raise SettingsError(f"--{name.replace('_', '-')}{equals}{rest}") from None


def _definitions(given: list[str]) -> dict[str, list[str]]:
    found = {}
    for text in given:
        word, equals, words = text.partition("=")
        if not word or not equals or not all(words.split(",")):
            raise SettingsError(f"--define {text!r}: write it as Deepika=woman,actress")
        found[word] = words.split(",")
    return found


def _train(args: argparse.Namespace) -> int:
    from convai.coref.settings import CorefTrainSettings

    settings = config_from_args(CorefTrainSettings, args)
    given = [args.data, args.out, args.dev, args.vectors, args.skip, args.parser, args.context, args.start]
    given.append(args.encoder)
    if args.encoder is not None and args.context is not None:
        raise SettingsError("--encoder and --context: a model takes states of one of them; leave one out")
    if args.resume is not None and any(given):
        raise SettingsError("--resume takes everything from the run itself; leave the other options out")
    if args.resume is None and args.out is None:
        raise SettingsError("--out DIR is missing: say where the run and its model go")
    if args.threads is not None:
        if args.threads < 1:
            raise SettingsError(f"--threads={args.threads}: use 1 or more")
        import torch

        torch.set_num_threads(args.threads)
    from convai.coref.train import new_run, resume_run

    if args.resume is not None:
        resume_run(args.resume, _Reader, report=_report)
    else:
        new_run(
            args.data,
            args.dev,
            args.vectors,
            settings,
            args.out,
            _Reader(args.parser),
            parser=args.parser,
            context=args.context,
            start=args.start,
            encoder=args.encoder,
            skip=args.skip,
            report=_report,
        )
    out = args.resume or args.out
    print(f"{out}: done; try it: convai coref resolve --model {out}")
    return 0


def _report(record: dict[str, Any]) -> None:
    found = ", ".join(f"{name} {value:.3f}" for name, value in record["f1"].items())
    print(
        f"epoch {record['epoch']} ({record['phase']}): loss {record['loss']:.3f}, F1 {found}, "
        f"{record['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )


class _Reader:
    """Reads files to parsed documents."""

    def __init__(self, parser: str | None) -> None:
        from convai.coref.parsing.load import load_parser

        self._nlp = load_parser(parser)

    def documents(self, path: Path, *, chains: bool = True) -> list[Document]:
        from convai.coref.column_files import read_documents
        from convai.coref.parsing.parse import parse_documents

        documents = read_documents(path, chains=chains)
        parse_documents(self._nlp, documents)
        return documents

    def asked(self, path: Path) -> list[ParsedExample]:
        from convai.coref.parsing.parse import text_reader
        from convai.coref.scorer.gap import ask, read_gap

        read = text_reader(self._nlp)
        return [ask(one, read) for one in read_gap(path)]


def _vectors(args: argparse.Namespace) -> int:
    from convai.coref.vectors import read_texts, train_vectors
    from convai.text.word_vectors import check_name, write_vectors

    check_name(args.out)  # before the texts are read, which takes minutes
    texts = read_texts(args.texts, reading_from(args), report=report_taken)
    words, vectors = train_vectors(texts, args.words, args.size, progress=sys.stderr.isatty())
    write_vectors(args.out, words, vectors)
    print(f"{args.out}: {len(words):,} words, {vectors.shape[1]} numbers each")
    return 0


def _predict(args: argparse.Namespace) -> int:
    from convai.coref.column_files import write_documents

    resolver = _resolver(args)
    documents = _Reader(args.parser).documents(args.source, chains=False)
    for document in documents:
        document.clusters = resolver.resolve(document)
    left_out = write_documents(documents, args.out, args.source)
    if left_out:
        print(f"{args.out}: {left_out:,} mentions left out, which brackets cannot say", file=sys.stderr)
    chains = sum(len(document.clusters) for document in documents)
    print(f"{args.out}: {len(documents):,} documents, {chains:,} chains")
    return 0


def turns_of(texts: list[str], speakers: list[str]) -> list[tuple[str | None, str]]:
    """Turns with their speakers: from `speakers`, else from a leading 'name: ', or the marks of a chat's log.

    Names count where the first text and most of the others have one. One without goes on with the turn
    above, a notice of a log ("* ann waves") is nobody's.
    """
    if speakers:
        return [(speakers[i % len(speakers)], text) for i, text in enumerate(texts)]
    from convai.text.corpora.timed_text import is_aside, is_timed, turn_of

    log = is_timed(texts)
    found = [turn_of(text) if log else _named(text) for text in texts]
    if found[0] is None or sum(turn is not None for turn in found) * 2 <= len(found):
        return [(None, text) for text in texts]
    turns: list[tuple[str | None, str]] = []
    speaker: str | None = None
    for text, turn in zip(texts, found, strict=True):
        speaker = speaker if turn is None else turn[0]
        nobody = turn is None and log and is_aside(text)
        turns.append((None if nobody else speaker, text if turn is None else turn[1]))
    return turns


def _named(text: str) -> tuple[str, str] | None:
    return (match["name"], match["text"]) if (match := _NAMED.fullmatch(text.strip())) else None


def _resolve(args: argparse.Namespace) -> int:
    from convai.coref.parsing.load import load_parser
    from convai.coref.parsing.parse import document_of_turns
    from convai.coref.rewrite import main_mention, replacements, rewritten

    texts = [line for text in args.text or _stdin() for line in text.splitlines() if line.strip()]
    if not texts:
        raise ConvaiError("no text; give some, or pipe it in")
    turns = turns_of(texts, args.speaker)
    resolver = _resolver(args)
    document, places = document_of_turns(load_parser(args.parser), turns)
    clusters = resolver.resolve(document)

    def shown(span: tuple[int, int]) -> dict[str, Any]:
        turn, start, _ = places[span[0]]
        end = places[span[1] - 1][2]
        return {"text": turns[turn][1][start:end], "turn": turn, "start": start, "end": end}

    found = [
        {
            "main": shown(main_mention(document, cluster))["text"],
            "mentions": [shown(span) for span in cluster],
        }
        for cluster in clusters
    ]
    text = rewritten([text for _, text in turns], places, replacements(document, clusters))
    if args.json:
        print(json.dumps({"clusters": found, "rewritten": text}, ensure_ascii=False))
        return 0
    for one in found:
        print(f"{one['main']}: {', '.join(mention['text'] for mention in one['mentions'])}")
    if args.rewrite:
        for (speaker, _), line in zip(turns, text, strict=True):
            print(f"{speaker}: {line}" if speaker else line)
    return 0


def _stdin() -> list[str]:
    if sys.stdin is None:
        raise ConvaiError("standard input is closed; give a text, a pipe or a file")
    return sys.stdin.read().splitlines()


ACTIONS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "train": _train,
    "vectors": _vectors,
    "predict": _predict,
    "resolve": _resolve,
}
