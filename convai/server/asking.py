"""What a client may ask about conversations: lists, earlier messages, the input of a reply, suggestions."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from typing import Final

from convai.conversation.conversation import Place
from convai.conversation.drawing import Drawing
from convai.conversation.explain import input_rows, reply_rows
from convai.conversation.prompt_input import prompt_input
from convai.conversation.suggestions import Suggesting
from convai.core.dialog import AGENT
from convai.engine import Overloaded
from convai.server.convert import (
    account_of,
    bounded,
    called_of,
    candidates_of,
    decoding_of,
    drawn_of,
    message_of,
    summary_of,
    turns_of,
)
from convai.server.limiter import RETRY, Busy
from convai.server.logs import log_failure
from convai.server.operations import Refused
from convai.server.protocol import client, newest_that_fit
from convai.server.protocol.answers import Accepted, Conversations, Earlier, Inspected
from convai.server.protocol.changes import Suggestions
from convai.server.protocol.values import InputRow, Suggestion
from convai.server.room import Room
from convai.server.service import Service
from convai.store import Conflict

_ROUNDS: Final = 4
"""Draws of suggestions until enough of them are distinct."""


async def conversations(service: Service, owner: str, event: client.ListConversations) -> Conversations:
    """A part of the list of conversations. Raises NotFound."""
    page = await service.in_thread(
        service.store.find, owner, search=event.search, after=event.after, limit=event.limit
    )
    items = tuple(summary_of(kept) for kept in page.items)
    return Conversations(request=event.request, items=items, more=page.more)


async def history(room: Room, event: client.History) -> Earlier:
    """Messages before the one that is named. Raises NotFound."""
    service = room.service
    path, earlier = await service.in_thread(
        service.store.branch, room.owner, room.id, until=event.before, limit=event.limit + 1
    )
    messages = [message_of(kept) for kept in path[:-1]]
    fit = newest_that_fit(messages, service.limits)
    left = earlier + len(messages) - fit
    return Earlier(request=event.request, messages=tuple(messages[len(messages) - fit :]), more=left > 0)


async def inspect(room: Room, event: client.Inspect) -> Inspected:
    """The exact input of a reply, token by token. Raises NotFound, Refused for a user's message."""
    if room.writing is not None and room.writing.id == event.message:
        raise Conflict("this reply is being written; ask again when it is whole")
    path = await room.branch(event.message)
    above, target = path.above(), path.messages[-1]
    if target.speaker != AGENT:
        raise Refused("only a reply has an input to look at")
    service = room.service

    def explain() -> Inspected:
        agent = service.agent
        conversation = service.store.load(room.owner, room.id)
        personas = service.store.personas(room.owner, room.id)
        own = decoding_of(conversation, agent.decoding)
        drawn = drawn_of(target.details, agent.decoding, agent.tokenizer.vocab_size)
        scene = service.scene(room.owner, conversation, target.persona)
        turns = turns_of(above.messages, service.store.scenes.known(room.id).group)
        for number, text in drawn.read.items() if drawn else ():
            if -len(turns) <= number < 0:
                turns[number] = replace(turns[number], text=text)
        place = Place.after(turns, earlier=above.earlier).onward(drawn.prefill if drawn else "")
        called = called_of(target.details) or (() if drawn else None)
        source = prompt_input(
            agent,
            scene.persona(personas.get(target.persona, conversation.persona), agent),
            scene.seen(place),
            AGENT,
            max_history=drawn.max_history if drawn else agent.max_history,
            max_length=(drawn.decoding if drawn else own).max_length,
            additions=scene.additions(place, agent, called),
        )
        tokenizer = agent.tokenizer
        ids = list(drawn.ids) if drawn else tokenizer.encode(target.text)
        tokens = drawn.tokens if drawn else ()
        rows = input_rows(tokenizer, source)
        rows += reply_rows(tokenizer, source, ids, tokens, drawn.end if drawn else None)
        first = len(source.prompt)
        others = {first + i: token.alternatives for i, token in enumerate(tokens)}
        shown = tuple(
            InputRow(
                id=row.id,
                text=row.text,
                position=row.position,
                segment=row.segment,
                part=row.part,
                item=row.item,
                logprob=None if row.logprob is None else bounded(row.logprob, 0.0),
                alternatives=others.get(number, ()),
            )
            for number, row in enumerate(rows)
        )
        candidates, chosen = candidates_of(target.details)
        return Inspected(
            request=event.request,
            message=target.id,
            rows=shown[: service.limits.rows],
            candidates=candidates,
            chosen=chosen,
            left_out=source.left_out,
            settings=service.settings(drawn.decoding) if drawn else None,
            **account_of(source.account()),
        )

    return await service.in_thread(explain)


async def suggest(room: Room, event: client.Suggest) -> Accepted:
    """Begin to draw lines that the user might say; a change tells them. A reply never waits for it.

    Raises Conflict while a reply is being written, and Busy while others wait for theirs.
    """
    service = room.service
    service.check_open()
    async with room.lock:
        if room.writing is not None:
            raise Conflict("a reply is being written; ask for suggestions behind it")
        if service.engine.stats().waiting:
            raise Busy("queue", RETRY)
        room.stop_suggesting()
        path = await room.branch()

        def prepare() -> Suggesting:
            conversation = service.store.load(room.owner, room.id)
            decoding = decoding_of(conversation, service.agent.decoding)
            turns = turns_of(path.messages, service.store.scenes.known(room.id).group)
            return Suggesting(
                service.agent,
                conversation.persona,
                Place.after(turns, earlier=path.earlier).onward(event.hint),
                decoding,
                seed=secrets.randbits(32) if decoding.seed is None else decoding.seed,
                max_history=service.agent.max_history,
                count=event.count,
                rounds=_ROUNDS,
                scene=service.scene(room.owner, conversation),
            )

        suggesting = await service.in_thread(prepare)
        task = _suggest(room, suggesting, path.leaf)
        room.suggesting = asyncio.create_task(task, name="convai-suggestions")
    return Accepted(request=event.request)


async def _suggest(room: Room, suggesting: Suggesting, message: str | None) -> None:
    try:
        async for _ in Drawing(suggesting, room.ask).adraw():
            pass
    except (Busy, Overloaded):
        pass  # those that are there will do: whoever waits for a reply comes first
    except Exception as error:
        log_failure("suggestions broke off", error)
        return
    lines = tuple(
        Suggestion(text=text[: room.service.limits.message_chars], score=bounded(score))
        for text, score in suggesting.lines()
    )
    room.suggesting = None
    room.emit(Suggestions(message=message, lines=lines))
