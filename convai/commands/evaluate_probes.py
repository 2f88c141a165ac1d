"""`convai evaluate --probes` and `--contradictions`: questions to a model; the check of self-chats."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from convai.commands.evaluate_common import agent_of, bars, decoding_of
from convai.commands.options import config_from_args
from convai.core.errors import DataError
from convai.core.evaluation_settings import EvaluateConfig, ProbesConfig
from convai.core.files import atomic_write

OWN_SET: Final = Path("-")
"""What --probes and --contradictions without a file stand for."""


def probe(args: argparse.Namespace, config: EvaluateConfig) -> dict[str, Any]:
    """Ask the probes, print what went wrong and the shares, and return the record."""
    from convai.core import resources
    from convai.evaluation.probes import ask_probes, read_probes, shares
    from convai.evaluation.report import answer_lines, share_table

    how = config_from_args(ProbesConfig, args)
    if how.answers is not None and not how.answers.parent.is_dir():
        raise DataError(f"{how.answers}: there is no folder {how.answers.parent}; create it first")
    path = resources.probes_path() if args.probes == OWN_SET else args.probes
    settings = read_probes(path)
    agent = agent_of(args)
    max_history = config.max_history if hasattr(args, "max_history") else agent.max_history
    with bars() as progress:
        found = list(
            ask_probes(
                agent,
                settings,
                draws=how.draws,
                seed=config.seed,
                max_history=max_history,
                precision=config.precision,
                progress=progress,
            )
        )
    if how.answers is not None:
        text = "".join(f"{line}\n" for line in answer_lines(found))
        atomic_write(how.answers, lambda path: path.write_text(text, encoding="utf-8"))
    result = shares(found)
    if not args.json:
        print(share_table(found, result))
    return {
        **result,
        "draws": how.draws,
        "model": agent.name,
        "probes": str(path),
        "max_history": max_history,
        "seed": config.seed,
        "precision": config.precision,
        **decoding_of(agent),
    }


def check_rules(args: argparse.Namespace) -> dict[str, Any]:
    """Measure the check on labelled pairs, print what it gets wrong, and return the record."""
    from convai.core import resources
    from convai.evaluation.contradictions import read_pairs, score_rules
    from convai.evaluation.report import rules_table

    path = resources.contradictions_path() if args.contradictions == OWN_SET else args.contradictions
    pairs = read_pairs(path)
    parts = {part: [p for p in pairs if p.part == part] for part in dict.fromkeys(p.part for p in pairs)}
    result = {part: score_rules(of_part) for part, of_part in parts.items()}
    if not args.json:
        for pair in pairs:
            if pair.found() != pair.contradicts:
                what = "missed" if pair.contradicts else "wrongly found"
                print(f"{what}: {' '.join(pair.said)} | {pair.ask} | {pair.reply}")
        print(rules_table(result))
    return {**result, "data": str(path)}
