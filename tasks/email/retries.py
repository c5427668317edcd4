"""When a deferred recipient is due again: each recipient has its own count."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

CAP_S = 6 * 3600.0
TOGETHER = 0.25
"""Those that are due within this share of the soonest one's wait go into one job with it."""
TOGETHER_S = 5.0


@dataclass(frozen=True, slots=True)
class Retries:
    """``max_attempts`` tries; the second one ``retry_s`` seconds after the first, then twice as long each time, up to 6 h.

    RFC 5321, 4.5.4.1: at least 30 minutes in general; greylisting (RFC 6647) wants minutes.
    """

    max_attempts: int = 8
    retry_s: float = 300.0

    def exhausted(self, tried: int) -> bool:
        """Whether a recipient that was tried so often is given up."""
        return tried >= self.max_attempts

    def due_in_s(self, tried: int) -> float:
        """Seconds until the next try of one that was tried so often; a tenth of it is chance, so that not all come at once."""
        return min(CAP_S, self.retry_s * 2.0 ** min(tried - 1, 30)) * random.uniform(1.0, 1.1)


def next_job_in_s(due_in_s: Sequence[float]) -> float | None:
    """When a later job should come for recipients due then (ascending): the soonest, and those that are due soon after it."""
    if not due_in_s:
        return None
    soonest = due_in_s[0]
    together = soonest + max(soonest * TOGETHER, min(TOGETHER_S, soonest))
    return max(due for due in due_in_s if due <= together)
