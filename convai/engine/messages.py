"""What is said to an engine and what it answers: plain data, which can be pickled, or sent as JSON.

A reply is asked for by a `Request` and comes as events, `Token`s and a `Finished` for every candidate.
`ModelLimits`, `Stats` and `Health` tell of the engine itself; `Failure` is an error on its way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.engine.errors import EngineClosed, EngineError, EngineLost, NotANumber, Overloaded
from convai.text.segments import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What an engine's model takes: `positions` of a prompt and its reply, ids below `vocabulary`.

    `slots`: replies that are computed side by side; `name`: the model's; `adapters`: names of others that a
    request may ask for.
    """

    positions: int
    vocabulary: int
    slots: int
    name: str = ""
    adapters: tuple[str, ...] = ()

    def has(self, adapter: str) -> bool:
        """Whether a request may ask for it; the empty name is the model itself."""
        return adapter in ("", self.name) or adapter in self.adapters

    def check_adapter(self, adapter: str) -> None:
        """Raise SettingsError where a request may not ask for it."""
        if not self.has(adapter):
            there = ", ".join(self.adapters)
            raise SettingsError(
                f"adapter={adapter[:100]!r}: the engine of {self.name!r} has no such model; "
                + (f"there is {there}" if there else "give it some with --adapters DIR")
            )


@dataclass(frozen=True, slots=True)
class Begun:
    """What candidate `candidate` has come to elsewhere: `ids` of its reply, and their summed `logprob`.

    `over`: it is complete, and is not drawn again.
    """

    candidate: int
    ids: tuple[int, ...] = ()
    logprob: float = 0.0
    over: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A reply to be drawn: the prompt (it ends with a speaker token), how, and what not to say again.

    `own_turns`: ids of what this speaker said before and is not to say again (`no_repeat_own_ngram`);
    `alternatives`: how many of the most probable tokens every Token event names; `deadline`: seconds
    after which the reply ends as it is (None: the engine's own); `first_candidate`: the number of the
    first of its candidates, each of which has draws of its own (three of them from 2 on are candidates 2,
    3 and 4 of five). A prompt that ends with the user's speaker token asks what the user might say.
    `begun`: candidates that another engine has drawn the beginning of, to be gone on with as if nothing
    had happened; no events of what is there already come.
    `session`: whoever asks with the same one is served by the same engine, where there are several; `trace`:
    what a log calls it. `stops`: texts each of which ends a reply, and is part of it; one that begins with a
    line end also where the reply begins (beam search goes on beyond them). Raises SettingsError for a number
    below 0, and for a beginning of what there is not.
    """

    prompt: Prompt
    config: DecodingConfig = field(default_factory=DecodingConfig)
    own_turns: Sequence[Sequence[int]] = ()
    alternatives: int = 0
    deadline: float | None = None
    first_candidate: int = 0
    begun: tuple[Begun, ...] = ()
    session: str = ""
    trace: str = ""
    stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("alternatives", "first_candidate"):
            if (value := getattr(self, name)) < 0:
                raise SettingsError(f"{name}={value}: use 0 or more")
        if self.deadline is not None and not self.deadline >= 0:
            raise SettingsError(f"deadline={self.deadline}: use a number of seconds, 0 or more")
        if self.begun:
            if self.config.num_beams > 1:
                raise SettingsError("begun: a beam search has no beginning to go on from; leave it out")
            candidates = range(self.first_candidate, self.first_candidate + self.config.candidates)
            for begun in self.begun:
                if begun.candidate not in candidates:
                    raise SettingsError(f"begun: there is no candidate {begun.candidate} in this request")

    @property
    def width(self) -> int:
        """Sequences that are computed side by side for it: candidates that are not over, or beams."""
        if self.config.num_beams > 1:
            return self.config.num_beams
        return max(self.config.candidates - sum(begun.over for begun in self.begun), 1)

    def room(self, n_positions: int) -> int:
        """Most tokens of a reply.

        Raises SettingsError when the prompt is empty, or leaves no position for one.
        """
        length = len(self.prompt)
        room = n_positions - length - 1  # the <eos> has a position too
        if room < 1:
            raise SettingsError(
                f"the prompt has {length} tokens, the model {n_positions} positions: no room for a reply; "
                "shorten the persona or the history"
            )
        if not length:
            raise SettingsError("the prompt is empty; use convai.text.segments.build_prompt")
        return min(self.config.max_length, room)


Reason = Literal["stop", "length", "deadline"]


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a reply took, in seconds since its request came, and how much of its prompt was known.

    `queued`: until its computation began; `first_token`: until its first token was drawn; `total`: until it
    was complete. not-a-number stands for what never came to be.
    """

    queued: float = math.nan
    first_token: float = math.nan
    total: float = math.nan
    tokens: int = 0
    """Tokens drawn, the <eos> counted where it was."""
    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Tokens of the prompt that were in the cache already."""


@dataclass(frozen=True, slots=True)
class Token:
    """One more token of candidate `candidate`, as it is drawn.

    `text` is what it adds to the reply: empty while a character is incomplete. `logprob` is the natural
    log of the probability that the model itself gave it, before temperature and the rest.
    `alternatives` are the most probable tokens at this place as (text, logprob), best first, among those
    that a reply may hold; the end of the reply has no text.
    """

    candidate: int
    id: int
    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """Candidate `candidate` is complete.

    `ids` without the <eos>; `text` is the whole reply: the texts of its Token events, and behind them what
    a decoder held back to the end. `logprob` is summed over the ids, and over the <eos> where the model
    drew it; `score` is the next-sentence head's (a logit: higher is a better reply to this history; minus
    infinity for a reply that was never begun).
    `reason`: "stop" when the model ended the reply, "length" when max_length or the model's positions did,
    "deadline" when its time was over.
    """

    candidate: int
    ids: tuple[int, ...]
    text: str
    logprob: float
    score: float
    reason: Reason
    timings: Timings = field(default=Timings(), compare=False)


Event = Token | Finished


@dataclass(slots=True)
class Counters:
    """Since the engine was made. Every request that was `submitted` is in one of the four after it, waits, or
    runs; a `refused` one was not submitted.
    """

    submitted: int = 0
    finished: int = 0
    expired: int = 0
    """Ended by their deadline."""
    cancelled: int = 0
    failed: int = 0
    refused: int = 0
    steps: int = 0
    tokens_drawn: int = 0
    tokens_computed: int = 0
    """Tokens that went through the model: prompts, replies, and ends of replies."""
    tokens_reused: int = 0
    """Tokens of prompts that were in the cache already."""
    not_a_number: int = 0
    """Requests whose output was not a finite number."""
    loads: int = 0
    """Adapters that were loaded because somebody asked for them."""
    evictions: int = 0
    """Adapters that were given up for others."""


@dataclass(slots=True)
class Stats(Counters):
    """The counters at one moment, and what there is at that moment."""

    waiting: int = 0
    running: int = 0
    slots: int = 0
    slots_in_use: int = 0
    slots_resting: int = 0
    """Slots that keep a conversation's tokens for its next turn."""
    cache_bytes: int = 0
    loaded: int = 0
    """Adapters that are in memory."""


@dataclass(frozen=True, slots=True)
class Health:
    """`ok`; `poisoned`: the model's output was not a number at least once, its weights are damaged; `closed`;
    `lost`: an engine elsewhere cannot be reached; `draining`: it ends what it has begun, and begins nothing.

    `detail` is a line to read.
    """

    status: Literal["ok", "poisoned", "closed", "lost", "draining"]
    detail: str = ""


Kind = Literal["overloaded", "closed", "lost", "not_a_number", "settings", "engine"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a request. `retry_after`: seconds after which there may be room in the queue."""

    kind: Kind
    text: str
    retry_after: float = 0.0

    @classmethod
    def of(cls, error: ConvaiError) -> Failure:
        """The message for an error."""
        for kind, known in _KINDS.items():
            if isinstance(error, known):
                return cls(kind, str(error), getattr(error, "retry_after", 0.0))
        return cls("engine", str(error))

    def error(self) -> ConvaiError:
        """The error again."""
        made = _KINDS[self.kind].__new__(_KINDS[self.kind])
        ConvaiError.__init__(made, self.text)
        if isinstance(made, Overloaded):
            made.retry_after = self.retry_after
        return made


_KINDS: Final[dict[Kind, type[ConvaiError]]] = {
    "overloaded": Overloaded,
    "closed": EngineClosed,
    "lost": EngineLost,
    "not_a_number": NotANumber,
    "settings": SettingsError,
    "engine": EngineError,
}

Message = ModelLimits | Request | Token | Finished | Stats | Health | Failure
"""Everything that goes to an engine or comes from one."""
_TYPES: Final[dict[str, type[Message]]] = {
    kind.__name__.lower(): kind for kind in (ModelLimits, Request, Token, Finished, Stats, Health, Failure)
}


def to_json(message: Message) -> dict[str, Any]:
    """A message as a JSON object with its `type`. A number that JSON has not is a text, as "-inf" is."""
    values = _spelt(msgspec.to_builtins(message))
    return {"type": type(message).__name__.lower(), **values}


def from_json(value: dict[str, Any]) -> Message:
    """The message again. Raises EngineError for anything that `to_json` would not give."""
    values = dict(value)
    kind = _TYPES.get(str(values.pop("type", None)))
    if kind is None:
        raise EngineError(
            f"there is no message of the type {value.get('type')!r}; update convai on both sides"
        )
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise EngineError(f"{kind.__name__.lower()}: {error}; update convai on both sides") from None


def _spelt(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _spelt(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(one) for one in value]
    return value
