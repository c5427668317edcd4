"""The bad day in small: Redis flushed, a pool dead for good, a poisoned import, a provider that says 454, at once.

`python -m bench.bad_day` plays it in large, by commands and by pages; here it is the pages, with a few rows and mails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.bad_day import live
from bench.bad_day_trouble import stack_settings
from tests.e2e.harness import Stack
from tests.email_server import free_port

PORT = free_port()
FAILPOINTS = Path(f"/tmp/holdfast-bad-day-{os.getpid()}")
pytestmark = [pytest.mark.stack(**stack_settings(FAILPOINTS, PORT, pages=True)), pytest.mark.timeout(240)]


def test_an_operator_gets_over_it_with_the_pages_alone(stack: Stack, tmp_path: Path) -> None:
    """Alerts fire and clear, every run completes, no row and no mail is missing or doubled, the audit log says who and why."""
    assert live(stack, "pages", PORT, rows=12_000, recipients=60, out=tmp_path) == []
