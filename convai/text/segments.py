"""THE prompt builder: persona + history + reply → token ids, position ids, segment ids, labels.

Training, evaluation, terminal, web and API all build their input here, from ids and never from text, so
what anybody typed cannot become a control token. What stands around the words is the model's frame
(convai.text.frames). In the blog post's (figure "Summing three types of inputs embeddings"):

    ids        <bos> i like tea . <speaker1> hi there <speaker2> hello you   <eos>
    positions  0     1 2    3   4 5          6  7     8          9     10    11
    segments   s2    s2 s2  s2 s2 s1         s1 s1    s2         s2    s2    s2

and in a chat template's (⏎ is a line end, → the end of a turn and a line end):

    ids        <|im_start|>system⏎ i like tea → <|im_start|>user⏎ hi there → <|im_start|>assistant⏎ hello →
    segments   s2 ...                           s1 ...                       s2 ...

A token's segment is its speaker's. The persona is the agent's, so it carries the agent's.

Two layouts hold the same examples:

- one utterance a sequence (`utterance_sequences`), as in the blog post: the reference;
- one dialogue a sequence (`dialogue_tree`): the trunk is persona and turns. Every distractor, with its own
  end, is a branch that starts where the reply's words do. A branch sees the trunk up to that point and
  itself, and its positions continue from there, so a history is computed once for all the replies that follow
  it. The gold reply's end is in the trunk where the frame closes turns, and else a leaf (the history carries
  no <eos>).

The label of a token is the token to predict after it. The first word of a reply is predicted from the last
token that opens its turn, which in the tree belongs to the trunk and is shared with the distractors.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Final, Literal

from convai.core.dialog import AGENT
from convai.text.frames import Frame

IGNORE: Final = -100
"""Label of a token whose successor is not a target."""

TRUNK: Final = 0
"""Branch number of the tokens that everything later may see."""

NOBODY: Final = -1
"""Turn of the tokens that nobody says: the control tokens."""

Targets = Literal["agent", "all"]


@dataclass(frozen=True, slots=True)
class EncodedTurn:
    """A turn's words as ids, and those of its distractors; whether it is learnt and measured.

    `added`: lines that nobody says, each a block of its own before the turn (in frames that have blocks).
    """

    speaker: int
    ids: Seq[int]
    distractors: Seq[Seq[int]] = ()
    target: bool = True
    added: Seq[Seq[int]] = ()

    def size(self, frame: Frame) -> int:
        """Tokens of the turn, all that is around it and before it counted."""
        around = len(frame.before_persona) + len(frame.after_persona)
        before = sum(len(ids) + around for ids in self.added) if self.added else 0
        return frame.turn_size(self.speaker, len(self.ids)) + before


@dataclass(frozen=True, slots=True)
class EncodedDialog:
    """The agent's persona, a list of ids a sentence, and the turns."""

    persona: Seq[Seq[int]]
    turns: Seq[EncodedTurn]


@dataclass(slots=True)
class Prompt:
    """What somebody goes on from: parallel lists, one entry a token, all before it seen by each.

    `turn[i]`: the turn that word i is said in, counted from 1; 0 in the persona, NOBODY for control tokens.
    `opened`: turns that have begun, that of who is to speak included; `segment`: that speaker's.
    """

    ids: list[int]
    positions: list[int]
    segments: list[int]
    turn: list[int]
    opened: int = 0
    segment: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def say(self, ids: Seq[int]) -> None:
        """Append words of the turn that is open."""
        start = len(self)
        self.ids.extend(ids)
        self.positions.extend(range(start, start + len(ids)))
        self.segments.extend([self.segment] * len(ids))
        self.turn.extend([self.opened] * len(ids))


@dataclass(slots=True)
class TokenSequence:
    """Parallel lists, one entry a token, and the places of the next-sentence choices.

    `branch[i]` is TRUNK or the number of the branch that token i belongs to; `limit[i]` is the last trunk
    place it may see. Token i attends to the trunk places ≤ limit[i] and to the places ≤ i of its branch.
    `choices` holds, for each reply, the places of the ends of its candidates, the gold one last; `spans`,
    alike, the first place and the end of each candidate's words. `turn[i]`: the turn that word i is said in,
    or that it is a candidate for, counted from 1; 0 in the persona, NOBODY for control tokens. `opened`:
    turns that have begun, one to come included; `segment`: that of the speaker whose turn began last.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    limit: list[int] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    spans: list[list[tuple[int, int]]] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    opened: int = 0
    segment: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_causal(self) -> bool:
        """True when there are no branches: plain causal attention does."""
        return not any(self.branch)

    def extend(self, ids: Seq[int], segment: int, turn: int = NOBODY) -> None:
        """Append trunk tokens of one segment, unlabelled: words of `turn`, or control tokens."""
        start, n = len(self.ids), len(ids)
        places = range(start, start + n)
        self.ids.extend(ids)
        self.positions.extend(places)
        self.segments.extend([segment] * n)
        self.labels.extend([IGNORE] * n)
        self.branch.extend([TRUNK] * n)
        self.limit.extend(places)
        self.turn.extend([turn] * n)

    def open_turn(self, frame: Frame, speaker: int, *, behind_persona: bool) -> None:
        """Append what opens a turn; `behind_persona`: it is the first one, with a persona before it."""
        self.segment = frame.segments[speaker]
        self.opened += 1
        self.extend(frame.opening(speaker, behind_persona=behind_persona), self.segment)

    def say(self, ids: Seq[int]) -> None:
        """Append words of the turn that was opened last."""
        self.extend(ids, self.segment, self.opened)

    def add_lines(self, frame: Frame, lines: Seq[Seq[int]]) -> None:
        """Append lines that nobody says, each a block of its own."""
        segment = frame.segments[AGENT]
        for ids in lines:
            self.extend(frame.before_persona, segment)
            self.extend(ids, segment, 0)
            self.extend(frame.after_persona, segment)

    def grow(self, ids: Seq[int], segment: int, *, after: int, branch: int, turn: int) -> int:
        """Append a branch that leaves the trunk after place `after`; return the place of its last token.

        That one is the end; the words before it are a candidate for turn `turn`.
        """
        n = len(ids)
        self.ids.extend(ids)
        self.positions.extend(range(self.positions[after] + 1, self.positions[after] + 1 + n))
        self.segments.extend([segment] * n)
        self.labels.extend([IGNORE] * n)
        self.branch.extend([branch] * n)
        self.limit.extend([after] * n)
        self.turn.extend([turn] * (n - 1) + [NOBODY])
        return len(self.ids) - 1

    def label_from(self, place: int, following: Seq[int]) -> None:
        """Make the tokens from `place` on predict `following`, one each."""
        self.labels[place : place + len(following)] = following


def _begin(frame: Frame, persona: Seq[Seq[int]], first: int) -> TokenSequence:
    """The persona, before a turn of `first`."""
    sequence = TokenSequence()
    segment = frame.segments[AGENT]
    before, behind = frame.around_persona(bool(persona), first)
    sequence.extend(before, segment)
    for number, sentence in enumerate(persona):
        if number:
            sequence.extend(frame.separator, segment)
        sequence.extend(sentence, segment, 0)
    sequence.extend(behind, segment)
    return sequence


def build_prefix(
    frame: Frame, persona: Seq[Seq[int]], turns: Seq[EncodedTurn], coming: int = AGENT
) -> TokenSequence:
    """Everything that has been said, unlabelled; `coming` is who speaks next."""
    sequence = _begin(frame, persona, turns[0].speaker if turns else coming)
    for index, turn in enumerate(turns):
        sequence.add_lines(frame, turn.added)
        sequence.open_turn(frame, turn.speaker, behind_persona=bool(persona) and not index)
        sequence.say(turn.ids)
        sequence.extend(frame.closings[turn.speaker], sequence.segment)
    return sequence


def build_prompt(
    frame: Frame, persona: Seq[Seq[int]], turns: Seq[EncodedTurn], speaker: int = AGENT
) -> Prompt:
    """The prefix and what opens the turn of `speaker`, who begins to talk."""
    sequence = build_prefix(frame, persona, turns, speaker)
    sequence.open_turn(frame, speaker, behind_persona=bool(persona) and not turns)
    return Prompt(
        sequence.ids,
        sequence.positions,
        sequence.segments,
        sequence.turn,
        sequence.opened,
        sequence.segment,
    )


def complete(prompt: Prompt, ids: Seq[int], end_id: int) -> TokenSequence:
    """`prompt` (a turn is open at its end) with a reply and its end behind it, as one candidate."""
    start, n = len(prompt), len(ids)
    whole = TokenSequence(
        list(prompt.ids),
        list(prompt.positions),
        list(prompt.segments),
        labels=[IGNORE] * start,
        branch=[TRUNK] * start,
        limit=list(range(start)),
        turn=list(prompt.turn),
        opened=prompt.opened,
        segment=prompt.segment,
    )
    whole.say(ids)
    whole.extend([end_id], whole.segment)
    whole.choices, whole.spans = [[start + n]], [[(start, start + n)]]
    return whole


def utterance_sequences(
    frame: Frame, persona: Seq[Seq[int]], history: Seq[EncodedTurn], reply: EncodedTurn
) -> list[TokenSequence]:
    """The blog post's layout: a sequence for every candidate of `reply`, the gold one last and labelled."""
    prompt = build_prompt(frame, persona, history, reply.speaker)
    sequences = [complete(prompt, ids, frame.end_id) for ids in (*reply.distractors, reply.ids)]
    sequences[-1].label_from(len(prompt) - 1, [*reply.ids, frame.end_id])
    return sequences


@dataclass(frozen=True, slots=True)
class _Choice:
    """A reply in the trunk that has distractors.

    `turn`: its number; `before`: the place before its first word; `last`: of its end, or of its last word.
    """

    turn: int
    before: int
    last: int
    reply: EncodedTurn


def dialogue_tree(
    frame: Frame,
    persona: Seq[Seq[int]],
    turns: Seq[EncodedTurn],
    *,
    targets: Targets = "agent",
    first_target: int = 0,
    choices: bool = True,
) -> TokenSequence:
    """A whole dialogue as one sequence: the trunk first, then the branches.

    `targets`: whose replies are language-model targets; `first_target`: turns before this index are
    context only (a window into a longer dialogue). A turn with nothing before it is a target only with
    `targets="all"`. With `choices`, every agent target that brings distractors gets its next-sentence
    branches: one a distractor, and the gold reply's end as a leaf where the trunk does not hold it.
    """
    sequence = _begin(frame, persona, turns[0].speaker if turns else AGENT)
    asked: list[_Choice] = []
    for index, turn in enumerate(turns):
        sequence.add_lines(frame, turn.added)
        sequence.open_turn(frame, turn.speaker, behind_persona=bool(persona) and not index)
        before = len(sequence) - 1
        sequence.say(turn.ids)
        last = len(sequence) - 1 + frame.closes_replies
        sequence.extend(frame.closings[turn.speaker], sequence.segment)
        is_reply = turn.speaker == AGENT and index > 0 and turn.target
        if index >= first_target and (is_reply or (targets == "all" and turn.target)):
            sequence.label_from(before, [*turn.ids, frame.end_id])
            if choices and is_reply and turn.distractors:
                asked.append(_Choice(sequence.opened, before, last, turn))
    _branch_off(sequence, asked, frame)
    return sequence


def _branch_off(sequence: TokenSequence, asked: Seq[_Choice], frame: Frame) -> None:
    """The candidates of every choice, behind the trunk."""
    agent, end = frame.segments[AGENT], frame.end_id
    branch = TRUNK
    for choice in asked:
        places, spans = [], []
        for ids in choice.reply.distractors:
            branch += 1
            place = sequence.grow([*ids, end], agent, after=choice.before, branch=branch, turn=choice.turn)
            places.append(place)
            spans.append((place - len(ids), place))
        first = choice.before + 1
        spans.append((first, first + len(choice.reply.ids)))
        if frame.closes_replies:
            places.append(choice.last)
        else:
            branch += 1
            places.append(sequence.grow([end], agent, after=choice.last, branch=branch, turn=choice.turn))
        sequence.choices.append(places)
        sequence.spans.append(spans)
