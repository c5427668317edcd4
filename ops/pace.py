"""How fast a run goes, and when it will be done at that rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from runstate.runs import Run
from runstate.statuses import RunStatus

WINDOW_S = 30.0
"""The rate is that of so long ago until now: long enough to be steady, short enough to follow a change."""
_LEAST_S = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a run: ``at`` in seconds of any steady clock, ``rows`` None for a kind that counts none."""

    at: float
    run: Run
    rows: int | None

    @property
    def jobs_ended(self) -> int:
        """Jobs that are accounted for."""
        return self.run.jobs_total - self.run.jobs_open


class Pace:
    """The rates over the looks of the last `WINDOW_S` seconds in which the run was running."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def add(self, look: Look) -> None:
        """Take one more look into account."""
        if self._looks and look.run.status is not self._looks[-1].run.status:
            # A pause would count as slowness, and planning is another kind of work.
            self._looks.clear()
        self._looks.append(look)
        while len(self._looks) > 2 and look.at - self._looks[1].at >= WINDOW_S:
            self._looks.popleft()

    @property
    def jobs_per_s(self) -> float | None:
        """Jobs a second; None where there is nothing to go by."""
        return self._rate(lambda look: look.jobs_ended)

    @property
    def rows_per_s(self) -> float | None:
        """Rows a second; None where there is nothing to go by."""
        return self._rate(lambda look: look.rows)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last job ends at this rate; None unless the run is running and moves."""
        if not self._looks or self._looks[-1].run.status is not RunStatus.RUNNING:
            return None
        rate = self.jobs_per_s
        return self._looks[-1].run.jobs_open / rate if rate else None

    def _rate(self, count: Callable[[Look], int | None]) -> float | None:
        if len(self._looks) < 2 or self._looks[-1].run.status is not RunStatus.RUNNING:
            return None
        first, last = self._looks[0], self._looks[-1]
        before, after = count(first), count(last)
        if last.at - first.at < _LEAST_S or before is None or after is None:
            return None
        return (after - before) / (last.at - first.at)
