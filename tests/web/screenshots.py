"""The pictures in docs/images, taken anew: `python -m tests.web.screenshots [FOLDER]`.

The replies are the default model's own, drawn with the seed below on `convai serve`; the fonts are Inter and
Noto Color Emoji where the machine has them.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from convai.core.resources import DEFAULT_MODEL
from tests.web.browser import DESKTOP, Page
from tests.web.chrome import chromium
from tests.web.conftest import ROOT
from tests.web.real_server import RealServer

SEED = 6
CANDIDATES = 4
PHONE, TALL = (390, 780), (1280, 1040)
NAME = "Odile"
SENTENCES = (
    "i restore broken umbrellas in a lighthouse.",
    "i am afraid of geese.",
    "i collect other people's shopping lists.",
    "my brother sells fog horns.",
)
SAID = (
    "hello! what is it that you do?",
    "what scares you most out there?",
    "i deliver the post by boat. my parrot admiral comes along.",
)
NEXT_DAY = ("what is the name of my parrot?",)
MOST = 150_000
"""Bytes of a picture."""


def main(folder: Path) -> None:
    """Talk, come back on a phone, and take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as store, chromium("--hide-scrollbars") as chrome:
        server = RealServer(Path(store), model=DEFAULT_MODEL)
        server.start()
        try:
            page = Page(chrome, server.url, DESKTOP)
            page.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")
            dress(page)
            become_somebody(page)
            talk(page, SAID)
            take(page, folder / "desktop.png")
            page.resize(*TALL)
            page.click('[data-panel="settings"]')
            set_number(page, "candidates", CANDIDATES)
            page.act(-1, "regenerate")
            page.until(lambda: page.shown(".branch") and page.idle() and page.shown("#chips button"))
            page.act(-1, "inspect")
            page.until(lambda: page.all(".candidates .chosen") and page.all(".group.reply"))
            take(page, folder / "inspect.png")
            page.resize(*DESKTOP)
            page.media(prefers_color_scheme="dark", prefers_reduced_motion="reduce")
            page.click('[data-tab="you"]')
            page.until(lambda: page.all("#facts .fact"))
            take(page, folder / "dark.png")
            page.click("#close-panel")
            page.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")
            page.click("#new-chat")
            become_somebody(page)
            talk(page, NEXT_DAY)
            page.resize(*PHONE)
            page.js("document.activeElement.blur()")
            take(page, folder / "phone.png")
        finally:
            server.stop()


def dress(page: Page) -> None:
    """What a container's `system-ui` is looks like no desktop."""
    stack = "Inter, system-ui, sans-serif"
    page.js("document.documentElement.style.setProperty('--font', arguments[0])", stack)


def become_somebody(page: Page) -> None:
    """A persona and a seed."""
    page.click('[data-panel="persona"]')
    for field, text in (("name", NAME), ("sentences", "\n".join(SENTENCES))):
        page.find(f"#persona-{field}").send_keys(Keys.CONTROL + "a" + Keys.NULL)
        page.find(f"#persona-{field}").send_keys(text)
    page.click("#persona-save")
    page.click('[data-tab="settings"]')
    set_number(page, "seed", SEED)
    page.click("#close-panel")


def set_number(page: Page, name: str, value: int) -> None:
    """A decoding setting; the settings are open."""
    page.find(f"#set-{name}").send_keys(Keys.CONTROL + "a" + Keys.NULL)
    page.find(f"#set-{name}").send_keys(f"{value}{Keys.ENTER}")


def talk(page: Page, said: Sequence[str]) -> None:
    """Say everything, wait for the last suggestions."""
    for text in said:
        page.say(text)
    page.until(lambda: page.shown("#chips button"))
    page.until(lambda: page.find("#title").text == said[0])


def take(page: Page, file: Path) -> None:
    """What is to be seen now. Raises ValueError where the picture is too large."""
    ActionChains(page.chrome).move_by_offset(0, 0).perform()
    page.js("document.getElementById('toasts').replaceChildren()")
    painted = "document.fonts.ready.then(() => requestAnimationFrame(() => setTimeout(arguments[0])))"
    page.chrome.execute_async_script(painted)
    picture = base64.b64decode(
        page.chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "optimizeForSpeed": False})[
            "data"
        ]
    )
    out = io.BytesIO()
    colours = Image.open(io.BytesIO(picture)).convert("RGB")
    # by coverage: the few dots of a legend keep their colours, too
    few = colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    size = len(out.getvalue())
    if size > MOST:
        raise ValueError(f"{file}: {size} bytes; at most {MOST}")
    file.write_bytes(out.getvalue())
    print(f"{file}: {size} bytes; {page.texts()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/images")
