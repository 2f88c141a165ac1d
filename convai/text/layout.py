"""A prompt with all that features add to it: what fits, where it stands, and what each token is part of.

Without additions the ids are exactly those of `convai.text.segments.build_prompt`. An insertion at a depth is
a block of its own in a frame that has blocks (ChatML's system role), stands in front of the words of the
user's turn in a frame that has none (Gemma's), and in the blog post's frame, whose models know of nothing but
persona and turns, it is words of the persona.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from convai.core.dialog import AGENT, USER
from convai.text.frames import Frame
from convai.text.history import fit_history, room_for_turns
from convai.text.insertions import Insertion, dropped_by_importance
from convai.text.segments import EncodedTurn, Prompt, TokenSequence

PERSONA: Final = "persona"
HISTORY: Final = "history"
EXAMPLES: Final = "examples"
REPLY: Final = "reply"
_SHARE: Final = 4
"""Additions leave the turns at least this part of what the persona leaves."""

Added = tuple[Insertion, Sequence[int]]
"""An insertion and the ids of its text."""
Dialogue = Sequence[EncodedTurn]


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """Tokens one after another that are part of the same; `item` counts the sentences or turns of a part."""

    part: str
    item: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A prompt and what it is made of. `left_out`: turns, and `missing`: insertions, that did not fit.

    `turns` and `examples` are those that are in it; `insertions`, likewise, in the order in which they were
    given; an `item` of a span counts those of its kind.
    """

    prompt: Prompt
    spans: tuple[PromptSpan, ...]
    turns: Sequence[EncodedTurn]
    examples: Sequence[Dialogue]
    insertions: tuple[Insertion, ...]
    missing: tuple[Insertion, ...]
    examples_left_out: int

    def tokens(self) -> dict[str, int]:
        """Tokens of each part, the control tokens around it counted."""
        sizes: dict[str, int] = {}
        for span in self.spans:
            sizes[span.part] = sizes.get(span.part, 0) + span.size
        return sizes


@dataclass(slots=True)
class _Writer:
    """The prompt as it grows, and what its tokens are part of."""

    frame: Frame
    sequence: TokenSequence = field(default_factory=TokenSequence)
    spans: list[PromptSpan] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def part(self, part: str, item: int, before: int) -> None:
        """All tokens since `before` are part of this."""
        size = len(self.sequence) - before
        if self.spans and (self.spans[-1].part, self.spans[-1].item) == (part, item):
            self.spans[-1] = replace(self.spans[-1], size=self.spans[-1].size + size)
        elif size:
            self.spans.append(PromptSpan(part, item, size))

    def number(self, kind: str) -> int:
        """The number of the next insertion of a kind."""
        found = self.numbers.get(kind, 0)
        self.numbers[kind] = found + 1
        return found

    def head(self, pieces: Sequence[tuple[str, int, Sequence[int]]], first: int) -> None:
        """What stands before the first turn, which is `first`'s."""
        before, behind = self.frame.around_persona(bool(pieces), first)
        segment = self.frame.segments[AGENT]
        mark = len(self.sequence)
        self.sequence.extend(before, segment)
        for number, (part, item, ids) in enumerate(pieces):
            if number:
                self.sequence.extend(self.frame.separator, segment)
            self.sequence.extend(ids, segment, 0)
            self.part(part, item, mark)
            mark = len(self.sequence)
        self.sequence.extend(behind, segment)
        last = pieces[-1][:2] if pieces else (PERSONA, 0)
        self.part(*last, mark)

    def added(self, insertion: Insertion, ids: Sequence[int]) -> None:
        """An insertion between two turns, or inside of the one that is open."""
        frame, start, segment = self.frame, len(self.sequence), self.frame.segments[AGENT]
        speaker = _speaker(frame, insertion)
        if speaker is not None:
            segment = frame.segments[speaker]
            for part in (frame.openings[speaker], ids, frame.closings[speaker]):
                self.sequence.extend(part, segment, 0)
            self.part(insertion.kind, self.number(insertion.kind), start)
            return
        if frame.has_blocks:
            self.sequence.extend(frame.before_persona, segment)
        self.sequence.extend(ids, segment, 0)
        if frame.before_persona:
            self.sequence.extend(frame.after_persona, segment)
        self.part(insertion.kind, self.number(insertion.kind), start)


def lay_out(
    frame: Frame,
    persona: Sequence[Sequence[int]],
    turns: Sequence[EncodedTurn],
    added: Sequence[Added] = (),
    examples: Sequence[Dialogue] = (),
    *,
    speaker: int = AGENT,
    prefill: Sequence[int] = (),
    n_positions: int,
    reserve: int,
    in_steps: bool = False,
) -> Layout:
    """The prompt of a reply of `speaker`, who has said `prefill` already.

    What does not fit is left out: example dialogues first, then the less important insertions where they take
    more than three quarters of what the persona leaves, then the oldest turns (`fit_history`). Raises
    SettingsError where persona and last turn alone do not fit.
    """
    reserve += len(prefill)
    total = len(turns)
    places = [_place(frame, insertion, turns) for insertion, _ in added]
    wanted = [i for i, place in enumerate(places) if place != _GONE]
    sizes = [_size(frame, insertion, ids) for insertion, ids in added]
    # a turn that is cut takes with it what fades there
    goes = {i: p for i in wanted if added[i][0].fades and (p := places[i]) is not None and p < total - 1}
    fixed = [i for i in wanted if i not in goes]
    missing: set[int] = set()
    if fixed:
        room = room_for_turns(frame, persona, n_positions, reserve)
        last = frame.turn_size(turns[-1].speaker, len(turns[-1].ids)) if turns else 0
        most = max(room - max(room // _SHARE, last), 0)
        missing = {fixed[k] for k in dropped_by_importance([(added[i][0], sizes[i]) for i in fixed], most)}
    always = 0
    beside = [0] * total
    for i in fixed:
        if i in missing:
            continue
        if added[i][0].fades and places[i] == total - 1:  # it stays there: the cut must not move when it ages
            beside[-1] += sizes[i]
        else:
            always += sizes[i]
    for i, turn in goes.items():
        beside[turn] += sizes[i]
    kept = fit_history(
        frame,
        persona,
        turns,
        n_positions=n_positions,
        reserve=reserve,
        in_steps=in_steps,
        beside=beside,
        always=always,
    )
    cut = total - len(kept)
    shown = [i for i in wanted if i not in missing and (i not in goes or goes[i] >= cut)]
    shown = _said_once(added, shown) if not frame.before_persona else shown
    dialogues: Sequence[Dialogue] = ()
    if examples and not cut:
        room = room_for_turns(frame, persona, n_positions, reserve) - always - sum(beside)
        room -= sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in turns)
        dialogues = _fitting(frame, examples, room, whole=in_steps)
    writer = _Writer(frame)
    where: list[list[int]] = [[] for _ in range(len(kept) + 1)]
    ahead: list[int] = []
    behind: list[int] = []
    for i in shown:
        place = _settled(frame, places[i], cut, kept)
        if place is None:
            (ahead if added[i][0].ahead else behind).append(i)
        else:
            where[place].append(i)
    pieces = [(added[i][0].kind, writer.number(added[i][0].kind), added[i][1]) for i in ahead]
    pieces += [(PERSONA, number, ids) for number, ids in enumerate(persona)]
    pieces += [(added[i][0].kind, writer.number(added[i][0].kind), added[i][1]) for i in behind]
    _write(writer, pieces, dialogues, kept, [[added[i] for i in there] for there in where], speaker)
    sequence = writer.sequence
    prompt = Prompt(
        sequence.ids,
        sequence.positions,
        sequence.segments,
        sequence.turn,
        sequence.opened,
        sequence.segment,
    )
    prompt.say(prefill)
    if prefill:
        writer.spans[-1] = replace(writer.spans[-1], size=writer.spans[-1].size + len(prefill))
    return Layout(
        prompt,
        tuple(writer.spans),
        kept,
        dialogues,
        tuple(added[i][0] for i in shown),
        tuple(added[i][0] for i in sorted(missing)),
        len(examples) - len(dialogues),
    )


_GONE: Final = -1
"""The place of an insertion whose turn is not shown any more."""


def _place(frame: Frame, insertion: Insertion, turns: Sequence[EncodedTurn]) -> int | None:
    """The turn before which an insertion stands; the number of turns: behind the last; None: in the head."""
    if insertion.depth is None:
        return None
    place = len(turns) - insertion.depth
    if place < 0:
        return _GONE if insertion.fades else 0
    return place


def _settled(frame: Frame, place: int | None, cut: int, kept: Sequence[EncodedTurn]) -> int | None:
    """The place among the turns that were kept, where the frame has room for it; None: in the head."""
    if place is None or not frame.before_persona:
        return None
    place = max(place - cut, 0)
    if frame.has_blocks:
        return place
    asked = [number for number, turn in enumerate(kept[: place + 1]) if turn.speaker == USER]
    return asked[-1] if asked else None


def _speaker(frame: Frame, insertion: Insertion) -> int | None:
    """In whose words it stands; None: in nobody's."""
    if insertion.depth is None or insertion.role == "system" or not frame.has_blocks:
        return None
    return USER if insertion.role == "user" else AGENT


def _size(frame: Frame, insertion: Insertion, ids: Sequence[int]) -> int:
    """Tokens that an insertion takes at most, all that is around it counted."""
    speaker = _speaker(frame, insertion)
    if speaker is not None:
        return frame.turn_size(speaker, len(ids))
    if insertion.depth is None and not frame.in_first_turn:
        around = max(len(frame.separator), len(frame.before_persona) + len(frame.after_persona))
    else:
        around = len(frame.before_persona) + len(frame.after_persona)
    return len(ids) + around


def _said_once(added: Sequence[Added], shown: Sequence[int]) -> list[int]:
    """Without those whose text is said again later: in one block nothing needs to be said twice."""
    last = {added[i][0].text: i for i in shown}
    return [i for i in shown if last[added[i][0].text] == i]


def _fitting(frame: Frame, examples: Sequence[Dialogue], room: int, *, whole: bool) -> Sequence[Dialogue]:
    """The dialogues that fit `room`: the first goes first; `whole`: all go as soon as one has to."""
    sizes = [sum(frame.turn_size(turn.speaker, len(turn.ids)) for turn in one) for one in examples]
    if whole:
        return examples if sum(sizes) <= room else ()
    start = 0
    while start < len(examples) and sum(sizes[start:]) > room:
        start += 1
    return examples[start:]


def _write(
    writer: _Writer,
    pieces: Sequence[tuple[str, int, Sequence[int]]],
    dialogues: Sequence[Dialogue],
    turns: Sequence[EncodedTurn],
    where: Sequence[Sequence[Added]],
    speaker: int,
) -> None:
    frame, sequence = writer.frame, writer.sequence
    example = [turn for dialogue in dialogues for turn in dialogue]
    everything = [*example, *turns]
    writer.head(pieces, everything[0].speaker if everything else speaker)
    fresh = bool(pieces)  # nothing stands between the head and the next turn
    for number, turn in enumerate(example):
        _turn(writer, turn, EXAMPLES, number, (), fresh)
        fresh = False
    for number, turn in enumerate(turns):
        _turn(writer, turn, HISTORY, number, where[number], fresh)
        fresh = False
    if frame.has_blocks:
        for insertion, ids in where[-1]:
            writer.added(insertion, ids)
    start = len(sequence)
    sequence.open_turn(frame, speaker, behind_persona=fresh)
    writer.spans.append(PromptSpan(REPLY, 0, len(sequence) - start))


def _turn(
    writer: _Writer, turn: EncodedTurn, part: str, number: int, added: Sequence[Added], fresh: bool
) -> None:
    """One turn, and what stands before it or, without blocks, in front of its words."""
    frame, sequence = writer.frame, writer.sequence
    if frame.has_blocks:
        for insertion, ids in added:
            writer.added(insertion, ids)
    start = len(sequence)
    sequence.open_turn(frame, turn.speaker, behind_persona=fresh)
    if added and not frame.has_blocks:
        writer.part(part, number, start)
        for insertion, ids in added:
            writer.added(insertion, ids)
        start = len(sequence)
    sequence.say(turn.ids)
    sequence.extend(frame.closings[turn.speaker], sequence.segment)
    writer.part(part, number, start)
