"""One HTTP POST, and what its answer means."""

from __future__ import annotations

import contextlib
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any

TIMEOUT_S = 10.0


class NoAnswer(Exception):
    """Nobody answered.  The other side may have received the request all the same: only its idempotency key can tell it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status, and the seconds that ``Retry-After`` asks for (None where it is absent or unreadable)."""

    status: int
    retry_after_s: float | None = None


def post(url: str, body: bytes, *, idempotency_key: str, timeout_s: float = TIMEOUT_S) -> Answer:
    """POST a JSON body; ``timeout_s`` is for each step of the conversation.  Raises `NoAnswer`."""
    request = urllib.request.Request(  # noqa: S310 - `kind` lets nothing but http and https pass
        url,
        data=body,
        method="POST",
        headers={
            "Content-Type": "application/json",
            # The same for every try of this delivery: whoever has seen it answers without doing it again.
            "Idempotency-Key": idempotency_key,
            "User-Agent": "holdfast-webhooks",
        },
    )
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return Answer(int(response.status))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, retry_after_s(error.headers))
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error


def retry_after_s(headers: Message, *, now: datetime | None = None) -> float | None:
    """Seconds until ``Retry-After``, which is a number of seconds or a date (RFC 9110, section 10.2.3)."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    with contextlib.suppress(ValueError):
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: following it would turn the POST into a GET, and perhaps leave the endpoint's host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)
