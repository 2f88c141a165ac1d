"""The page: a Flask blueprint that serves HTML, CSS and ES modules, sample personas, and cards in and out.

It needs no engine and no store: the conversation itself goes over the chat socket (docs/protocol.md), whose
server mounts this blueprint. In a checkout the folder is `web/`, installed it is the package `convai.web`;
`convai.core.resources.web_package()` finds either.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from flask import Blueprint, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

import convai
from convai.core import resources
from convai.core.dialog import Persona
from convai.core.errors import ConvaiError, DataError
from convai.server.protocol import ProtocolError
from convai.server.protocol.schema import build
from convai.server.protocol.values import PersonaCard
from convai.text.cards import Card, card_json, card_persona, card_png, parse_card, persona_card, read_card
from convai.text.cards.files import MAX_FILE
from convai.text.corpora.personas import read_personas

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer. Nothing inline, nothing from elsewhere, no text that becomes markup (trusted types)."""

_NOT_MODULES: Final = ("theme-first.js",)
_CARD_FORMATS: Final = ("json", "png")


def create_blueprint(name: str = "web") -> Blueprint:
    """The page at `/`, its files below `/web/`, and three routes that it needs beside the socket.

    - `GET /api/personas`: the sample personas, `{"personas": [{"name": "", "sentences": [...]}]}`
    - `POST /api/cards/read`, a card's file as the body: the persona in it, what to know about it, the card
    - `POST /api/cards/write`, a form with `persona`, `format` and optional `card` and `image`: a card's file

    Errors are `{"error": {"message": "..."}}` with status 400, or 413 for too large a body.
    """
    mimetypes.add_type("application/manifest+json", ".webmanifest")
    page = Blueprint(
        name, __name__, template_folder="templates", static_folder="static", static_url_path="/web"
    )
    page.add_url_rule("/", view_func=index)
    page.add_url_rule("/api/personas", view_func=personas)
    page.add_url_rule("/api/cards/read", view_func=read, methods=["POST"])
    page.add_url_rule("/api/cards/write", view_func=write, methods=["POST"])
    page.register_error_handler(ConvaiError, _refused)
    page.register_error_handler(HTTPException, _http_error)
    page.after_request(_with_headers)
    return page


def index() -> str:
    """The page itself."""
    return render_template("convai/index.html", version=convai.__version__, modules=_modules())


def personas() -> Response:
    """The personas that travel with convai."""
    return jsonify(personas=[_as_json(persona) for persona in _samples()])


def read() -> Response:
    """The persona in a character card (JSON or PNG): only that reaches a model, never the creator's notes."""
    request.max_content_length = MAX_FILE
    card = read_card(request.get_data(), "card")
    found = card_persona(card)
    return jsonify(
        persona=_as_json(found.persona),
        greeting=found.greeting,
        creator_notes=found.creator_notes,
        notes=list(found.notes),
        left_out=list(found.left_out),
        card=dict(card.document),
    )


def write() -> Response:
    """A persona as a character card; fields of the `card` that it came from stay, and so does its `image`."""
    request.max_content_length = request.max_form_memory_size = 2 * MAX_FILE
    format = _format(request.form.get("format", "json"))
    persona = _persona(request.form.get("persona"))
    text, image = request.form.get("card"), request.files.get("image")
    base: Card | None = parse_card(text, "card") if text else None
    card = persona_card(persona, base)
    if format == "json":
        response = Response(card_json(card), mimetype="application/json")
    else:
        picture = image.read() if image else None
        response = Response(card_png(card, image=picture), mimetype="image/png")
    response.headers["Content-Disposition"] = f"attachment; filename=persona.{format}"
    return response


@cache
def _modules() -> tuple[str, ...]:
    """The ES modules, told in the page itself: found one by one, each would cost a round trip."""
    found = sorted(path.name for path in (Path(__file__).parent / "static" / "js").glob("*.js"))
    return tuple(name for name in found if name not in _NOT_MODULES)


@cache
def _samples() -> tuple[Persona, ...]:
    return tuple(read_personas(resources.personas_path()))


def _as_json(persona: Persona) -> dict[str, Any]:
    return {"name": persona.name, "sentences": list(persona.sentences)}


def _format(text: str) -> Literal["json", "png"]:
    for known in _CARD_FORMATS:
        if text == known:
            return known
    raise DataError(f"format: {text[:20]!r}; use json or png")


def _persona(text: str | None) -> Persona:
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        raise DataError('persona: no JSON; it is like {"name": "", "sentences": ["i bake."]}') from None
    card = build(PersonaCard, value, "persona")
    return Persona(card.sentences, card.name)


def _refused(error: ConvaiError) -> tuple[Response, int]:
    code = error.code if isinstance(error, ProtocolError) else "bad_request"
    return jsonify(error={"message": str(error), "code": code}), 400


def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error={"message": error.description or error.name, "code": "http"}), error.code or 500


def _with_headers(response: Response) -> Response:
    for header, value in HEADERS.items():
        response.headers.setdefault(header, value)
    response.headers.setdefault("Cache-Control", "no-cache")  # asked for again, answered 304 as long as it is
    return response
