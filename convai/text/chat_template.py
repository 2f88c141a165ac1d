"""A chat template taken apart: what it writes before and behind what each speaker says.

Templates are Jinja programs that come with a model. One is run on words that stand for a persona and for
turns, and what it writes between these words is read off; after that no template is needed any more. They run
in Jinja's sandbox, as in transformers (`utils/chat_template_utils.py`).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from convai.core.dialog import Turn

ROLES: Final = ("user", "assistant")
"""What templates call the speakers."""

SEPARATOR: Final = "\n"
"""Between two sentences of a persona."""

_PERSONA: Final = "zqpersonaqz"
_SAID: Final = tuple(f"zqturn{letter}qz" for letter in "abcdef")
_JOINT: Final = "\n\n"
"""Between the persona and the first message, where a template has no place for a system prompt."""
_TODAY: Final = datetime.date(2024, 7, 26)
"""The day of templates that name one: a prompt must not change at midnight."""


class TemplateError(Exception):
    """A template that cannot be taken apart; the message says why, without an end."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a template writes around what is said: texts, `opens` and `closes` for the user and the agent."""

    start: str
    before_persona: str
    after_persona: str
    opens: tuple[str, str]
    closes: tuple[str, str]
    in_first_turn: bool


class ChatTemplate:
    """A chat template and the control tokens that it may ask for (`bos_token` and the like)."""

    def __init__(self, source: str, control: Mapping[str, str]) -> None:
        """Raises TemplateError where `source` is no template."""
        self._control = dict(control)
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"the chat template is damaged ({_reason(error)})") from None
        self._has_system = self._knows_system()

    def render(self, persona: str, turns: Sequence[Turn], *, reply: bool = False) -> str:
        """The whole text of a dialogue; with `reply` the beginning of the agent's next turn too.

        Where the template has no place for a persona it goes in front of the first message. Raises
        TemplateError where the template refuses.
        """
        messages = [{"role": ROLES[turn.speaker], "content": turn.text} for turn in turns]
        if persona and self._has_system:
            messages.insert(0, {"role": "system", "content": persona})
        elif persona and messages:
            messages[0]["content"] = persona + _JOINT + messages[0]["content"]
        return self._run(messages, reply)

    def _run(self, messages: Sequence[Mapping[str, str]], reply: bool) -> str:
        try:
            return self._template.render(
                messages=list(messages),
                tools=None,
                documents=None,
                add_generation_prompt=reply,
                **self._control,
            )
        except Exception as error:  # a template is a program: whatever it raises, it is of no use
            raise TemplateError(f"the chat template refuses a dialogue ({_reason(error)})") from None

    def _knows_system(self) -> bool:
        messages = [
            {"role": "system", "content": _PERSONA},
            {"role": "user", "content": _SAID[0]},
            {"role": "assistant", "content": _SAID[1]},
        ]
        try:
            text = self._run(messages, False)
        except TemplateError:
            return False
        return 0 <= text.find(_PERSONA) < text.find(_SAID[0])

    def parts(self) -> Parts:
        """Take it apart. Raises TemplateError where it does not write turn behind turn, each said once."""
        turns = [Turn(number % 2, word) for number, word in enumerate(_SAID[:5])]
        text = self.render(_PERSONA, turns)
        before, joint, *between, behind = _between(text, [_PERSONA, *_SAID[:5]])
        user_closes = behind
        *_, agent_closes = _between(self.render(_PERSONA, turns[:4]), [_PERSONA, *_SAID[:4]])
        if not all(gap.startswith(user_closes) for gap in between[::2]):
            raise TemplateError("the chat template closes the user's turns in different ways")
        if not all(gap.startswith(agent_closes) for gap in between[1::2]):
            raise TemplateError("the chat template closes the agent's turns in different ways")
        opens_agent = {gap.removeprefix(user_closes) for gap in between[::2]}
        opens_user = {gap.removeprefix(agent_closes) for gap in between[1::2]}
        if len(opens_agent) > 1 or len(opens_user) > 1:
            raise TemplateError("the chat template opens turns in different ways")
        user, agent = opens_user.pop(), opens_agent.pop()
        bos = self._control.get("bos_token", "")
        start = bos if bos and before.startswith(bos) and not user.startswith(bos) else ""
        before = before.removeprefix(start)
        in_first_turn = before == user or not joint.endswith(user)
        if in_first_turn and before != user:
            raise TemplateError("the chat template has no place of its own for a persona")
        return Parts(
            start=start,
            before_persona=before,
            after_persona=joint if in_first_turn else joint.removesuffix(user),
            opens=(user, agent),
            closes=(user_closes, agent_closes),
            in_first_turn=in_first_turn,
        )


def _between(text: str, words: Sequence[str]) -> list[str]:
    """What stands before, between and behind `words`, each of which must occur once, in order."""
    gaps = []
    for word in words:
        gap, found, text = text.partition(word)
        if not found or word in text:
            raise TemplateError("the chat template does not write every turn once, one behind another")
        gaps.append(gap)
    return [*gaps, text]


def _reason(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`: what transformers marks as the agent's words. Here it is written as it stands."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node | list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """The environment that templates are written for: transformers' filters and globals."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _TODAY.strftime
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    # Jinja's own escapes what HTML would read
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
