"""What an engine is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.text import segments


@dataclass(frozen=True, slots=True)
class Request:
    """A reply to be drawn: the prompt (it ends with a speaker token), how, and what not to say again.

    `own_turns`: ids of what this speaker said before (`no_repeat_own_ngram`); `alternatives`: how many of
    the most probable tokens every Token event names; `deadline`: seconds after which the reply ends as it
    is (None: the engine's own); `first_candidate`: the number of the first of its candidates, each of which
    has draws of its own (three of them from 2 on are candidates 2, 3 and 4 of five). A prompt that ends with
    the user's speaker token asks what the user might say. Raises SettingsError for a number below 0.
    """

    prompt: segments.TokenSequence
    config: DecodingConfig = field(default_factory=DecodingConfig)
    own_turns: Sequence[Sequence[int]] = ()
    alternatives: int = 0
    deadline: float | None = None
    first_candidate: int = 0

    def __post_init__(self) -> None:
        for name in ("alternatives", "first_candidate"):
            if (value := getattr(self, name)) < 0:
                raise SettingsError(f"{name}={value}: use 0 or more")
        if self.deadline is not None and not self.deadline >= 0:
            raise SettingsError(f"deadline={self.deadline}: use a number of seconds, 0 or more")

    @property
    def width(self) -> int:
        """Sequences that are computed side by side for it: candidates, or beams."""
        return max(self.config.candidates, 1) if self.config.num_beams == 1 else self.config.num_beams

    def room(self, n_positions: int) -> int:
        """Most tokens of a reply.

        Raises SettingsError when the prompt is empty, is no plain sequence, or leaves no position for one.
        """
        length = len(self.prompt)
        room = n_positions - length - 1  # the <eos> has a position too
        if room < 1:
            raise SettingsError(
                f"the prompt has {length} tokens, the model {n_positions} positions: no room for a reply; "
                "shorten the persona or the history"
            )
        if not length or not self.prompt.is_causal:
            raise SettingsError("the prompt is empty or has branches; use convai.text.segments.build_prompt")
        return min(self.config.max_length, room)
