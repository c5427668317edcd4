"""Is a webhook from who it says?  HMAC-SHA256 over the raw body, in the shapes that providers use.  The clock is the caller's."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TOLERANCE_S = 300.0
"""How far a signed time may lie from when the webhook was received (what Stripe, Slack and Standard Webhooks advise)."""
MAX_SIGNATURES = 8
"""More in one header than anybody sends while secrets are being rotated; the rest is not tried."""


class BadSignature(Exception):
    """Nobody who knows a secret of ours signed this body, or it was signed too long ago; the message says which, no more."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one provider signs.

    ``header``            where the signatures stand; ``separator``: between several in it; ``prefix``: before each of ours
    ``encoding``          of the digest
    ``signed``            what is signed, part by part: ``body``, ``timestamp``, ``id``, anything else as it stands
    ``timestamp_header``  where the time stands, in seconds since 1970; or ``timestamp_prefix``: in ``header``, behind this
    ``id_header``         where the delivery's own id stands, which stays the same when it is sent again
    ``secret_prefix``     a secret that begins so is base64 behind it
    """

    header: str
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    separator: str | None = None
    signed: tuple[str, ...] = ("body",)
    timestamp_header: str | None = None
    timestamp_prefix: str | None = None
    id_header: str | None = None
    secret_prefix: str | None = None


# Each as its provider's documentation has it.
GITHUB = Scheme("X-Hub-Signature-256", prefix="sha256=", id_header="X-GitHub-Delivery")
SHOPIFY = Scheme("X-Shopify-Hmac-Sha256", encoding="base64", id_header="X-Shopify-Event-Id")
WOOCOMMERCE = Scheme("X-WC-Webhook-Signature", encoding="base64", id_header="X-WC-Webhook-Delivery-ID")
STRIPE = Scheme(
    "Stripe-Signature", prefix="v1=", separator=",", signed=("timestamp", ".", "body"), timestamp_prefix="t="
)
SLACK = Scheme(
    "X-Slack-Signature",
    prefix="v0=",
    signed=("v0:", "timestamp", ":", "body"),
    timestamp_header="X-Slack-Request-Timestamp",
)
STANDARD_WEBHOOKS = Scheme(
    "webhook-signature",
    encoding="base64",
    prefix="v1,",
    separator=" ",
    signed=("id", ".", "timestamp", ".", "body"),
    timestamp_header="webhook-timestamp",
    id_header="webhook-id",
    secret_prefix="whsec_",  # noqa: S106 - how every such secret begins
)


def verify(
    scheme: Scheme,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    received_at: float,
    tolerance_s: float = TOLERANCE_S,
) -> str | None:
    """Return if one of ``secrets`` (several while they are rotated) signed ``body``: the time that was signed with it, as it
    was sent, None where the scheme has none.  Raises `BadSignature`.

    ``received_at``: when the webhook came in, in seconds since 1970, by the database's clock: a job that runs an hour later,
    or on a worker whose clock is off, must come to the same answer.
    """
    if not any(secrets):
        raise BadSignature("no secret is configured for this connection's webhooks")
    lower = {name.lower(): value for name, value in headers.items()}
    header = lower.get(scheme.header.lower(), "")
    parts = [part.strip() for part in (header.split(scheme.separator) if scheme.separator else [header])]
    candidates = [part[len(scheme.prefix) :] for part in parts if part.startswith(scheme.prefix) and part != ""]
    if not candidates:
        raise BadSignature(f"the header {scheme.header} has no signature")
    timestamp = _timestamp(scheme, lower, parts)
    if timestamp is not None and not abs(received_at - float(timestamp)) <= tolerance_s:
        raise BadSignature(f"signed more than {tolerance_s:g} s away from when it was received")
    message = b"".join(_part(scheme, lower, name, timestamp, body) for name in scheme.signed)
    digests = [hmac.new(_key(scheme, secret), message, hashlib.sha256).digest() for secret in secrets if secret]
    # Every pair is compared, in constant time: how long it takes tells nothing of which secret nearly fitted.
    fits = [hmac.compare_digest(ours, theirs) for theirs in _decoded(scheme, candidates) for ours in digests]
    if not any(fits):
        raise BadSignature("no signature fits")
    return timestamp


def sign(scheme: Scheme, secret: str, body: bytes, *, timestamp: int = 0, event_id: str = "") -> dict[str, str]:
    """The headers that a provider would send with ``body`` (for tests, and for sending webhooks of one's own)."""
    headers = {
        name: value
        for name, value in ((scheme.timestamp_header, str(timestamp)), (scheme.id_header, event_id))
        if name is not None
    }
    lower = {name.lower(): value for name, value in headers.items()}
    message = b"".join(_part(scheme, lower, name, str(timestamp), body) for name in scheme.signed)
    digest = hmac.new(_key(scheme, secret), message, hashlib.sha256).digest()
    text = digest.hex() if scheme.encoding == "hex" else base64.b64encode(digest).decode()
    time_part = f"{scheme.timestamp_prefix}{timestamp}{scheme.separator}" if scheme.timestamp_prefix else ""
    return {**headers, scheme.header: f"{time_part}{scheme.prefix}{text}"}


def _timestamp(scheme: Scheme, headers: Mapping[str, str], parts: Sequence[str]) -> str | None:
    """The signed time as it was sent; None where the scheme has none.  Never a time that is not part of what is signed."""
    if scheme.timestamp_header is not None:
        text = headers.get(scheme.timestamp_header.lower(), "")
    elif (prefix := scheme.timestamp_prefix) is not None:
        text = next((part[len(prefix) :] for part in parts if part.startswith(prefix)), "")
    else:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise BadSignature("the signed time is missing, or no number of seconds")
    return text


def _part(scheme: Scheme, headers: Mapping[str, str], name: str, timestamp: str | None, body: bytes) -> bytes:
    if name == "body":
        return body
    if name == "timestamp":
        return (timestamp or "").encode()
    if name == "id":
        return headers.get((scheme.id_header or "").lower(), "").encode()
    return name.encode()


def _key(scheme: Scheme, secret: str) -> bytes:
    if scheme.secret_prefix is not None and secret.startswith(scheme.secret_prefix):
        try:
            return base64.b64decode(secret[len(scheme.secret_prefix) :])
        except binascii.Error:
            raise BadSignature(f"a secret of ours is not base64 behind {scheme.secret_prefix!r}: set it anew") from None
    return secret.encode()


def _decoded(scheme: Scheme, candidates: Sequence[str]) -> Iterator[bytes]:
    for text in candidates[:MAX_SIGNATURES]:
        try:
            yield bytes.fromhex(text) if scheme.encoding == "hex" else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            continue
