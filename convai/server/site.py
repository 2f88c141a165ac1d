"""The plain routes, in Flask: `/v1/models`, `/healthz`, `/metrics`, conversations as files, and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from flask import Flask, Response, g, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST
from werkzeug.exceptions import HTTPException

from convai.conversation.memory.facts import Holds, MemoryFull, NoSuchFact
from convai.core import resources
from convai.core.errors import ConvaiError, DataError
from convai.server.access import address_of
from convai.server.admission import check_origin, owner_of
from convai.server.api_error import ApiError
from convai.server.characters_site import add_characters
from convai.server.health import ServerHealth
from convai.server.limiter import Busy
from convai.server.logs import log_failure
from convai.server.memory import NoMemory
from convai.server.memory_site import add_memory
from convai.server.routes import COMPLETIONS, TEXT_COMPLETIONS
from convai.server.service import Service
from convai.store import NotFound, RequestName

MOST_BODY: Final = 32 * 2**20
"""Bytes of a file that is imported."""
_FREE: Final = frozenset({"healthz"})
"""Endpoints that need no token; the page's own are free, too: they show nothing of anybody's."""

Ask = Callable[[Coroutine[Any, Any, ServerHealth]], ServerHealth]
"""Runs a coroutine in the server's event loop, from a thread of Flask's."""


def create_site(service: Service, ask: Ask, delete_person: Callable[[str], None]) -> Flask:
    """The WSGI application. Raises DataError where the installation has lost the page."""
    site = Flask("convai.server", static_folder=None)
    site.config["MAX_CONTENT_LENGTH"] = MOST_BODY
    created = int(time.time())

    @site.before_request
    def admit() -> None:
        origin, host = request.headers.get("Origin"), request.headers.get("Host")
        check_origin(service, origin, host, request.scheme)
        if request.method == "POST" and request.blueprint is not None:
            service.limiter.request(address_of((request.remote_addr or "", 0)))
        if request.endpoint in _FREE or request.blueprint is not None:
            return
        g.owner = owner_of(service, request.headers.get("Authorization"))
        service.limiter.request(address_of((request.remote_addr or "", 0)))

    def model(character: str = "", adapter: str = "") -> dict[str, Any]:
        name = f"{service.agent.name}/{character}" if character else adapter or service.agent.name
        return {"id": name, "object": "model", "created": created, "owned_by": "convai"}

    def characters() -> list[str]:
        """Names under which a person's characters may be asked for as models."""
        kept = service.store.scenes.kept(g.owner, "character")
        return list(dict.fromkeys(one.name for one in kept if one.name))

    def adapters() -> tuple[str, ...]:
        return service.engine.limits.adapters

    @site.get("/v1/models")
    def models() -> Response:
        return jsonify(
            object="list",
            data=[model(), *(model(adapter=one) for one in adapters()), *map(model, characters())],
        )

    @site.get("/v1/models/<path:name>")
    def one_model(name: str) -> Response:
        if name.startswith(f"{service.agent.name}/"):
            character = name.removeprefix(f"{service.agent.name}/")
            if character in characters():
                return jsonify(model(character))
        if name in adapters():
            return jsonify(model(adapter=name))
        if name != service.agent.name:
            raise ApiError(
                404, f"the model {name[:100]!r} is not here", param="model", code="model_not_found"
            )
        return jsonify(model())

    @site.get("/healthz")
    def healthz() -> tuple[Response, int]:
        health = ask(service.health.check())
        return jsonify(health._asdict()), 200 if health.status == "ok" else 503

    @site.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.text(), content_type=CONTENT_TYPE_LATEST)

    @site.get("/api/conversations/<id>/export")
    def export(id: str) -> Response:
        format = request.args.get("format", "json")
        if format not in ("json", "text"):
            raise ApiError(400, "format: use json or text", param="format")
        store = service.store
        if format == "text":
            body, media = store.export_text(g.owner, id), "text/plain; charset=utf-8"
        else:
            body, media = store.export_json(g.owner, id), "application/json"
        name = f"conversation.{'txt' if format == 'text' else 'json'}"
        return Response(
            body,
            mimetype=None,
            content_type=media,
            headers={"Content-Disposition": f"attachment; filename={name}"},
        )

    @site.post("/api/conversations/import")
    def import_conversation() -> tuple[Response, int]:
        service.check_open()
        try:
            text = request.get_data().decode("utf-8")
        except UnicodeDecodeError:
            raise ApiError(400, "the file is no text in UTF-8") from None
        plain = request.mimetype == "text/plain"
        take = service.store.import_text if plain else service.store.import_json
        name = request.args.get("request")
        asked = None if name is None else RequestName(name, within="import", what=text.encode())
        receipt = take(g.owner, text, "file", request=asked)
        return jsonify(conversation=receipt.conversation, again=receipt.again), 201

    add_memory(site, service, delete_person)
    add_characters(site, service)
    site.register_blueprint(resources.web_package().create_blueprint())

    @site.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @site.errorhandler(ApiError)
    def answered(error: ApiError) -> Response:
        response = jsonify(error.body())
        response.status_code = error.status
        response.headers.extend(error.headers())
        return response

    @site.errorhandler(ConvaiError)
    def refused(error: ConvaiError) -> Response:
        if isinstance(error, Busy):
            service.metrics.rejected.labels(error.reason).inc()
            status = 503 if error.reason == "draining" else 429
            return answered(ApiError(status, str(error), code="overloaded", retry=error.retry))
        if isinstance(error, NotFound | NoSuchFact | NoMemory):
            return answered(ApiError(404, str(error), code="not_found"))
        if isinstance(error, DataError | MemoryFull | Holds):
            return answered(ApiError(400, str(error)))
        log_failure("a request failed", error)
        return answered(ApiError(500, "the server failed; its log says where"))

    @site.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        if error.code == 404:
            there = ", ".join((COMPLETIONS, TEXT_COMPLETIONS, "/v1/models", "/healthz"))
            return answered(ApiError(404, f"there is no {request.path[:100]} here; programs ask {there}"))
        return answered(ApiError(error.code or 500, error.description or error.name))

    @site.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        log_failure("a request failed", error)
        return answered(ApiError(500, "the server failed; its log says where"))

    return site
