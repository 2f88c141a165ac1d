"""The page on `convai serve` as it is shipped: a process of its own, the embedded model, a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tested in a browser")

from selenium.webdriver.common.keys import Keys

from convai.text.cards import card_png, parse_card
from tests.web.axe import issues
from tests.web.browser import PHONE, Page
from tests.web.real_server import RealServer

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow
LONG = 300
"""Tokens of a reply that takes long enough to be looked at while it is written."""
WATCH = """
const [said, words, press, done] = arguments;
const log = document.querySelector("#log");
const look = () => {
  const shown = [...document.querySelectorAll(".message .text")].map((e) => e.textContent);
  const [before, reply] = shown.slice(-2);
  if (before !== said || !reply || reply.trim().split(/\\s+/).length <= words) return;
  seen.disconnect();
  const busy = log.ariaBusy === "true";
  if (press && busy) document.querySelector(press).click();
  done([reply, busy]);
};
const seen = new MutationObserver(look);
seen.observe(log, { subtree: true, childList: true, characterData: true });
look();
"""
"""Looks at the reply from within the page: a round trip of the driver may take as long as the whole reply."""


@pytest.fixture(scope="module")
def server(chromium: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """Started once: loading the model takes some seconds."""
    made = RealServer(tmp_path_factory.mktemp("server"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def page(chromium: Chrome, server: RealServer) -> Iterator[Page]:
    """A new chat. At the end nothing may have gone wrong in the page."""
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    opened = Page(chromium, server.url)
    opened.until(lambda: opened.all("#welcome-sentences li"))
    yield opened
    problems = list(opened.problems())
    opened.leave()
    assert problems == []


def set_number(page: Page, name: str, value: int) -> None:
    """Type a decoding setting; the settings are open."""
    field = page.find(f"#set-{name}")
    field.send_keys(Keys.CONTROL + "a" + Keys.NULL)
    field.send_keys(str(value) + Keys.ENTER)


def make_replies_long(page: Page) -> None:
    """From the next one on, each has at least LONG tokens."""
    page.click('[data-panel="settings"]')
    set_number(page, "max_length", LONG + 10)
    page.click("#settings-form summary")
    set_number(page, "min_length", LONG)
    page.click("#close-panel")


def say_and_look(page: Page, text: str, press: str = "") -> tuple[str, bool]:
    """Say something, wait for some words of the reply, press a button; the words, and if there were more."""
    page.type(text + Keys.ENTER)
    reply, busy = page.chrome.execute_async_script(WATCH, text, 3, press)
    return str(reply), bool(busy)


def test_a_chat_its_suggestions_and_the_list(page: Page) -> None:
    page.say("hi, how are you?")
    assert page.texts()[1]
    page.until(lambda: len(page.all("#chips button")) == 3)
    lines = [chip.text for chip in page.all("#chips button")]
    assert len({line.lower() for line in lines}) == 3
    page.all("#chips button")[0].click()
    page.until(lambda: page.texts()[2:3] == lines[:1] and len(page.texts()) == 4 and page.idle())
    first = "return document.querySelector('#conversations {}')?.textContent"  # the list may not be drawn yet
    page.until(lambda: page.js(first.format(".name")) == "hi, how are you?")
    page.until(lambda: page.js(first.format(".about")) == page.texts()[-1])
    told = page.texts()
    page.chrome.refresh()
    page.until(lambda: page.texts() == told)


def test_replies_and_messages_have_versions(page: Page) -> None:
    page.say("what do you do for a living?")
    page.say("do you have any pets?")
    first = page.texts()
    page.act(-1, "regenerate")
    page.until(lambda: page.shown(".branch") and page.find(".branch").text == "2/2" and page.idle())
    assert page.texts()[-1] != first[-1]  # what stood there may not come again
    page.act(-1, "previous")
    page.until(lambda: page.texts() == first)
    page.act(0, "edit")
    page.find(".edit-field").send_keys(Keys.CONTROL + "a" + Keys.NULL)
    page.find(".edit-field").send_keys("where do you live?" + Keys.ENTER)
    page.until(lambda: page.texts()[:1] == ["where do you live?"] and len(page.texts()) == 2 and page.idle())
    page.act(0, "previous")
    page.until(lambda: page.texts()[:3] == first[:3])  # and the latest reply
    page.click("#undo")
    page.until(lambda: page.texts() == first[:2])


def test_stop_and_continue(page: Page) -> None:
    make_replies_long(page)
    for text in ("tell me about your family.", "and about your friends?", "about your home?", "your town?"):
        begun, busy = say_and_look(page, text, press="#submit")
        page.until(page.idle)
        tags = [found.text for found in page.all(".message.last .tags")]
        if tags == ["stopped"]:
            break
        assert not busy or tags in ([], [""])  # the model was done before the button: it goes unused
    else:
        pytest.fail("no reply was stopped")
    stopped = page.texts()[-1]
    assert stopped.startswith(begun)
    page.act(-1, "continue")
    page.until(lambda: len(page.texts()[-1]) > len(stopped))
    assert page.texts()[-1].startswith(stopped)
    page.keys(Keys.ESCAPE)
    page.until(page.idle)


@pytest.mark.parametrize("kind", ["json", "png"])
def test_a_character_card_becomes_the_persona(page: Page, tmp_path: Path, kind: str) -> None:
    card = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {"name": "Mira", "description": "{{char}} is a pilot.", "creator_notes": "Only for you."},
    }
    file = tmp_path / f"mira.{kind}"
    text = json.dumps(card).encode()
    file.write_bytes(text if kind == "json" else card_png(parse_card(text, "")))
    page.click('[data-panel="persona"]')
    page.find("#card-file").send_keys(str(file))
    page.until(lambda: page.find("#persona-name").get_attribute("value") == "Mira")
    page.click("#persona-save")
    page.say("who are you?")
    page.until(lambda: "Mira" in page.find("#subtitle").text)
    page.act(-1, "inspect")
    page.until(lambda: page.all(".group.persona"))
    read = "".join(cell.text for cell in page.all(".group.persona .word")).replace("·", " ")
    assert "my name is mira." in read.lower()
    assert "pilot" in read
    assert "only for you" not in read.lower()


def test_inspect_shows_what_the_model_read_and_might_have_said(page: Page) -> None:
    page.click('[data-panel="settings"]')
    page.click("#presets button:nth-child(5)")  # best of 8
    page.say("do you like music?")
    page.act(-1, "inspect")
    page.until(lambda: page.all(".group.reply"))
    parts = [str(group.get_attribute("class")).split()[-1] for group in page.all(".group")]
    parts = [part for part in parts if part != "memory"]  # of what other tests told the same server
    assert list(dict.fromkeys(parts)) == ["persona", "user", "reply"]
    cells: list[str] = page.js(
        "return [...document.querySelectorAll('.columns .position')].map((e) => e.textContent)"
    )
    assert [int(cell) for cell in cells] == list(range(len(cells)))
    assert len(page.all(".candidates .score")) == 8
    assert page.find(".candidates .chosen .words").text == page.texts()[-1]
    tokens = page.all(".token")
    assert tokens[-1].text == "end"
    tokens[0].click()
    page.keys(Keys.ARROW_RIGHT)
    drawn = page.all(".about-token .drawn")
    assert [row.text.split("\n")[0] for row in drawn] == [page.all(".token")[1].text]
    shares = [float(cell.text.split()[0]) for cell in page.all(".about-token .p")]
    assert len(shares) >= 5
    assert sum(shares) <= 101


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_conversation_goes_out_and_comes_in(page: Page, tmp_path: Path, kind: str) -> None:
    page.say("hi there!")
    told, address = page.texts(), page.chrome.current_url
    page.chrome.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.click("#open-menu")
    page.click(f'[data-do="export-{kind}"]')
    file = tmp_path / f"hi-there.{'json' if kind == 'json' else 'txt'}"
    page.until(file.exists)
    page.find("#import-file").send_keys(str(file))
    page.until(lambda: page.chrome.current_url != address and page.texts() == told)


def test_a_killed_server_loses_nothing(page: Page, server: RealServer) -> None:
    """kill -9 in mid-reply: what was acknowledged is there afterwards, and nothing comes twice."""
    page.say("hi!")
    told = page.texts()
    make_replies_long(page)
    begun, busy = say_and_look(page, "tell me about your job.")
    assert busy
    server.kill()
    page.until(lambda: page.shown("#banner"))
    assert "Connecting again" in page.find("#banner").text
    server.start()
    page.hurry()
    page.until(lambda: not page.shown("#banner") and page.idle())
    assert page.texts()[:3] == [*told, "tell me about your job."]
    half = page.texts()[3:]
    if half:  # a draft was on the disk
        assert page.find(".message.last .tags").text == "stopped"
        assert half[0].startswith(begun) or begun.startswith(half[0])
    page.act(-1, "continue" if half else "answer")
    page.until(lambda: len(page.texts()) == 4 and page.find("#log").get_attribute("aria-busy") == "true")
    page.keys(Keys.ESCAPE)
    page.until(page.idle)
    page.say("and what do you like about it?")
    assert len(page.texts()) == 6


def test_by_the_keyboard_alone(page: Page) -> None:
    assert page.focused() == "message"
    page.keys("h")
    page.keys("i")
    page.keys(Keys.ENTER)
    page.until(lambda: len(page.texts()) == 2 and page.idle())
    page.keys(Keys.ALT, "r")
    page.until(lambda: page.shown(".branch") and page.find(".branch").text == "2/2" and page.idle())
    page.keys(Keys.ALT, ",")
    page.until(lambda: page.find(".branch").text == "1/2")
    page.keys(Keys.ALT, "g")
    page.until(lambda: len(page.all("#chips button")) == 3)
    line = page.all("#chips button")[2].text
    page.keys(Keys.SHIFT, Keys.TAB)
    page.keys(Keys.ENTER)
    page.until(lambda: page.texts()[2:3] == [line] and len(page.texts()) == 4 and page.idle())
    assert page.focused() == "message"
    page.keys(Keys.ALT, "i")
    page.until(lambda: page.shown(".columns"))
    for _ in range(9):
        page.keys(Keys.TAB)
        if "token" in page.focused():
            break
    page.keys(Keys.ARROW_RIGHT)
    assert page.js("return document.activeElement === document.querySelectorAll('.token')[1]")
    page.keys(Keys.ESCAPE)
    page.until(lambda: not page.shown("#panel"))
    assert page.focused() == "message"


def test_a_phone_in_the_dark(page: Page) -> None:
    page.media(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
    page.resize(*PHONE)
    page.say("hi, what did you do today? i have been to the market, and then i cooked something.")
    page.until(lambda: page.shown("#chips"))
    assert page.js("return document.documentElement.scrollWidth") <= PHONE[0]
    assert issues(page.chrome, "chat") == []
    page.act(-1, "inspect")
    page.until(lambda: page.shown(".columns"))
    assert page.js("return document.documentElement.scrollWidth") <= PHONE[0]
    assert issues(page.chrome, "inspect") == []


def test_a_page_of_a_thousand_messages(page: Page, tmp_path: Path) -> None:
    """They come in parts, the newest first, and the place that is read stays where it is."""
    exported = conversation_of(1000)
    file = tmp_path / "long.json"
    file.write_text(json.dumps(exported))
    page.find("#import-file").send_keys(str(file))
    page.until(lambda: page.texts()[-1:] == ["message 1000"])
    shown = len(page.texts())
    while page.shown("#earlier"):
        top = page.js("const e = document.querySelector('.message'); e.scrollIntoView(); return e.dataset.id")
        page.click("#earlier")
        page.until(lambda shown=shown: len(page.texts()) > shown)  # type: ignore[misc]  # bound now
        place = f"return document.querySelector('[data-id=\"{top}\"]').getBoundingClientRect().top"
        page.until(lambda place=place: -50 < page.js(place) < 400)  # type: ignore[misc]
        shown = len(page.texts())
    assert page.texts() == [f"message {i}" for i in range(1, 1001)]
    page.say("still there?")
    assert len(page.texts()) == 1002


def conversation_of(count: int) -> dict[str, Any]:
    """A conversation of so many messages, as it is exported."""
    messages = [
        {
            "id": f"m{i}",
            "parent": f"m{i - 1}" if i > 1 else None,
            "speaker": (i + 1) % 2,
            "text": f"message {i}",
        }
        for i in range(1, count + 1)
    ]
    return {"format": "convai.conversation", "version": 1, "leaf": f"m{count}", "messages": messages}
