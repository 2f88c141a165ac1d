"""What the blueprint serves: a page with nothing inline or foreign, sample personas, cards in and out."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from convai.core.dialog import Persona
from convai.core.resources import web_package
from convai.text.cards import card_persona, card_png, parse_card, persona_card, read_card
from convai.text.cards.files import MAX_FILE
from tests.web.conftest import ROOT

STATIC = ROOT / "web/static"
CARD: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Ann",
        "description": "{{char}} is a nurse. She has two dogs.",
        "first_mes": "Hello {{user}}!",
        "creator_notes": "Best with a large model.",
        "x_unknown": {"kept": [1, 2]},
    },
}


class Client(FlaskClient):
    """Reads every answer to its end, so that no file stays open."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, **{"buffered": True, **kwargs})


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.test_client_class = Client
    app.register_blueprint(web_package().create_blueprint())
    return app.test_client()


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            self.inline += data.strip()
            self.inside = ""


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(client: FlaskClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    page = Elements(response.text)
    assert page.inline == ""
    assert not [tag for tag, _ in page.found if tag in ("style", "base", "iframe", "object")]
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (
            tag,
            attributes,
        )
        for name in ("src", "href", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), (tag, attributes)
            assert not (attributes.get(name) or "").startswith("//")


def test_the_policy_allows_nothing_but_its_own(client: FlaskClient) -> None:
    for path in ("/", "/web/js/app.js", "/api/personas", "/web/nothing.js"):
        headers = client.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_every_file_that_the_page_names_is_there(client: FlaskClient) -> None:
    page = client.get("/").text
    named = set(re.findall(r'(?:src|href)="(/[^"#]*)', page)) - {"/"}
    assert len(named) > 8
    for path in sorted(named):
        assert client.get(path).status_code == 200, path
    script = client.get("/web/js/app.js")
    assert script.mimetype == "text/javascript"
    assert client.get("/web/js/app.js", headers={"If-None-Match": script.headers["ETag"]}).status_code == 304


def test_the_page_can_be_installed(client: FlaskClient) -> None:
    manifest = client.get("/web/manifest.webmanifest")
    assert manifest.mimetype == "application/manifest+json"
    told = json.loads(manifest.text)
    assert (told["display"], told["start_url"]) == ("standalone", "../")
    for icon in told["icons"]:
        answer = client.get(f"/web/{icon['src']}")
        assert answer.mimetype == icon["type"]
        if icon["type"] == "image/png":
            size = Image.open(io.BytesIO(answer.data)).size
            assert icon["sizes"] == f"{size[0]}x{size[1]}"
    assert "microphone=(self)" in client.get("/").headers["Permissions-Policy"]


def test_every_icon_that_is_used_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="(\w+)"', (STATIC / "icons.svg").read_text()))
    templates = "".join(path.read_text() for path in (ROOT / "web/templates/convai").glob("*.html"))
    used = set(re.findall(r'icon\("(\w+)"\)|icons\.svg\'\) \}\}#(\w+)', templates))
    modules = "".join(path.read_text() for path in (STATIC / "js").glob("*.js"))
    used |= set(re.findall(r'(?:icon|iconButton)\("(\w+)"|act\("\w+", "(\w+)"', modules))
    assert {name for pair in used for name in pair if name} <= drawn


def test_no_module_writes_markup() -> None:
    """Texts reach the page as text nodes: none of the ways that take a string of HTML is used."""
    ways = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function"
    )
    for path in (STATIC / "js").glob("*.js"):
        assert not ways.search(path.read_text()), path.name
        assert len(path.read_text().splitlines()) <= 300, path.name


def test_every_module_imports_only_its_neighbours() -> None:
    for path in (STATIC / "js").glob("*.js"):
        for target in re.findall(r'from "([^"]+)"', path.read_text()):
            assert target.startswith("./"), (path.name, target)
            assert (path.parent / target).is_file()


def test_the_sample_personas(client: FlaskClient) -> None:
    personas = client.get("/api/personas").get_json()["personas"]
    assert len(personas) > 10
    assert all(set(one) == {"name", "sentences"} and one["sentences"] for one in personas)


@pytest.mark.parametrize("png", [False, True])
def test_a_card_is_read(client: FlaskClient, png: bool) -> None:
    data = json.dumps(CARD).encode()
    answer = client.post("/api/cards/read", data=card_png(parse_card(data, "")) if png else data).get_json()
    persona = card_persona(parse_card(data, "")).persona
    assert answer["persona"] == {"name": "Ann", "sentences": list(persona.sentences)}
    assert answer["creator_notes"] == "Best with a large model."
    assert answer["greeting"] == "Hello!"
    assert "large model" not in json.dumps(answer["persona"])
    assert answer["card"]["data"]["x_unknown"] == {"kept": [1, 2]}


def written(client: FlaskClient, **form: Any) -> Any:
    return client.post("/api/cards/write", data=form, content_type="multipart/form-data")


def test_a_persona_is_written_as_a_card_and_read_again(client: FlaskClient) -> None:
    persona = {"name": "Bob", "sentences": ["i bake bread.", "i am 40."]}
    for format, media in (("json", "application/json"), ("png", "image/png")):
        response = written(client, persona=json.dumps(persona), format=format)
        assert response.mimetype == media
        assert response.headers["Content-Disposition"] == f"attachment; filename=persona.{format}"
        again = client.post("/api/cards/read", data=response.data).get_json()["persona"]
        assert again == {"name": "Bob", "sentences": ["my name is Bob.", *persona["sentences"]]}


def test_what_a_card_had_besides_stays_and_so_does_its_image(client: FlaskClient) -> None:
    image = card_png(persona_card(Persona(("x.",), "Somebody")))
    form = {"persona": json.dumps({"name": "Ann", "sentences": ["i cook."]}), "card": json.dumps(CARD)}
    response = written(client, **form, format="png", image=(io.BytesIO(image), "ann.png"))
    card = read_card(response.data, "")
    assert card.data["x_unknown"] == {"kept": [1, 2]}
    assert card.text("description") == "i cook."
    begin = image.index(b"IDAT")
    size = int.from_bytes(image[begin - 4 : begin])
    assert image[begin : begin + 4 + size] in response.data


@pytest.mark.parametrize(
    ("path", "body", "line"),
    [
        ("read", b"{", "card:1: malformed JSON"),
        ("read", b"", "card"),
        ("read", b"\x89PNG\r\n\x1a\n", "card"),
        ("write", {"persona": "x", "format": "json"}, "persona: no JSON"),
        ("write", {"format": "json"}, "persona: no JSON"),
        ("write", {"persona": "[" * 100_000, "format": "json"}, "persona: no JSON"),
        ("write", {"persona": '{"sentences": [1]}', "format": "json"}, "persona.sentences"),
        ("write", {"persona": "{}", "format": "exe"}, "format: 'exe'; use json or png"),
        ("write", {"persona": "{}", "format": "json", "card": "nothing"}, "card:1: malformed JSON"),
    ],
)
def test_what_will_not_do_is_told_in_a_line(client: FlaskClient, path: str, body: Any, line: str) -> None:
    response = client.post(f"/api/cards/{path}", data=body)
    assert response.status_code == 400
    message = response.get_json()["error"]["message"]
    assert message.startswith(line)
    assert "\n" not in message


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    response = client.post("/api/cards/read", data=bytes(MAX_FILE + 1))
    assert (response.status_code, list(response.get_json())) == (413, ["error"])


def test_an_unsound_image_is_refused(client: FlaskClient) -> None:
    form = {"persona": '{"sentences": ["i cook."]}', "format": "png"}
    response = written(client, **form, image=(io.BytesIO(b"GIF89a"), "a.gif"))
    assert response.status_code == 400
    assert response.get_json()["error"]["message"].startswith("image")
