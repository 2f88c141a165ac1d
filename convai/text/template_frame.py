"""The frame that a model's chat template writes, as ids, compared with the template itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import CheckpointError
from convai.text.chat_files import ChatFiles
from convai.text.chat_template import SEPARATOR, ChatTemplate, TemplateError
from convai.text.frames import TEMPLATE, Frame, Ids
from convai.text.segments import EncodedTurn, build_prefix

_MEND: Final = "tune the base in the blog post's frame instead (convai train --frame blog)"

_SAMPLES: Final = (
    ("I keep bees.", ("Hi there!", "Hello, how are you?", "Fine. And you?", "2 of my hives are well.", "ok")),
    ("my name is Ada", ("what's your name", "ada", "Do you like tea?")),
)
"""Dialogues on which the pieces are compared with the whole. The user begins and ends them: there are
templates that write the last reply in another way than those before.
"""

Encode = Callable[[str], Sequence[int]]


def template_frame(
    chat: ChatFiles, *, encode_template: Encode, encode_text: Encode, control: frozenset[int], where: str
) -> Frame:
    """The frame of `chat`'s template.

    `encode_template` gives the ids of the template's own text, control tokens recognised, `encode_text` those
    of what people say, which are never in `control`.

    Raises CheckpointError, beginning with `where`, where the template does not come apart into the pieces of
    a frame, or where the pieces put together are not what it writes.
    """

    def ids(text: str) -> Ids:
        return tuple(encode_template(text))

    try:
        template = ChatTemplate(chat.template, chat.control)
        parts = template.parts()
        openings = (ids(parts.opens[USER]), ids(parts.opens[AGENT]))
        closings = (ids(parts.closes[USER]), ids(parts.closes[AGENT]))
        end = closings[AGENT][:1]
        if not control.issuperset(end) or not end:
            raise TemplateError("the chat template ends a reply without a control token")
        pad = ids(chat.control.get("pad_token", ""))
        frame = Frame(
            name=TEMPLATE,
            start=ids(parts.start),
            before_persona=ids(parts.before_persona),
            separator=tuple(encode_text(SEPARATOR)),
            after_persona=ids(parts.after_persona),
            openings=openings,
            closings=closings,
            end_id=end[0],
            stop_ids=tuple(sorted({*chat.stop_ids, end[0]})),
            segments=_roles(openings, end[0]),
            pad_id=pad[0] if len(pad) == 1 else end[0],
            in_first_turn=parts.in_first_turn,
        )
        for persona, said in _SAMPLES:
            turns = [Turn(number % 2, text) for number, text in enumerate(said)]
            encoded = [EncodedTurn(turn.speaker, encode_text(turn.text)) for turn in turns]
            if build_prefix(frame, [encode_text(persona)], encoded).ids != [
                *ids(template.render(persona, turns))
            ]:
                raise TemplateError("the chat template writes dialogues that its pieces do not add up to")
    except TemplateError as error:
        raise CheckpointError(f"{where}: {error}; {_MEND}") from None
    return frame


def _roles(openings: tuple[Ids, Ids], end_id: int) -> tuple[int, int]:
    """An id that tells the speakers apart: of what opens their turns, the first that differs (`user`)."""
    for user, agent in zip(*openings, strict=False):
        if user != agent:
            return user, agent
    return (*openings[USER], end_id)[0], end_id
