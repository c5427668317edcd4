"""Unsubscribe links: a sealed token per recipient, and the function that a web handler calls with it.

A token carries the address itself, so that it works as long as its key is kept, whatever became of the campaign's rows;
sealed, so that neither logs nor proxies show whom a link belongs to.  It does not expire and can be used again: the link in
an old message may be the only one that its reader has, and a second click is no error.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit

from sqlalchemy import Connection

from tasks.email.errors import BadToken, NoUnsubscribe
from tasks.email.suppressions import suppress
from tasks.settings import settings

TEST_SCOPE = "test"
"""The scope of links in test messages: they open, and unsubscribe nobody."""
MIN_SECRET_CHARS = 32
MAX_TOKEN_CHARS = 2000
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,16}\Z")
_IV_BYTES = 16
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class Unsubscription(NamedTuple):
    """What a token says: who wants no more of what."""

    identity: str
    """`tasks.email.addresses.identity_of` of the recipient."""
    scope: str
    """A scope of the suppressions: ``global``, ``list:NAME`` …"""
    campaign_id: str


class Unsubscriber:
    """Makes and reads tokens with the site's keys, and builds links from them."""

    def __init__(self, keys: str, base_url: str) -> None:
        """Takes the settings as they are; raises `NoUnsubscribe`, saying which one to set and how.

        ``keys``      ``id:secret,id:secret``: the first one seals, all of them open.  To change keys, put the new one first and
                      keep the old one as long as its messages may be read
        ``base_url``  https (RFC 8058, 3.1); the token goes to its end, or in place of ``{token}``
        """
        self._keys = dict(_key(part) for part in (keys or "").split(",") if part.strip())
        if not self._keys:
            raise NoUnsubscribe(
                "EMAIL_UNSUBSCRIBE_KEYS is not set: give id:secret, with a secret of "
                "python -c 'import secrets; print(secrets.token_hex(32))'"
            )
        self._sealing = next(iter(self._keys))
        url = urlsplit(base_url or "")
        if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOCAL_HOSTS):
            raise NoUnsubscribe(
                f"EMAIL_UNSUBSCRIBE_URL={base_url!r}: give the https address of your unsubscribe page, e.g. "
                "https://example.com/unsubscribe/; mail clients post to no other (RFC 8058)"
            )
        if not base_url.isascii() or any(char in base_url for char in "<>\"' \r\n\t"):
            raise NoUnsubscribe(f"EMAIL_UNSUBSCRIBE_URL={base_url!r}: has characters that no header takes; encode them")
        self._before, placeholder, self._after = base_url.partition("{token}")
        if not placeholder and not url.query:
            self._before = base_url.rstrip("/") + "/"

    def token(self, unsubscription: Unsubscription) -> str:
        """The token; nobody without the key can make one or read the address in it.  The same for the same arguments."""
        plain = json.dumps(list(unsubscription), ensure_ascii=False, separators=(",", ":")).encode()
        mac_key, stream_key = self._keys[self._sealing]
        iv = _mac(mac_key, self._sealing, plain)
        sealed = iv + _masked(stream_key, iv, plain)
        return f"{self._sealing}.{urlsafe_b64encode(sealed).decode('ascii').rstrip('=')}"

    def url(self, unsubscription: Unsubscription) -> str:
        """The link for the List-Unsubscribe header and for the text."""
        return f"{self._before}{self.token(unsubscription)}{self._after}"

    def open(self, token: str) -> Unsubscription:
        """What the token says; raises `BadToken`, which tells nothing about whose it might have been."""
        key_id, dot, text = token.partition(".") if len(token) <= MAX_TOKEN_CHARS else ("", "", "")
        keys = self._keys.get(key_id)
        if not dot or keys is None:
            raise BadToken("this is no unsubscribe link of ours, or its key has been retired")
        try:
            sealed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:
            raise BadToken("this unsubscribe link is damaged; copy all of it") from None
        iv, plain = sealed[:_IV_BYTES], _masked(keys[1], sealed[:_IV_BYTES], sealed[_IV_BYTES:])
        if not hmac.compare_digest(_mac(keys[0], key_id, plain), iv):
            raise BadToken("this unsubscribe link is damaged; copy all of it")
        return Unsubscription(*json.loads(plain))


def unsubscribe(connection: Connection, token: str, *, unsubscriber: Unsubscriber | None = None) -> Unsubscription:
    """Suppress whom ``token`` names, in its scope, in the caller's transaction; again for the same token is no error.

    A running campaign leaves the address out from the commit on.  Call it for a POST alone: link scanners open every link
    of a message by GET.  ``unsubscriber``: by default that of the settings.  Raises `BadToken`, and `NoUnsubscribe`.
    """
    said = (unsubscriber or the_unsubscriber()).open(token)
    if said.scope != TEST_SCOPE:
        suppress(
            connection, said.identity, reason="unsubscribe", scope=said.scope, detail=f"campaign {said.campaign_id}"
        )
    return said


def the_unsubscriber() -> Unsubscriber:
    """The one of this process' settings; raises `NoUnsubscribe` where they are missing."""
    return Unsubscriber(settings().email_unsubscribe_keys, settings().email_unsubscribe_url)


# The sealing is RFC 5297's SIV composition with HMAC-SHA-256 in the places of both AES modes: the MAC of the plain text is the
# starting value of the mask, so equal texts give equal tokens, and nothing is ever masked twice with one stream.


def _mac(key: bytes, key_id: str, plain: bytes) -> bytes:
    return hmac.digest(key, key_id.encode() + b"\0" + plain, "sha256")[:_IV_BYTES]


def _masked(key: bytes, iv: bytes, data: bytes) -> bytes:
    stream = b"".join(
        hmac.digest(key, iv + block.to_bytes(4, "big"), "sha256") for block in range((len(data) + 31) // 32)
    )
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def _key(part: str) -> tuple[str, tuple[bytes, bytes]]:
    key_id, _, secret = part.strip().partition(":")
    if not _KEY_ID.match(key_id) or len(secret) < MIN_SECRET_CHARS:
        # Without the secret in the message: it goes to logs.
        raise NoUnsubscribe(
            f"EMAIL_UNSUBSCRIBE_KEYS: each key is id:secret, the id of letters, digits, - and _, the secret of at least "
            f"{MIN_SECRET_CHARS} characters"
        )
    root = sha256(secret.encode()).digest()
    return key_id, (hmac.digest(root, b"unsubscribe mac", "sha256"), hmac.digest(root, b"unsubscribe mask", "sha256"))
