"""Waiting on conditions, so that no test sleeps for luck."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0, poll_s: float = 0.01) -> None:
    """Return once ``condition()`` is true; fail after ``timeout_s``."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, f"still not true after {timeout_s} s"
        time.sleep(poll_s)
