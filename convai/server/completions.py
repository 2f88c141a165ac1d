"""`POST /v1/chat/completions` and `/v1/completions`: JSON, or events; who leaves stops the computation.

ASGI routes of their own: behind a2wsgi a generator is not told when its client is gone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from typing import Final

from convai.conversation.prompt_input import longest_reply
from convai.conversation.reply import Reply
from convai.core.errors import ConvaiError, SettingsError
from convai.core.settings import DecodingConfig
from convai.engine import Overloaded
from convai.server.access import address_of
from convai.server.admission import admitted, answer_error, overloaded
from convai.server.api_error import ApiError
from convai.server.asgi import ClientGone, Receive, Scope, Send, answer_json, begin
from convai.server.completion_cast import Staged, staged
from convai.server.completion_drawing import Completion
from convai.server.completion_objects import ChatObjects, Choice, Objects, TextObjects
from convai.server.completion_request import (
    CompletionRequest,
    parse_chat,
    parse_text,
)
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.metrics import Outcome
from convai.server.service import Service

_DONE: Final = b"data: [DONE]\n\n"


async def completions(
    service: Service, scope: Scope, receive: Receive, send: Send, *, chat: bool = True
) -> None:
    """Answer one request: for a chat, or (`/v1/completions`) for a text to go on from."""
    try:
        owner, body = await admitted(service, scope, receive)
        parse = parse_chat if chat else parse_text
        request = parse(body, service.agent, service.engine.limits, service.limits)
        release = service.limiter.begin_reply(address_of(scope.get("client")))
        try:
            with service.work():
                objects = _objects(service, request, chat)
                cast = await service.in_thread(staged, service, owner, request)
                if cast.said:
                    await _send_greeting(objects, request, cast.said, send)
                else:
                    drawing = await _drawing(service, request, objects, cast)
                    await _answer(drawing, receive, send)
        finally:
            release()
    except Busy as busy:
        await answer_error(send, overloaded(service, busy))
    except SettingsError as error:  # the conversation does not fit into the model
        await answer_error(
            send,
            ApiError(400, str(error), param="messages" if chat else "prompt", code="context_length_exceeded"),
        )
    except ApiError as error:
        await answer_error(send, error)
    except ClientGone:
        pass


async def _send_greeting(objects: Objects, request: CompletionRequest, said: str, send: Send) -> None:
    """What the character says before anybody else does: nothing is drawn for it."""
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if not request.stream:
        await answer_json(send, objects.whole([Choice(said, "stop")], usage))
        return
    await begin(send, 200, "text/event-stream; charset=utf-8", [("x-accel-buffering", "no")])
    told = [objects.opening(0), objects.chunk(0, said, (), None), objects.chunk(0, "", (), "stop")]
    told += [objects.last_chunk(usage)] if request.usage else []
    body = b"".join(_data(one) for one in told if one is not None)
    await send({"type": "http.response.body", "body": body + _DONE, "more_body": False})


def _objects(service: Service, request: CompletionRequest, chat: bool) -> Objects:
    name, logprobs, usage = service.agent.name, request.logprobs, request.usage
    if chat:
        return ChatObjects(name, logprobs=logprobs, usage=usage)
    return TextObjects(name, echo=request.echo, logprobs=logprobs, usage=usage)


async def _drawing(
    service: Service, request: CompletionRequest, objects: Objects, cast: Staged
) -> Completion:
    """The reply, asked of the engine. Raises Busy, SettingsError."""
    place = cast.place
    seed = request.decoding.seed

    def reply(decoding: DecodingConfig) -> Reply:
        return Reply(
            service.agent,
            cast.persona,
            place,
            decoding,
            seed=secrets.randbits(32) if seed is None else seed,
            max_history=service.agent.max_history,
            alternatives=request.top_logprobs,
            hooks=service.hooks,
            scene=cast.scene,
        )

    def plan() -> Completion:
        decoding = request.decoding
        try:
            planned = reply(decoding)
        except SettingsError:
            # beside a long persona there may be room for a shorter reply than was asked for
            room = longest_reply(service.agent, cast.persona, place)
            if not 0 < room < decoding.max_length:
                raise
            shorter = replace(decoding, max_length=room, min_length=min(decoding.min_length, room))
            planned = reply(shorter)
        return Completion(service, request, planned, objects)

    drawing = await service.in_thread(plan)
    drawing.start()
    return drawing


async def _answer(drawing: Completion, receive: Receive, send: Send) -> None:
    """Draw and send, for as long as the client is there."""
    watch = asyncio.create_task(_watch(drawing, receive), name="convai-rest-client")
    outcome: Outcome = "failed"
    try:
        if drawing.request.stream:
            await _send_events(drawing, send)
        else:
            await _send_whole(drawing, send)
        outcome = "left" if drawing.left else "finished"
    except OSError:
        outcome = "left"  # it left while something was sent
    finally:
        drawing.close()
        watch.cancel()
        drawing.service.metrics.replies.labels("rest", outcome).inc()


async def _watch(drawing: Completion, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    drawing.leave()


async def _send_whole(drawing: Completion, send: Send) -> None:
    try:
        async for _ in drawing.pieces():
            pass
    except ConvaiError as error:
        raise _broken(error) from None
    if not drawing.left:
        await answer_json(send, drawing.whole())


async def _send_events(drawing: Completion, send: Send) -> None:
    await begin(send, 200, "text/event-stream; charset=utf-8", [("x-accel-buffering", "no")])
    objects = drawing.objects

    async def event(body: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": body, "more_body": more})

    for index in range(drawing.request.n):
        if (opening := objects.opening(index)) is not None:
            await event(_data(opening))
    try:
        async for piece in drawing.pieces():
            await event(_data(objects.chunk(piece.index, piece.text, piece.tokens, piece.reason)))
    except ConvaiError as error:
        await event(_data(_broken(error).body()), more=False)
        return
    if drawing.left:
        return
    if drawing.request.usage:
        await event(_data(objects.last_chunk(drawing.usage())))
    await event(_DONE, more=False)


def _broken(error: ConvaiError) -> ApiError:
    if isinstance(error, Busy):
        return ApiError(429, str(error), code="overloaded", retry=error.retry)
    if isinstance(error, Overloaded):
        return ApiError(429, str(error), code="overloaded", retry=error.retry_after)
    log_failure("a completion broke off", error)
    return ApiError(500, "the model could not go on")


def _data(value: object) -> bytes:
    return f"data: {json.dumps(value, allow_nan=False)}\n\n".encode()
