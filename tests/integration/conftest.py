"""Integration tests: real servers, the machinery in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kinds import ALL, EFFECTS_TABLE

os.environ["HOLDFAST_KINDS"] = ALL


@pytest.fixture
def machinery(database_url: str, redis_url: str) -> Iterator[None]:
    """Empty servers, fresh clients, and the test kinds' table."""
    from tasks import clients
    from tests.integration.machinery import execute

    clients.reset()
    execute(EFFECTS_TABLE)
    yield
    clients.reset()
