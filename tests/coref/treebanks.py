"""A made-up treebank, small enough to learn by heart in a second."""

from __future__ import annotations

from pathlib import Path

SENTENCES = [
    [
        ("Anna", "NNP", 2, "nsubj", "B-PER"),
        ("likes", "VBZ", 0, "root", "O"),
        ("her", "PRP$", 4, "nmod:poss", "O"),
        ("dog", "NN", 2, "obj", "O"),
        (".", ".", 2, "punct", "O"),
    ],
    [
        ("He", "PRP", 2, "nsubj", "O"),
        ("sleeps", "VBZ", 0, "root", "O"),
        ("in", "IN", 4, "case", "O"),
        ("Paris", "NNP", 2, "obl", "B-LOC"),
        (".", ".", 2, "punct", "O"),
    ],
    [
        ("I", "PRP", 3, "nsubj", "O"),
        ("do", "VBP", 3, "aux", "O"),
        ("see", "VB", 0, "root", "O"),
        ("a", "DT", 5, "det", "O"),
        ("cat", "NN", 3, "obj", "O"),
        (".", ".", 3, "punct", "O"),
    ],
]


def write_treebank(folder: Path, copies: int = 8) -> tuple[Path, Path]:
    """A CoNLL-U file and a file of entities for it."""
    treebank, entities = folder / "made_up.conllu", folder / "made_up.conll"
    parsed, marked = [], []
    for copy in range(copies):
        parsed.append(f"# newdoc id = doc_{copy}")
        for sentence in SENTENCES:
            for i, (word, tag, head, dep, entity) in enumerate(sentence, 1):
                blank = "SpaceAfter=No" if i == len(sentence) - 1 else "_"
                parsed.append(f"{i}\t{word}\t_\t_\t{tag}\t_\t{head}\t{dep}\t_\t{blank}")
                marked.append(f"{word}\t{entity}")
            parsed.append("")
            marked.append("")
    treebank.write_text("\n".join(parsed) + "\n", encoding="utf-8")
    entities.write_text("\n".join(marked) + "\n", encoding="utf-8")
    return treebank, entities
