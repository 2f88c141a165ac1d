"""Dialogue corpora: read, check, count, compare and write them, in every format people have them in.

>>> from convai.corpora import read
>>> dialogs = read("data/sample_dialogues.jsonl")  # doctest: +SKIP
"""

from __future__ import annotations

from convai.corpora.check import Report, check
from convai.corpora.detect import detect
from convai.corpora.distractors import with_distractors
from convai.corpora.documents import Document, iter_documents
from convai.corpora.formats import FORMATS, Format
from convai.corpora.overlap import Overlap, overlap
from convai.corpora.personas import read_personas
from convai.corpora.reading import iter_dialogs, read, write
from convai.corpora.stats import Stats, stats

__all__ = [
    "FORMATS",
    "Document",
    "Format",
    "Overlap",
    "Report",
    "Stats",
    "check",
    "detect",
    "iter_dialogs",
    "iter_documents",
    "overlap",
    "read",
    "read_personas",
    "stats",
    "with_distractors",
    "write",
]
