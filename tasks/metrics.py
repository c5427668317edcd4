"""What this process has counted and timed since it last told: cheap to add to, told by `tasks.metrics_sink` now and then.

Knows nothing of Redis, MySQL or Celery, so any module may count.  Names and labels are Prometheus'.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from typing import Final, NamedTuple

SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""Upper bounds of a histogram's buckets, in seconds."""

COUNTERS: Final = {
    "holdfast_attempts_total": "Attempts that ended, by kind and outcome",
    "holdfast_admissions_total": "Starts that were decided, by kind and outcome (admitted, refused)",
    "holdfast_swept_total": "What the dispatcher found and moved, by step",
    "holdfast_limited_total": "Waits for a rate limit or a pause, by key and answer (slot, later)",
}
HISTOGRAMS: Final = {
    "holdfast_attempt_seconds": "How long attempts took, by kind",
    "holdfast_admission_lock_seconds": "How long admissions waited for their key's lock, by kind",
    "holdfast_limiter_wait_seconds": "How long a slot of a rate limit was waited for, by key",
}
MOST_SERIES: Final = 2000
"""More than this, kept by a process that cannot tell, are dropped: a counter is not worth the memory."""


class Series(NamedTuple):
    """One number: a counter, or a part of a histogram (``part`` is ``sum``, or a bucket's upper bound)."""

    name: str
    labels: tuple[tuple[str, str], ...]
    part: str = ""


_guard = threading.Lock()
_deltas: dict[Series, float] = defaultdict(float)


def count(name: str, n: float = 1, **labels: str) -> None:
    """Add to a counter."""
    if name not in COUNTERS:
        raise KeyError(f"{name} is no counter of ours: add it to tasks/metrics.py")
    _add(Series(name, tuple(sorted(labels.items()))), n)


def observe(name: str, seconds: float, **labels: str) -> None:
    """Add an observation to a histogram."""
    if name not in HISTOGRAMS:
        raise KeyError(f"{name} is no histogram of ours: add it to tasks/metrics.py")
    ordered = tuple(sorted(labels.items()))
    place = bisect_left(SECONDS, seconds)
    bucket = f"{SECONDS[place]:g}" if place < len(SECONDS) else "+Inf"
    _add(Series(name, ordered, bucket), 1)
    _add(Series(name, ordered, "sum"), seconds)


def count_limited(key: str, go_in_s: float | None) -> None:
    """What a rate limit answered: a slot in ``go_in_s`` seconds, or, with None, not now."""
    count("holdfast_limited_total", key=key, answer="later" if go_in_s is None else "slot")
    if go_in_s is not None:
        observe("holdfast_limiter_wait_seconds", go_in_s, key=key)


def take() -> dict[Series, float]:
    """What was added since the last time; it is forgotten here."""
    with _guard:
        taken = dict(_deltas)
        _deltas.clear()
    return taken


def give_back(deltas: dict[Series, float]) -> None:
    """They could not be told: keep them for the next time."""
    for series, delta in deltas.items():
        _add(series, delta)


def _add(series: Series, n: float) -> None:
    with _guard:
        if series in _deltas or len(_deltas) < MOST_SERIES:
            _deltas[series] += n
