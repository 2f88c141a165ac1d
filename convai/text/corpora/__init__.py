"""Dialogue corpora: read, check, count, compare and write them, in every format people have them in.

>>> from convai.text.corpora import read
>>> dialogs = read("data/sample_dialogues.jsonl")  # doctest: +SKIP
"""

from __future__ import annotations

from convai.text.corpora.check import Report, check
from convai.text.corpora.detect import detect
from convai.text.corpora.distractors import with_distractors
from convai.text.corpora.documents import PlainDocument, iter_documents
from convai.text.corpora.formats import FORMATS, Format
from convai.text.corpora.overlap import Overlap, overlap
from convai.text.corpora.personas import read_personas
from convai.text.corpora.reading import Reading, Taken, iter_dialogs, read, take, write
from convai.text.corpora.stats import CorpusStats, stats

__all__ = [
    "FORMATS",
    "CorpusStats",
    "Format",
    "Overlap",
    "PlainDocument",
    "Reading",
    "Report",
    "Taken",
    "check",
    "detect",
    "iter_dialogs",
    "iter_documents",
    "overlap",
    "read",
    "read_personas",
    "stats",
    "take",
    "with_distractors",
    "write",
]
