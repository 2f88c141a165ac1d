"""Cards of all versions, and those of the wild: read, written by the book, nothing lost."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import DataError
from convai.text.cards import (
    Card,
    card_json,
    card_persona,
    card_png,
    load_card,
    parse_card,
    png,
    read_card,
    save_card,
)
from convai.text.cards.card import BACKFILL, to_base64
from convai.text.personas import personas_of
from tests.text.corpora.test_json_text import JSON

V1 = {
    "name": "Ann",
    "description": "{{char}} is a nurse.",
    "personality": "kind",
    "scenario": "a ward",
    "first_mes": "hello {{user}}",
    "mes_example": "<START>",
}
V2: dict[str, Any] = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        **V1,
        "creator_notes": "use it well",
        "system_prompt": "obey",
        "post_history_instructions": "",
        "alternate_greetings": ["hey"],
        "character_book": {"entries": [], "extensions": {"x": 1}},
        "tags": ["nurse"],
        "creator": "me",
        "character_version": "1",
        "extensions": {"other/app": {"deep": [1, None]}},
        "unknown": {"a": 1},
    },
    "outside": 5,
}
V3: dict[str, Any] = {
    **V2,
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {**V2["data"], "nickname": "Annie", "group_only_greetings": ["all"], "creation_date": 1},
}
MANDATORY = {
    *V1,
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "alternate_greetings",
    "tags",
    "creator",
    "character_version",
    "extensions",
}


def image_with(chunks: list[tuple[bytes, bytes]]) -> bytes:
    end = png.Chunk(b"IEND", b"").encoded()
    image = png.plain_image(2, 2, (0, 0, 0)).removesuffix(end)
    return image + b"".join(png.Chunk(kind, data).encoded() for kind, data in chunks) + end


@pytest.mark.parametrize(("document", "version"), [(V1, 1), (V2, 2), (V3, 3)])
def test_every_version_is_read(document: dict[str, Any], version: int) -> None:
    card = parse_card(json.dumps(document), "f")
    assert (card.version, card.name, card.text("personality"), card.notes) == (version, "Ann", "kind", ())
    assert card.called == ("Annie" if version == 3 else "Ann")
    assert card.document == document


@pytest.mark.parametrize(("document", "version"), [(V1, 1), (V2, 2), (V3, 3)])
@pytest.mark.parametrize("kind", ["json", "png"])
def test_a_round_trip_loses_nothing(
    document: dict[str, Any], version: int, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"card.{kind}"
    save_card(path, Card(document), version)
    assert load_card(path).document == document
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("document", [V1, V2, V3, {"name": "Bo"}, {**V1, "extra": [1]}])
def test_another_version_is_by_the_book_and_keeps_the_rest(document: dict[str, Any], version: int) -> None:
    made = json.loads(card_json(Card(document), version))
    assert (made["spec"], made["spec_version"]) == (f"chara_card_v{version}", f"{version}.0")
    assert made["data"].keys() >= MANDATORY | ({"group_only_greetings"} if version == 3 else set())
    inside = document.get("data", document)
    assert made["data"].items() >= inside.items() if "unknown" not in inside else True
    for name, value in inside.items():
        assert made["data"][name] == value
    assert all(made[name] == value for name, value in document.items() if name == "outside")


def test_version_1_is_flat() -> None:
    made = json.loads(card_json(Card(V3), 1))
    assert made.items() >= V1.items()
    assert (made["unknown"], made["outside"]) == ({"a": 1}, 5)
    assert "spec" not in made
    assert "data" not in made


def test_a_version_3_in_an_image_has_a_version_2_beside_it() -> None:
    data = card_png(Card(V3))
    found = {t.keyword: t for c in png.chunks(data, "f") if (t := png.text_of(c, "f"))}
    assert found.keys() == {"ccv3", "chara"}
    older = read_card(image_with([(b"tEXt", b"chara\0" + found["chara"].data)]), "f")
    assert older.version == 2
    assert older.text("creator_notes") == f"{BACKFILL}\nuse it well"
    assert read_card(data, "f").text("creator_notes") == "use it well"


def test_the_image_stays_and_the_old_card_goes(tmp_path: Path) -> None:
    old = image_with(
        [(b"tEXt", b"Chara\0" + to_base64(V1)), (b"tEXt", b"Author\0me"), (b"zTXt", b"ccv3\0\0x")]
    )
    (tmp_path / "old.png").write_bytes(old)
    save_card(tmp_path / "new.png", Card({**V1, "name": "Bo"}), 2, tmp_path / "old.png")
    chunks = [(c.kind, c.data[:6]) for c in png.chunks((tmp_path / "new.png").read_bytes(), "f")]
    assert [c for c in chunks if c[0] == b"tEXt"] == [(b"tEXt", b"Author"), (b"tEXt", b"chara\0")]
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"tEXt", b"tEXt", b"IEND"]
    assert load_card(tmp_path / "new.png").name == "Bo"


class TestInTheWild:
    @pytest.mark.parametrize(
        ("text", "name", "description"),
        [
            ('\ufeff{"name": "Ann", "description": "x"}', "Ann", "x"),
            ('{"name": "Ann"}'.encode("utf-16"), "Ann", ""),
            ('{"name": "Ann",\n"description": "two\nlines"}', "Ann", "two\nlines"),
            ('[{"name": "Ann"}]', "Ann", ""),
            ('{"name": 7, "description": ["a", "b", 3]}', "7", "a\nb"),
            ('{"name": null, "description": {"a": 1}, "personality": "p"}', "", "a: 1"),
            ('{"spec": "chara_card_v2", "name": "Ann", "description": "flat"}', "Ann", "flat"),
            ('{"name": "Old", "description": "old", "data": {"name": "Ann"}}', "Ann", "old"),
            ('{"spec": "my_card", "data": {"name": "Ann", "description": "x"}}', "Ann", "x"),
            ('{"spec": ["x"], "data": {"name": " Ann \\n B "}}', "Ann B", ""),
            ('{"data": "{\\"name\\": \\"Ann\\"}"}', "Ann", ""),
            ('{"name": "Ann", "talkativeness": NaN, "big": 1e999}', "Ann", ""),
            ('{"name": "a\\u0000\\u001b[31mb\\ud800"}', "a[31mb", ""),
            ('{"name": "' + "x" * 500 + '"}', "x" * 100, ""),
        ],
    )
    def test_malformed_cards_are_read(self, text: str | bytes, name: str, description: str) -> None:
        card = parse_card(text, "f")
        assert (card.name, card.text("description")) == (name, description)
        for version in (1, 2, 3):
            again = parse_card(card_json(card, version), "f")
            assert (again.name, again.text("description")) == (name, description)

    @pytest.mark.parametrize(
        ("document", "note"),
        [
            ({"description": "x"}, "it has no name"),
            ({"name": 7, "description": "x"}, "not text: name"),
            ({"spec": "chara_card_v2", "name": "Ann"}, "no data, only fields of version 1"),
            ({"spec": "chara_card_v9", "data": {"name": "A"}}, "its spec is unknown; read as version 2"),
        ],
    )
    def test_what_is_odd_is_noted(self, document: dict[str, Any], note: str) -> None:
        (told,) = parse_card(json.dumps(document), "f").notes
        assert note in told

    def test_fields_of_a_wrong_type_are_not_destroyed(self) -> None:
        card = Card({"data": {"name": "A", "tags": "nurse", "alternate_greetings": {"0": "hi"}}})
        data = json.loads(card_json(card, 3))["data"]
        assert (data["tags"], data["alternate_greetings"]) == (["nurse"], {"0": "hi"})

    @pytest.mark.parametrize(
        "chunks",
        [
            [(b"tEXt", b"Chara\0" + to_base64(V2))],
            [(b"tEXt", b"chara\0" + to_base64(V2).rstrip(b"="))],
            [(b"tEXt", b"chara\0" + b"\n".join(to_base64(V2)[i : i + 76] for i in range(0, 9999, 76)))],
            [(b"tEXt", b"chara\0" + json.dumps(V2).encode())],
            [(b"iTXt", b"chara\0\0\0\0\0" + to_base64(V2))],
            [(b"zTXt", b"chara\0\0" + zlib.compress(to_base64(V2)))],
            [(b"tEXt", b"ccv3\0no base64!"), (b"tEXt", b"chara\0" + to_base64(V2))],
            [(b"tEXt", b"chara\0" + to_base64(V2)), (b"tEXt", b"chara\0" + to_base64(V1))],
        ],
    )
    def test_images_however_the_card_is_in_them(self, chunks: list[tuple[bytes, bytes]]) -> None:
        assert read_card(image_with(chunks), "f").document == V2

    def test_ccv3_comes_before_chara(self) -> None:
        chunks = [(b"tEXt", b"chara\0" + to_base64(V2)), (b"tEXt", b"ccv3\0" + to_base64(V3))]
        assert read_card(image_with(chunks), "f").document == V3

    def test_a_card_before_the_damage_is_read_with_a_note(self) -> None:
        whole = image_with([(b"tEXt", b"chara\0" + to_base64(V2))])
        card = read_card(whole[:-5], "f")
        assert card.document == V2
        assert "cut short" in card.notes[-1]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "malformed JSON"),
        (b"\xff\x00\xff", "no UTF-8 text"),
        (b"{]", "f:1: malformed JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"name": "a", "x": ' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b'{"name": "a", "x": ' + b"9" * 5000 + b"}", "malformed JSON"),
        (b"[]", "no JSON object"),
        (b'"text"', "no JSON object"),
        (b"{}", "no character card"),
        (b'{"data": {"data": {"name": "a"}}}', "no character card"),
        (b'{"data": "nonsense", "spec": "chara_card_v2"}', "f, data:1: malformed JSON"),
        (image_with([]), "holds no card"),
        (image_with([(b"tEXt", b"chara\0!!!")]), "no base64"),
        (image_with([(b"tEXt", b"chara\0" + to_base64({"a": 1}))]), "no character card"),
        (image_with([(b"tEXt", b"chara\0" + to_base64(V2))]).replace(b"chara\0", b"chara\0e", 1), "damaged"),
        (png.SIGNATURE, "cut short"),
        (b" " * (32 * 2**20 + 1), "over 32 MiB"),
    ],
)
def test_what_is_no_card(data: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read_card(data, "f")
    assert says in str(caught.value)
    assert str(caught.value).startswith("f")
    assert len(str(caught.value).splitlines()) == 1


def test_files_that_cannot_be(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "a folder"), (tmp_path / "none.json", "cannot be opened")):
        with pytest.raises(DataError, match=says):
            load_card(path)
    for path, says in ((tmp_path / "a.txt", "a .png or a .json"), (tmp_path / "no" / "a.json", "no folder")):
        with pytest.raises(DataError, match=says):
            save_card(path, Card(V1))
    (tmp_path / "a.jpg").write_bytes(b"jpeg")
    with pytest.raises(DataError, match="no PNG image"):
        save_card(tmp_path / "a.png", Card(V1), 2, tmp_path / "a.jpg")
    with pytest.raises(DataError, match="cannot be opened"):
        save_card(tmp_path / "a.png", Card(V1), 2, tmp_path / "none.png")
    with pytest.raises(DataError, match="use 1, 2 or 3"):
        save_card(tmp_path / "a.png", Card(V1), 4)
    assert [one.name for one in tmp_path.iterdir()] == ["a.jpg"]


FIELDS = st.sampled_from([*MANDATORY, "spec", "spec_version", "data", "nickname", "group_only_greetings"])
OBJECTS = st.dictionaries(FIELDS | st.text(max_size=5), JSON, max_size=6)


@given(OBJECTS, st.none() | OBJECTS, st.sampled_from([None, "chara_card_v2", "chara_card_v3"]))
def test_any_object_is_a_card_or_refused(outer: dict[str, Any], inner: Any, spec: str | None) -> None:
    document = outer | ({"data": inner} if inner is not None else {}) | ({"spec": spec} if spec else {})
    try:
        card = parse_card(json.dumps(document), "f")
    except DataError as error:
        line = str(error)
        assert len(line.splitlines()) == 1
        return
    for version in (1, 2, 3):
        text = card_json(card, version)
        again = parse_card(text, "f")
        assert (again.name, again.text("description")) == (card.name, card.text("description"))
        if version > 1:
            assert again.version == version
            data = again.document["data"]
            assert data.keys() >= card.data.keys()
            assert card_json(again, version) == text
    assert read_card(card_png(card), "f").document == json.loads(card_json(card))


_CHUB = {
    "name": "Tess",
    "personality": "Tess bakes.",
    "first_message": "Hi.",
    "example_dialogs": "{{user}}: a",
    "scenario": "A storm.",
    "description": "<p>by me</p>",
}


@pytest.mark.parametrize(
    "value",
    [
        _CHUB,
        {"node": {"fullPath": "x/tess", "definition": _CHUB}},
        {
            "character": {
                "aiName": "Tess",
                "aiPersona": "{character} bakes.",
                "firstMessage": "#{character}: Hi.",
                "customDialogue": "#{user}: a",
                "scenario": "A storm.",
            }
        },
        {
            "type": "character",
            "name": "Tess",
            "desc": "Tess bakes.",
            "firstMessage": "Hi.",
            "exampleMessage": "{{user}}: a",
            "scenario": "A storm.",
        },
        {
            "name": "Tess",
            "persona": "Tess bakes.",
            "greeting": "Hi.",
            "dialogue": "{{user}}: a",
            "scenario": "A storm.",
        },
        {
            "info": {
                "character": {
                    "name": "Tess",
                    "definition": "Tess bakes.",
                    "greeting": "Hi.",
                    "mes_example": "{{user}}: a",
                    "scenario": "A storm.",
                }
            },
            "histories": [],
        },
    ],
    ids="janitor chub backyard risu named-persona info".split(),
)
def test_characters_of_other_programs(value: dict[str, Any]) -> None:
    found = parse_card(json.dumps(value), "x")
    assert found.text("description") in ("Tess bakes.", "{{char}} bakes.")
    assert (found.name, found.text("first_mes"), found.text("scenario")) == ("Tess", "Hi.", "A storm.")
    assert (found.text("mes_example"), found.text("personality")) == ("{{user}}: a", "")


def test_models_of_open_webui_and_characters_of_perchance() -> None:
    model = [{"id": "t", "name": "Tess", "base_model_id": "x", "params": {"system": "You bake."}, "meta": {}}]
    assert parse_card(json.dumps(model), "x").document == {"name": "Tess", "system_prompt": "You bake."}
    added = {"addCharacter": {"name": "Tess", "roleInstruction": "Tess bakes.", "reminderMessage": "Be dry."}}
    found = parse_card(json.dumps(added), "x")
    texts = ("name", "description", "post_history_instructions")
    assert [found.text(field) for field in texts] == ["Tess", "Tess bakes.", "Be dry."]


def test_what_perchance_packs(tmp_path: Path) -> None:
    tess = {
        "name": "Tess",
        "roleInstruction": "Tess bakes.",
        "initialMessages": [{"author": "ai", "content": "hi"}],
    }
    tables = [{"tableName": "threads", "rows": []}, {"tableName": "characters", "rows": [tess]}]
    stored = {"formatName": "dexie", "data": {"data": tables}}
    file = tmp_path / "tess.gz"
    for value in ({"addCharacter": tess}, stored):
        packed = gzip.compress(json.dumps(value).encode())
        file.write_bytes(packed)
        found = load_card(file)
        texts = [found.text(field) for field in ("name", "description", "first_mes")]
        assert texts == ["Tess", "Tess bakes.", "hi"]
        assert personas_of(str(file), "--persona") == [card_persona(found).persona]
        file.write_bytes(packed[:-20])
        with pytest.raises(DataError, match=r"tess.gz: the compressed data are cut short; download it again"):
            load_card(file)
