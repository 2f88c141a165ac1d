"""`convai coref`: who is meant by which words; the parser it needs, and the scores of both."""

from __future__ import annotations

import argparse
from typing import Final

from convai.commands import coref_model, coref_parser, coref_score

HELP: Final = "coreference: who is meant by which words; train, predict, score"

_PARTS: Final = (coref_model, coref_parser, coref_score)
"""Modules that bring actions: `add_actions(actions)` and `ACTIONS`, name → function of the arguments."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The actions of all parts."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for part in _PARTS:
        part.add_actions(actions)


def run(args: argparse.Namespace) -> int:
    """Carry out the action. Returns the exit code."""
    for part in _PARTS:
        if args.action in part.ACTIONS:
            code: int = part.ACTIONS[args.action](args)
            return code
    raise AssertionError(args.action)
