"""Readers of labelled texts: TweetEval, GoEmotions, CARER, ISEAR, MELD, emoji TSV, torchMoji's JSON lines.

`read_labelled` looks at names and first lines, never at what a person would have to declare; tables of one's
own are `tables.read_table`'s. `.xz` and `.gz` are read as they are. Everything that is wrong is a DataError
with file and line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from convai.core.errors import DataError
from convai.core.text_files import lines
from convai.emotion import labels as names
from convai.emotion.labelled import TEST, TRAIN, VALID, LabelSet, Texts

_TORCHMOJI: Final = {
    "PsychExp": names.ISEAR,
    "SS-Twitter": ["negative", "positive"],
    "SCv1": ["not_sarcastic", "sarcastic"],
}
"""What torchMoji's sets, whose files have numbers, mean by them."""
_TWEETEVAL: Final = {
    "emoji": names.TWEETEVAL_EMOJI,
    "emotion": names.TWEETEVAL_EMOTION,
    "irony": names.TWEETEVAL_IRONY,
    "sentiment": names.TWEETEVAL_SENTIMENT,
}
_SPLIT_FILES: Final = {
    TRAIN: ("train",),
    VALID: ("val", "dev", "valid"),
    TEST: ("test",),
}


def read_labelled(path: Path) -> LabelSet:
    """The data set in `path`, a file or a folder, whichever of the formats above it is.

    Raises DataError, naming file and line, when it is none of them or damaged.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    found = _folder_reader(path) if path.is_dir() else _file_reader(path)
    if found is None:
        raise DataError(
            f"{path}: not a data set that is known (TweetEval, GoEmotions, CARER, ISEAR, MELD, reddit_emoji, "
            "torchMoji's JSON lines); give a CSV file with the columns text and label"
        )
    result = found(path)
    result.source = str(path)
    return result


def _folder_reader(path: Path) -> Callable[[Path], LabelSet] | None:
    if _existing(path, "train_text.txt"):
        return _tweeteval
    if _existing(path, "train.tsv"):
        return _goemotions
    if (path / "train.txt").exists() and _first_line(path / "train.txt").startswith("text;"):
        return _carer
    if (path / "train_sent_emo.csv").exists():
        return _meld
    return None


def _file_reader(path: Path) -> Callable[[Path], LabelSet] | None:
    first = _first_line(path)
    if path.suffix == ".jsonl":
        return _torchmoji
    if "|SIT|" in first:
        return _isear
    if "reddit_emoji" in path.name or re.fullmatch(r"[^\t]+\t\d+(,\d+)*", first):
        return _emoji_tsv
    return None


# -- files -----------------------------------------------------------------------------------------


def _existing(folder: Path, name: str) -> Path | None:
    """`name` in `folder`, or its compressed form."""
    return next((p for p in (folder / f"{name}{end}" for end in ("", ".xz", ".gz")) if p.exists()), None)


def _first_line(path: Path) -> str:
    return next((line for _, line in lines(path)), "")


def index(text: str, n_labels: int, where: str) -> int:
    """A label number. Raises DataError beginning with `where`."""
    if not text.strip().isdecimal() or int(text) >= n_labels:
        raise DataError(f"{where}: {text.strip()[:40]!r} is no label number; use 0 to {n_labels - 1}")
    return int(text)


# -- formats ---------------------------------------------------------------------------------------


def _tweeteval(path: Path) -> LabelSet:
    kind = next((name for name in _TWEETEVAL if name in path.name), path.name)
    labels = _mapping(path) or _TWEETEVAL.get(kind)
    if labels is None:
        raise DataError(f"{path}: mapping.txt is missing; copy it, it names the labels")
    role = {"emoji": "emoji", "emotion": "emotions"}.get(kind, "labels")
    result = LabelSet(f"tweet_{re.sub(r'[^A-Za-z0-9_]', '_', kind)}", tuple(labels), role=role)  # type: ignore[arg-type]
    for split, stems in _SPLIT_FILES.items():
        for stem in stems:
            texts, numbers = _existing(path, f"{stem}_text.txt"), _existing(path, f"{stem}_labels.txt")
            if texts is None or numbers is None:
                continue
            said, marked = list(lines(texts)), [line for line in lines(numbers) if line[1].strip()]
            if len(said) != len(marked):
                raise DataError(f"{texts}: {len(said)} texts, but {len(marked)} labels in {numbers.name}")
            found = result.splits.setdefault(split, Texts())
            for (_, text), (number, label) in zip(said, marked, strict=True):
                found.add(text, (index(label, len(labels), f"{numbers}:{number}"),))
    return result


def _mapping(path: Path) -> list[str] | None:
    """TweetEval's mapping.txt: number, label (an emoji's name as well); U+FE0F, which styles, is dropped."""
    mapping = path / "mapping.txt"
    if not mapping.exists():
        return None
    rows = [line.split("\t") for _, line in lines(mapping) if line.strip()]
    return [row[1].strip().replace("\ufe0f", "") for row in rows if len(row) > 1]


def _goemotions(path: Path) -> LabelSet:
    listed = next((p for p in (path / "labels" / "emotions.txt", path / "emotions.txt") if p.exists()), None)
    labels = [line.strip() for _, line in lines(listed) if line.strip()] if listed else names.GOEMOTIONS
    result = LabelSet("goemotions", tuple(labels), multi=True, role="emotions")
    for split, stems in _SPLIT_FILES.items():
        for stem in stems:
            if table := _existing(path, f"{stem}.tsv"):
                result.splits[split] = _tsv(table, len(labels))
    return result


def _tsv(path: Path, n_labels: int) -> Texts:
    """Text, tab, label numbers with commas; more columns are ignored."""
    found = Texts()
    for number, line in lines(path):
        text, tab, rest = line.partition("\t")
        if not tab:
            raise DataError(f"{path}:{number}: expected text, tab, label numbers")
        where = f"{path}:{number}"
        target = sorted({index(one, n_labels, where) for one in rest.partition("\t")[0].split(",")})
        found.add(text, tuple(target))
    return found


def _carer(path: Path) -> LabelSet:
    labels = names.CARER
    result = LabelSet("carer", tuple(labels), role="emotions")
    for split, stems in _SPLIT_FILES.items():
        for stem in stems:
            if not (path / f"{stem}.txt").exists():
                continue
            found = result.splits.setdefault(split, Texts())
            for number, line in list(lines(path / f"{stem}.txt"))[1:]:
                text, _, label = line.rpartition(";")
                if label.strip() not in labels:
                    raise DataError(
                        f"{path / stem}.txt:{number}: {label[:40]!r} is none of {', '.join(labels)}"
                    )
                found.add(text, (labels.index(label.strip()),))
    return result


def _isear(path: Path) -> LabelSet:
    """ISEAR's table, `|` between columns; a text may hold a `|` itself, and `á` stands for a line's end."""
    header: list[str] = []
    result = LabelSet("isear", tuple(names.ISEAR), role="emotions", splits={TRAIN: Texts()})
    for number, line in lines(path):
        if not header:
            header = line.split("|")
            continue
        cells = line.split("|")
        label = cells[header.index("Field1")] if len(cells) >= len(header) else ""
        if label not in names.ISEAR:
            raise DataError(f"{path}:{number}: {label[:40]!r} is none of {', '.join(names.ISEAR)}")
        behind = len(header) - header.index("SIT") - 1
        text = "|".join(cells[header.index("SIT") : len(cells) - behind])
        result.splits[TRAIN].add(" ".join(text.replace("\u00e1", " ").split()), (names.ISEAR.index(label),))
    return result


def _emoji_tsv(path: Path) -> LabelSet:
    """Texts with DeepMoji's emoji in them, tab, their indices: the emoji are taken out of the texts."""
    result = LabelSet("deepmoji", tuple(names.DEEPMOJI), multi=True, role="emoji")
    strip = re.compile("[" + "".join(names.DEEPMOJI) + "\ufe0f]")
    read = _tsv(path, len(names.DEEPMOJI))
    found = result.splits.setdefault(TRAIN, Texts())
    for text, target in zip(read.texts, read.targets, strict=True):
        bare = " ".join(strip.sub(" ", text).split())
        if re.search(r"\w", bare):  # nothing but emoji teaches nothing
            found.add(bare, target)
    return result


def _meld(path: Path) -> LabelSet:
    result = LabelSet("meld", tuple(names.MELD), role="emotions")
    for split, stems in _SPLIT_FILES.items():
        for stem in stems:
            table = path / f"{stem}_sent_emo.csv"
            if not table.exists():
                continue
            found = result.splits.setdefault(split, Texts())
            reader = csv.DictReader(line + "\n" for _, line in lines(table))
            for row in reader:
                where = f"{table}:{reader.line_num}"
                if row.get("Utterance") is None or row.get("Emotion") not in names.MELD:
                    raise DataError(
                        f"{where}: expected columns Utterance and Emotion ({', '.join(names.MELD)})"
                    )
                found.add(row["Utterance"], (names.MELD.index(row["Emotion"]),))
    return result


def _torchmoji(path: Path) -> LabelSet:
    """JSON lines: text, split, and label (a number) or labels (0 or 1 each)."""
    result = LabelSet(re.sub(r"[^A-Za-z0-9_]", "_", path.stem), ())
    width = 0
    for number, line in lines(path):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
            text, split = str(row["text"]), {"val": VALID, "dev": VALID}.get(row["split"], row["split"])
            several = row.get("labels")
            target = (
                (int(row["label"]),) if several is None else tuple(i for i, on in enumerate(several) if on)
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{where}: expected an object of text, split, and label or labels") from None
        result.multi = several is not None
        width = max(width, len(several) if several is not None else target[0] + 1)
        result.splits.setdefault(split, Texts()).add(text, target)
    known = _TORCHMOJI.get(path.stem)
    result.labels = tuple(known if known is not None and len(known) >= width else map(str, range(width)))
    return result
