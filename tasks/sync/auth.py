"""Credentials: taken out of a connection's address or the environment, and kept out of everything that is printed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class Credentials:
    """The headers that say who we are; ``secrets``: what must be shown nowhere.  Without a repr of either."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def basic(cls, user: str, password: str) -> Credentials:
        """HTTP basic authentication (RFC 7617)."""
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        return cls({"Authorization": f"Basic {encoded}"}, _secrets(encoded, password))

    @classmethod
    def bearer(cls, token: str) -> Credentials:
        """A bearer token (RFC 6750).  Raises `ValueError` for what no header can hold."""
        return cls({"Authorization": f"Bearer {_header_value(token)}"}, _secrets(token))

    @classmethod
    def header(cls, name: str, value: str) -> Credentials:
        """A header of the API's own, such as ``X-Api-Key``."""
        return cls({name: _header_value(value)}, _secrets(value))


def split_address(address: str) -> tuple[str, Credentials]:
    """A connection's address as its base URL and the credentials that stood in it.

    ``https://user:password@host/v1`` is basic authentication, ``https://token@host/v1`` a bearer token; what has a meaning in
    URLs is written as %XX.  Raises `ValueError`, never with the address in it.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(
            "the address is no URL; write https://USER:PASSWORD@HOST/PATH, or https://TOKEN@HOST/PATH"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address must begin with https:// (or http://) and name a host")
    if parts.query or parts.fragment:
        raise ValueError("the address must end with its path: no ? and no #")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    base_url = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return base_url, Credentials()
    if parts.password is None:
        return base_url, Credentials.bearer(unquote(parts.username))
    return base_url, Credentials.basic(unquote(parts.username), unquote(parts.password))


def _header_value(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable():
        raise ValueError("a credential that goes into a header must be printable ASCII, and not empty")
    return text


def _secrets(*texts: str) -> tuple[bytes, ...]:
    # An empty password stands everywhere.
    return tuple(text.encode() for text in texts if text)
