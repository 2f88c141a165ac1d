"""Two column files, key and response, scored against each other."""

from __future__ import annotations

from pathlib import Path

from convai.core.errors import DataError
from convai.coref.column_files import read_chains
from convai.coref.scorer.metrics import Counts, score


def score_files(key: Path, response: Path, *, singletons: bool = True) -> dict[str, Counts]:
    """The metrics of `metrics.score` over the documents of both files.

    Raises DataError where a file cannot be read, or has other documents, or of other lengths, than the other.
    """
    keys, responses = read_chains(key), read_chains(response)
    for one, path, other, there in ((keys, key, responses, response), (responses, response, keys, key)):
        missing = [name for name in one if name not in other]
        if missing:
            name, part = missing[0]
            raise DataError(
                f"{there}: lacks document {name}, part {part}, of {path}; score the same documents"
            )
    for (name, part), chains in keys.items():
        if chains.tokens != responses[name, part].tokens:
            raise DataError(
                f"{response}: document {name}, part {part}, has {responses[name, part].tokens} words, and "
                f"{chains.tokens} in {key}; the words have to be the same"
            )
    pairs = ((chains.clusters, responses[name].clusters) for name, chains in keys.items())
    return score(pairs, singletons=singletons)
