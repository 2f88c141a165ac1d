"""Everything that a card says becomes a character, and a card again; other programs' files are read, too."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.character import Character, Lorebook, LoreEntry
from convai.core.dialog import AGENT, USER, Turn
from convai.core.errors import DataError
from convai.text.cards import Card, card_of, character_of, load_book, load_card, parse_card, read_card
from convai.text.cards.books import book_json, book_of, entry_of, read_book
from convai.text.cards.character import unused
from convai.text.cards.examples import example_dialogues
from convai.text.cards.first_person import first_person

CARD: dict[str, Any] = {
    "spec": "chara_card_v3",
    "spec_version": "3.0",
    "data": {
        "name": "Ann Smith",
        "nickname": "Annie",
        "description": "Annie is a baker. She loves {{user}}.",
        "personality": "kind",
        "scenario": "a bakery",
        "system_prompt": "Stay in role.",
        "post_history_instructions": "Be brief.",
        "first_mes": "Morning, {{user}}!",
        "alternate_greetings": ["Hi.", "", "Closed!"],
        "group_only_greetings": ["Hello all."],
        "mes_example": "<START>\n{{user}}: hi\n{{char}}: hello\nmy dear\n<START>\nAnnie: yes?",
        "creator_notes": "for you",
        "character_book": {"entries": [{"keys": ["cat"], "content": "A cat.", "enabled": True}]},
        "extensions": {"depth_prompt": {"prompt": "tired", "depth": 2}, "talkativeness": "0.8", "fav": True},
        "tags": ["bread"],
        "unknown": 5,
    },
}


def test_every_field_is_there() -> None:
    found = character_of(parse_card(json.dumps(CARD), "card"))
    assert (found.name, found.called, found.talkativeness) == ("Ann Smith", "Annie", 0.8)
    assert found.greetings == ("Morning, {{user}}!", "Hi.", "Closed!")
    assert found.group_greetings == ("Hello all.",)
    assert found.examples == (
        (Turn(USER, "hi"), Turn(AGENT, "hello my dear")),
        (Turn(AGENT, "yes?"),),
    )
    assert (found.system_prompt, found.post_history, found.note, found.note_depth) == (
        "Stay in role.",
        "Be brief.",
        "tired",
        2,
    )
    assert found.book is not None
    assert found.book.entries[0].keys == ("cat",)
    assert found.sentences == ("my name is Annie.", "i am a baker.", "i love you.", "kind.")
    assert not found.is_plain


def test_what_is_not_used_is_named() -> None:
    assert unused(parse_card(json.dumps(CARD), "card")) == ["extensions.fav", "tags", "unknown"]


def test_a_card_and_back() -> None:
    card = parse_card(json.dumps(CARD), "card")
    assert card_of(character_of(card)) == card


lines = st.text("abc", min_size=1, max_size=8)
dialogues = st.lists(st.builds(Turn, st.sampled_from([0, 1]), lines), min_size=1, max_size=3).map(tuple)
entries = st.builds(
    LoreEntry,
    lines,
    st.lists(lines, min_size=1, max_size=2).map(tuple),
    constant=st.booleans(),
    order=st.integers(0, 9).map(float),
    priority=st.integers(0, 9).map(float),
    position=st.sampled_from(["before_char", "after_char"]),
    depth=st.none() | st.integers(0, 9),
    scan_depth=st.none() | st.integers(0, 9),
    case_sensitive=st.none() | st.booleans(),
    whole_words=st.none() | st.booleans(),
    probability=st.sampled_from([100.0, 50.0]),
    logic=st.sampled_from(["any", "all", "not_any", "not_all"]),
    after=st.integers(0, 3),
    every=st.integers(0, 3),
    activate=st.none() | st.booleans(),
    after_match=st.sampled_from(["", "keep", "stop"]),
    greeting=st.none() | st.integers(0, 3),
)
books = st.builds(
    Lorebook, st.lists(entries, min_size=1, max_size=3).map(tuple), scan_depth=st.integers(0, 9)
)


@given(books)
def test_a_lorebook_and_back(book: Lorebook) -> None:
    assert book_of(json.loads(json.dumps(book_json(book)))) == book


@given(
    st.builds(
        Character,
        name=st.sampled_from(["Ann", "Bo"]),
        description=lines,
        personality=lines,
        scenario=lines | st.just(""),
        system_prompt=lines,
        examples=st.lists(dialogues, max_size=2).map(tuple),
        greetings=st.lists(lines, max_size=3).map(tuple),
        book=st.none() | books,
        note=lines,
        talkativeness=st.sampled_from([0.5, 1.0]),
    )
)
def test_a_character_and_back(character: Character) -> None:
    """What the persona is, the card's words say; all else is what it was."""
    again = character_of(card_of(character))
    for name in ("name", "description", "personality", "scenario", "system_prompt", "examples", "greetings"):
        assert getattr(again, name) == getattr(character, name), name
    assert (again.book, again.note, again.talkativeness) == (
        character.book,
        character.note,
        character.talkativeness,
    )


def test_dialogue_in_a_description_is_dialogue() -> None:
    told = '[Ann\'s traits= "kind"]'
    text = f'{told}\n{{{{user}}}}: "Who are you?"\n{{{{char}}}}: "I bake."\n{{{{user}}}}: I am a spy.'
    found = character_of(Card({"name": "Ann", "description": text}))
    asked, said = Turn(USER, '"Who are you?"'), Turn(AGENT, '"I bake."')
    assert found.examples == ((asked, said, Turn(USER, "I am a spy.")),)
    assert found.description == told
    assert "spy" not in " ".join(found.sentences)


def test_a_character_in_a_dialogue_by_its_name_is_no_persona() -> None:
    """text-generation-webui's contexts: the user by a macro, the character by its name."""
    text = "Nia: a diver.\nShe dives.\n{{user}}: hi\nNia: hello!\nYou: how deep?\nNia: very.\nShe is old."
    found = character_of(Card({"name": "Nia", "description": text}))
    assert found.description == "Nia: a diver.\nShe dives.\nShe is old."
    said = [(turn.speaker, turn.text) for turn in found.examples[0]]
    assert said == [(USER, "hi"), (AGENT, "hello!"), (USER, "how deep?"), (AGENT, "very.")]
    assert "i am hello!" not in found.sentences
    one = character_of(Card({"name": "Nia", "description": "She dives.\n{{char}}: hi"}))
    assert one.sentences == ("my name is Nia.", "i dive.")


def test_attributes_in_one_line_or_an_object_are_sentences_each() -> None:
    line = Card({"name": "Ilse", "personality": "Name: Ilse; Age: 31; Job: baker; Likes: tea"})
    assert character_of(line).sentences == ("my name is Ilse.", "Age: 31.", "Job: baker.", "Likes: tea.")
    held = Card({"name": "Nia", "personality": {"traits": ["bold", "kind"], "Age": 30, "none": None}})
    assert character_of(held).sentences == ("my name is Nia.", "traits: bold, kind.", "Age: 30.")
    prose = Card({"name": "Nia", "description": "She said: no; he said: yes; then they left: both of them."})
    assert len(character_of(prose).sentences) == 4


def test_a_definition_of_character_ai_is_prose_and_examples() -> None:
    definition = (
        "Ann keeps bees.\n{{char}}: Careful,\nthey bite.\n{{random_user_1}}: Really?\n{{char}}: No.\n"
        "END_OF_DIALOG\nShe lives by the sea.\n{{user}}: hi\n{{char}}: hello\nEND_OF_DIALOG"
    )
    character = {"name": "Ann", "title": "of the bees", "greeting": "Ahoy!", "definition": definition}
    for value in (character, {"character": character}, {"external_id": "x", "character": character}):
        found = character_of(parse_card(json.dumps(value), "file"))
        assert (found.name, found.greetings) == ("Ann", ("Ahoy!",))
        assert found.description == "Ann keeps bees.\nShe lives by the sea."
        assert found.examples == (
            (Turn(AGENT, "Careful, they bite."), Turn(USER, "Really?"), Turn(AGENT, "No.")),
            (Turn(USER, "hi"), Turn(AGENT, "hello")),
        )
    described = character_of(parse_card(json.dumps({**character, "description": "A keeper."}), "file"))
    assert described.description == "A keeper.\nAnn keeps bees.\nShe lives by the sea."


def test_examples_know_names_and_go_on_over_lines() -> None:
    found = example_dialogues("You: hi\nAnn: hello\n\nthere\nNobody: x\n<START>\nUSER: yes", ("Ann",))
    assert found == ((Turn(USER, "hi"), Turn(AGENT, "hello there Nobody: x")), (Turn(USER, "yes"),))
    assert example_dialogues("just text") == ()


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ("Ann is a baker.|She has a dog.|Her dog loves her.", "i am a baker.|i have a dog.|my dog loves me."),
        ("Ann's shop is small.|She lives with her sister.", "my shop is small.|i live with my sister."),
        ("You are Ann.|You love cats.|Your mother loves you.", "i am Ann.|i love cats.|my mother loves me."),
        ("Ann wakes.|He never goes out.|Nobody knows him.", "i wake.|i never go out.|Nobody knows me."),
        ("i am a nurse.|i have two dogs.", "i am a nurse.|i have two dogs."),
        ("my name is Ann.|Ann bakes.", "my name is Ann.|i bake."),
        ("Traits: kind, brave.", "Traits: kind, brave."),
        ("Ann = a baker, kind.|Ann's Traits: brave.", "i am a baker, kind.|my traits: brave."),
        ("Ann's Persona: Ann is a baker.", "i am a baker."),
        ("Ann = helps you, kind.|Ann is kind and has a dog.", "i help you, kind.|i am kind and have a dog."),
        ("Ann talks and acts like a queen.|Ann hair is red.", "i talk and act like a queen.|my hair is red."),
        (
            "Ann's persona: shy, loud.|They let her sing. She hums.",
            "i am shy, loud.|They let me sing. i hum.",
        ),
        ("Name: Ann Lee the Good.|Ann likes cats and dogs.", "i am Ann Lee the Good.|i like cats and dogs."),
        ("She tries hard and she's kind.|She does not fuss.", "i try hard and i am kind.|i do not fuss."),
    ],
)
def test_the_first_person(told: str, own: str) -> None:
    assert "|".join(first_person(told.split("|"), "Ann")) == own


def test_a_name_begins_with_its_first_word_and_not_with_a_picture() -> None:
    told = ["Vex the Fox draws maps.", "Vex hums."]
    assert first_person(told, "\N{FOX FACE} Vex the Fox") == ["i draw maps.", "i hum."]
    assert first_person(["Ann hums."], "\N{FOX FACE}") == ["Ann hums."]


def test_who_the_user_is_stays_apart_from_who_the_character_is() -> None:
    text = "Ann is {{user}}'s nurse. Ann is wary of {{user}} and {{user}} trusts her. Character: Ann"
    found = character_of(Card({"name": "Ann", "description": text}))
    assert found.sentences == (
        "my name is Ann.",
        "i am your nurse.",
        "i am wary of you and you trust me.",
    )
    told = first_person(["You are Amy Wolf: savvy.", "She sings.", "Her dog loves her."], "Amy")
    assert told == ["i am Amy Wolf: savvy.", "i sing.", "my dog loves me."]
    assert first_person(["Hazel has hazel eyes."], "Hazel") == ["i have hazel eyes."]
    assert first_person(["Gloria = a spy.", "Gloria sings."], "Gloria, PA") == ["i am a spy.", "i sing."]


# -- files of other programs ----------------------------------------------------------------------------


def test_pygmalions_and_webuis_files(tmp_path: Path) -> None:
    pygmalion = {
        "char_name": "Ann",
        "char_persona": "A baker.",
        "char_greeting": "Hello!",
        "world_scenario": "a bakery",
        "example_dialogue": "You: hi\nAnn: hello",
    }
    found = character_of(parse_card(json.dumps(pygmalion), "file"))
    assert (found.name, found.description, found.scenario, found.greeting) == (
        "Ann",
        "A baker.",
        "a bakery",
        "Hello!",
    )
    assert found.examples == ((Turn(USER, "hi"), Turn(AGENT, "hello")),)
    path = tmp_path / "ann.yaml"
    path.write_text(
        "name: Ann\ngreeting: |-\n  Hello!\n\n  Bread?\ncontext: Ann is a baker who wakes early.\n"
    )
    told = character_of(load_card(path))
    assert (told.name, told.greeting) == ("Ann", "Hello!\n\nBread?")
    assert told.sentences == ("my name is Ann.", "i am a baker who wakes early.")


def test_agnais_file() -> None:
    agnai = {
        "kind": "character",
        "name": "Ann",
        "description": "for people",
        "persona": {"kind": "boostyle", "attributes": {"species": ["human"], "likes": ["tea", "bread"]}},
        "greeting": "Hi",
        "sampleChat": "{{char}}: yes",
        "scenario": "shop",
        "alternateGreetings": ["Yo"],
        "systemPrompt": "Be Ann.",
        "characterBook": {
            "kind": "memory",
            "entries": [{"keywords": ["cat"], "entry": "A cat.", "enabled": True}],
        },
        "insert": {"depth": 3, "prompt": "Ann yawns."},
    }
    found = character_of(parse_card(json.dumps(agnai), "file"))
    assert found.description == "species: human\nlikes: tea, bread"
    assert (found.greetings, found.system_prompt, found.creator_notes) == (
        ("Hi", "Yo"),
        "Be Ann.",
        "for people",
    )
    assert found.examples == ((Turn(AGENT, "yes"),),)
    assert (found.note, found.note_depth) == ("Ann yawns.", 3)
    assert found.book is not None
    assert found.book.entries[0].content == "A cat."
    without = character_of(parse_card(json.dumps({**agnai, "insert": {"depth": 3, "prompt": ""}}), "file"))
    assert without.note == ""


def packed(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def test_a_charx() -> None:
    card = read_card(packed("card.json", json.dumps(CARD).encode()), "ann.charx")
    assert character_of(card).called == "Annie"


@pytest.mark.parametrize(
    ("data", "where", "told"),
    [
        (packed("x.json", b"{}"), "a.charx", "the archive holds no card.json"),
        (packed("card.json", b" " * (17 * 2**20)), "a.charx", "over 16 MiB of text"),
        (b"PK\x03\x04 nothing", "a.charx", "the archive is damaged"),
        (b'{"name": "' + b"x" * (20 * 2**20) + b'"}', "a.json", "over 16 MiB of text"),
        (b"a: &x [1]\nb: *x\n", "a.yaml", "aliases are not read"),
        (b"name: Ann\n  x: [", "a.yaml", "malformed YAML"),
        (b"a: " + b"[" * 5_000, "a.yaml", "malformed YAML"),
        (b"name: " + b"x" * (2 * 2**20), "a.yaml", "over 1 MiB of YAML"),
        (b'{"name": "Dark", "blur": 1, "border_color": "red", "font": 2}', "a.json", "no character card"),
        (b'{"entries": {"0": {"key": ["a"], "content": "b"}}}', "a.json", "a lorebook and no card"),
    ],
)
def test_what_is_none_is_refused_in_a_line(data: bytes, where: str, told: str) -> None:
    with pytest.raises(DataError, match=f"^{where}.*{told}") as caught:
        read_card(data, where)
    assert "\n" not in str(caught.value)


# -- lorebooks ---------------------------------------------------------------------------------------------


def test_sillytaverns_world_info(tmp_path: Path) -> None:
    world = {
        "entries": {
            "0": {
                "uid": 0,
                "key": ["cat", "/kit+en/i"],
                "keysecondary": ["black"],
                "selective": True,
                "selectiveLogic": 3,
                "content": "The cat is called Tom.",
                "order": 50,
                "position": 4,
                "depth": 2,
                "disable": False,
                "scanDepth": 3,
                "matchWholeWords": True,
                "caseSensitive": None,
                "probability": 50,
                "useProbability": True,
                "preventRecursion": True,
                "comment": "the cat",
            },
            "1": {"key": [], "content": "off", "disable": True, "constant": True},
        }
    }
    path = tmp_path / "world.json"
    path.write_text(json.dumps(world))
    first, second = load_book(path).entries
    assert first == LoreEntry(
        "The cat is called Tom.",
        ("cat", "/kit+en/i"),
        ("black",),
        name="the cat",
        selective=True,
        order=50.0,
        priority=50.0,
        position="after_char",
        depth=2,
        scan_depth=3,
        whole_words=True,
        probability=50.0,
        logic="all",
        prevent_recursion=True,
    )
    assert (second.enabled, second.constant) == (False, True)


def test_decorators() -> None:
    content = (
        "@@depth 3\n@@unknown 1\n@@@activate_only_after 2\n@@scan_depth x\n@@additional_keys a,b\n"
        "@@keep_activate_after_match\n@@@activate\n\nThe text.\n@@not one"
    )
    entry = entry_of({"keys": ["k"], "content": content})
    assert (entry.depth, entry.after, entry.scan_depth, entry.additional_keys) == (3, 2, None, ("a", "b"))
    assert (entry.after_match, entry.activate) == ("keep", None)
    assert entry.content == "The text.\n@@not one"


def test_a_book_in_a_card_or_alone(tmp_path: Path) -> None:
    for name, value in (
        ("card", CARD),
        ("v3", {"spec": "lorebook_v3", "data": CARD["data"]["character_book"]}),
        ("bare", CARD["data"]["character_book"]),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(value))
        assert [entry.content for entry in load_book(path).entries] == ["A cat."], name
    path.write_text("[1]")
    with pytest.raises(DataError, match="no lorebook"):
        load_book(path)


# -- what cards in the wild have ----------------------------------------------------------------------


def test_what_is_written_beside_a_card_is_used_or_named() -> None:
    data = {
        "name": "Ann",
        "first_mes": "Hi!",
        "extensions": {"group_greetings": ["Hi all!"], "talkativeness": "0.3", "regex_scripts": [1]},
        "character_book": {
            "description": "of bread",
            "entries": [{"keys": ["bread"], "content": "warm", "extensions": {"sticky": 2, "cooldown": 0}}],
        },
    }
    document = {"spec": "chara_card_v3", "data": data, "talkativeness": "0.3", "creatorcomment": "be kind"}
    card = parse_card(json.dumps(document), "file")
    found = character_of(card)
    assert (found.group_greetings, found.talkativeness, found.creator_notes) == (("Hi all!",), 0.3, "be kind")
    assert unused(card) == [
        "character_book.description",
        "character_book.entries.sticky",
        "extensions.regex_scripts",
    ]


def test_a_note_and_an_entry_stand_in_the_words_of_a_role() -> None:
    note = {"depth_prompt": {"prompt": "Rain.", "depth": 2, "role": "user"}}
    entries = [
        {"keys": ["x"], "content": "@@depth 3\n@@role assistant\nSun.", "position": "after_char_defs"},
        {"keys": ["y"], "content": "Fog.", "extensions": {"position": 4, "depth": 1, "role": 1}},
    ]
    found = character_of(
        Card({"data": {"name": "Ann", "extensions": note, "character_book": {"entries": entries}}})
    )
    assert found.book is not None
    assert (found.note_role, [one.role for one in found.book.entries]) == ("user", ["assistant", "user"])
    again = character_of(card_of(replace(found, rest={})))
    assert (again.note_role, again.book) == (found.note_role, found.book)


def test_risus_and_novels_lorebooks() -> None:
    entry = {
        "key": "bread, rolls",
        "secondkey": "warm",
        "selective": True,
        "content": "Rye.",
        "insertorder": 7,
    }
    folder = {"mode": "folder", "key": "f", "content": "x"}
    risu = {"type": "risu", "ver": 1, "data": [entry, folder, {"alwaysActive": True, "content": "Sun."}]}
    found = read_book(risu, "file")
    first, second = found.entries
    assert (first.keys, first.secondary_keys, first.selective, first.order) == (
        ("bread", "rolls"),
        ("warm",),
        True,
        7,
    )
    assert second.constant
    novel = {
        "lorebookVersion": 5,
        "entries": [{"keys": ["/r+ye/i"], "text": "Rye.", "forceActivation": False}],
    }
    assert read_book(novel, "file").entries[0].content == "Rye."


@pytest.mark.parametrize(
    "other",
    [
        {"name": "Bug report", "description": "File one.", "title": "[bug]", "labels": ["bug"], "body": [1]},
        {"name": "stack", "services": {"web": {}}},
        {"name": "a script", "type": "script", "id": "1", "content": "...", "data": {"x": 1}},
        {"$schema": "x", "description": "of a capability", "permissions": [], "windows": []},
        {"type": "risu", "data": [{"key": "x", "content": "y"}]},
    ],
)
def test_what_has_a_name_and_is_nobody(other: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"no character card|a lorebook"):
        parse_card(json.dumps(other), "file")
