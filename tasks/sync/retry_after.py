"""How long the other side asks us to wait, by its own clock: a worker's may be an hour off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_WAIT_S = 7 * 24 * 3600.0
"""A week: longer is a mistake of the other side, and would park a connection for ever."""
_EPOCH_FROM = 1_000_000_000
"""A reset "in so many seconds" is never that far away, so a larger number is a time since 1970."""


def retry_after_s(headers: Mapping[str, str], *, now: Callable[[], datetime] | None = None) -> float | None:
    """Seconds until ``Retry-After``: a number of them, or a date (RFC 9110, section 10.2.3); None where it says neither.

    A date counts from the answer's own ``Date``; only without one from ``now()``.  ``headers`` finds names in any case.
    """
    return _seconds(headers.get("Retry-After"), headers, now)


def wait_asked_s(status: int, headers: Mapping[str, str], *, now: Callable[[], datetime] | None = None) -> float | None:
    """Seconds without requests that this answer asks for; None where it does not ask.

    Besides ``Retry-After``: ``Backoff`` (Kinto's, which comes with good answers too), and with a 429 or a 403 the reset of the
    rate limit where nothing remains of it (``X-RateLimit-*`` as GitHub and others have it, ``RateLimit-*`` of the IETF's draft).
    The longest counts.
    """
    waits = [retry_after_s(headers, now=now), _seconds(headers.get("Backoff"), headers, now)]
    if status in (403, 429):
        waits += [
            _reset_s(headers.get(f"{prefix}Reset"), headers, now)
            for prefix in ("X-RateLimit-", "RateLimit-")
            if headers.get(f"{prefix}Remaining", "").strip() == "0"
        ]
    return max((wait for wait in waits if wait is not None), default=None)


def answered_at(headers: Mapping[str, str]) -> datetime | None:
    """The other side's clock when it answered (``Date``), in UTC; None where it does not say."""
    return _date(headers.get("Date"))


def _seconds(text: str | None, headers: Mapping[str, str], now: Callable[[], datetime] | None) -> float | None:
    text = (text or "").strip()
    if (number := _number(text)) is not None:
        return min(number, MAX_WAIT_S)
    until = _date(text)
    if until is None:
        return None
    return _until(until.timestamp(), headers, now)


def _reset_s(text: str | None, headers: Mapping[str, str], now: Callable[[], datetime] | None) -> float | None:
    number = _number((text or "").strip())
    if number is None or number < _EPOCH_FROM:
        return number if number is None else min(number, MAX_WAIT_S)
    return _until(number, headers, now)


def _until(at: float, headers: Mapping[str, str], now: Callable[[], datetime] | None) -> float:
    from_ = answered_at(headers) or (now or _utc_now)()
    return min(max(0.0, at - from_.timestamp()), MAX_WAIT_S)


def _number(text: str) -> float | None:
    """Digits, with a fraction perhaps: some servers send one, though the RFC has none."""
    whole, _, fraction = text.partition(".")
    if not (text.isascii() and whole.isdecimal() and (fraction.isdecimal() or "." not in text)):
        return None
    # More digits than any wait has would be infinity as a float.
    return float(text) if len(whole) <= 15 else MAX_WAIT_S


def _date(text: str | None) -> datetime | None:
    try:
        at = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    # "-0000", and the asctime form, say no zone: HTTP's dates are UTC.
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _utc_now() -> datetime:
    return datetime.now(UTC)
