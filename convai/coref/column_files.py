"""Files with coreference in either form: CoNLL-2012 columns, or CoNLL-U with CorefUD's entities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convai.core.errors import DataError
from convai.coref import conll, corefud
from convai.coref.conll import Chains, Crossing
from convai.coref.document import Document


def read_documents(path: Path, *, crossing: Crossing = "keep", chains: bool = True) -> list[Document]:
    """The documents of a file, as `conll.read_conll` or `corefud.read_corefud` reads them.

    Which it is is told from the content. Entities of CoNLL-U may cross, whatever `crossing` says: the format
    allows it.
    """
    if corefud.is_conllu(path):
        return corefud.read_corefud(path, chains=chains)
    return conll.read_conll(path, crossing=crossing, chains=chains)


def read_chains(path: Path) -> dict[tuple[str, int], Chains]:
    """What a scorer needs of a file, by document and part. Raises DataError as the readers do."""
    if not corefud.is_conllu(path):
        return conll.read_chains(path)
    found: dict[tuple[str, int], Chains] = {}
    for document in corefud.read_corefud(path):
        key = (document.name, document.part)
        if key in found:
            raise DataError(f"{path}: document {document.name} is there twice; leave one")
        found[key] = Chains(document.clusters, len(document))
    return found


def write_documents(documents: Sequence[Document], path: Path, source: Path) -> int:
    """Write what was read from `source`, with the clusters of `documents`.

    As CoNLL-U or CoNLL-2012 where `path` is named .conllu or .conll, and else as `source` is. Returns how
    many mentions brackets could not say and are left out.
    """
    from_conllu = corefud.is_conllu(source)
    if corefud.named_conllu(path) or (from_conllu and not _named_conll(path)):
        return corefud.write_corefud(documents, path, source if from_conllu else None)
    return conll.write_conll(list(documents), path)


def _named_conll(path: Path) -> bool:
    return ".conll" in path.suffixes
