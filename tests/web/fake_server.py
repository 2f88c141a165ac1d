"""The sockets, routes and life of a World: one ASGI app under uvicorn, in a thread of this process."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import uvicorn
from a2wsgi import WSGIMiddleware
from flask import Flask, Response, jsonify, request
from msgspec.structs import replace

from convai.core.resources import web_package
from convai.server.protocol import Limits, ProtocolError, Receiver, ReplayBuffer, encode, error_event
from convai.server.protocol import client as c
from convai.server.protocol.answers import (
    Accepted,
    Conversations,
    Facts,
    Inspected,
    Overloaded,
    Pong,
    Ready,
)
from convai.server.protocol.changes import (
    DecodingSet,
    Deleted,
    FinishedReply,
    Marks,
    PersonaSet,
    SceneSet,
    Started,
    Stopped,
    Suggestions,
    TitleSet,
    TokenDrawn,
)
from convai.server.protocol.values import (
    Account,
    Added,
    BookCard,
    CharacterCard,
    MemoryFact,
    Message,
    PersonaCard,
    Scene,
    Suggestion,
)
from tests.web.world import (
    SAMPLE,
    Conversation,
    World,
    candidates_of,
    links_of,
    mood_of,
    reply_tokens,
    rows_of,
)

ASGI = Callable[..., Awaitable[Any]]


class Door:
    """One socket."""

    def __init__(self, world: World, receive: ASGI, send: ASGI) -> None:
        self.world, self._receive, self._send = world, receive, send
        self.receiver = Receiver(world.limits)
        self.out: asyncio.Queue[str] = asyncio.Queue()
        self.open: Conversation | None = None

    async def serve(self) -> None:
        await self._receive()
        await self._send({"type": "websocket.accept"})
        writer = asyncio.create_task(self._write())
        try:
            while True:
                frame = await self._receive()
                if frame["type"] == "websocket.disconnect":
                    return
                if not await self._take(frame["text"]):
                    return
        finally:
            writer.cancel()
            self._leave()

    async def _write(self) -> None:
        while True:
            text = await self.out.get()
            await self._send({"type": "websocket.send", "text": text})

    async def _take(self, text: str) -> bool:
        """False when the socket was closed."""
        try:
            event = self.receiver.receive(text)
            if isinstance(event, c.Hello):
                return await self._hello(event)
            done = self.world.answered.get(event.request)
            if done is not None and not isinstance(event, c.Open):
                if self.open is None and done.get("conversation"):
                    self._enter(self.world.conversations[done["conversation"]])
                self._say(Accepted(request=event.request, again=True, **done))
            else:
                await self._do(event)
        except ProtocolError as error:
            error.request = error.request or json.loads(text).get("request")
            self._say(error_event(error))
        return True

    async def _hello(self, hello: c.Hello) -> bool:
        if self.world.token is not None and hello.token != self.world.token:
            refusal = error_event(ProtocolError("unauthorized", "the token is missing or wrong"))
            await self._send({"type": "websocket.send", "text": encode(refusal)})
            await self._send({"type": "websocket.close", "code": 1008, "reason": "unauthorized"})
            return False
        frames = None
        there = hello.resume and self.world.conversations.get(hello.resume.conversation)
        if there and there.buffer is not None and hello.resume:
            frames = there.buffer.resume(hello.resume)
        self._say(
            Ready(
                version=1,
                server="convai test",
                model="scripted",
                resumed=frames is not None,
                limits=limits_of(self.world.limits),
                settings=self.world.settings(),
            )
        )
        if there and frames is not None:
            self.open = there
            there.readers.add(self.out)
            for frame in frames:
                self.out.put_nowait(frame.text)
        elif there:
            self._enter(there)
        elif hello.resume:
            self._say(error_event(ProtocolError("not_found", "there is no such conversation")))
        return True

    def _say(self, event: Any) -> None:
        self.out.put_nowait(encode(event))

    def _enter(self, conversation: Conversation) -> None:
        self._leave()
        self.open = conversation
        if conversation.buffer is None:
            conversation.buffer = ReplayBuffer(self.world.new_id("s"))
        conversation.readers.add(self.out)
        self._say(conversation.state())

    def _leave(self) -> None:
        if self.open is None:
            return
        self.open.readers.discard(self.out)
        if not self.open.readers and self.open.writing:
            self._stop(self.open, "left")
        self.open = None

    def _ok(self, request: str, **fields: Any) -> None:
        self.world.answered[request] = fields
        self._say(Accepted(request=request, **fields))

    async def _do(self, event: Any) -> None:
        world, there = self.world, self.open
        match event:
            case c.Ping():
                return self._say(Pong(request=event.request))
            case c.New():
                settings = {**world.settings(), **(event.settings or {})}
                made = Conversation(world.new_id("c"), event.persona or SAMPLE, settings, event.title)
                world.conversations[made.id] = made
                made.scene = Scene(user=event.user, note=event.note)
                if event.character is not None:
                    self._become(made, event.character)
                    self._greet(made, event.greeting or 0)
                self._ok(event.request, conversation=made.id)
                return self._enter(made)
            case c.Open():
                found = self._conversation(event.conversation)
                self._ok(event.request, conversation=found.id)
                return self._enter(found)
            case c.ListConversations():
                listed = [one.summary() for one in reversed(world.conversations.values())]
                words = event.search.lower()
                items = tuple(one for one in listed if words in f"{one.title} {one.preview}".lower())
                return self._say(Conversations(request=event.request, items=items[: event.limit]))
            case c.Delete():
                gone = self._conversation(event.conversation)
                del world.conversations[gone.id]
                self._ok(event.request)
                if gone.buffer is not None:
                    gone.tell(Deleted())
                return
        if isinstance(event, c.MemoryRequest):
            return self._remember(event)
        if there is None:
            raise ProtocolError("order", "no conversation is open")
        self._inside(event, there)

    def _remember(self, event: Any) -> None:
        match event:
            case c.ListFacts():
                found = [fact for fact in self.world.facts if event.history or fact.instead is None]
                items = tuple(reversed(found))[: event.limit]
                self._say(Facts(request=event.request, items=items, enabled=self.world.remembers))
            case c.Remember():
                fact = MemoryFact(id=self.world.new_id("f"), text=event.text, time=1_767_225_600_000)
                self.world.facts.append(fact)
                self._ok(event.request)
            case c.EditFact():
                self.world.facts = [
                    replace(fact, text=event.text) if fact.id == event.fact else fact
                    for fact in self.world.facts
                ]
                self._ok(event.request)
            case c.Forget():
                kept = [fact for fact in self.world.facts if event.fact not in (None, fact.id)]
                self.world.facts = kept
                self._ok(event.request)
            case c.RestoreFact():
                self.world.facts = [
                    replace(fact, instead=None) if fact.id == event.fact else fact
                    for fact in self.world.facts
                ]
                self._ok(event.request)
            case c.SetMemory():
                self.world.remembers = event.enabled
                self._ok(event.request)

    def _conversation(self, id: str) -> Conversation:
        if id not in self.world.conversations:
            raise ProtocolError("not_found", "there is no such conversation")
        return self.world.conversations[id]

    def _inside(self, event: Any, there: Conversation) -> None:
        world = self.world
        if there.writing and not isinstance(event, c.Stop | c.SetPersona | c.SetDecoding | c.SetTitle):
            raise ProtocolError("conflict", "a reply is being written")
        match event:
            case c.Send():
                world.sends.append(event.request)
                if world.overloaded:
                    world.overloaded -= 1
                    return self._say(Overloaded(reason="queue", retry=0.05, request=event.request))
                self._say_and_reply(event, there, there.leaf)
            case c.Edit():
                self._say_and_reply(event, there, there.tree[event.message].parent)
            case c.Regenerate():
                named = there.tree[event.message or there.leaf or ""]
                self._ok(event.request)
                said = named.id if named.role == "user" else named.parent or ""
                self._reply(there, said, event.request, begun=event.begun)
            case c.Continue():
                self._ok(event.request)
                self._reply(there, "", event.request, event.message or there.leaf)
            case c.Stop():
                self._ok(event.request)
                self._stop(there, "client")
            case c.Switch():
                self._ok(event.request)
                leaf = there.latest_under(event.message)
                there.tell(there.path_to(leaf, there.tree[event.message].parent))
            case c.Undo():
                users = [one for one in there.branch(there.leaf) if one.role == "user"]
                if not users:
                    raise ProtocolError("refused", "there is nothing to undo")
                self._ok(event.request)
                there.tell(there.path_to(users[-1].parent, users[-1].parent))
            case c.Suggest():
                self._ok(event.request)
                texts = ["What are their names?", "I have a cat.", "Tell me more!"][: event.count]
                texts = [f"{event.hint} {text}" for text in texts] if event.hint else texts
                lines = tuple(Suggestion(text=text, score=3.0 - i) for i, text in enumerate(texts))
                there.tell(Suggestions(message=there.leaf, lines=lines))
            case c.SetPersona():
                there.persona = event.persona
                self._ok(event.request)
                there.tell(PersonaSet(persona=event.persona))
            case c.SetScene():
                given = {"user": event.user, "note": event.note}
                there.scene = replace(there.scene, **{k: v for k, v in given.items() if v is not None})
                if event.character is not None:
                    self._become(there, event.character)
                if event.books is not None:
                    books = tuple(replace(world.books[id], id=None) for id in event.books)
                    there.scene = replace(there.scene, books=books)
                self._ok(event.request)
                there.tell(SceneSet(scene=there.scene))
            case c.Greet():
                self._ok(event.request)
                self._greet(there, event.greeting)
                there.tell(there.path_to(there.leaf, None))
            case c.SetDecoding():
                there.settings.update(event.settings)
                self._ok(event.request)
                there.tell(DecodingSet(settings=dict(there.settings)))
            case c.SetTitle():
                there.title = event.title
                self._ok(event.request)
                there.tell(TitleSet(title=event.title))
            case c.Inspect():
                reply = there.tree[event.message]
                rows = tuple(rows_of(there, reply))
                self._say(
                    Inspected(
                        request=event.request,
                        message=reply.id,
                        rows=rows,
                        candidates=reply.candidates,
                        chosen=reply.chosen,
                        settings=there.settings,
                        left_out=2,
                        account=Account(
                            positions=1024,
                            tokens={"persona": 40, "lore": 30, "history": 100},
                            reply=41,
                            free=813,
                        ),
                        added=(
                            Added(kind="lore", text="The mill burnt down.", depth=2, why="mill"),
                            Added(kind="lore", text="The <b>miller</b> left.", why="miller", missing=True),
                        ),
                    )
                )

    def _become(self, there: Conversation, id: str) -> None:
        character = self.world.characters[id]
        there.persona = PersonaCard(name=character.name, sentences=("i bake.",))
        there.scene = replace(there.scene, character=replace(character, id=None))

    def _greet(self, there: Conversation, number: int) -> None:
        assert there.scene.character is not None
        text = there.scene.character.greetings[number]
        said = Message(id=self.world.new_id("m"), role="agent", text=text, time=1)
        there.tree[said.id] = said
        there.leaf = said.id

    def _say_and_reply(self, event: Any, there: Conversation, parent: str | None) -> None:
        said = Message(
            id=self.world.new_id("m"),
            parent=parent,
            role="user",
            text=event.text,
            time=1,
            request=event.request,
        )
        there.tree[said.id] = said
        self._ok(event.request, message=said.id)
        there.tell(there.path_to(said.id, parent))
        self._reply(there, said.id, event.request)

    def _reply(
        self, there: Conversation, parent: str, request: str, going_on: str | None = None, begun: str = ""
    ) -> None:
        if going_on:
            reply = replace(there.tree[going_on], status="streaming")
        else:
            id = self.world.new_id("m")
            reply = Message(
                id=id, parent=parent, role="agent", text=begun, status="streaming", time=2, request=request
            )
        there.tree[reply.id] = reply
        there.leaf = reply.id
        there.tell(Started(message=there.shown(reply)))
        there.writing = asyncio.create_task(self._stream(there, reply.id))

    async def _stream(self, there: Conversation, id: str) -> None:
        said = there.tree[there.tree[id].parent or ""].text
        whole = reply_tokens(said)
        done = there.tree[id].text
        for number, token in enumerate(whole):
            if len("".join(whole[: number + 1])) <= len(done):
                continue
            if number >= 3:
                await self.world.gate.passed()
            self.world.tokens_computed += 1
            there.tree[id] = replace(there.tree[id], text=there.tree[id].text + token)
            alternatives = ((token, -0.3), (" perhaps", -1.9))
            there.tell(TokenDrawn(message=id, text=token, logprob=-0.3, alternatives=alternatives))
            await asyncio.sleep(0)
        count = int(there.settings["candidates"])
        text = there.tree[id].text
        reply = replace(there.tree[id], status="complete")
        if count > 1:
            reply = replace(reply, candidates=candidates_of(text, count), chosen=0)
        there.tree[id] = reply
        there.writing = None
        there.tell(FinishedReply(message=there.shown(reply), reason="stop"))
        if self.world.reads:
            for one in there.branch(id)[-2:]:
                there.tell(Marks(message=one.id, kind="emotion", data=mood_of(one.text)))
            there.tell(Marks(message=id, kind="coref", data=links_of(there.branch(id))))

    def _stop(self, there: Conversation, by: Any) -> None:
        if there.writing is None:
            return
        there.writing.cancel()
        there.writing = None
        id = there.leaf or ""
        there.tree[id] = replace(there.tree[id], status="interrupted")
        there.tell(Stopped(id=id, by=by, message=there.shown(there.tree[id])))


def limits_of(limits: Limits) -> dict[str, int]:
    return {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


def flask_app(server: FakeServer) -> Flask:
    """The page, and the two routes that belong to a server with a store."""
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(web_package().create_blueprint())

    @app.get("/api/conversations/<id>/export")
    def export(id: str) -> Response:
        there = server.world.conversations[id]
        texts = [message.text for message in there.branch(there.leaf)]
        if request.args["format"] == "json":
            return jsonify(format="convai.conversation", version=1, messages=texts)
        return Response("\n".join(texts), mimetype="text/plain")

    @app.post("/api/conversations/import")
    def import_() -> tuple[Response, int]:
        world = server.world
        made = Conversation(world.new_id("c"), SAMPLE, world.settings())
        parent = None
        for i, text in enumerate(json.loads(request.get_data())["messages"]):
            role: Any = "agent" if i % 2 else "user"
            said = Message(id=world.new_id("m"), parent=parent, role=role, text=text, time=1)
            made.tree[said.id] = said
            made.leaf = parent = said.id
        world.conversations[made.id] = made
        return jsonify(conversation=made.id), 201

    @app.get("/api/<kind>")
    def kept(kind: str) -> Response:
        found: Any = {"characters": server.world.characters, "books": server.world.books}.get(
            kind, server.world.you
        )
        return jsonify({kind: [msgspec.to_builtins(one) for one in reversed(found.values())]})

    @app.post("/api/characters")
    def take_character() -> tuple[Response, int]:
        card = json.loads(request.get_data())
        id = server.world.new_id("k")
        greetings = (card["first_mes"], *card.get("alternate_greetings", ()))
        made = CharacterCard(id=id, name=card["name"], greetings=greetings, entries=2)
        server.world.characters[id] = made
        told = {**msgspec.to_builtins(made), "unused": ["tags"], "notes": []}
        return jsonify({**told, "creator_notes": card["creator_notes"]}), 201

    @app.post("/api/books")
    def take_book() -> tuple[Response, int]:
        book = json.loads(request.get_data())
        made = BookCard(id=server.world.new_id("b"), name=book["name"], entries=len(book["entries"]))
        server.world.books[made.id or ""] = made
        return jsonify(msgspec.to_builtins(made)), 201

    @app.post("/api/you")
    def take_you() -> tuple[Response, int]:
        made = {"id": server.world.new_id("y"), **request.get_json()}
        server.world.you[made["id"]] = made
        return jsonify(made), 201

    @app.delete("/api/<kind>/<id>")
    def drop(kind: str, id: str) -> Response:
        found: Any = {"characters": server.world.characters, "books": server.world.books}.get(
            kind, server.world.you
        )
        del found[id]
        return jsonify(deleted=id)

    return app


class FakeServer:
    """A server that shows a World, on a port of its own that stays the same after `kill` and `start`.

    Another `world` may be put in while nobody is connected.
    """

    def __init__(self) -> None:
        self.world = World()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._pages = WSGIMiddleware(flask_app(self))  # type: ignore[arg-type]  # its own idea of WSGI's types
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            with suppress(asyncio.CancelledError):
                await Door(self.world, receive, send).serve()
        elif scope["type"] == "http":
            await self._pages(scope, receive, send)

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        config = uvicorn.Config(
            self,
            port=self.port,
            log_level="critical",
            ws="websockets-sansio",
            lifespan="off",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the server did not start"

    def kill(self) -> None:
        """Break every connection off and be gone; what was being written stays as far as it was."""
        assert self._server is not None
        assert self._thread is not None
        self._server.force_exit = self._server.should_exit = True
        self._thread.join(120)
        assert not self._thread.is_alive(), "the server did not stop"
        self.world.restart()
