"""The page in Chromium, against a scripted server: what a person does, and what they see then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tested in a browser")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from convai.server.protocol.values import MemoryFact, NoteCard, PersonaCard
from convai.text.cards import card_png, parse_card
from tests.web.axe import issues
from tests.web.browser import PHONE, Page
from tests.web.fake_server import FakeServer
from tests.web.world import World, reply_tokens

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


def reply(text: str) -> str:
    return "".join(reply_tokens(text))


def begun(text: str) -> str:
    """As far as the gate lets a reply come."""
    return "".join(reply_tokens(text)[:3])


@pytest.fixture
def page(chromium: Chrome, server: FakeServer) -> Iterator[Page]:
    """The page, just opened. At the end nothing may have gone wrong in it."""
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    opened = Page(chromium, server.url)
    yield opened
    problems = list(opened.problems())
    opened.leave()
    assert problems == []


def test_a_chat(page: Page, world: World) -> None:
    page.say("do you have pets?")
    assert page.texts() == ["do you have pets?", reply("do you have pets?")]
    assert page.focused() == "message"
    page.say("  and   a garden? ")
    assert page.texts()[2:] == ["and a garden?", reply("and a garden?")]
    (conversation,) = world.conversations.values()
    assert page.chrome.current_url.endswith(f"#{conversation.id}")
    page.chrome.refresh()
    page.until(lambda: len(page.texts()) == 4)


def test_words_come_as_they_are_drawn_and_stop_stops(page: Page, world: World) -> None:
    world.gate.shut()
    page.type("tell me a story" + Keys.ENTER)
    page.until(lambda: page.texts() == ["tell me a story", begun("tell me a story")])
    assert page.find("#log").get_attribute("aria-busy") == "true"
    assert page.find("#submit").get_attribute("aria-label") == "Stop"
    drawn = world.tokens_computed
    page.click("#submit")
    page.until(page.idle)
    world.gate.open()
    assert page.find("#submit").get_attribute("aria-label") == "Send"
    assert page.all(".message")[-1].find_element(By.CSS_SELECTOR, ".tags").text == "stopped"
    assert world.tokens_computed <= drawn + 2
    page.act(-1, "continue")
    page.until(lambda: page.texts()[-1] == reply("tell me a story"))


COMPOSED = """
const [selector, key, safari] = arguments;
const field = document.querySelector(selector);
const tell = (type) => field.dispatchEvent(new CompositionEvent(type, { bubbles: true, data: "\u597d" }));
const press = (isComposing) => field.dispatchEvent(
  new KeyboardEvent("keydown", { key, keyCode: 229, isComposing, bubbles: true, cancelable: true }));
tell("compositionstart");
if (safari) { tell("compositionend"); press(false); } else { press(true); tell("compositionend"); }
"""
"""A word of an input method is taken over (Enter) or given up (Escape); Safari tells of the key last."""


@pytest.mark.parametrize("safari", [False, True])
def test_keys_of_an_input_method_are_not_the_pages(page: Page, safari: bool) -> None:
    page.say("hi")
    page.type("ni hao")
    for key in ("Enter", "Escape"):
        page.js(COMPOSED, "#message", key, safari)
    assert page.find("#message").get_attribute("value") == "ni hao"
    assert len(page.texts()) == 2
    page.act(0, "edit")
    page.find(".edit-field").send_keys(" there")
    for key in ("Enter", "Escape"):
        page.js(COMPOSED, ".edit-field", key, safari)
    assert page.find(".edit-field").get_attribute("value") == "hi there"
    page.find(".edit-field").send_keys(Keys.ENTER)
    page.until(lambda: page.texts() == ["hi there", reply("hi there")])


def test_regenerate_keeps_the_old_reply_and_branches_switch(page: Page) -> None:
    page.say("hi")
    first = page.all(".message")[-1].get_attribute("data-id")
    page.act(-1, "regenerate")
    page.until(lambda: page.shown(".branch") and page.idle())
    assert page.all(".message")[-1].get_attribute("data-id") != first
    assert page.find(".branch").text == "2/2"
    page.act(-1, "previous")
    page.until(lambda: page.all(".message")[-1].get_attribute("data-id") == first)
    assert page.find(".branch").text == "1/2"
    page.act(-1, "next")
    page.until(lambda: page.find(".branch").text == "2/2")


def test_an_edited_message_is_a_new_branch(page: Page) -> None:
    page.say("hi")
    page.say("do you cook?")
    page.act(2, "edit")
    field = page.find(".edit-field")
    assert field.get_attribute("value") == "do you cook?"
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL)
    field.send_keys("do you bake?" + Keys.ENTER)
    page.until(lambda: page.texts()[2:] == ["do you bake?", reply("do you bake?")])
    assert page.all(".message")[2].find_element(By.CSS_SELECTOR, ".branch").text == "2/2"
    page.act(2, "previous")
    page.until(lambda: page.texts()[2:] == ["do you cook?", reply("do you cook?")])


def test_an_edit_that_is_given_up_changes_nothing(page: Page) -> None:
    page.say("hi")
    page.act(0, "edit")
    page.find(".edit-field").send_keys("!" + Keys.ESCAPE)
    assert page.texts() == ["hi", reply("hi")]
    assert not page.all(".edit-field")
    assert page.focused() == "message"


def test_undo_takes_the_last_exchange_back(page: Page) -> None:
    page.say("hi")
    page.say("bye")
    page.click("#undo")
    page.until(lambda: page.texts() == ["hi", reply("hi")])
    page.click("#undo")
    page.until(lambda: page.texts() == [])
    page.until(lambda: page.shown("#welcome"))
    assert not page.find("#undo").is_enabled()


def test_suggestions_follow_a_reply_and_can_be_said(page: Page) -> None:
    page.say("hi")
    page.until(lambda: len(page.all("#chips button")) == 3)
    assert page.all("#chips button")[1].text == "I have a cat."
    page.all("#chips button")[1].click()
    page.until(lambda: page.texts()[2:] == ["I have a cat.", reply("I have a cat.")])
    assert page.focused() == "message"


def test_suggestions_can_be_switched_off_and_asked_for(page: Page) -> None:
    page.click('[data-panel="settings"]')
    page.click("#auto-suggest")
    page.say("hi")
    assert not page.shown("#chips")
    page.click("#suggest")
    page.until(lambda: len(page.all("#chips button")) == 3)


def test_what_anybody_types_is_shown_as_text(page: Page) -> None:
    hostile = '<img src=x onerror="document.title=1"><script>document.title=1</script>&amp;'
    page.click('[data-panel="persona"]')
    page.find("#persona-name").send_keys("<b>Eve</b>")
    page.click("#persona-save")
    page.until(lambda: not page.find("#persona-save").is_enabled())
    page.say(hostile)
    assert page.texts() == [hostile, reply(hostile)]
    page.until(lambda: page.find("#conversations .name").text == hostile)
    page.until(lambda: "<b>Eve</b>" in page.find("#subtitle").text)
    page.click('[data-tab="inspect"]')
    page.until(lambda: page.shown(".columns"))
    assert not page.js(
        "return document.querySelectorAll('#log img, #log b, #log script, #inspect img').length"
    )


def test_the_persona_is_shuffled_edited_and_saved(page: Page, world: World) -> None:
    page.until(lambda: page.all("#welcome-sentences li"))
    before = [item.text for item in page.all("#welcome-sentences li")]
    page.click("#welcome-shuffle")
    page.until(lambda: [item.text for item in page.all("#welcome-sentences li")] != before)
    page.click("#welcome-edit")
    field = page.find("#persona-sentences")
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL)
    field.send_keys("i run a bakery." + Keys.ENTER + "i get up early.")
    page.click("#persona-save")
    page.until(
        lambda: [i.text for i in page.all("#welcome-sentences li")] == ["i run a bakery.", "i get up early."]
    )
    page.say("hi")
    (conversation,) = world.conversations.values()
    assert conversation.persona.sentences == ("i run a bakery.", "i get up early.")
    page.click("#persona-shuffle")
    page.until(lambda: page.find("#persona-save").is_enabled())
    assert conversation.persona.sentences[0] == "i run a bakery."
    page.click("#persona-save")
    page.until(lambda: conversation.persona.sentences[0] != "i run a bakery.")


def test_a_persona_that_is_too_long_is_refused_in_words(page: Page) -> None:
    page.click('[data-panel="persona"]')
    page.js("document.getElementById('persona-sentences').value = 'x'.repeat(501)")
    page.find("#persona-sentences").send_keys("y")
    assert page.find("#persona-wrong").text == "Line 1 is too long: at most 500 characters."
    assert not page.find("#persona-save").is_enabled()


@pytest.mark.parametrize("kind", ["json", "png"])
def test_a_character_card_is_imported(page: Page, world: World, tmp_path: Path, kind: str) -> None:
    card = {
        "spec": "chara_card_v2",
        "data": {"name": "Mira", "description": "{{char}} is a pilot.", "creator_notes": "Only for you."},
    }
    file = tmp_path / f"mira.{kind}"
    text = json.dumps(card).encode()
    file.write_bytes(text if kind == "json" else card_png(parse_card(text, "")))
    page.click('[data-panel="persona"]')
    page.find("#card-file").send_keys(str(file))
    page.until(lambda: page.find("#persona-name").get_attribute("value") == "Mira")
    assert "Only for you." in page.find("#card-about").text
    page.click("#persona-save")
    page.say("hi")
    (conversation,) = world.conversations.values()
    assert conversation.persona.name == "Mira"
    assert "Only for you." not in " ".join(conversation.persona.sentences)
    assert "my name is Mira." in conversation.persona.sentences


def test_a_file_that_is_no_card_is_refused_in_words(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("{")
    page.click('[data-panel="persona"]')
    page.find("#card-file").send_keys(str(file))
    page.until(lambda: "malformed JSON" in page.find("#toasts").text)
    assert len([entry for entry in page.problems() if "400" in entry]) == 1


def test_settings_and_presets(page: Page, world: World) -> None:
    page.say("hi")
    (conversation,) = world.conversations.values()
    page.click('[data-panel="settings"]')
    page.click("#presets button:nth-child(5)")
    page.until(lambda: conversation.settings["candidates"] == 8)
    page.until(lambda: page.find('#presets [aria-pressed="true"]').text == "Best of 8")
    field = page.find("#set-temperature")
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL)
    field.send_keys("7" + Keys.ENTER)
    assert page.find("#set-temperature-wrong").text == "Use a number from 0 to 2."
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL)
    field.send_keys("1.2" + Keys.ENTER)
    page.until(lambda: conversation.settings["temperature"] == 1.2)
    page.until(lambda: not page.all('#presets [aria-pressed="true"]'))


def test_inspect_shows_input_probabilities_and_candidates(page: Page) -> None:
    page.click('[data-panel="settings"]')
    page.click("#presets button:nth-child(5)")
    page.say("hi")
    page.act(-1, "inspect")
    page.until(lambda: page.shown(".columns"))
    page.until(lambda: page.all(".group.reply"))
    parts = [str(group.get_attribute("class")).split()[-1] for group in page.all(".group")]
    assert list(dict.fromkeys(parts)) == ["persona", "user", "reply"]
    positions = [int(cell.text) for cell in page.all(".columns .position")]
    assert positions == list(range(len(positions)))
    assert {cell.text for cell in page.all(".columns .segment")} == {"speaker1", "speaker2"}
    tokens = page.all(".token")
    assert " ".join(token.text for token in tokens) == reply("hi")
    tokens[0].click()
    page.keys(Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement === document.querySelectorAll('.token')[1]")
    drawn = page.find(".about-token .drawn").text.split("\n")
    assert drawn[0] == "said"
    assert drawn[1].endswith("%")
    assert [row.text for row in page.all(".candidates .badge")] == ["chosen"]
    scores = [float(cell.text) for cell in page.all(".candidates .score")]
    assert len(scores) == 8
    assert scores == sorted(scores, reverse=True)


def test_the_gauge_tells_where_the_context_went(page: Page) -> None:
    page.say("hi")
    page.act(-1, "inspect")
    page.until(lambda: page.shown(".gauge"))
    assert page.find(".gauge").get_attribute("aria-label") == "211 of 1024 tokens are taken"
    legend = [item.text.split("\n") for item in page.all(".gauge-legend li")]
    assert legend == [["Persona", "40"], ["Lore", "30"], ["History", "100"], ["Reply", "41"], ["Free", "813"]]
    assert "No room was left for 2 older turns, 1 added text." in page.find("#inspect").text
    added = [item.text.split("\n") for item in page.all(".added li")]
    assert added == [
        ["Lore", "The mill burnt down.", "mill · depth 2"],
        ["Lore", "The <b>miller</b> left.", "miller · no room"],
    ]


def test_a_reply_is_drawn_anew_from_one_of_its_words(page: Page, world: World) -> None:
    page.say("hi")
    page.act(-1, "inspect")
    page.until(lambda: page.shown(".token"))
    page.all(".token")[2].click()
    page.find(".about-token button.soft").click()
    page.until(lambda: page.idle() and page.all(".branch"))
    (conversation,) = world.conversations.values()
    assert page.texts()[-1].startswith("You said")
    page.act(-1, "inspect")
    page.until(lambda: page.all(".token"))
    page.all(".token")[1].click()
    page.find(".about-token .bars button").click()
    page.until(lambda: page.texts()[-1].startswith("You maybe") and page.idle())
    assert len(conversation.tree) == 4


def test_lines_go_on_with_what_was_typed(page: Page) -> None:
    page.find("#message").send_keys("by the way,")
    page.click("#suggest")
    page.until(lambda: len(page.all("#chips button")) == 3)
    page.all("#chips button")[1].click()
    page.until(lambda: page.texts()[:1] == ["by the way, I have a cat."] and page.idle())
    assert page.find("#message").get_attribute("value") == ""


def test_what_is_remembered_is_shown_corrected_and_forgotten(page: Page, world: World) -> None:
    world.facts = [
        MemoryFact(id="lima", text="i live in lima.", said="i live in lima.", time=1, instead="oslo"),
        MemoryFact(id="oslo", text="i moved to oslo.", said="no, i moved to oslo.", time=2),
    ]

    def facts() -> list[str]:
        return [fact.text for fact in page.all("#facts .fact")]

    page.click('[data-panel="you"]')
    page.until(lambda: facts() == ["i moved to oslo."])
    page.click("#memory-history")
    page.until(lambda: facts() == ["i moved to oslo.", "i live in lima."])
    page.find("#new-fact").send_keys("i <b>row</b>." + Keys.ENTER)
    page.until(lambda: facts()[:1] == ["i <b>row</b>."])
    assert page.find("#new-fact").get_attribute("value") == ""
    page.click('[aria-label="Correct: i <b>row</b>."]')
    page.find('#facts [aria-label="The fact"]').send_keys(Keys.CONTROL + "a" + Keys.NULL)
    page.find('#facts [aria-label="The fact"]').send_keys("i row." + Keys.ENTER)
    page.until(lambda: facts()[:1] == ["i row."])
    page.click('[aria-label="Bring back: i live in lima."]')
    page.until(lambda: not page.all("#facts .past"))
    page.click('[aria-label="Forget: i moved to oslo."]')
    page.until(lambda: facts() == ["i row.", "i live in lima."])
    page.click("#memory-on")
    page.until(lambda: not world.remembers)
    page.click("#forget-all")
    page.click("#confirm-ok")
    page.until(lambda: facts() == [] and page.shown("#no-facts"))


CARD = {
    "name": "Ann",
    "first_mes": "Morning!",
    "alternate_greetings": ["Closed."],
    "creator_notes": "Be kind.",
}


def press(page: Page, selector: str) -> None:
    """Click what may be drawn anew at any moment."""
    page.until(lambda: page.js(f"document.querySelector('{selector}').click(); return true"))


def test_a_character_greets_and_has_other_greetings(page: Page, world: World, tmp_path: Path) -> None:
    page.click('[data-panel="persona"]')
    (tmp_path / "ann.json").write_text(json.dumps(CARD))
    page.find("#character-file").send_keys(str(tmp_path / "ann.json"))
    page.until(lambda: page.texts() == ["Morning!"])
    page.until(lambda: "Be kind." in page.find("#card-about").text)
    assert "tags" in page.find("#card-about").text
    assert page.find("#title").text == "Ann"
    options = [option.text for option in page.all("#greeting option")]
    assert options == ["1. Morning!", "2. Closed."]
    page.all("#greeting option")[1].click()
    page.until(lambda: page.texts() == ["Closed."])
    page.click("#close-panel")
    page.say("hi")
    page.until(lambda: page.find("#title").text == "hi")
    page.click('[data-panel="persona"]')
    assert not page.shown("#greeting-box"), "something was said"
    page.until(lambda: page.all("#characters .open"))
    press(page, "#characters .open")
    page.until(lambda: page.texts() == ["Morning!"])
    assert len(world.conversations) == 2
    page.click('[aria-label="Delete Ann"]')
    page.until(lambda: not page.all("#characters li"))


def test_the_user_note_and_lorebooks(page: Page, world: World, tmp_path: Path) -> None:
    page.click('[data-panel="you"]')
    page.find("#user-name").send_keys("Bob")
    page.find("#user-sentences").send_keys("i am a smith.\n i <b>row</b>. ")
    page.click("#user-save")
    page.click('[data-tab="persona"]')
    page.find("#note-text").send_keys("It rains." + Keys.TAB)
    page.find("#note-depth").send_keys(Keys.CONTROL + "a" + Keys.NULL)
    page.find("#note-depth").send_keys("2" + Keys.TAB)
    (tmp_path / "grain.json").write_text(json.dumps({"name": "grain", "entries": {"0": {}}}))
    page.find("#book-file").send_keys(str(tmp_path / "grain.json"))
    page.until(lambda: page.all("#books input:checked"))
    page.click("#close-panel")
    page.say("hi")
    (conversation,) = world.conversations.values()
    scene = conversation.scene
    assert scene.user == PersonaCard(name="Bob", sentences=("i am a smith.", "i <b>row</b>."))
    assert scene.note == NoteCard(text="It rains.", depth=2)
    assert [(book.name, book.entries) for book in scene.books] == [("grain", 1)]
    page.click('[data-panel="persona"]')
    page.until(lambda: page.all("#books input:checked"))
    press(page, "#books input")
    page.until(lambda: conversation.scene.books == ())
    page.click('[data-tab="you"]')
    page.click("#user-nobody")
    page.until(lambda: conversation.scene.user == PersonaCard())
    press(page, "#users .open")
    page.until(
        lambda: (
            conversation.scene.user.name == "Bob" and page.find("#user-name").get_attribute("value") == "Bob"
        )
    )
    page.click("#close-panel")
    page.keys(Keys.ALT, "n")
    page.until(lambda: page.shown("#welcome"))  # before what is there is counted
    page.say("hello")
    assert list(world.conversations.values())[-1].scene.user.name == "Bob", "new chats begin with it"
    assert [one["name"] for one in world.you.values()] == ["Bob"], "once, and by the server"
    page.click('[data-panel="you"]')
    page.click('[aria-label="Drop Bob"]')
    page.until(lambda: not world.you and not page.all("#users li"))


def test_moods_are_marked_quietly_and_told_in_full(page: Page, world: World) -> None:
    world.reads = True
    page.say("i love my garden")
    page.until(lambda: len(page.all(".mark.emotion")) == 2)
    mark = page.all(".mark.emotion")[0]
    assert mark.text == "❤"
    assert mark.get_attribute("aria-label") == "Mood: love 62 %, joy 20 %, ❤ 41 %, 🐶 20 %"
    assert not page.shown("#tip")
    ActionChains(page.chrome).move_to_element(mark).perform()
    page.until(lambda: page.shown("#tip"))
    assert [row.text for row in page.all("#tip .bars li")] == [
        "love\n62 %",
        "joy\n20 %",
        "neutral\n10 %",
        "anger\n1 %",
    ]
    assert [word.text for word in page.all("#tip .attended span")] == ["i", "love", "my", "garden"]
    shades = page.js(
        "return [...document.querySelectorAll('#tip .attended span')].map((e) => e.style.cssText)"
    )
    assert shades[3] == "--p: 1;"  # the most looked at
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.shown("#tip"))
    page.js("arguments[0].focus()", page.all(".mark.emotion")[1])
    page.until(lambda: page.shown("#tip"))
    page.keys(Keys.TAB)
    page.until(lambda: not page.shown("#tip"))


def test_who_is_meant_is_underlined_and_said(page: Page, world: World) -> None:
    world.reads = True
    page.say("🙂 my sister's dog loves my sister")
    page.say("she feeds him, and he is happy")
    page.until(lambda: len(page.all(".message.user .mention")) == 5)
    assert page.texts()[0] == "🙂 my sister's dog loves my sister"
    found = [(one.text, one.get_attribute("data-main")) for one in page.all(".message.user .mention")]
    assert found == [
        ("my sister", "my sister"),
        ("'s dog", "my sister's dog"),
        ("my sister", "my sister"),
        ("she", "my sister"),
        ("he", "my sister's dog"),
    ]
    colours = page.js(
        "return [...document.querySelectorAll('.message.user .mention')]"
        ".map((e) => getComputedStyle(e).textDecorationColor)"
    )
    assert colours[0] == colours[2] == colours[3] != colours[1] == colours[4]
    ActionChains(page.chrome).move_to_element(page.all(".message.user .mention")[3]).perform()
    page.until(lambda: page.shown("#tip") and page.find("#tip").text == "my sister")
    lit = "return [...document.querySelectorAll('.message.user .looked-at')].map((e) => e.textContent)"
    assert page.js(lit) == ["my sister", "my sister", "she"]
    mark = page.all(".message.user .mark.meant")[-1]
    assert mark.get_attribute("aria-label") == "Who is meant: she: my sister; he: my sister's dog"
    page.js("arguments[0].focus()", mark)
    page.until(lambda: "he means my sister's dog" in page.find("#tip").text.split("\n"))


def test_marks_can_be_switched_off(page: Page, world: World) -> None:
    world.reads = True
    page.say("my sister bakes")
    page.say("she is good at it")
    page.until(lambda: page.all(".mark.emotion") and page.all(".mention"))
    page.click('[data-panel="settings"]')
    page.click("#show-emotion")
    page.until(lambda: not page.all(".mark.emotion") and page.all(".mention"))
    page.click("#show-coref")
    page.until(lambda: not page.all(".mention") and not page.all(".mark"))
    assert page.texts()[2] == "she is good at it"
    page.chrome.refresh()
    page.until(lambda: page.texts()[2:3] == ["she is good at it"])
    assert not page.find("#show-emotion").is_selected()


def test_a_message_without_a_reply_can_ask_for_one(page: Page, world: World) -> None:
    page.say("hi")
    (conversation,) = world.conversations.values()
    id = conversation.leaf or ""
    conversation.leaf = conversation.tree.pop(id).parent
    page.chrome.refresh()
    page.until(lambda: page.texts() == ["hi"])
    assert page.find(".message.last .tags").text == "no reply"
    page.act(-1, "answer")
    page.until(lambda: page.texts() == ["hi", reply("hi")])
    assert not page.shown(".message.user .tags")


def test_the_list_searches_opens_renames_and_deletes(page: Page, world: World) -> None:
    page.say("about dogs")
    page.click("#new-chat")
    page.until(lambda: page.shown("#welcome"))
    page.say("about cats")
    page.until(lambda: len(page.all("#conversations li")) == 2)
    page.find("#search").send_keys("dogs")
    page.until(lambda: [row.text for row in page.all("#conversations .name")] == ["about dogs"])
    page.click("#conversations .open")
    page.until(lambda: page.texts()[:1] == ["about dogs"])
    page.click("#open-menu")
    page.click('[data-do="rename"]')
    page.find("#rename-text").send_keys("Pets" + Keys.ENTER)
    page.until(lambda: page.find("#title").text == "Pets")
    page.find("#search").send_keys(Keys.CONTROL + "a" + Keys.NULL)
    page.find("#search").send_keys(Keys.BACKSPACE)
    page.until(lambda: [row.text for row in page.all("#conversations .name")] == ["about cats", "Pets"])
    page.click("#open-menu")
    page.click('[data-do="delete"]')
    page.until(lambda: page.shown("#confirm"))
    page.click('#confirm [value="cancel"]')
    assert len(world.conversations) == 2
    page.click("#open-menu")
    page.click('[data-do="delete"]')
    page.click("#confirm-ok")
    page.until(lambda: [row.text for row in page.all("#conversations .name")] == ["about cats"])
    page.until(lambda: page.shown("#welcome"))


def test_a_conversation_goes_out_and_comes_in(page: Page, world: World, tmp_path: Path) -> None:
    page.say("hi")
    page.chrome.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    for kind in ("json", "text"):
        page.click("#open-menu")
        page.click(f'[data-do="export-{kind}"]')
    page.until(lambda: {path.name for path in tmp_path.iterdir()} == {"hi.json", "hi.txt"})
    assert (tmp_path / "hi.txt").read_text().startswith("hi\n")
    page.find("#import-file").send_keys(str(tmp_path / "hi.json"))
    page.until(lambda: len(world.conversations) == 2)
    page.until(lambda: page.texts() == ["hi", reply("hi")] and len(page.all("#conversations li")) == 2)


DROP = """
const [name, text] = arguments;
const data = new DataTransfer();
data.items.add(new File([text], name));
const event = (type) => new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
const tell = (type) => document.body.dispatchEvent(event(type));
tell("dragenter");
const covered = !document.getElementById("drop").hidden;
tell("drop");
return covered && document.getElementById("drop").hidden;
"""


def test_a_file_can_be_dropped_on_the_page(page: Page, world: World) -> None:
    assert page.js(DROP, "ann.json", json.dumps(CARD))
    page.until(lambda: page.texts() == ["Morning!"] and page.shown("#card-about"))
    page.js(DROP, "grain.json", json.dumps({"name": "grain", "entries": {"0": {}}}))
    page.until(lambda: page.all("#books input:checked"))
    page.js(DROP, "chat.json", json.dumps({"format": "convai.conversation", "messages": ["hi", "hello"]}))
    page.until(lambda: page.texts() == ["hi", "hello"])
    page.js(DROP, "song.mp3", "la")
    page.until(lambda: "song.mp3: bring a character card" in page.find("#toasts").text)
    assert len(world.conversations) == 2


def test_all_conversations_of_an_export_come_in(page: Page, world: World, tmp_path: Path) -> None:
    listed = [{"mapping": {}, "update_time": i, "messages": [f"hi {i}", "hello"]} for i in range(3)]
    (tmp_path / "conversations.json").write_text(json.dumps(listed))
    page.find("#import-file").send_keys(str(tmp_path / "conversations.json"))
    page.until(lambda: page.texts() == ["hi 2", "hello"])
    assert len(world.conversations) == 3
    assert "3 conversations were imported." in page.find("#toasts").text


def test_a_server_that_dies_and_comes_back(page: Page, world: World, server: FakeServer) -> None:
    """In mid-reply: what was drawn stays, what is typed meanwhile is sent once, nothing is doubled."""
    page.say("hi")
    world.gate.shut()
    page.type("go on" + Keys.ENTER)
    page.until(lambda: page.texts()[2:] == ["go on", begun("go on")])
    page.type("and then?" + Keys.ENTER)
    page.until(lambda: "A reply is being written" in page.find("#toasts").text)
    server.kill()
    world.gate.open()
    page.until(lambda: page.shown("#banner"))
    page.keys(Keys.ENTER)
    page.until(lambda: "your text stays here" in page.find("#toasts").text)
    assert page.find("#message").get_attribute("value") == "and then?"
    server.start()
    page.hurry()
    page.until(lambda: not page.shown("#banner"))
    page.until(lambda: page.find(".message.last .tags").text == "stopped")
    assert page.texts() == ["hi", reply("hi"), "go on", begun("go on")]
    page.act(-1, "continue")
    page.until(lambda: page.texts()[-1] == reply("go on"))


def test_what_is_sent_while_the_server_is_away_arrives_once(
    page: Page, world: World, server: FakeServer
) -> None:
    page.say("hi")
    server.kill()
    page.until(lambda: page.shown("#banner"))
    page.type("still there?" + Keys.ENTER)
    page.until(lambda: page.shown(".ghosted"))
    assert "What you wrote will be sent then." in page.find("#banner").text
    server.start()
    page.until(lambda: page.texts()[2:] == ["still there?", reply("still there?")])
    page.until(lambda: not page.shown("#banner"))
    assert len(world.sends) == 2


def test_a_busy_server_is_asked_again(page: Page, world: World) -> None:
    world.overloaded = 2
    page.say("hi")
    assert page.texts() == ["hi", reply("hi")]
    assert len(world.sends) == 3
    assert len(set(world.sends)) == 1


def test_a_token_is_asked_for_and_kept_as_long_as_was_asked(
    chromium: Chrome, server: FakeServer, world: World
) -> None:
    world.token = "a secret of sixteen"
    page = Page(chromium, server.url)
    page.until(lambda: page.shown("#token"))
    page.find("#token-text").send_keys("wrong" + Keys.ENTER)
    page.until(lambda: page.shown("#token") and page.find("#token-text").get_attribute("value") == "")
    page.find("#token-text").send_keys(world.token + Keys.ENTER)
    page.until(lambda: not page.shown("#token") and not page.shown("#banner"))
    page.chrome.refresh()
    page.say("hi")
    assert page.texts() == ["hi", reply("hi")]
    # another tab is another session: it asks again, and now the token is to be kept
    page.js("sessionStorage.clear()")
    page.chrome.refresh()
    page.until(lambda: page.shown("#token"))
    assert not page.js("return document.getElementById('token-keep').checked")
    page.click("#token-keep")
    page.find("#token-text").send_keys(world.token + Keys.ENTER)
    page.until(lambda: not page.shown("#token") and not page.shown("#banner"))
    page.js("sessionStorage.clear()")
    page.chrome.refresh()
    page.until(lambda: not page.shown("#banner"))
    assert not page.shown("#token")
    page.click("[data-panel=you]")
    page.until(lambda: page.shown("#sign-out"))
    page.click("#sign-out")
    page.until(lambda: page.shown("#token"))
    assert page.js(
        "return [localStorage.getItem('convai.token'), sessionStorage.getItem('convai.token')]"
    ) == [
        None,
        None,
    ]
    page.leave()


def test_a_token_that_is_kept_and_not_taken_any_more_is_dropped(
    chromium: Chrome, server: FakeServer, world: World
) -> None:
    world.token = "a secret of sixteen"
    page = Page(chromium, server.url)
    page.until(lambda: page.shown("#token"))
    page.js("localStorage.setItem('convai.token', 'one of last year')")
    page.chrome.refresh()
    page.until(lambda: page.shown("#token"))
    assert page.js("return localStorage.getItem('convai.token')") is None
    page.leave()


def test_two_windows_show_the_same(page: Page, server: FakeServer, world: World) -> None:
    page.say("hi")
    first = page.chrome.current_window_handle
    page.chrome.switch_to.new_window("tab")
    (conversation,) = world.conversations
    other = Page(page.chrome, f"{server.url}#{conversation}")
    other.until(lambda: other.texts() == ["hi", reply("hi")])
    other.say("and you?")
    other.chrome.close()
    page.chrome.switch_to.window(first)
    page.until(lambda: page.texts()[2:] == ["and you?", reply("and you?")])


def test_on_a_phone(page: Page) -> None:
    page.resize(*PHONE)
    page.until(lambda: not page.shown("#sidebar"))
    page.say("hi, how are you today? this is a somewhat longer message, which has to wrap.")
    assert page.js("return document.documentElement.scrollWidth") <= PHONE[0]
    page.click("#open-sidebar")
    page.until(lambda: page.shown("#sidebar"))
    assert page.focused() == "close-sidebar"
    assert page.js("return document.getElementById('chat').inert")
    page.until(lambda: page.all("#conversations .open"))
    page.click("#conversations .open")
    page.until(lambda: not page.shown("#sidebar"))
    for name in ("persona", "settings", "inspect"):
        page.click(f'[data-panel="{name}"]')
        page.until(lambda: page.shown("#panel"))
        assert page.js("return document.documentElement.scrollWidth") <= PHONE[0]
        page.click("#close-panel")
        page.until(lambda: not page.shown("#panel"))
    small = page.js(
        "return [...document.querySelectorAll('.bar button, .composer button, .actions button')]"
        ".filter((e) => e.checkVisibility() && (e.offsetWidth < 40 || e.offsetHeight < 38))"
        ".map((e) => e.outerHTML)"
    )
    assert small == []


def background(page: Page) -> str:
    return str(page.js("return getComputedStyle(document.body).backgroundColor"))


def test_dark_as_the_system_and_by_choice(page: Page) -> None:
    page.media(prefers_color_scheme="light")
    light = background(page)
    page.media(prefers_color_scheme="dark")
    dark = background(page)
    assert light != dark
    page.click("#theme")
    assert background(page) == light
    page.click("#theme")
    page.media(prefers_color_scheme="light")
    assert background(page) == dark
    page.chrome.refresh()
    page.until(lambda: page.shown("#welcome"))
    assert background(page) == dark
    page.click('[data-panel="settings"]')
    page.find("#theme-choice").send_keys("Li")
    assert background(page) == light


def test_everything_by_the_keyboard(page: Page, world: World) -> None:
    """Write, stop, continue, regenerate, branches, edit, undo, suggestions, panels, menu, list."""
    assert page.focused() == "message"
    world.gate.shut()
    page.keys("h")
    page.keys("i")
    page.keys(Keys.ENTER)
    page.until(lambda: page.texts() == ["hi", begun("hi")])
    page.keys(Keys.ESCAPE)
    page.until(page.idle)
    world.gate.open()
    page.keys(Keys.ALT, "c")
    page.until(lambda: page.texts()[-1] == reply("hi"))
    page.keys(Keys.ALT, "r")
    page.until(lambda: page.shown(".branch") and page.find(".branch").text == "2/2" and page.idle())
    page.keys(Keys.ALT, ",")
    page.until(lambda: page.find(".branch").text == "1/2")
    page.keys(Keys.ALT, ".")
    page.until(lambda: page.find(".branch").text == "2/2")
    assert page.focused() == "message"
    page.keys(Keys.ARROW_UP)
    page.until(lambda: page.shown(".edit-field"))
    page.keys("!")
    page.keys(Keys.ENTER)
    page.until(lambda: page.texts() == ["hi!", reply("hi!")])
    page.until(lambda: page.shown("#chips button"))
    page.keys(Keys.SHIFT, Keys.TAB)
    assert page.focused() == "chip"
    page.keys(Keys.ENTER)
    page.until(lambda: page.texts()[2:] == ["Tell me more!", reply("Tell me more!")])
    page.keys(Keys.ALT, "z")
    page.until(lambda: page.texts() == ["hi!", reply("hi!")])
    for key, pane in (("p", "persona"), ("y", "you"), ("s", "settings"), ("i", "inspect")):
        page.keys(Keys.ALT, key)
        page.until(lambda pane=pane: page.focused() == f"tab-{pane}")  # type: ignore[misc]  # bound now
        page.keys(Keys.ALT, key)
        page.until(lambda: not page.shown("#panel") and page.focused() == "message")
    page.keys(Keys.ALT, "p")
    page.keys(Keys.ARROW_RIGHT)
    assert page.focused() == "tab-you"
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.shown("#panel"))
    page.js("document.getElementById('open-menu').focus()")
    page.keys(Keys.ENTER)
    page.until(lambda: page.shown("#menu"))
    page.keys(Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.dataset.do") == "export-json"
    page.keys(Keys.ESCAPE)
    assert page.focused() == "open-menu"
    page.keys("?")
    page.until(lambda: page.shown("#shortcuts"))
    assert "Regenerate the last reply" in page.find("#shortcuts").text
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.shown("#shortcuts"))
    page.keys(Keys.ALT, "n")
    page.until(lambda: page.shown("#welcome") and page.focused() == "message")
    page.keys(Keys.ALT, "l")
    page.until(lambda: page.focused() == "search")
    page.keys(Keys.TAB)
    page.until(lambda: page.focused() == "open")
    page.keys(Keys.ENTER)
    page.until(lambda: page.texts()[:1] == ["hi!"])


def test_focus_stays_when_what_had_it_goes(page: Page) -> None:
    page.say("hi")
    page.act(-1, "regenerate")
    page.until(lambda: page.shown(".branch") and page.idle())
    assert page.focused() == "message"
    page.act(-1, "previous")
    page.until(lambda: page.find(".branch").text == "1/2")
    assert page.focused() == "message"


@pytest.mark.parametrize(("scheme", "width"), [("light", "desktop"), ("dark", "phone")])
def test_axe_finds_no_serious_issue(page: Page, scheme: str, width: str) -> None:
    """axe-core on the page in every state that shows something new."""
    page.media(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    if width == "phone":
        page.resize(*PHONE)
    found = issues(page.chrome, "welcome")
    page.say("hi")
    page.act(-1, "regenerate")
    page.until(lambda: page.shown(".branch") and page.idle() and page.shown("#chips"))
    found += issues(page.chrome, "chat")
    for name, part in (("persona", "#keep"), ("settings", "#presets"), ("inspect", ".columns")):
        page.click(f'[data-panel="{name}"]')
        page.until(lambda part=part: page.shown(part))  # type: ignore[misc]  # bound now, not at the call
        found += issues(page.chrome, name)
        page.click("#close-panel")
    page.act(0, "edit")
    found += issues(page.chrome, "edit")
    page.find(".edit-field").send_keys(Keys.ESCAPE)
    page.keys("x")
    page.js("document.getElementById('shortcuts').showModal()")
    found += issues(page.chrome, "shortcuts")
    assert found == []
