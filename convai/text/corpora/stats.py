"""How big a corpus is: dialogues, turns, words, personas, candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from convai.core.dialog import Dialog, Persona


@dataclass(slots=True)
class CorpusStats:
    """Counts; words are separated by white space."""

    dialogues: int = 0
    turns: int = 0
    replies: int = 0
    """Turns of the agent that answer something."""
    words: int = 0
    longest_dialogue_turns: int = 0
    longest_turn_words: int = 0
    distinct_words: int = 0
    dialogues_with_persona: int = 0
    distinct_personas: int = 0
    persona_sentences: int = 0
    replies_with_candidates: int = 0
    most_candidates: int = 0
    """Candidates of a reply, the gold one counted."""
    fewest_candidates: int = 0
    candidates: int = 0

    @property
    def words_per_turn(self) -> float:
        """Mean length of a turn."""
        return self.words / self.turns if self.turns else 0.0

    @property
    def turns_per_dialogue(self) -> float:
        """Mean length of a dialogue."""
        return self.turns / self.dialogues if self.dialogues else 0.0

    def as_dict(self) -> dict[str, Any]:
        """All counts and means, for JSON."""
        means = {"words_per_turn": self.words_per_turn, "turns_per_dialogue": self.turns_per_dialogue}
        return asdict(self) | {name: round(value, 2) for name, value in means.items()}

    def lines(self) -> Iterator[str]:
        """A table, a count a line."""
        for name, value in self.as_dict().items():
            number = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
            yield f"{name.replace('_', ' '):<24}{number:>14}"


def stats(dialogs: Iterable[Dialog]) -> CorpusStats:
    """Count through dialogues once, without keeping them."""
    total = CorpusStats()
    vocabulary: set[str] = set()
    personas: set[Persona] = set()
    for d in dialogs:
        total.dialogues += 1
        total.turns += len(d.turns)
        total.longest_dialogue_turns = max(total.longest_dialogue_turns, len(d.turns))
        for turn in d.turns:
            words = turn.text.split()
            vocabulary.update(words)
            total.words += len(words)
            total.longest_turn_words = max(total.longest_turn_words, len(words))
        for _, reply in d.replies():
            total.replies += 1
            if reply.distractors:
                _count_candidates(total, len(reply.distractors) + 1)
        if d.persona:
            total.dialogues_with_persona += 1
            personas.add(d.persona)
    total.distinct_words = len(vocabulary)
    total.distinct_personas = len(personas)
    total.persona_sentences = sum(len(persona.sentences) for persona in personas)
    return total


def _count_candidates(total: CorpusStats, number: int) -> None:
    total.fewest_candidates = min(total.fewest_candidates or number, number)
    total.most_candidates = max(total.most_candidates, number)
    total.candidates += number
    total.replies_with_candidates += 1
