"""What the log shows of a message that was dropped."""

from __future__ import annotations

import logging
from typing import Any

import kombu.transport
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import transport
from tasks.poison import EXCERPT_CHARS, drop, dropped, excerpt

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_an_excerpt_is_one_short_printable_line(value: Any) -> None:
    """No message can forge a line, reach a terminal, or fill the log."""
    shown = excerpt(value)
    assert len(shown) <= EXCERPT_CHARS
    assert shown.isascii() and shown.isprintable()


@pytest.mark.parametrize("value", ["x" * 50_000_000, b"x" * 50_000_000, {"a": ["x" * 50_000_000]}, ["x"] * 1_000_000])
def test_an_excerpt_of_something_huge_is_short(value: Any) -> None:
    """What is huge is cut before it is shown."""
    assert len(excerpt(value)) <= EXCERPT_CHARS


def test_a_dropped_message_is_logged_with_the_reason_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """One line says what was dropped and why, and the counter rises."""
    before = dropped["it smells"]
    with caplog.at_level(logging.ERROR):
        drop("it smells", {"body": "fi\nsh"}, ValueError("ro\ntten"))
    assert "dropped a message: it smells" in caplog.text
    assert r"fi\nsh" in caplog.text and r"ro\ntten" in caplog.text
    assert dropped["it smells"] == before + 1


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_urls_use_our_transport_even_if_kombus_was_used_before(scheme: str) -> None:
    """install() works whether or not something connected before."""
    kombu.transport.TRANSPORT_ALIASES[scheme] = "kombu.transport.redis:Transport"
    kombu.transport._transport_cache.pop(scheme, None)
    kombu.transport.get_transport_cls(scheme)
    transport.install()
    assert kombu.transport.get_transport_cls(scheme) is transport.Transport
