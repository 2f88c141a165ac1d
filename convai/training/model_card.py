"""The model card of a training: what it learnt from, how, and what it scored. Written from the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convai.core.files import atomic_write
from convai.model.shape import Shape

CARD = "README.md"


def write_card(
    folder: Path, description: dict[str, Any], shape: Shape, records: list[dict[str, Any]]
) -> None:
    """Write `folder`/README.md from the run's description and its log."""
    text = card(folder.name, description, shape, records)
    atomic_write(folder / CARD, lambda path: path.write_text(text, encoding="utf-8"))


def _base(base: dict[str, Any] | None) -> str:
    """The base's licences and the digest of its weights, as far as they are known; its own base's, too."""
    if not base:
        return ""
    digest = f"SHA-256 `{base['sha256'][:16]}…`" if base["sha256"] else "weights of unknown digest"
    licence = base["licence"] or "not said in its card; look it up before you publish"
    below = f" on `{base['base']['name']}`{_base(base['base'])}" if base.get("base") else ""
    return f" ({digest}; licences: {licence}){below}"


def card(name: str, description: dict[str, Any], shape: Shape, records: list[dict[str, Any]]) -> str:
    """The card as Markdown."""
    config = description["config"]
    files = description["files"]
    teacher = description.get("teacher")
    train = [r for r in records if "lm_loss" in r]
    valid = [r for r in records if "valid_loss" in r]
    lines = [
        f"# {name}",
        "",
        f"A persona dialogue model: {shape.family} blocks, {shape.n_layer} layers of {shape.n_embd}, "
        f"{shape.n_head} heads, a vocabulary of {shape.vocab_size:,}, {shape.n_positions} positions. "
        f"Trained with convai {description['convai']}"
        + (
            f", starting from `{description['started_from']}`{_base(description.get('base'))}."
            if description["started_from"]
            else ", from scratch."
        )
        + (f" Its teacher was `{Path(teacher['path']).name}`." if teacher else ""),
        "",
        "## Training data",
        "",
        "| file | SHA-256 |",
        "|---|---|",
    ]
    for kind in ("dialogs", "text"):
        lines += [f"| {Path(f['path']).name} | `{f['sha256'][:16]}…` |" for f in files[kind]]
    lines += [
        "",
        "The licences of these files are those of their sources; add them here before you publish.",
        "",
    ]
    lines += [*(f"- {note}" for note in description.get("notes", ())), ""] if description.get("notes") else []
    if description.get("command"):
        lines += ["## Command", "", "```", description["command"], "```", ""]
    if train:
        last = train[-1]
        lines += [
            "## Course",
            "",
            f"{last['step']:,} steps in {last['seconds'] / 3600:.2f} h; {config['layout']} layout, "
            f"{config['optimizer']}, seed {config['seed']}. ![curves](curves.png)",
            "",
        ]
    if valid:
        best = min(valid, key=lambda r: float(r["valid_loss"]))
        source = (
            Path(files["valid"]["path"]).name
            if files["valid"]
            else "held-out dialogues of the training files"
        )
        lines += [
            "## Scores",
            "",
            f"At step {best['step']:,}, the one kept, on {config['eval_dialogs']} dialogues at most "
            f"({source}, history 2); `convai evaluate` measures a whole file.",
            "",
            "| measure | value |",
            "|---|---|",
        ]
        lines += [
            f"| {k.removeprefix('valid_')} | {v:.4g} |" for k, v in best.items() if k.startswith("valid_")
        ]
        lines.append("")
    return "\n".join(lines)
