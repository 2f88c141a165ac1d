"""THE prompt builder: persona + history + reply → word ids, position ids, segment ids, labels.

Training, evaluation, terminal, web and API all build their input here, from ids and never from text, so
what anybody typed cannot become a control token. The layout is the blog post's (figure "Summing three
types of inputs embeddings"):

    words      <bos> i like tea . <speaker1> hi there <speaker2> hello you   <eos>
    positions  0     1 2    3   4 5          6  7     8          9     10    11
    segments   s2    s2 s2  s2 s2 s1         s1 s1    s2         s2    s2    s2

A token's segment is its speaker's token id. The persona is the agent's, so it carries <speaker2>.

Two layouts hold the same examples:

- one utterance a sequence (`utterance_sequences`), as in the blog post: the reference;
- one dialogue a sequence (`dialogue_tree`): the trunk is persona and turns. After each agent reply its
  <eos> is a leaf (the history carries no <eos>), and every distractor, with its own <eos>, is a branch
  that starts after the reply's <speaker2>. A branch sees the trunk up to that point and itself, and its
  positions continue from there, so a history is computed once for all the replies that follow it.

The label of a token is the token to predict after it. The first word of a reply is predicted from its
<speaker2>, which in the tree belongs to the trunk and is shared with the distractors.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, fields
from typing import Final, Literal, Protocol

from convai.core.dialog import AGENT, USER
from convai.core.errors import SettingsError

IGNORE: Final = -100
"""Label of a token whose successor is not a target."""

TRUNK: Final = 0
"""Branch number of the tokens that everything later may see."""

NOBODY: Final = -1
"""Turn of the tokens that nobody says: the control tokens."""

Targets = Literal["agent", "all"]


class SpecialTokens(Protocol):
    """The control ids, as a tokenizer gives them."""

    @property
    def bos_id(self) -> int: ...
    @property
    def eos_id(self) -> int: ...
    def speaker_id(self, speaker: int) -> int: ...


@dataclass(frozen=True, slots=True)
class EncodedTurn:
    """A turn's words as ids, and those of its distractors."""

    speaker: int
    ids: Seq[int]
    distractors: Seq[Seq[int]] = ()


@dataclass(frozen=True, slots=True)
class EncodedDialog:
    """The agent's persona, a list of ids a sentence, and the turns."""

    persona: Seq[Seq[int]]
    turns: Seq[EncodedTurn]


@dataclass(slots=True)
class Sequence:
    """Parallel lists, one entry a token, and the places of the next-sentence choices.

    `branch[i]` is TRUNK or the number of the branch that token i belongs to; `limit[i]` is the last trunk
    place it may see. Token i attends to the trunk places ≤ limit[i] and to the places ≤ i of its branch.
    `choices` holds, for each reply, the places of the <eos> of its candidates, the gold one last; `spans`,
    alike, the first place and the end of each candidate's words. `turn[i]`: the turn that word i is said in,
    or that it is a candidate for, counted from 1; 0 in the persona, NOBODY for control tokens.
    """

    words: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    limit: list[int] = field(default_factory=list)
    choices: list[list[int]] = field(default_factory=list)
    spans: list[list[tuple[int, int]]] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def is_causal(self) -> bool:
        """True when there are no branches: plain causal attention does."""
        return not any(self.branch)

    def extend(self, words: Seq[int], segment: int, turn: Seq[int]) -> None:
        """Append trunk tokens of one segment, unlabelled."""
        start = len(self.words)
        places = range(start, start + len(words))
        self.words.extend(words)
        self.positions.extend(places)
        self.segments.extend([segment] * len(words))
        self.labels.extend([IGNORE] * len(words))
        self.branch.extend([TRUNK] * len(words))
        self.limit.extend(places)
        self.turn.extend(turn)

    def grow(self, words: Seq[int], segment: int, *, after: int, branch: int, turn: int) -> int:
        """Append a branch that leaves the trunk after place `after`; return the place of its last token.

        That one is the <eos>; the words before it are a candidate for turn `turn`.
        """
        n = len(words)
        self.words.extend(words)
        self.positions.extend(range(self.positions[after] + 1, self.positions[after] + 1 + n))
        self.segments.extend([segment] * n)
        self.labels.extend([IGNORE] * n)
        self.branch.extend([branch] * n)
        self.limit.extend([after] * n)
        self.turn.extend([turn] * (n - 1) + [NOBODY])
        return len(self.words) - 1

    def label_from(self, place: int, following: Seq[int]) -> None:
        """Make the tokens from `place` on predict `following`, one each."""
        self.labels[place : place + len(following)] = following


def build_prefix(special: SpecialTokens, persona: Seq[Seq[int]], turns: Seq[EncodedTurn]) -> Sequence:
    """`<bos> persona <speakerX> turn ...`: everything that has been said, unlabelled."""
    sequence = Sequence()
    agent = special.speaker_id(AGENT)
    sequence.extend([special.bos_id], agent, [NOBODY])
    for sentence in persona:
        sequence.extend(sentence, agent, [0] * len(sentence))
    for number, turn in enumerate(turns, 1):
        speaker = special.speaker_id(turn.speaker)
        sequence.extend([speaker, *turn.ids], speaker, [NOBODY, *[number] * len(turn.ids)])
    return sequence


def build_prompt(
    special: SpecialTokens, persona: Seq[Seq[int]], turns: Seq[EncodedTurn], speaker: int = AGENT
) -> Sequence:
    """The prefix and the speaker token after which `speaker` begins to talk."""
    sequence = build_prefix(special, persona, turns)
    token = special.speaker_id(speaker)
    sequence.extend([token], token, [NOBODY])
    return sequence


def complete(prompt: Sequence, words: Seq[int], eos_id: int) -> Sequence:
    """`prompt` (it ends with a speaker token) with a reply and its <eos> behind it, as one candidate."""
    whole = Sequence(**{f.name: list(getattr(prompt, f.name)) for f in fields(prompt)})
    start, n = len(whole), len(words)
    turn = prompt.turn.count(NOBODY) - 1  # <bos> and a token for every speaker, the one to come included
    whole.extend([*words, eos_id], prompt.segments[-1], [*[turn] * n, NOBODY])
    whole.choices, whole.spans = [[start + n]], [[(start, start + n)]]
    return whole


def utterance_sequences(
    special: SpecialTokens, persona: Seq[Seq[int]], history: Seq[EncodedTurn], reply: EncodedTurn
) -> list[Sequence]:
    """The blog post's layout: a sequence for every candidate of `reply`, the gold one last and labelled."""
    sequences = []
    for words, gold in [(d, False) for d in reply.distractors] + [(reply.ids, True)]:
        prompt = build_prompt(special, persona, history, reply.speaker)
        sequence = complete(prompt, words, special.eos_id)
        if gold:
            sequence.label_from(len(prompt) - 1, [*words, special.eos_id])
        sequences.append(sequence)
    return sequences


def dialogue_tree(
    special: SpecialTokens,
    persona: Seq[Seq[int]],
    turns: Seq[EncodedTurn],
    *,
    targets: Targets = "agent",
    first_target: int = 0,
    choices: bool = True,
) -> Sequence:
    """A whole dialogue as one sequence: the trunk first, then the branches.

    `targets`: whose replies are language-model targets; `first_target`: turns before this index are
    context only (a window into a longer dialogue). A turn with nothing before it is a target only with
    `targets="all"`. With `choices`, every agent target that brings distractors gets its next-sentence
    branches: one a distractor, and the gold reply's <eos> as a leaf.
    """
    sequence = build_prefix(special, persona, ())
    agent = special.speaker_id(AGENT)
    open_ends: list[tuple[int, int, int, EncodedTurn]] = []
    for index, turn in enumerate(turns):
        speaker = special.speaker_id(turn.speaker)
        start = len(sequence)
        sequence.extend([speaker, *turn.ids], speaker, [NOBODY, *[index + 1] * len(turn.ids)])
        is_reply = turn.speaker == AGENT and index > 0
        if index >= first_target and (is_reply or targets == "all"):
            sequence.label_from(start, [*turn.ids, special.eos_id])
            if choices and is_reply and turn.distractors:
                open_ends.append((index + 1, start, len(sequence) - 1, turn))
    branch = TRUNK
    for number, start, end, turn in open_ends:
        places, spans = [], []
        for words in turn.distractors:
            branch += 1
            ending = [*words, special.eos_id]
            places.append(sequence.grow(ending, agent, after=start, branch=branch, turn=number))
            spans.append((places[-1] - len(words), places[-1]))
        branch += 1
        places.append(sequence.grow([special.eos_id], agent, after=end, branch=branch, turn=number))
        sequence.choices.append(places)
        sequence.spans.append([*spans, (start + 1, end + 1)])
    return sequence


def fit_history(
    persona: Seq[Seq[int]], turns: Seq[EncodedTurn], *, n_positions: int, reserve: int
) -> Seq[EncodedTurn]:
    """The turns that fit: the oldest exchange goes first, the persona and the last turn never do.

    `reserve`: positions kept free for the reply, its speaker token and <eos> counted. Raises SettingsError
    when the persona and the last turn alone do not fit, naming the sentence that is too much.
    """
    room = n_positions - reserve - 1  # <bos>
    if room < 0:
        raise SettingsError(
            f"the model has {n_positions} positions and {reserve} are kept for the reply: "
            "nothing is left for the prompt; ask for a shorter reply"
        )
    for number, sentence in enumerate(persona, 1):
        room -= len(sentence)
        if room < 0:
            raise SettingsError(
                f"persona sentence {number} is too much: the model has {n_positions} positions, "
                f"{reserve} of them kept for the reply; shorten the persona"
            )
    size = sum(len(t.ids) + 1 for t in turns)
    start = 0
    while size > room and start < len(turns) - 1:
        size -= len(turns[start].ids) + 1
        start += 1
        # a history that begins with the agent's answer to nothing helps nobody: drop the whole exchange
        while start < len(turns) - 1 and turns[start].speaker != USER:
            size -= len(turns[start].ids) + 1
            start += 1
    if size > room:
        raise SettingsError(
            f"the last message is too long: {len(turns[-1].ids)} tokens, {max(room - 1, 0)} fit beside "
            f"the persona ({n_positions} positions, {reserve} kept for the reply); shorten it"
        )
    return turns[start:]
