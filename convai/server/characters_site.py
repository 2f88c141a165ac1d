"""`/api/characters`, `/api/books`: cards and lorebooks that a person imports, lists, exports, deletes."""

from __future__ import annotations

import json
from typing import Any

from flask import Flask, Response, g, jsonify, request

from convai.conversation.staging import (
    MAX_CARD,
    character_in,
    partner_in,
    partner_json,
    told_partner,
    without_pictures,
)
from convai.core.character import Character
from convai.core.dialog import Persona
from convai.core.errors import DataError
from convai.server.api_error import ApiError
from convai.server.completion_cast import listed
from convai.server.service import Service
from convai.text.cards import Card, card_json, card_png, character_of, read_book_file, read_card
from convai.text.cards.books import book_json, book_of
from convai.text.cards.character import unused
from convai.text.cards.files import VERSIONS


def add_characters(site: Flask, service: Service) -> None:
    """Give the site its routes. Each is about the person whose token came with the request."""

    @site.get("/api/characters")
    def characters() -> Response:
        kept = service.store.scenes.kept(g.owner, "character")
        return jsonify(characters=[{"id": one.id, **_shown(character_in(one.content))} for one in kept])

    @site.post("/api/characters")
    def take_character() -> tuple[Response, int]:
        service.check_open()
        card = without_pictures(read_card(request.get_data(), "card"), "card")
        character = character_of(card)
        kept = service.store.scenes.keep(
            g.owner, "character", character.called, json.dumps(dict(card.document))
        )
        told = {"id": kept.id, **_shown(character), "unused": unused(card), "notes": list(card.notes)}
        return jsonify(told), 201

    @site.get("/api/characters/<id>")
    def character(id: str) -> Response:
        found = character_in(service.store.scenes.one(g.owner, "character", id).content)
        return jsonify({"id": id, **_shown(found), "persona": list(found.sentences)})

    @site.delete("/api/characters/<id>")
    def drop_character(id: str) -> Response:
        service.store.scenes.drop(g.owner, "character", id)
        return jsonify(deleted=id)

    @site.get("/api/characters/<id>/export")
    def export_character(id: str) -> Response:
        kept = service.store.scenes.one(g.owner, "character", id)
        card = Card(json.loads(kept.content))
        version, format = request.args.get("version", "3"), request.args.get("format", "json")
        if not version.isdecimal() or int(version) not in VERSIONS or format not in ("json", "png"):
            raise ApiError(400, "use version=1, 2 or 3 and format=json or png")
        if format == "png":
            return Response(card_png(card, int(version)), mimetype="image/png")
        return Response(card_json(card, int(version)), mimetype="application/json")

    @site.get("/v1/characters")
    def callable_characters() -> Response:
        return jsonify(object="list", data=listed(service, g.owner))

    @site.get("/api/you")
    def yous() -> Response:
        kept = service.store.scenes.kept(g.owner, "you")
        return jsonify(you=[_you(one.id, partner_in(one.content)) for one in kept])

    @site.post("/api/you")
    def take_you() -> tuple[Response, int]:
        service.check_open()
        partner = told_partner(request.get_json(silent=True))
        kept = service.store.scenes.keep(g.owner, "you", partner.name, partner_json(partner))
        return jsonify(_you(kept.id, partner)), 201

    @site.put("/api/you/<id>")
    def change_you(id: str) -> Response:
        service.check_open()
        partner = told_partner(request.get_json(silent=True))
        service.store.scenes.put(g.owner, "you", id, partner.name, partner_json(partner))
        return jsonify(_you(id, partner))

    @site.delete("/api/you/<id>")
    def drop_you(id: str) -> Response:
        service.store.scenes.drop(g.owner, "you", id)
        return jsonify(deleted=id)

    @site.get("/api/books")
    def books() -> Response:
        kept = service.store.scenes.kept(g.owner, "book")
        return jsonify(books=[{"id": one.id, **_book(one.content)} for one in kept])

    @site.post("/api/books")
    def take_book() -> tuple[Response, int]:
        service.check_open()
        book = read_book_file(request.get_data(), "lorebook")
        content = json.dumps(book_json(book))
        if not book:
            raise DataError("lorebook: it has no entries that say something")
        if len(content) > MAX_CARD:
            raise DataError(f"lorebook: over {MAX_CARD:,} characters; divide it")
        kept = service.store.scenes.keep(g.owner, "book", book.name, content)
        return jsonify({"id": kept.id, **_book(content), "unused": list(book.unused)}), 201

    @site.delete("/api/books/<id>")
    def drop_book(id: str) -> Response:
        service.store.scenes.drop(g.owner, "book", id)
        return jsonify(deleted=id)


def _shown(character: Character) -> dict[str, Any]:
    return {
        "name": character.called,
        "greetings": list(character.greetings),
        "creator_notes": character.creator_notes,
        "entries": 0 if character.book is None else len(character.book.entries),
    }


def _you(id: str, partner: Persona) -> dict[str, Any]:
    return {"id": id, "name": partner.name, "sentences": list(partner.sentences)}


def _book(content: str) -> dict[str, Any]:
    book = book_of(json.loads(content))
    return {"name": book.name, "entries": len(book.entries)}
