"""How long the other side asks us to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from requests.structures import CaseInsensitiveDict

from tasks.sync.retry_after import MAX_WAIT_S, retry_after_s, wait_asked_s

NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    "value, date, expected",
    (
        ("0", None, 0),
        ("60", None, 60),
        (" 60 ", None, 60),
        ("1.5", None, 1.5),
        ("-5", NOON, None),
        ("soon", NOON, None),
        ("", NOON, None),
        ("١٢", NOON, None),
        ("1e3", NOON, None),
        ("nan", NOON, None),
        ("9" * 400, None, MAX_WAIT_S),
        ("Sun, 22 Nov 2026 12:01:00 GMT", NOON, 60),
        ("Sun, 22 Nov 2026 11:59:00 GMT", NOON, 0),
        ("Sun, 22 Nov 2026 13:01:00 +0100", NOON, 60),
        ("Sunday, 22-Nov-26 12:01:00 GMT", NOON, 60),
        ("Sun Nov 22 12:01:00 2026", NOON, 60),
        ("Fri, 01 Jan 9999 00:00:00 GMT", NOON, MAX_WAIT_S),
        ("Sun, 99 Nov 2026 12:01:00 GMT", NOON, None),
    ),
)
def test_retry_after_is_seconds_or_a_date(value: str, date: str | None, expected: float | None) -> None:
    """Both forms of RFC 9110 and the old forms of dates; what is neither says nothing."""
    headers = CaseInsensitiveDict({"retry-after": value, **({"date": date} if date else {})})
    assert retry_after_s(headers) == expected


@pytest.mark.parametrize("hours", (-1, 0, 1))
def test_a_workers_clock_changes_no_wait(hours: int) -> None:
    """A date counts from the answer's own Date, whatever this machine thinks the time is."""
    headers = CaseInsensitiveDict({"Retry-After": "Sun, 22 Nov 2026 12:01:00 GMT", "Date": NOON})
    wrong = datetime(2026, 11, 22, 12, 0, tzinfo=UTC) + timedelta(hours=hours)
    assert retry_after_s(headers, now=lambda: wrong) == 60


def test_without_a_date_this_machines_clock_must_do() -> None:
    """An answer that names a date but not its own can only be compared with ours."""
    headers = {"Retry-After": "Sun, 22 Nov 2026 12:01:00 GMT"}
    assert retry_after_s(headers, now=lambda: datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)) == 30


@pytest.mark.parametrize(
    "status, headers, expected",
    (
        (200, {}, None),
        (200, {"Backoff": "30"}, 30),
        (503, {"Backoff": "30", "Retry-After": "10"}, 30),
        (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795348860", "Date": NOON}, 60),
        (429, {"RateLimit-Remaining": "0", "RateLimit-Reset": "17"}, 17),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17", "Retry-After": "5"}, 17),
        (429, {"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": "17"}, None),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "17"}, None),
    ),
)
def test_the_longest_wait_counts(status: int, headers: dict[str, str], expected: float | None) -> None:
    """Retry-After, Backoff, and the reset of an exhausted limit where the request was refused."""
    assert wait_asked_s(status, CaseInsensitiveDict(headers)) == expected
