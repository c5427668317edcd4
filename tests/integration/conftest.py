"""Integration tests use the session's private servers; see the fixtures in tests/conftest.py."""

from __future__ import annotations

import pytest

from stack.private import Servers


@pytest.fixture(autouse=True)
def _empty_servers(clean_servers: Servers) -> None:
    """Every integration test starts on empty servers, whether it asks for their URLs or not."""
