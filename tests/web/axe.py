"""axe-core, the accessibility checker, on the page as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

AXE = Path(__file__).parent / "vendor/axe.min.js"
_RUN = """
const [done] = arguments;
axe.run({ resultTypes: ["violations"] })
  .then(({ passes, violations }) => done({ passes: passes.length, violations }))
  .catch((error) => done({ passes: 99, violations: [{ id: String(error), nodes: [{ html: "" }] }] }));
"""


def issues(chrome: Chrome, state: str) -> list[tuple[str, str, str, str]]:
    """What it finds, grave or not: `state`, rule, impact, element."""
    if not chrome.execute_script("return 'axe' in window"):
        chrome.execute_script(AXE.read_text(encoding="utf-8"))
    result = chrome.execute_async_script(_RUN)
    assert result["passes"] > 15  # it has looked
    return [
        (state, issue["id"], str(issue.get("impact")), node["html"][:200])
        for issue in result["violations"]
        for node in issue["nodes"]
    ]
