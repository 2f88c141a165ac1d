"""A page of another origin asks the REST API, in a real browser, which holds it to CORS."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.server.serving import serving

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ASK = """
const [url, stream, done] = arguments;
fetch(url + "/v1/chat/completions", {
  method: "POST",
  headers: { "Content-Type": "application/json", Authorization: "Bearer x", "X-Stainless-Lang": "js" },
  body: JSON.stringify({ model: "tiny", stream, messages: [{ role: "user", content: "hi" }] }),
}).then(async (answer) => done([answer.status, await answer.text()])).catch((error) => done([0, error.name]));
"""


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>another page</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *what: Any) -> None:
        pass


@contextmanager
def page_server() -> Iterator[str]:
    """An origin with one page; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{site.server_port}"
        finally:
            site.shutdown()
            thread.join()


def test_a_page_of_a_named_origin_may_ask(chromium: Chrome, tmp_path: Path) -> None:
    with page_server() as named, page_server() as stranger, serving(tmp_path, origins=named) as up:
        chromium.get(named)
        status, text = chromium.execute_async_script(ASK, up.url, False)
        assert status == 200, text
        assert '"chat.completion"' in text
        status, text = chromium.execute_async_script(ASK, up.url, True)
        assert (status, text.endswith("data: [DONE]\n\n")) == (200, True)
        chromium.get(stranger)
        assert chromium.execute_async_script(ASK, up.url, False) == [0, "TypeError"]
        chromium.get_log("browser")  # type: ignore[no-untyped-call]  # what the browser said of that
        chromium.get("about:blank")
