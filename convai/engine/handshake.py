"""How a door and an engine come to trust each other: one token, proved by both, one convai, one model.

The token itself never goes over the wire: each side hashes it with numbers that both have chosen
(HMAC-SHA256, RFC 2104). What is said afterwards is not encrypted: keep the wire inside a network of your own.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from convai.core.errors import SettingsError
from convai.engine.errors import EngineError
from convai.engine.wire import VERSION, Identity, Proof
from convai.model.double_heads import DoubleHeadsModel
from convai.text.tokenizer import Tokenizer

_SAMPLE: Final = 4096
"""Numbers of each weight that go into a digest."""
_LEAST: Final = 16
_NONCE: Final = 32


class Stranger(EngineError):
    """The other side may not come in: another version, model or token."""


def nonce() -> bytes:
    """A number used once."""
    return secrets.token_bytes(_NONCE)


def prove(token: str, side: str, own: bytes, other: bytes) -> bytes:
    """That `side` ("door" or "engine") knows the token, for the numbers that it and the other have chosen."""
    return hmac.digest(token.encode(), side.encode() + b"\0" + own + b"\0" + other, "sha256")


def check_door(proof: Proof, token: str, challenge: bytes) -> None:
    """Raise Stranger for a door of another version, or with another token."""
    check_version(proof.version, "the door")
    if len(proof.nonce) != _NONCE or not hmac.compare_digest(
        proof.proof, prove(token, "door", proof.nonce, challenge)
    ):
        raise Stranger("the engine has another token; give both sides the same --token-file")


def check_version(theirs: str, who: str) -> None:
    """Raise Stranger for another version."""
    if theirs != VERSION:
        raise Stranger(f"{who} is convai {theirs[:40]}, this side is {VERSION}; install the same on both")


def check_identity(expected: Identity, found: Identity) -> None:
    """Raise Stranger where an engine's model is not the expected one; what is left empty may be anything."""
    if expected.prompts and expected.prompts != found.prompts:
        raise Stranger(
            f"the engine has the model {found.name[:100]!r}, whose tokens are not those of {expected.name!r};"
            " name the same --model on both sides"
        )
    if expected.weights and expected.weights != found.weights:
        raise Stranger(
            f"the engine's weights of {found.name[:100]!r}, or their precision, are not those of the other "
            "engines; give all of them the same --model and --precision"
        )
    for name, files in found.adapters.items():
        if expected.adapters.get(name, files) != files:
            raise Stranger(
                f"the engine's adapter {name[:100]!r} is not that of the other engines; give all of them the "
                "same folders with --adapters"
            )


class Kin:
    """The model that all engines of a door have: what the door knows of it, then what the first one says."""

    def __init__(self, known: Identity) -> None:
        self._known, self._lock = known, threading.Lock()

    def admit(self, found: Identity) -> None:
        """Raise Stranger for an engine with another model."""
        with self._lock:
            check_identity(self._known, found)
            self._known = Identity(
                self._known.name,
                self._known.prompts or found.prompts,
                found.weights,
                {**self._known.adapters, **found.adapters},
            )


def identity(
    name: str,
    tokenizer: Tokenizer,
    model: DoubleHeadsModel | None = None,
    precision: str = "",
    adapters: Mapping[str, Path] | None = None,
) -> Identity:
    """Of a model that is here, computed in `precision`, and the folders of `adapters` that it can load; of a
    door's, whose weights are elsewhere, none.
    """
    weights = "" if model is None else f"{_weights(model)} {precision}"
    files = {called: _files(folder) for called, folder in (adapters or {}).items()}
    return Identity(name, prompts_of(tokenizer), weights, files)


def prompts_of(tokenizer: Tokenizer) -> str:
    """Digest of all that a prompt's ids depend on: who has the same takes the same prompts."""
    return hashlib.sha256(f"{tokenizer.fingerprint} {tokenizer.frame}".encode()).hexdigest()


def _files(folder: Path) -> str:
    """SHA-256 of a model folder's files, but for what people read in it."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".safetensors", ".bin"):
            with path.open("rb") as file:
                digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
    return digest.hexdigest()


def _weights(model: DoubleHeadsModel) -> str:
    """SHA-256 of evenly spaced numbers of every weight, heads and adapters included."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        flat = values.detach().to("cpu", torch.float32).flatten()
        digest.update(f"{name} {tuple(values.shape)} ".encode())
        digest.update(flat[:: max(1, flat.numel() // _SAMPLE)].contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_token(path: Path | None, host: str) -> str:
    """The token of a file, its first line that is no comment; without a file none, on this machine alone.

    Raises SettingsError.
    """
    if path is None:
        if not _loopback(host):
            raise SettingsError(
                f"{host}: other machines can reach this address; give both sides --token-file FILE, with a "
                "line as `openssl rand -hex 16` gives"
            )
        return ""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: no text in UTF-8; write a token into it") from None
    for line in lines:
        if (token := line.strip()) and not token.startswith("#"):
            if len(token) < _LEAST or not token.isprintable():
                raise SettingsError(
                    f"{path}: a token has {_LEAST} characters or more; `openssl rand -hex 16`"
                )
            return token
    raise SettingsError(f"{path}: no token in it; write one, as `openssl rand -hex 16` gives")


def _loopback(host: str) -> bool:
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, the host of IPv6 in brackets. Raises SettingsError."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise SettingsError(f"{text}: use HOST:PORT, as in 10.0.0.5:7000")
    return host, int(port)
