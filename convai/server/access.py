"""Who may come in: bearer tokens, and the pages (origins) that a browser may connect from."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from convai.core.errors import SettingsError
from convai.core.settings import ServerConfig

LOCAL: Final = "local"
"""The owner of all conversations where no token is asked for."""
_LONGEST: Final = 512
_SHORTEST: Final = 16


class Access:
    """Whom the server lets in. A token's holder is the owner of the conversations made with it."""

    def __init__(self, config: ServerConfig) -> None:
        """Raises SettingsError for a file of tokens that will not do, and a door left open by mistake."""
        tokens = [] if config.tokens is None else _read_tokens(config.tokens)
        self._owners = [(_digest(token), "t-" + _digest(token).hex()[:32]) for token in tokens]
        self._origins = {_normal(origin) for origin in config.origins.split()}
        self._host = config.host
        if not self._owners and not config.open and not _loopback(config.host):
            raise SettingsError(
                f"--host {config.host}: others can reach this address; give --tokens FILE, or --open to let "
                "anybody read all conversations"
            )

    @property
    def guarded(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._owners)

    def owner(self, token: str | None) -> str | None:
        """Whose conversations a token opens; None for a wrong one."""
        if not self._owners:
            return LOCAL
        given, found = _digest(token or ""), None
        for digest, owner in self._owners:  # all of them, so that the time tells nothing
            if hmac.compare_digest(digest, given):
                found = owner
        return found

    def owner_of_header(self, authorization: str | None) -> str | None:
        """As `owner`, from the value of an Authorization header."""
        scheme, _, token = (authorization or "").partition(" ")
        return self.owner(token.strip() if scheme.lower() == "bearer" else None)

    def named(self, origin: str | None) -> bool:
        """Whether `origin` is among those of the settings."""
        return origin is not None and _normal(origin) in self._origins

    def allows(self, origin: str | None, host: str | None, scheme: str) -> bool:
        """Whether a page of `origin` may talk with a server that was asked for as `host`.

        The server's own pages may. Without tokens, its own name must be an address, localhost or --host: a
        name that a stranger points at this machine (DNS rebinding) is not enough. No origin: no browser.
        """
        if origin is None:
            return True
        if (normal := _normal(origin)) in self._origins:
            return True
        if host is None or normal != _normal(f"{'https' if scheme in ('https', 'wss') else 'http'}://{host}"):
            return False
        return self.guarded or self._own_name(urlsplit(normal).hostname or "")

    def _own_name(self, name: str) -> bool:
        if name in ("localhost", self._host.lower()):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def address_of(client: object) -> str:
    """What an address is counted by: an IPv4 address, or the /64 network of an IPv6 one."""
    host = str(client[0]) if isinstance(client, tuple | list) and client else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _normal(origin: str) -> str:
    """scheme://host:port in lower case, without the scheme's own port; what is none stays as it is."""
    try:
        parts = urlsplit(origin.strip().lower())
        port = parts.port
    except ValueError:
        return origin
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None and port != usual else "")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _read_tokens(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: no text in UTF-8; write a token a line") from None
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if not _SHORTEST <= len(token) <= _LONGEST or not token.isascii() or len(token.split()) > 1:
            raise SettingsError(
                f"{path}:{number}: use {_SHORTEST} to {_LONGEST} letters, digits and signs without blanks, "
                "as `openssl rand -hex 16` gives"
            )
        tokens.append(token)
    if not tokens:
        raise SettingsError(f"{path}: no token in it; write one a line")
    return tokens
