"""The JSON of completions as OpenAI's API defines it, for chats and for texts: whole answers and chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import convai
from convai.engine import Token

_LOWEST = -9999.0
"""What stands for a log-probability of minus infinity, which JSON cannot say."""


@dataclass(slots=True)
class Choice:
    """One choice as it was told."""

    text: str = ""
    reason: str | None = None
    tokens: list[Token] = field(default_factory=list)
    """Those whose log-probabilities are told too."""


class Objects(Protocol):
    """How a completion is told."""

    id: str

    def opening(self, index: int) -> dict[str, Any] | None:
        """The chunk before a choice's first text, if any."""

    def chunk(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        """A chunk of a stream: some text of a choice, with a `reason` its end."""

    def last_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """The chunk that tells the usage."""

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        """The whole answer."""


class _Framed:
    """What every object of one completion begins with."""

    def __init__(self, model: str, prefix: str, *, logprobs: bool, usage: bool) -> None:
        """`logprobs`, `usage`: whether they were asked for."""
        self._model = model
        self.id = f"{prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._logprobs, self._usage = logprobs, usage

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": f"convai-{convai.__version__}",
            "choices": choices,
        }

    def _chunk(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._frame(kind, [choice]), **({"usage": None} if self._usage else {})}


class ChatObjects(_Framed):
    """`chat.completion` and its chunks."""

    def __init__(self, model: str, *, logprobs: bool, usage: bool) -> None:
        super().__init__(model, "chatcmpl", logprobs=logprobs, usage=usage)

    def opening(self, index: int) -> dict[str, Any] | None:
        """Who speaks."""
        return self._delta(index, {"role": "assistant", "content": ""}, None, None)

    def chunk(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        """`chat.completion.chunk`."""
        logprobs = _chat_logprobs(tokens) if self._logprobs and tokens else None
        return self._delta(index, {"content": text} if text else {}, logprobs, reason)

    def last_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """A chunk without a choice."""
        return {**self._frame("chat.completion.chunk", []), "usage": usage}

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        """`chat.completion`."""
        objects = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": _chat_logprobs(choice.tokens) if self._logprobs else None,
                "finish_reason": choice.reason or "stop",
            }
            for index, choice in enumerate(choices)
        ]
        return {**self._frame("chat.completion", objects), "usage": usage}

    def _delta(
        self, index: int, delta: dict[str, Any], logprobs: dict[str, Any] | None, reason: str | None
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._chunk("chat.completion.chunk", choice)


class TextObjects(_Framed):
    """`text_completion`, whole and in chunks; `echo` is told before each choice."""

    def __init__(self, model: str, *, echo: str, logprobs: bool, usage: bool) -> None:
        super().__init__(model, "cmpl", logprobs=logprobs, usage=usage)
        self._echo = echo
        self._told: dict[int, int] = {}
        """Choice → characters told before its next token."""

    def opening(self, index: int) -> dict[str, Any] | None:
        """The prompt, where it is to be told again."""
        return self._text(index, self._echo, None, None) if self._echo else None

    def chunk(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        """A piece of the text."""
        logprobs = None
        if self._logprobs and tokens:
            begun = self._told.get(index, len(self._echo))
            logprobs = _text_logprobs(tokens, begun)
            self._told[index] = begun + sum(len(token.text) for token in tokens)
        return self._text(index, text, logprobs, reason)

    def last_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """A chunk without a choice."""
        return {**self._frame("text_completion", []), "usage": usage}

    def whole(self, choices: Sequence[Choice], usage: dict[str, int]) -> dict[str, Any]:
        """All texts."""
        objects = [
            {
                "index": index,
                "text": self._echo + choice.text,
                "logprobs": _text_logprobs(choice.tokens, len(self._echo)) if self._logprobs else None,
                "finish_reason": choice.reason or "stop",
            }
            for index, choice in enumerate(choices)
        ]
        return {**self._frame("text_completion", objects), "usage": usage}

    def _text(
        self, index: int, text: str, logprobs: dict[str, Any] | None, reason: str | None
    ) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return self._chunk("text_completion", choice)


def _chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    def one(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": max(logprob, _LOWEST), "bytes": list(text.encode())}

    content = [
        {**one(token.text, token.logprob), "top_logprobs": [one(*other) for other in token.alternatives]}
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _text_logprobs(tokens: Sequence[Token], begun: int) -> dict[str, Any]:
    """`begun`: characters before the first of the tokens."""
    offsets = []
    for token in tokens:
        offsets.append(begun)
        begun += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [max(token.logprob, _LOWEST) for token in tokens],
        "top_logprobs": [
            {text: max(logprob, _LOWEST) for text, logprob in token.alternatives} for token in tokens
        ],
        "text_offset": offsets,
    }
