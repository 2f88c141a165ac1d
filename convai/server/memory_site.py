"""`/api/memory`: what a person has told, listed, written, corrected and forgotten over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, jsonify, request

from convai.conversation.memory.memory import Memory
from convai.server.api_error import ApiError
from convai.server.memory import as_json
from convai.server.service import Service


def add_memory(site: Flask, service: Service, drop_person: Callable[[str], None]) -> None:
    """Give the site its routes. Each is about the person whose token came with the request."""

    def memory() -> Memory:
        if request.method != "GET":
            service.check_open()
        return service.remembering.memory

    def body() -> dict[str, Any]:
        given = request.get_json(silent=True)
        if not isinstance(given, dict):
            raise ApiError(400, 'the body is no JSON object; send {"text": "i live in lima."}')
        return given

    def text() -> object:
        given = body()
        if given.keys() != {"text"}:
            raise ApiError(400, 'send {"text": "..."} and nothing else', param="text")
        return given["text"]

    @site.get("/api/memory")
    def facts() -> Response:
        history = request.args.get("history", "") in ("1", "true")
        found = memory().facts(g.owner, history=history)
        return jsonify(enabled=memory().enabled(g.owner), facts=[as_json(fact) for fact in found])

    @site.post("/api/memory")
    def remember() -> tuple[Response, int]:
        learnt = memory().add(g.owner, text(), "text")
        return jsonify(
            kept=[as_json(fact) for fact in learnt.kept], replaced=[as_json(fact) for fact in learnt.replaced]
        ), 201

    @site.patch("/api/memory")
    def switch() -> Response:
        on = body().get("enabled")
        if not isinstance(on, bool) or len(body()) != 1:
            raise ApiError(400, 'send {"enabled": true} or {"enabled": false}', param="enabled")
        memory().enable(g.owner, on)
        return jsonify(enabled=on)

    @site.delete("/api/memory")
    def forget_all() -> Response:
        return jsonify(forgotten=memory().forget_all(g.owner))

    @site.patch("/api/memory/<id>")
    def edit(id: str) -> Response:
        return jsonify(as_json(memory().edit(g.owner, id, text(), "text")))

    @site.delete("/api/memory/<id>")
    def forget(id: str) -> Response:
        return jsonify(as_json(memory().forget(g.owner, id)))

    @site.post("/api/memory/<id>/restore")
    def restore(id: str) -> Response:
        return jsonify(as_json(memory().bring_back(g.owner, id)))

    @site.delete("/api/person")
    def delete_person() -> Response:
        service.check_open()
        drop_person(g.owner)
        return jsonify(deleted=True)
