"""A stranger's two days on `convai serve` as it is shipped: `walk` says what they do."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tested in a browser")

from tests.web import chrome
from tests.web.axe import issues
from tests.web.browser import Page
from tests.web.real_server import RealServer
from tests.web.walk import GREETING, QUESTION, TOLD, a_day_passes, bring_card, card_file, shown_text

pytestmark = pytest.mark.slow


@pytest.mark.skipif(not chrome.installed(), reason="chromium and chromium-driver are not installed")
def test_it_knows_the_next_day_on_a_phone(tmp_path: Path) -> None:
    server = RealServer(tmp_path)
    server.start()
    try:
        with chrome.chromium() as first:
            page = Page(first, server.url)
            bring_card(page, card_file(tmp_path))
            page.until(lambda: "Bring a broken umbrella." in page.find("#card-about").text)
            assert page.find("#title").text == "Odile"
            page.click("#close-panel")
            page.say(TOLD)
            page.until(lambda: "Remembered: " in page.find("#toasts").text)
            assert below(page, "#toasts .toast", ".bar")
            assert not below(page, "#toasts .toast", ".foot")
            assert list(page.problems()) == []
        server.stop()
        a_day_passes(server.database)
        server.start()
        with chrome.chromium() as second:  # another browser, which kept nothing
            second.get("about:blank")
            page = Page(second, server.url)
            page.hold()
            second.refresh()
            page.until(lambda: page.shown("#welcome-characters .chip"))
            assert issues(second, "a phone") == []
            page.click("#open-sidebar")
            page.until(lambda: page.find("#conversations .name").text == TOLD)
            assert ":" not in page.find("#conversations .when").text, "a day, not a time"
            assert not overlap(page, "#conversations .when", "#conversations li > .ghost")
            page.click("#close-sidebar")
            page.click("#welcome-characters .chip")
            page.until(lambda: page.texts() == [shown_text(GREETING)])
            assert page.shown(".message .text em")
            page.say(QUESTION)
            page.act(-1, "inspect")
            page.until(lambda: "admiral" in page.find("#inspect").text)
            page.click("#close-panel")
            page.click('[data-panel="you"]')
            page.until(lambda: any("admiral" in one.text for one in page.all("#facts .fact")))
            assert list(page.problems()) == []
    finally:
        server.stop()


BOXES = """
const [one, other] = [...arguments].map((name) => document.querySelector(name).getBoundingClientRect());
return [one.left, one.top, one.right, one.bottom, other.left, other.top, other.right, other.bottom];
"""


def below(page: Page, one: str, other: str) -> bool:
    """Whether one begins no higher than the other ends, or at least than it begins."""
    box = page.js(BOXES, one, other)
    return bool(box[1] >= box[5])


def overlap(page: Page, one: str, other: str) -> bool:
    """Whether the one stands over the other."""
    left, top, right, bottom, left2, top2, right2, bottom2 = page.js(BOXES, one, other)
    return bool(left < right2 and left2 < right and top < bottom2 and top2 < bottom)
