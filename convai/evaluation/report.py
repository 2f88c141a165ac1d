"""What `convai evaluate` prints: the tables, the transcript of a conversation, the line of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from convai.core.dialog import AGENT, Dialog
from convai.evaluation.contradictions import contradictions
from convai.evaluation.probes import Answer

_COLUMNS: Final = {
    "hits@1": "hits@1",
    "ppl": "ppl",
    "word_ppl": "word ppl",
    "bits_per_byte": "bits/byte",
    "f1": "F1",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "repeated_reply_share": "said again",
}
"""Name in the JSON → heading of the table."""

_BASELINES: Final = {
    "tfidf_hits@1": ("TF-IDF, persona and last turn", "hits@1"),
    "tfidf_persona_hits@1": ("TF-IDF, persona alone", "hits@1"),
    "tfidf_history_hits@1": ("TF-IDF, last turn alone", "hits@1"),
    "1-gram_word_ppl": ("1-gram", "word_ppl"),
    "3-gram_word_ppl": ("3-gram", "word_ppl"),
    "5-gram_word_ppl": ("5-gram", "word_ppl"),
    "constant_f1": ("the same words always", "f1"),
}
"""Name in the JSON → row and column of the table."""


def report(
    data: Path,
    model: str | None,
    scores: Mapping[str, float],
    counts: Mapping[str, int],
    baselines: Mapping[str, float],
    max_history: int | None,
) -> str:
    """All that a person wants to see of an evaluation; `model` is None where only baselines were measured."""
    history = "all that fits" if max_history is None else max_history
    heading = (
        f"{data}: {counts['dialogs']:,} dialogues, {counts['replies']:,} replies, {counts['words']:,} words; "
        f"history {history}"
    )
    rows = {} if model is None else {model: scores}
    return "\n".join([heading, "", *_table(rows | _baseline_rows(baselines)), "", *_notes(scores, counts)])


def _baseline_rows(scores: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    return {row: {column: scores[name]} for name, (row, column) in _BASELINES.items() if name in scores}


def _table(rows: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Lines of figures under the headings that have any."""
    shown = [name for name in _COLUMNS if any(name in row for row in rows.values())]
    cells = [["", *(_COLUMNS[name] for name in shown)]]
    cells += [[title, *(_figure(name, row.get(name)) for name in shown)] for title, row in rows.items()]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for title, *figures in cells:
        padded = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        yield "  ".join([title.ljust(widths[0]), *padded]).rstrip()


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if name.endswith("ppl") else f"{value:.4f}"


def _notes(scores: Mapping[str, float], counts: Mapping[str, int]) -> Iterator[str]:
    if "hits@1" in scores:
        yield (
            f"hits@1: {counts['ranked']:,} replies, each among up to {counts['candidates']} candidates; "
            f"by chance {scores['chance']:.4f}"
        )
    if "ppl" in scores:
        yield "ppl is per token, word ppl per whitespace word; both pay for the end of every reply"
    if "repeated_replies" in scores:
        yield (
            f"said again in the same dialogue: {scores['repeated_replies']:,} replies, "
            f"{scores['repeated_4gram_share']:.2%} of the 4-grams"
        )
    if counts.get("left_out"):
        yield f"left out: {counts['left_out']:,} replies that do not fit the model's positions"


def transcript(number: int, dialog: Dialog) -> str:
    """A conversation to read: both personas, then a line a turn."""
    lines = [f"conversation {number}"]
    for who, persona in zip(("user", "agent"), dialog.personas, strict=True):
        lines.append(f"  ({who}: {' '.join(persona.sentences)})")
    lines += (f"  {('user:', 'agent:')[turn.speaker]:<6} {turn.text}" for turn in dialog.turns)
    return "\n".join([*lines, ""])


def contradiction_lines(number: int, dialog: Dialog) -> Iterator[str]:
    """What was found in a conversation, a reply a line, with what it takes back."""
    for found in contradictions(dialog):
        back = "itself" if found.said == found.reply else repr(found.said)
        yield f"conversation {number}, turn {found.turn + 1}: {found.reply!r} takes back {back}"


def rules_table(parts: Mapping[str, Mapping[str, float]]) -> str:
    """How a check does on labelled pairs, a part of them a line."""
    lines = [f"{'':<8}  pairs  contradictions  found  precision  recall"]
    for name, of in parts.items():
        counts = f"{of['pairs']:>5}  {of['contradictions']:>14}  {of['found']:>5}"
        lines.append(f"{name:<8}  {counts}  {of['precision']:>9.3f}  {of['recall']:>6.3f}")
    return "\n".join(lines)


def listing(record: Mapping[str, float]) -> str:
    """Names and figures, one a line."""
    width = max(map(len, record))
    return "\n".join(
        f"{name.ljust(width)}  {f'{value:,}' if isinstance(value, int) else f'{value:.4f}'}"
        for name, value in record.items()
    )


def share_table(answers: Sequence[Answer], shares: Mapping[str, Mapping[str, float]]) -> str:
    """The wrong answers to read, each after what was said just before; then the share right of each kind."""
    lines = []
    for answer in answers:
        if not answer.right:
            lines += [f"{answer.probe.kind}, {answer.setting.id}, draw {answer.draw + 1}"]
            lines += [f"  (agent: {' '.join(answer.setting.persona.sentences)})"]
            lines += [f"  {('user:', 'agent:')[turn.speaker]:<6} {turn.text}" for turn in answer.turns[-2:]]
            lines += [f"  user:  {answer.probe.ask}", f"  agent: {answer.text}", ""]
    width = max(map(len, shares))
    lines += [f"{'':<{width}}   right   95 % interval   probes"]
    for kind, of in shares.items():
        interval = f"{of['low']:.3f} to {of['high']:.3f}"
        lines += [f"{kind:<{width}}   {of['share']:.3f}   {interval:<13}   {of['probes']:>6,}"]
    return "\n".join(lines)


def answer_lines(answers: Sequence[Answer]) -> Iterator[str]:
    """Every answer as a line of JSON: where it was given, to what, and whether it was right."""
    for answer in answers:
        yield json_line(
            {
                "id": answer.setting.id,
                "kind": answer.probe.kind,
                "draw": answer.draw,
                "right": answer.right,
                "persona": list(answer.setting.persona.sentences),
                "turns": [f"{'agent' if t.speaker == AGENT else 'user'}: {t.text}" for t in answer.turns],
                "ask": answer.probe.ask,
                "answer": answer.text,
            }
        )


def json_line(record: Mapping[str, Any]) -> str:
    """`record` as one line of JSON, which knows no infinity: an overflown perplexity becomes null."""
    return json.dumps({name: _finite(value) for name, value in record.items()}, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
