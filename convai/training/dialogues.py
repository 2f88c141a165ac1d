"""What a training step sees: windows of dialogues or packed text, endless, seeded and resumable.

The order of everything is a function of the seed and the epoch's number alone, so a resumed run skips
to its step and goes on with the same batches.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from convai.core.dialog import AGENT
from convai.core.errors import DataError
from convai.text import segments
from convai.text.frames import Frame
from convai.text.lengths import replies_too_long
from convai.text.segments import (
    EncodedDialog,
    EncodedTurn,
    Targets,
    dialogue_tree,
    utterance_sequences,
)
from convai.training.batches import Batch, collate, length_buckets
from convai.training.corpus import EncodedCorpus


class StepSource(Protocol):
    """Steps of a training: each a list of micro-batches whose gradients are added.

    A step is `accumulation` micro-batches, however many processes share them.
    """

    accumulation: int
    steps_per_epoch: int

    def steps(self, start: int = 0, *, rank: int = 0, world: int = 1) -> Iterator[list[Batch]]: ...


@dataclass(frozen=True, slots=True)
class DialogueWindow:
    """Turns `start:stop` of a dialogue; those before `first_target` are context only."""

    dialog: int
    start: int
    stop: int
    first_target: int


class DialogueData:
    """Dialogues as trees (or as the blog post's sequences), with distractors drawn anew every epoch."""

    def __init__(
        self,
        corpus: EncodedCorpus,
        frame: Frame,
        *,
        layout: str = "dialogue",
        targets: Targets = "agent",
        n_positions: int = 512,
        distractors: int = 4,
        hard_distractors: float = 0.0,
        random_start: float = 0.5,
        max_history: int | None = None,
        permute_persona: bool = True,
        batch_tokens: int = 8192,
        accumulation: int = 1,
        seed: int = 0,
        rated_from: int | None = None,
    ) -> None:
        """`hard_distractors`: share drawn from the same dialogue (its other turns); `random_start`:
        share of dialogues that begin at a random turn, as a short history window would show them;
        `max_history`: exchanges of context for a window (utterance layout; None: all that fits).

        `accumulation`: micro-batches of a step, those of all processes together. `rated_from`: dialogues of
        this origin and later ones have right and wrong replies, to be compared (`preferences`). Raises
        DataError when no dialogue holds an agent reply to learn from, or none that fits.
        """
        self.corpus, self.frame = corpus, frame
        self.layout, self.targets, self.n_positions = layout, targets, n_positions
        self.n_distractors, self.hard = distractors, hard_distractors
        self.random_start, self.max_history, self.permute = random_start, max_history, permute_persona
        self.batch_tokens, self.accumulation, self.seed = batch_tokens, accumulation, seed
        self._rated = corpus.origins >= (len(corpus) if rated_from is None else rated_from)
        self._owners, self._units = corpus.replies()
        # the replies of one file lie together: first and last of each
        origins = corpus.origins[self._owners]
        self._first = np.searchsorted(origins, corpus.origins, "left")
        self._last = np.searchsorted(origins, corpus.origins, "right")
        if not len(self._units):
            raise DataError(
                "no agent reply that answers anything; check the speakers (1 is the agent), or add "
                "--both-sides"
            )
        mean = float(np.diff(corpus.arrays["starts"])[self._units].mean())
        self._branch = int((mean + 1) * distractors) + frame.tail
        groups = sum(1 for _ in self._plan(0))
        if not groups:
            raise DataError(
                f"no agent reply fits into {n_positions} tokens beside its persona and what it answers; "
                "raise --row-tokens or shorten the personas"
            )
        self.steps_per_epoch = -(-groups // accumulation)
        self.too_long = self._too_long()
        """Replies that are never learnt from, since they fit into no row."""

    def _too_long(self) -> int:
        return sum(
            1 for dialog in self.corpus for _ in replies_too_long(self.frame, dialog, self.n_positions)
        )

    def steps(self, start: int = 0, *, rank: int = 0, world: int = 1) -> Iterator[list[Batch]]:
        """Steps from number `start` on; `rank` of `world` gets every world-th micro-batch of each step."""
        size = self.accumulation
        endless = ((epoch, group) for epoch in itertools.count() for group in self._plan(epoch))
        groups = itertools.islice(endless, start * size, None)
        while True:
            step = list(itertools.islice(groups, size))
            yield [self._collate(epoch, group) for epoch, group in step[rank::world]]

    # -- the plan of an epoch: windows, grouped by length ------------------------------------------

    def _plan(self, epoch: int) -> Iterator[list[DialogueWindow]]:
        rng = random.Random(f"plan {self.seed} {epoch}")
        windows: list[DialogueWindow] = []
        lengths: list[int] = []
        for index, dialog in enumerate(self.corpus):
            for window, length in self._windows(index, dialog, rng):
                windows.append(window)
                lengths.append(length)
        order = list(range(len(windows)))
        rng.shuffle(order)
        groups = list(length_buckets(lengths, order, self.batch_tokens))
        rng.shuffle(groups)
        return ([windows[i] for i in group] for group in groups)

    def _windows(
        self, index: int, dialog: EncodedDialog, rng: random.Random
    ) -> Iterator[tuple[DialogueWindow, int]]:
        frame = self.frame
        persona = frame.persona_size(dialog.persona)
        sizes = [turn.size(frame) for turn in dialog.turns]
        replies = [i for i, turn in enumerate(dialog.turns) if i and turn.speaker == AGENT and turn.target]
        if not replies:
            return
        if self.layout == "utterance":
            for reply in replies:
                keep = reply if self.max_history is None else 2 * self.max_history + 1
                first = max(0, reply - keep)
                while (
                    first < reply and persona + sum(sizes[first : reply + 1]) + frame.tail > self.n_positions
                ):
                    first += 1
                length = (persona + sum(sizes[first : reply + 1]) + frame.tail) * (self.n_distractors + 1)
                if first < reply:  # what it answers fits beside it
                    yield DialogueWindow(index, first, reply + 1, reply), length
            return
        begin = 0
        if rng.random() < self.random_start and len(sizes) > 3:
            begin = rng.randrange(replies[-1])  # at least the last reply is left, with what it answers
        for start, stop, first_target in cut(sizes, persona, self.n_positions, begin, frame.tail):
            # a reply that begins a window answers nothing there
            told = [i for i in replies if max(first_target, start + 1) <= i < stop]
            if told or self.targets == "all":
                branches = len(told) * self._branch
                if self._rated[index]:
                    branches = sum(len(ids) + 1 for i in told for ids in dialog.turns[i].distractors)
                yield (
                    DialogueWindow(index, start, stop, first_target),
                    persona + sum(sizes[start:stop]) + branches,
                )

    # -- one micro-batch ---------------------------------------------------------------------------

    def _collate(self, epoch: int, windows: Sequence[DialogueWindow]) -> Batch:
        rows: list[segments.TokenSequence] = []
        groups: list[int] = []
        rated: list[bool] = []
        for window in windows:
            rng = random.Random(f"row {self.seed} {epoch} {window.dialog} {window.start} {window.stop}")
            dialog = self.corpus[window.dialog]
            persona = list(dialog.persona)
            if self.permute:
                rng.shuffle(persona)
            turns: list[EncodedTurn] = []
            place = self.frame.persona_size(persona)
            for i in range(window.start, window.stop):
                turn = dialog.turns[i]
                if i >= max(window.first_target, window.start + 1) and turn.speaker == AGENT:
                    # what opens a distractor and its end have a position too
                    room = self.n_positions - place - self.frame.around_reply
                    turn = self._with_distractors(window, dialog, i, room, rng)
                turns.append(turn)
                place += turn.size(self.frame)
            if self.layout == "utterance":
                rows += utterance_sequences(self.frame, persona, turns[:-1], turns[-1])
                groups.append(1 + len(turns[-1].distractors))
                rated += [bool(self._rated[window.dialog])] * groups[-1]
            else:
                rated.append(bool(self._rated[window.dialog]))
                rows.append(
                    dialogue_tree(
                        self.frame,
                        persona,
                        turns,
                        targets=self.targets,
                        first_target=window.first_target - window.start,
                    )
                )
        frame = self.frame
        return collate(rows, frame.pad_id, groups=groups, rated=rated, end_id=frame.end_id)

    def _with_distractors(
        self, window: DialogueWindow, dialog: EncodedDialog, index: int, room: int, rng: random.Random
    ) -> EncodedTurn:
        """Turn `index` with its distractors: none is the reply itself, none is longer than `room`.

        They are the corpus's own where it brings them, and else whole replies of other dialogues of the same
        file: from another source they could be told by their style, without a look at what they answer.
        A file too small for that gives shortened ones and the same dialogue's, and at last fewer.
        Where right and wrong replies are compared, the wrong ones are the corpus's own.
        """
        turn = dialog.turns[index]
        gold = list(turn.ids)
        longest = min(self.n_positions // 4, room)
        if self._rated[window.dialog]:
            fitting = [ids for ids in turn.distractors if len(ids) <= room and list(ids) != gold]
            return EncodedTurn(turn.speaker, turn.ids, fitting, turn.target, turn.added)
        own = [list(ids) for ids in turn.distractors]
        rng.shuffle(own)
        elsewhere: list[list[int]] = []
        if self.hard:
            elsewhere = [list(t.ids) for i, t in enumerate(dialog.turns) if i != index and t.ids]
        drawn: list[list[int]] = []
        first, last = int(self._first[window.dialog]), int(self._last[window.dialog])
        # none to draw where the file's every reply encodes to nothing
        tries = patience = 32 + 8 * self.n_distractors if first < last else 0
        while len(drawn) < self.n_distractors and (own or tries):
            if own:
                ids = own.pop()
            elif elsewhere and rng.random() < self.hard:
                tries -= 1
                ids = rng.choice(elsewhere)
            else:
                tries -= 1
                number = rng.randrange(first, last)
                ids = self.corpus.unit(int(self._units[number]))
                unfit = self._owners[number] == window.dialog or len(ids) > longest
                if unfit and tries > patience // 2:
                    continue
            if ids[:longest] != gold and ids != gold:
                drawn.append(ids[:longest])
        return EncodedTurn(turn.speaker, turn.ids, drawn, turn.target, turn.added)


def cut(
    sizes: Sequence[int], persona: int, n_positions: int, begin: int = 0, tail: int = 1
) -> Iterator[tuple[int, int, int]]:
    """Windows `(start, stop, first_target)` that hold every turn once as a target, each within the positions.

    `sizes`: tokens a turn, what is around it counted; `persona`: tokens before the first turn; `tail`: tokens
    behind the last one. The first
    window begins at turn `begin`; a later one repeats up to a third of its room as context, and the turn
    that its first target answers wherever both fit. A turn too long for any window is left out.
    """
    room = n_positions - persona - tail
    start = target = begin
    while target < len(sizes):
        if sizes[target] > room:
            start = target = target + 1
            continue
        used = sum(sizes[start:target])
        while used + sizes[target] > room:
            used -= sizes[start]
            start += 1
        stop = target
        while stop < len(sizes) and used + sizes[stop] <= room:
            used += sizes[stop]
            stop += 1
        yield start, stop, target
        target, start = stop, stop - 1
        context = sizes[start]
        while start > begin and context + sizes[start - 1] <= room // 3:
            start -= 1
            context += sizes[start]
