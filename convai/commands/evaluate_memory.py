"""`convai evaluate --memory`: facts found and recalled on our own set; with --data, several sessions."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from convai.commands.evaluate_common import agent_of, bars
from convai.core.evaluation_settings import EvaluateConfig

if TYPE_CHECKING:
    from convai.conversation.memory.finding import Resolve
    from convai.core.dialog import Dialog


def measure_memory(
    args: argparse.Namespace, config: EvaluateConfig, dialogs: list[Dialog] | None
) -> dict[str, Any]:
    """Measure, print what went wrong, and return the record."""
    from convai.conversation.memory.sentences import embedded_sentences
    from convai.core import resources
    from convai.evaluation.memory import finding, read_labelled, read_told, search_time, tell_and_ask

    resolve = _resolve()
    labelled = read_labelled(resources.memory_turns_path())
    parts = {
        part: [one for one in labelled if one.part == part] for part in sorted({one.part for one in labelled})
    }
    told = {
        f"recalling{'_' if which else ''}{which}": tell_and_ask(
            read_told(resources.memory_facts_path(which)),
            seed=config.seed,
            resolve=resolve,
            embed=embedded_sentences,
        )
        for which in resources.MEMORY_FACTS
    }
    record: dict[str, Any] = {
        "finding": {part: finding(turns, resolve) for part, turns in parts.items()},
        **{name: figures for name, (_, figures) in told.items()},
        "search_ms": search_time(embedded_sentences()),
    }
    if not args.json:
        for turn in labelled:
            if (found := turn.found(resolve)) != turn.wanted:
                print(f"found {sorted(found)} and not {sorted(turn.wanted)}: {turn.say}")
        for one in (one for asked, _ in told.values() for one in asked):
            if one.wrong or not one.right:
                print(f"{'outdated' if one.wrong else 'missing'}: {one.fact.ask} {' '.join(one.held)}")
    if dialogs is not None:
        record["sessions"] = _sessions(args, config, dialogs, resolve)
    return record


def _sessions(
    args: argparse.Namespace, config: EvaluateConfig, dialogs: list[Dialog], resolve: Resolve | None
) -> dict[str, Any]:
    from convai.conversation.memory.sentences import embedded_sentences
    from convai.evaluation.sessions import (
        ASKED,
        answerable,
        ask_questions,
        pairs_of,
        perplexities,
        questions_of,
    )

    pairs = pairs_of(dialogs)
    some = pairs[: config.dialogs or None]
    questions = [question for pair in some for question in questions_of(pair) if question.told]
    found: dict[str, Any] = {
        "pairs": len(pairs),
        "in_prompt": answerable(questions, resolve=resolve, embed=embedded_sentences),
    }
    if config.dialogs == 0:  # without a model
        return found
    agent = agent_of(args)
    with bars() as progress:
        found["perplexity"] = perplexities(
            agent, some, resolve=resolve, embed=embedded_sentences, progress=progress
        )
        answers = ask_questions(
            agent, questions, seed=config.seed, resolve=resolve, embed=embedded_sentences, progress=progress
        )
    if not args.json:
        for one in answers:
            shown = " | ".join(f"{way}: {text}" for way, text in one.answers.items())
            print(f"{one.question.ask} ({one.question.says}) {shown}")
    shares = {way: sum(one.right[way] for one in answers) / max(len(answers), 1) for way in ASKED}
    of_user = {way: sum(one.of_user[way] for one in answers) / max(len(answers), 1) for way in ASKED}
    answered = {"questions": len(answers), **shares, "of_user": of_user}
    return {**found, "answered": answered, "model": agent.name}


def _resolve() -> Resolve | None:
    """What replaces pronouns, where spaCy and the embedded model are there."""
    from convai.core.errors import ConvaiError
    from convai.coref.chat import load_chat_reader

    try:
        return load_chat_reader().resolved
    except ConvaiError:
        return None
