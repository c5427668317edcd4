"""The webhook example's HTTP client, against a real server."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import Message

import pytest

from examples.webhooks.kind import webhook_arguments
from examples.webhooks.post import Answer, NoAnswer, post, retry_after_s
from tasks.errors import BadArguments
from tests.http_endpoint import endpoint

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def test_post_carries_the_body_and_the_idempotency_key() -> None:
    """The receiver gets a JSON POST and the key by which it can tell a repeated delivery."""
    with endpoint() as server:
        assert post(server.url, b'{"n": 1}', idempotency_key="event-1") == Answer(200)
        (request,) = server.received
    assert (request.method, request.path, request.body) == ("POST", "/hooks", b'{"n": 1}')
    assert request.headers["Idempotency-Key"] == "event-1"
    assert request.headers["Content-Type"] == "application/json"


def test_error_statuses_are_answers_not_exceptions() -> None:
    """A 503 is an answer, with what its Retry-After asks for."""
    with endpoint() as server:
        server.answers = [(503, {"Retry-After": "7"}), (404, {})]
        assert post(server.url, b"{}", idempotency_key="k") == Answer(503, 7.0)
        assert post(server.url, b"{}", idempotency_key="k") == Answer(404, None)


def test_redirects_are_not_followed() -> None:
    """A redirect would make a GET of the POST: it is an answer like any other."""
    with endpoint() as server:
        server.answers = [(302, {"Location": f"{server.url}/elsewhere"})]
        assert post(server.url, b"{}", idempotency_key="k").status == 302
        assert len(server.received) == 1


def test_a_connection_that_breaks_is_no_answer() -> None:
    """Whether the receiver acted on a request whose answer was lost cannot be known here."""
    with endpoint() as server:
        server.answers = [(0, {})]
        with pytest.raises(NoAnswer):
            post(server.url, b"{}", idempotency_key="k")
        assert len(server.received) == 1
    with pytest.raises(NoAnswer, match="refused"):
        post(server.url, b"{}", idempotency_key="k")


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Sun, 22 Nov 2026 12:01:00 GMT", 60.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    """Both forms of RFC 9110 are understood; what is neither asks for nothing."""
    headers = Message()
    headers["Retry-After"] = text
    assert retry_after_s(headers, now=NOW) == seconds


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.com/", "example.com/hooks", "http://", 7])
def test_only_http_addresses_are_taken(url: str) -> None:
    """A start with any other address raises at once, and records nothing."""
    with pytest.raises(BadArguments, match="url="):
        webhook_arguments("e1", url)
