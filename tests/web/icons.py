"""The icons of the installed page, drawn anew from icon.svg: `python -m tests.web.icons`."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from tests.web.chrome import chromium
from tests.web.conftest import ROOT

STATIC = ROOT / "web/static"
PAPER = "#f6f6f4"
ICONS = {
    "icon-192.png": (192, 0.06, ""),
    "icon-512.png": (512, 0.06, ""),
    # no transparency, and the drawing within the circle that every mask leaves: 80 % of the width
    "maskable-512.png": (512, 0.18, PAPER),
    "icon-180.png": (180, 0.14, PAPER),
}
"""File → pixels, margin as a share of them, background (none: transparent)."""


def main(folder: Path = STATIC / "icons") -> None:
    """Draw all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = "data:image/svg+xml," + quote((STATIC / "icon.svg").read_text())
    with chromium("--hide-scrollbars") as chrome:
        for name, (size, margin, background) in ICONS.items():
            page = (
                f"<style>body{{margin:0;background:{background or 'transparent'}}}"
                f"img{{position:fixed;inset:{size * margin}px;width:{size * (1 - 2 * margin)}px}}</style>"
                f'<img src="{drawing}">'
            )
            metrics = {"width": size, "height": size, "deviceScaleFactor": 1, "mobile": False}
            chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            clear = {"color": {"r": 0, "g": 0, "b": 0, "a": 0}}
            chrome.execute_cdp_cmd("Emulation.setDefaultBackgroundColorOverride", clear)
            chrome.get("data:text/html," + quote(page))
            shot = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
            picture = Image.open(io.BytesIO(base64.b64decode(shot)))
            picture.quantize(64, dither=Image.Dither.NONE).save(folder / name, optimize=True)
            print(folder / name, (folder / name).stat().st_size)


if __name__ == "__main__":
    main()
