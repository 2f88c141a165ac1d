"""Which replies are too long for the rows of a training: what checking a file and training on it both say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from convai.core.dialog import AGENT, Dialog
from convai.text.frames import Frame
from convai.text.prompt import encode_dialogs
from convai.text.segments import EncodedDialog
from convai.text.tokenizer import Tokenizer


def replies_too_long(frame: Frame, dialog: EncodedDialog, row_tokens: int) -> Iterator[int]:
    """Places in `dialog.turns` of the replies that no row of `row_tokens` holds.

    A row has to hold the persona, the reply and the turn that it answers. A turn that opens the dialogue
    answers nothing, and one that is no target is not learnt anyway.
    """
    room = row_tokens - frame.persona_size(dialog.persona) - frame.tail
    sizes = [turn.size(frame) for turn in dialog.turns]
    for i, turn in enumerate(dialog.turns):
        if i and turn.speaker == AGENT and turn.target and sizes[i - 1] + sizes[i] > room:
            yield i


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a model is tuned in."""

    tokenizer: Tokenizer
    tokens: int
    model: str = ""
    """The model's name, for messages."""

    def hold_some(self, dialog: Dialog) -> bool:
        """Whether a row holds one of the dialogue's replies."""
        return sum(1 for _ in dialog.replies()) > len(self.too_long(dialog))

    def too_long(self, dialog: Dialog) -> list[int]:
        """Places in `dialog.turns` of the replies that training would leave out."""
        bare = tuple(replace(turn, distractors=()) for turn in dialog.turns)
        [encoded] = encode_dialogs(self.tokenizer, [replace(dialog, turns=bare)])
        return list(replies_too_long(self.tokenizer.frame, encoded, self.tokens))
