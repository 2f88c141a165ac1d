"""Headless Chromium by chromedriver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_ALWAYS = (
    "headless=new",
    "no-sandbox",
    "disable-dev-shm-usage",
    "disable-gpu",
    "lang=en",
    "force-prefers-reduced-motion",  # frames of a caret that blinks cost more than all the rest
)


def installed() -> bool:
    """Whether there is one on this machine, with its driver."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


@contextmanager
def chromium(*arguments: str) -> Iterator[Chrome]:
    """A browser, with further command line arguments, until the end of the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for name in _ALWAYS:
        options.add_argument(f"--{name}")
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield started
    finally:
        started.quit()
