"""Downloads from a local server: whole, resumed, cut short, refused, too big, with a wrong digest."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from convai.core.errors import DataError
from convai.text.corpora.download import PERSONACHAT_URL, download, file_name

BODY = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server gives, how it behaves, and what it was asked for."""

    url: str = ""
    body: bytes = BODY
    etag: str = '"v1"'
    last_modified: str = ""
    ranges: bool = True
    lengths: bool = True
    status: int = 200
    wrong_start: bool = False
    cut_at: int | None = None
    """Bytes after which the connection is closed, once."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of every request."""


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.asked.append(wanted)
            if site.status != 200:
                self.send_error(site.status)
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and site.ranges else 0
            validator = self.headers.get("If-Range")
            if validator and validator not in (site.etag, site.last_modified):
                start = 0
            if start and start >= len(site.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(site.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                shown = start - 1 if site.wrong_start else start
                self.send_header("Content-Range", f"bytes {shown}-{len(site.body) - 1}/{len(site.body)}")
            if site.lengths:
                self.send_header("Content-Length", str(len(site.body) - start))
            if site.etag:
                self.send_header("ETag", site.etag)
            if site.last_modified:
                self.send_header("Last-Modified", site.last_modified)
            self.end_headers()
            end = len(site.body) if site.cut_at is None else site.cut_at
            site.cut_at = None
            self.wfile.write(site.body[start:end])

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(found)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/sets/chat%20one.json?x=1"
        yield found
        server.shutdown()
        thread.join()


def interrupted(site: Site, target: Path, at: int = 100_000) -> None:
    """Leave a part of `at` bytes behind."""
    site.cut_at = at
    with pytest.raises(DataError, match=f"after {at:,} of {len(site.body):,} bytes; run it again to go on"):
        download(site.url, target)
    assert not target.exists()
    assert target.with_name("chat.json.part").read_bytes() == site.body[:at]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "chat.json"
    assert download(site.url, target, sha256=DIGEST.upper(), progress=lambda *s: seen.append(s)) == target
    assert target.read_bytes() == BODY
    assert names(tmp_path) == ["chat.json"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [size for size, _ in seen] == sorted(size for size, _ in seen)


def test_a_server_that_tells_no_length(site: Site, tmp_path: Path) -> None:
    site.lengths = False
    seen: list[int | None] = []
    download(site.url, tmp_path / "chat.json", progress=lambda _size, total: seen.append(total))
    assert (tmp_path / "chat.json").read_bytes() == BODY
    assert set(seen) == {None}


@pytest.mark.parametrize(
    ("etag", "last_modified"),
    [
        ('"v1"', ""),
        ('W/"v1"', "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("", ""),
    ],
)
def test_an_interrupted_download_goes_on(etag: str, last_modified: str, site: Site, tmp_path: Path) -> None:
    site.etag, site.last_modified = etag, last_modified
    target = tmp_path / "chat.json"
    interrupted(site, target)
    download(site.url, target, sha256=DIGEST)
    assert target.read_bytes() == BODY
    assert site.asked == [None, "bytes=100000-"]
    assert names(tmp_path) == ["chat.json"]


def test_interrupted_twice(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target, 1000)
    interrupted(site, target, 200_000)
    assert download(site.url, target).read_bytes() == BODY
    assert site.asked == [None, "bytes=1000-", "bytes=200000-"]


def test_a_server_without_ranges_sends_everything_again(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    site.ranges = False
    assert download(site.url, target, sha256=DIGEST).read_bytes() == BODY


def test_a_file_that_has_changed_is_fetched_anew(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    site.body, site.etag = BODY[::-1], '"v2"'
    assert download(site.url, target).read_bytes() == BODY[::-1]


def test_a_part_of_another_address_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    site.asked.clear()
    assert download(site.url + "&y=2", target).read_bytes() == BODY
    assert site.asked == [None]


def test_a_part_that_is_whole_already_is_only_moved(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    (tmp_path / "chat.json.part").write_bytes(BODY)
    assert download(site.url, target, sha256=DIGEST).read_bytes() == BODY
    assert site.asked[-1] == f"bytes={len(BODY)}-"
    assert names(tmp_path) == ["chat.json"]


def test_a_part_longer_than_the_file_is_thrown_away(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    (tmp_path / "chat.json.part").write_bytes(BODY + b"more")
    assert download(site.url, target).read_bytes() == BODY
    assert site.asked == [None, f"bytes={len(BODY) + 4}-", None]


def test_a_server_that_sends_another_part_is_refused(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    interrupted(site, target)
    site.wrong_start = True
    with pytest.raises(DataError, match="another part than asked for; run it again"):
        download(site.url, target)
    assert download(site.url, target).read_bytes() == BODY


def test_a_wrong_digest_keeps_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"chat.json: SHA-256 is {DIGEST}, expected {'0' * 64}; check"):
        download(site.url, tmp_path / "chat.json", sha256="0" * 64)
    assert names(tmp_path) == []


def test_a_file_that_is_there_is_checked_and_not_fetched(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "chat.json"
    target.write_bytes(BODY)
    download(site.url, target, sha256=DIGEST)
    download(site.url, target)
    with pytest.raises(DataError, match=r"expected 000.*; remove the file to download it again"):
        download(site.url, target, sha256="0" * 64)
    assert site.asked == []
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_over_the_limit_is_not_kept(lengths: bool, site: Site, tmp_path: Path) -> None:
    site.lengths = lengths
    with pytest.raises(DataError, match="over 100,000 bytes"):
        download(site.url, tmp_path / "chat.json", max_bytes=100_000)
    assert names(tmp_path) == []
    download(site.url, tmp_path / "chat.json", max_bytes=len(BODY))


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "404 Not Found"), (403, "403 Forbidden"), (503, "503 Service")]
)
def test_a_refusal_is_passed_on(status: int, reason: str, site: Site, tmp_path: Path) -> None:
    site.status = status
    with pytest.raises(DataError, match=f"the server answered {reason}.*; check the address"):
        download(site.url, tmp_path / "chat.json")
    assert names(tmp_path) == []


def test_nobody_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/chat.json"
        with pytest.raises(DataError, match=r"cannot be reached .*; check the address and the network"):
            download(url, tmp_path / "chat.json")


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/chat.json"
        with pytest.raises(DataError, match=r"cannot be reached .*timed out"):
            download(url, tmp_path / "chat.json", timeout_s=0.05)


def test_a_server_that_stops_in_the_middle(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stalled(*args: object) -> bytes:
        raise TimeoutError("timed out")

    monkeypatch.setattr(http.client.HTTPResponse, "read", stalled)
    with pytest.raises(DataError, match=r"broke at 0 bytes \(timed out\); run it again to go on from there"):
        download(site.url, tmp_path / "chat.json")


@pytest.mark.parametrize(
    ("url", "sha256", "part"),
    [
        ("file:///etc/passwd", None, "not a web address; use one that begins with https://"),
        ("chat.json", None, "not a web address"),
        ("http://[", None, "not a web address"),
        ("http://host:port/a.json", None, "cannot be reached"),
        ("http:///a.json", None, "cannot be reached"),
        (PERSONACHAT_URL, "abc", "not a SHA-256 digest; give its 64 hexadecimal digits"),
    ],
)
def test_arguments_that_make_no_sense(url: str, sha256: str | None, part: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download(url, tmp_path / "chat.json", sha256=sha256)
    assert part in str(caught.value)


def test_a_missing_folder(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; create it first"):
        download(site.url, tmp_path / "nowhere" / "chat.json")
    assert site.asked == []


def test_names_of_files() -> None:
    assert file_name(PERSONACHAT_URL) == "personachat_self_original.json"
    assert file_name("http://h/sets/chat%20one.json?x=1") == "chat one.json"
    for url in ("http://h/", "http://h", "http://h/a/..", "http://h/%2e"):
        with pytest.raises(DataError, match="the address names no file; say where to save it with --out"):
            file_name(url)
