"""A group on the page, in Chromium against a server with a tiny model: buttons, names, colours, members."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: the page is not tested in a browser")

from selenium.webdriver.common.keys import Keys

from tests.conversation.test_characters import chatml
from tests.server.serving import Running, serving
from tests.server.test_groups import cast, rest
from tests.web.axe import issues
from tests.web.browser import Page

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    agent = chatml(min_length=4)
    with serving(tmp_path, agent, agent.engine().start(), rate=1_000_000) as server:
        yield server


def test_a_group_is_seen_spoken_with_and_changed(chromium: Chrome, running: Running) -> None:
    ann, bob, _dee = cast(running)
    told, _ = rest(running, "", {"characters": [ann, bob], "settings": {"seed": 3}})
    rest(running, f"/{told['conversation']}/group", {"order": "chosen"}, "PATCH")
    chromium.get_log("browser")  # type: ignore[no-untyped-call]
    page = Page(chromium, f"{running.url}/#{told['conversation']}")
    page.until(lambda: len(page.all("#group-bar .speaker")) == 2)
    assert [one.text for one in page.all("#group-bar .speaker")] == ["Ann", "Bob Smith"]
    assert [one.text for one in page.all(".message .who")] == ["Ann", "Bob Smith"]

    def group() -> Any:
        return rest(running, f"/{told['conversation']}/group", method="GET")[0]["group"]

    def press(selector: str, key: str) -> None:
        """The list may be drawn anew meanwhile: then again."""
        page.until(lambda: page.find(selector).send_keys(key) is None)

    def members() -> list[str | None]:
        return [one.get_attribute("data-member") for one in page.all(".message.agent")]

    assert members() == ["0", "1"]
    page.click("#group-bar .speaker:last-child")
    page.until(lambda: members() == ["0", "1", "1"])
    page.until(lambda: page.find("#group-bar .speaker").is_enabled())
    page.click('[data-panel="persona"]')
    page.until(lambda: len(page.all("#characters li")) == 3)
    page.find('[aria-label="Let Dee into this conversation"]').send_keys(Keys.ENTER)
    page.until(lambda: len(page.all("#group-bar .speaker")) == 3)
    press("#group-members li:first-child input", Keys.SPACE)
    page.until(lambda: group()["members"][0].get("muted"))
    press('[aria-label="Bob Smith leaves"]', Keys.ENTER)
    page.until(lambda: [one.text for one in page.all("#group-bar .speaker")] == ["Ann", "Dee"])
    assert [(one["name"], one["muted"], one["here"]) for one in group()["members"]] == [
        ("Ann", True, True),
        ("Bob Smith", False, False),
        ("Dee", False, True),
    ]
    assert members() == ["0", "1", "1"], "what was said stays"
    assert issues(page.chrome, "a group") == []
    problems = list(page.problems())
    page.leave()
    assert problems == []
