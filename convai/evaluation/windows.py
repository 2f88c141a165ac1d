"""The replies of a corpus that are scored, each with what the model may see before it.

Where the history is all that fits, the window of a reply goes on in the window of the next one, until the
dialogue outgrows the model. Such windows share a tree: the dialogue is its trunk, the candidates of every
reply are its branches, and what they have in common is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convai.core.dialog import AGENT
from convai.core.errors import SettingsError
from convai.text import segments
from convai.text.frames import Frame
from convai.text.history import fit_history
from convai.text.segments import EncodedDialog, EncodedTurn, dialogue_tree


@dataclass(frozen=True, slots=True)
class ReplyWindow:
    """An agent reply and what the model may see before it.

    `dialog` and `turn`: its place in the corpus; `number`: counted over all the replies of the corpus, those
    left out included, so that it names the same reply whatever the model is.
    """

    dialog: int
    turn: int
    number: int
    persona: Sequence[Sequence[int]]
    history: Sequence[EncodedTurn]
    reply: EncodedTurn

    def goes_on_from(self, other: ReplyWindow) -> bool:
        """Whether all that the model sees of `other`, its reply last, begins what it sees here."""
        seen = (*other.history, other.reply)
        return (
            self.dialog == other.dialog
            and len(self.history) > len(seen)
            and all(
                a is b or (a.speaker == b.speaker and list(a.ids) == list(b.ids))
                for a, b in zip(seen, self.history, strict=False)
            )
        )


@dataclass(slots=True)
class SharedWindows:
    """Windows of one dialogue, each of which goes on from the one before; `numbers`: where they were."""

    numbers: list[int]
    windows: list[ReplyWindow]

    def size(self, frame: Frame) -> int:
        """Tokens of `tree()`, without building it."""
        last = self.windows[-1]
        said = sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in (*last.history, last.reply))
        wrong = sum(_branches(window, frame) for window in self.windows)
        return frame.persona_size(last.persona) + said + wrong

    def tree(self, frame: Frame) -> segments.TokenSequence:
        """All of them as one sequence, the candidates as branches of the histories that they answer."""
        last = self.windows[-1]
        turns = [EncodedTurn(turn.speaker, turn.ids, target=False) for turn in last.history]
        for window in self.windows[:-1]:
            turns[len(window.history)] = window.reply
        first = len(self.windows[0].history)
        return dialogue_tree(frame, last.persona, [*turns, last.reply], first_target=first)


def shared(windows: Sequence[ReplyWindow], frame: Frame, most: int | None = None) -> list[SharedWindows]:
    """`windows`, in their order, those together that go on from one another.

    `most`: tokens of a tree, beyond which the next one begins a tree of its own; None: as many as there are.
    """
    found: list[SharedWindows] = []
    for number, window in enumerate(windows):
        if found and window.goes_on_from(found[-1].windows[-1]):
            longer = SharedWindows([*found[-1].numbers, number], [*found[-1].windows, window])
            if most is None or longer.size(frame) <= most:
                found[-1] = longer
                continue
        found.append(SharedWindows([number], [window]))
    return found


def _branches(window: ReplyWindow, frame: Frame) -> int:
    wrong = window.reply.distractors
    return sum(len(ids) + 1 for ids in wrong) + frame.tail if wrong else 0


def reply_windows(
    frame: Frame,
    dialogs: Sequence[EncodedDialog],
    *,
    max_history: int | None,
    n_positions: int,
    histories: Sequence[EncodedDialog] | None = None,
) -> Iterator[ReplyWindow]:
    """The agent replies of `dialogs` that answer something, each with at most `max_history` exchanges before
    the utterance it answers.

    A quarter of the positions is kept for the reply where the persona allows, so the history does not depend
    on the candidates; longer distractors are cut there, as in training. A distractor with the same ids as the
    gold reply is dropped: nothing could tell them apart. `histories`: the same dialogues, turn for turn, in
    the words that the model is to read before a reply (the replies stay those of `dialogs`). Left out are
    replies that do not fit even with the persona and one utterance alone.
    """
    number = -1
    for place, (dialog, shown) in enumerate(zip(dialogs, histories or dialogs, strict=True)):
        for index, turn in enumerate(dialog.turns):
            if turn.speaker != AGENT or not index or not turn.target:
                continue
            number += 1
            first = 0 if max_history is None else max(0, index - (2 * max_history + 1))
            quarter = n_positions // 4
            wrong = [ids[:quarter] for ids in turn.distractors if list(ids) != list(turn.ids)]
            longest = max(1, *map(len, (turn.ids, *wrong)))
            around = frame.around_reply
            history = _fitting(
                frame,
                dialog.persona,
                shown.turns[first:index],
                n_positions,
                reserves=(max(quarter, longest) + around, longest + around),
            )
            if history is not None:
                reply = EncodedTurn(AGENT, turn.ids, wrong)
                yield ReplyWindow(place, index, number, dialog.persona, history, reply)


def _fitting(
    frame: Frame,
    persona: Sequence[Sequence[int]],
    turns: Sequence[EncodedTurn],
    n_positions: int,
    *,
    reserves: Sequence[int],
) -> Sequence[EncodedTurn] | None:
    for reserve in reserves:
        try:
            return fit_history(frame, persona, turns, n_positions=n_positions, reserve=reserve)
        except SettingsError:
            continue
    return None
