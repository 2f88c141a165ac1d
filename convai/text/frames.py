"""How a dialogue is written as ids: the blog post's frame, or a model's own chat template, taken apart.

A frame is ids alone. What people say is encoded apart and put between them (convai.text.segments), so no text
of a user ever passes through a template, and nothing that is typed can open or close a turn.

    blog      <bos> persona                                      <speaker1> hi            <speaker2> hello
    ChatML    <|im_start|>system ⏎ persona <|im_end|> ⏎ <|im_start|>user ⏎ hi <|im_end|> ⏎ <|im_start|>...
    Gemma     <bos><start_of_turn>user ⏎ persona ⏎⏎ hi <end_of_turn> ⏎  <start_of_turn>model ⏎ hello ...

In the blog's frame a turn has no end of its own, and the <eos> behind a reply is left out of the history. In
a template the end of a turn is part of the history, so a dialogue of many replies shows each reply's end
where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from convai.core.dialog import AGENT, USER

Ids = tuple[int, ...]

BLOG: Final = "blog"
TEMPLATE: Final = "template"
AUTO: Final = "auto"
"""A template where there is one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The ids around what is said. Pairs are the user's, then the agent's.

    `start` begins everything; a persona that is not empty stands between `before_persona` and
    `after_persona`, its sentences parted by `separator`. With `in_first_turn` there is no block of its own
    for it: it begins the user's first turn (`before_persona` opens that turn, `after_persona` parts persona
    and message). `end_id` is what a reply is taught to end with, `stop_ids` are all that end one when drawn.
    `segments`: the segment id of each speaker's tokens; the persona's are the agent's. `pad_id` fills rows.
    """

    name: str
    start: Ids
    before_persona: Ids
    separator: Ids
    after_persona: Ids
    openings: tuple[Ids, Ids]
    closings: tuple[Ids, Ids]
    end_id: int
    stop_ids: Ids
    segments: tuple[int, int]
    pad_id: int
    in_first_turn: bool = False

    @classmethod
    def blog(cls, *, bos_id: int, eos_id: int, speakers: tuple[int, int], pad_id: int) -> Frame:
        """`<bos> persona <speaker1> ... <speaker2> ... <eos>`."""
        user, agent = speakers
        return cls(
            name=BLOG,
            start=(bos_id,),
            before_persona=(),
            separator=(),
            after_persona=(),
            openings=((user,), (agent,)),
            closings=((), ()),
            end_id=eos_id,
            stop_ids=(eos_id,),
            segments=speakers,
            pad_id=pad_id,
        )

    # -- pieces

    def around_persona(self, persona: bool, first: int) -> tuple[Ids, Ids]:
        """What stands before and behind a persona, or its absence, if the first turn is `first`'s."""
        if not persona:
            return self.start, ()
        merged_away = (
            self.in_first_turn and first != USER
        )  # its turn is the user's, and nothing else is in it
        return (*self.start, *self.before_persona), self.closings[USER] if merged_away else self.after_persona

    def opening(self, speaker: int, *, behind_persona: bool = False) -> Ids:
        """What opens a turn; `behind_persona`: it is the first one, and there is a persona before it."""
        return () if behind_persona and self.in_first_turn and speaker == USER else self.openings[speaker]

    @property
    def closes_replies(self) -> bool:
        """Whether the end of a reply stands in the history too."""
        return self.closings[AGENT][:1] == (self.end_id,)

    @property
    def has_blocks(self) -> bool:
        """Whether what nobody says can have a block of its own, in the middle of a dialogue too."""
        return bool(self.before_persona and self.after_persona) and not self.in_first_turn

    # -- sizes

    def persona_size(self, persona: Sequence[Sequence[int]]) -> int:
        """Tokens before the first turn; where a persona begins that turn, what opens it is counted too."""
        if not persona:
            return len(self.start)
        before, behind = self.around_persona(True, USER)
        other = self.around_persona(True, AGENT)[1]
        said = sum(map(len, persona)) + len(self.separator) * (len(persona) - 1)
        return len(before) + said + max(len(behind), len(other))

    def turn_size(self, speaker: int, words: int) -> int:
        """Tokens of a turn of `words` tokens, all that is around them counted."""
        return len(self.openings[speaker]) + words + len(self.closings[speaker])

    @property
    def tail(self) -> int:
        """Tokens behind a dialogue that ends with a reply: its end, where turns have none of their own."""
        return int(not self.closes_replies)

    @property
    def around_reply(self) -> int:
        """Tokens of a reply that is drawn beside its words: what opens it, and its end."""
        return len(self.openings[AGENT]) + 1
