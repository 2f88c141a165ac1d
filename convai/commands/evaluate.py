"""`convai evaluate`: ConvAI2's metrics on a file, baselines, probes, self-chat, and its check."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from convai.commands.evaluate_common import SHARED, about, agent_of, bars, decoding_of
from convai.commands.evaluate_probes import OWN_SET, check_rules, probe
from convai.commands.options import add_config_arguments, add_context_argument, config_from_args
from convai.commands.reading import add_reading_arguments, reading_from, report_taken
from convai.core.errors import DataError, SettingsError
from convai.core.evaluation_settings import EvaluateConfig, ProbesConfig, SelfChatConfig
from convai.core.settings import DecodingConfig

if TYPE_CHECKING:
    from convai.core.dialog import Dialog
    from convai.evaluation.self_chat import SelfChat

HELP = "measure a model: hits@1, perplexity, F1, distinct-n; probe it; or let it talk with itself"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to measure, on what, and every field of EvaluateConfig, SelfChatConfig and DecodingConfig."""
    parser.add_argument(
        "--model", metavar="DIR|NAME", help="model folder or embedded model (default: the embedded one)"
    )
    add_context_argument(parser)
    parser.add_argument("--data", type=Path, metavar="FILE", help="dialogues, in any readable format")
    add_reading_arguments(parser, "valid, where a file has it")
    parser.add_argument(
        "--baselines", action="store_true", help="put TF-IDF, n-grams and a constant reply beside the model"
    )
    parser.add_argument(
        "--train",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="with --baselines: dialogues that they learn from (without: no n-grams)",
    )
    parser.add_argument(
        "--self-chat",
        type=int,
        metavar="N",
        help="instead of --data: the model in both chairs, N conversations to read, and counts",
    )
    parser.add_argument(
        "--probes",
        type=Path,
        nargs="?",
        const=OWN_SET,
        metavar="FILE",
        help="instead of --data: questions whose right answers are known (no FILE: our own set)",
    )
    parser.add_argument(
        "--contradictions",
        type=Path,
        nargs="?",
        const=OWN_SET,
        metavar="FILE",
        help="instead of --data: how well the check of self-chats does on labelled pairs (no FILE: our own)",
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="how well the memory finds and recalls, on our own set; with --data, dialogues in sessions: "
        "questions about the first and, with --dialogs N, the replies of N later ones by the model",
    )
    parser.add_argument("--json", action="store_true", help="print the last line alone, one JSON object")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processor threads (default: torch's choice)"
    )
    add_config_arguments(parser, EvaluateConfig, title="measuring")
    add_config_arguments(parser, SelfChatConfig, title="self-chat")
    add_config_arguments(parser, ProbesConfig, title="probes")
    title = "decoding (what the model ships with, unless given here)"
    add_config_arguments(parser, DecodingConfig, title=title, exclude=SHARED)
    parser.add_argument(
        "--samples",
        type=int,
        default=argparse.SUPPRESS,
        metavar="N",
        help="replies to sample; the next-sentence head picks the best (default: as shipped)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code; raises ConvaiError for what cannot be measured."""
    config = config_from_args(EvaluateConfig, args)
    self_chat = config_from_args(SelfChatConfig, args)
    _check_combination(args, config)
    if args.threads is not None:
        if args.threads < 1:
            raise SettingsError(f"--threads={args.threads}: use 1 or more")
        import torch

        torch.set_num_threads(args.threads)
    from convai.evaluation.report import json_line

    if args.memory:
        record = _memory(args, config)
    elif args.contradictions is not None:
        record = check_rules(args)
    elif args.probes is not None:
        record = probe(args, config)
    elif args.self_chat is not None:
        record = _talk(args, config, self_chat)
    else:
        record = _measure(args, config)
    print(json_line(record))
    return 0


def _check_combination(args: argparse.Namespace, config: EvaluateConfig) -> None:
    """Refuse options that would not be used."""
    instead = {
        "--self-chat": args.self_chat,
        "--probes": args.probes,
        "--contradictions": args.contradictions,
        "--memory": args.memory or None,
    }
    named = [name for name, value in instead.items() if value is not None]
    if len(named) > 1:
        raise SettingsError(f"{' and '.join(named)} are different things to measure; leave one of them out")
    for goes_with, given, fields in (
        ("--self-chat N", args.self_chat, dataclasses.fields(SelfChatConfig)),
        ("--probes [FILE]", args.probes, dataclasses.fields(ProbesConfig)),
    ):
        for name in (field.name for field in fields):
            if given is None and hasattr(args, name):
                raise SettingsError(f"--{name} goes with {goes_with}; add that or leave --{name} out")
    if named:
        what = named[0]
        if args.self_chat is not None and args.self_chat < 1:
            raise SettingsError(f"--self-chat={args.self_chat}: use 1 or more conversations")
        unused = [
            name
            for name in ("metrics", "candidates", "dialogs", "batch_tokens", "resolved")
            if hasattr(args, name) and not (args.memory and args.data and name == "dialogs")
        ]
        if (args.data and not args.memory) or args.baselines or args.train or unused:
            raise SettingsError(
                f"{what} needs no dialogues and no metrics; leave out "
                "--data, --baselines, --train and the options for measuring"
            )
        return
    if args.data is None:
        raise SettingsError(
            "--data FILE is missing: name the dialogues to measure on, or use --self-chat N, --probes or "
            "--contradictions"
        )
    if args.train and not args.baselines:
        raise SettingsError("--train goes with --baselines; add that or leave --train out")
    if not config.chosen and not args.baselines:
        raise SettingsError("--metrics=none: nothing is left to do; name some, or add --baselines")


# -- a file ------------------------------------------------------------------------------------------


def _measure(args: argparse.Namespace, config: EvaluateConfig) -> dict[str, Any]:
    from convai.text import corpora

    taken = corpora.take(args.data, reading_from(args), "valid")
    dialogs = taken.dialogs
    report_taken(taken)
    beside_it = dataclasses.replace(reading_from(args), split=None)
    learnt = [corpora.take(path, beside_it, "train") for path in args.train]
    for one in learnt:
        report_taken(one)
    train = [dialog for one in learnt for dialog in one.dialogs]
    agent = agent_of(args) if config.chosen else None
    if agent is not None and agent.has_long_context and not hasattr(args, "max_history"):
        config = dataclasses.replace(config, max_history=agent.max_history)

    from convai.evaluation.evaluate import Evaluation, baseline_scores, evaluate, prepare
    from convai.evaluation.report import report

    beside: dict[str, float] = {}
    several = sum(any(True for _ in dialog.replies()) for dialog in dialogs) > 1
    rank = "hits" in config.chosen or (args.baselines and several)
    with about(args.data):
        chosen = prepare(dialogs, config, rank=rank)
        result = Evaluation(counts=_counts(chosen))
        if agent is not None:
            with bars() as progress:
                result = evaluate(
                    agent,
                    chosen,
                    config,
                    histories=_resolved(chosen, progress) if config.resolved else None,
                    progress=progress,
                )
        if args.baselines:
            beside = baseline_scores(chosen, train)
    name = agent.name if agent is not None else None
    if not args.json:
        print(report(args.data, name, result.scores, result.counts, beside, config.max_history))
        drawn = not any(turn.distractors for dialog in dialogs for turn in dialog.turns)
        if drawn and result.counts.get("candidates", config.candidates) < config.candidates:
            print(f"no more than that differ, of {config.candidates} asked for: easier than elsewhere")
    return {
        **result.scores,
        **result.counts,
        **({"baselines": beside} if args.baselines else {}),
        "model": name,
        "data": str(args.data),
        "split": taken.split,
        "max_history": config.max_history,
        "resolved": config.resolved,
        "seed": config.seed,
        "precision": config.precision,
        **decoding_of(agent if config.chosen & {"f1", "distinct"} else None),
    }


def _resolved(dialogs: Sequence[Dialog], progress: Any) -> list[Dialog]:
    """The dialogues with their pronouns replaced, each turn as it was understood when it was said."""
    from convai.coref.chat import load_chat_reader

    reader = load_chat_reader()
    found = []
    for dialog in dialogs:
        found.append(dataclasses.replace(dialog, turns=tuple(reader.resolved(dialog.turns))))
        progress("dialogues resolved", len(found), len(dialogs))
    return found


def _counts(dialogs: Sequence[Dialog]) -> dict[str, int]:
    replies = [turn.text for dialog in dialogs for _, turn in dialog.replies()]
    return {
        "dialogs": len(dialogs),
        "replies": len(replies),
        "words": sum(len(text.split()) for text in replies),
        "bytes": sum(len(text.encode()) for text in replies),
    }


def _memory(args: argparse.Namespace, config: EvaluateConfig) -> dict[str, Any]:
    """The memory's figures; of dialogues of several sessions where a file of them is named."""
    from convai.commands.evaluate_memory import measure_memory

    if args.data is None:
        return measure_memory(args, config, None)
    from convai.text import corpora

    taken = corpora.take(args.data, reading_from(args), "valid")
    report_taken(taken)
    with about(args.data):
        return {**measure_memory(args, config, taken.dialogs), "data": str(args.data)}


# -- self-chat ---------------------------------------------------------------------------------------


_NO_PERSONAS: Final = (b"{", b"[", b"\x89PNG", b"PK")
"""How cards and conversations begin, and no sentence does."""


def _begins(path: Path, with_one_of: tuple[bytes, ...]) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip().startswith(with_one_of)
    except OSError:
        return False  # who reads it says why


def _talk(args: argparse.Namespace, config: EvaluateConfig, chat: SelfChatConfig) -> dict[str, Any]:
    from convai.core import resources
    from convai.text import corpora

    if chat.out is not None and not chat.out.parent.is_dir():
        raise DataError(f"{chat.out}: there is no folder {chat.out.parent}; create it first")
    if chat.personas is not None and _begins(chat.personas, _NO_PERSONAS):
        raise SettingsError(
            f"--personas {chat.personas}: a self-chat is between two personas, no cards and no groups; name "
            "a text file with a sentence a line and a blank line between two of them"
        )
    personas = corpora.read_personas(chat.personas or resources.personas_path())
    agent = agent_of(args)

    from convai.evaluation.report import contradiction_lines, listing, transcript
    from convai.evaluation.self_chat import self_chats, tally

    conversations: list[SelfChat] = []
    max_history = config.max_history if hasattr(args, "max_history") else agent.max_history
    with bars() as progress:
        for conversation in self_chats(
            agent,
            personas,
            args.self_chat,
            turns=chat.turns,
            seed=config.seed,
            max_history=max_history,
            precision=config.precision,
        ):
            conversations.append(conversation)
            progress("conversations", len(conversations), args.self_chat)
    if chat.out is not None:
        corpora.write(chat.out, (c.dialog for c in conversations), "jsonl")
    record = tally(conversations)
    if not args.json:
        for number, conversation in enumerate(conversations, 1):
            print(transcript(number, conversation.dialog))
        for number, conversation in enumerate(conversations, 1):
            for line in contradiction_lines(number, conversation.dialog):
                print(line)
        print(listing(record))
    return {
        **record,
        "turns": chat.turns,
        "model": agent.name,
        "max_history": max_history,
        "seed": config.seed,
        "precision": config.precision,
        **decoding_of(agent),
    }
