"""The page as a person uses it: finding, waiting, typing; so that tests read like what somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
)
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
WAIT = 60.0
"""Seconds until a test gives up; what is waited for takes some hundredths."""
DESKTOP, PHONE = (1280, 800), (390, 780)

_LOOK = """
const all = [...document.querySelectorAll(arguments[0])];
const visible = (e) => Boolean(e?.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length);
"""


class Page:
    """One tab with the page in it."""

    def __init__(self, chrome: Chrome, url: str, size: tuple[int, int] = DESKTOP) -> None:
        self.chrome, self.url = chrome, url
        self.resize(*size)
        chrome.get(url)
        self.until(lambda: self.shown("#welcome, .message"))

    def leave(self) -> None:
        """Go away, and leave nothing behind for the next one."""
        self.js("localStorage.clear(); sessionStorage.clear()")
        self.media(prefers_color_scheme="light")
        self.chrome.get("about:blank")

    def resize(self, width: int, height: int) -> None:
        """The size of the page itself; windows have a least width."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def hold(self) -> None:
        """From now on a phone, touched with a finger."""
        metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 1, "mobile": True}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.chrome.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def media(self, **features: str) -> None:
        """What the system says of itself: media(prefers_color_scheme="dark")."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def until(self, condition: Callable[[], T]) -> T:
        """Wait for something true; what is not there yet, or no longer, is not true."""
        wait: WebDriverWait[Chrome] = WebDriverWait(
            self.chrome, WAIT, 0.03, (NoSuchElementException, StaleElementReferenceException)
        )
        return wait.until(lambda _: condition())

    def find(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> bool:
        return bool(self.js(f"{_LOOK} return all.some(visible)", selector))

    def click(self, selector: str) -> None:
        self.until(lambda: self.js(f"{_LOOK} return visible(all[0]) && !all[0].disabled", selector))
        self.find(selector).click()

    def texts(self) -> list[str]:
        """The messages, in order."""
        script = "return [...document.querySelectorAll('.message .text')].map((e) => e.textContent)"
        return list(self.js(script))

    def type(self, text: str) -> None:
        self.find("#message").send_keys(text)

    def say(self, text: str) -> None:
        """Send a message and wait for the whole reply."""
        before = len(self.texts())
        self.type(text + Keys.ENTER)
        self.until(lambda: len(self.texts()) == before + 2 and self.idle())

    def idle(self) -> bool:
        script = (
            "return document.querySelector('#log[aria-busy=false]') && !document.querySelector('.ghosted')"
        )
        return bool(self.js(script))

    def act(self, message: int, name: str) -> None:
        """Click an action of a message; -1 is the last."""
        row = self.all(".message")[message]
        row.find_element(By.CSS_SELECTOR, ".text").click()  # as a finger does; a pointer need not
        self.until(lambda: row.find_element(By.CSS_SELECTOR, f'[data-act="{name}"]').is_displayed())
        row.find_element(By.CSS_SELECTOR, f'[data-act="{name}"]').click()

    def hurry(self) -> None:
        """Try to connect now, unless that is being done."""
        self.js("const now = document.getElementById('banner-now'); if (!now.hidden) now.click()")

    def keys(self, *keys: str) -> None:
        """Press keys, the last one with the others held down."""
        chain = ActionChains(self.chrome)
        for key in keys[:-1]:
            chain.key_down(key)
        chain.send_keys(keys[-1])
        for key in reversed(keys[:-1]):
            chain.key_up(key)
        chain.perform()

    def focused(self) -> str:
        """The id of what has the focus, or its class."""
        script = "const e = document.activeElement; return e.id || e.dataset.act || e.className || e.tagName"
        return str(self.js(script))

    def js(self, script: str, *arguments: Any) -> Any:
        return self.chrome.execute_script(script, *arguments)

    def problems(self) -> Iterator[str]:
        """What the browser complained of: errors in scripts, what the policy forbade."""
        for entry in self.chrome.get_log("browser"):  # type: ignore[no-untyped-call]
            refused = "ERR_CONNECTION_REFUSED" in entry["message"] or "WebSocket" in entry["message"]
            if entry["level"] in ("SEVERE", "WARNING") and not refused:
                yield str(entry["message"])
