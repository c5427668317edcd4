"""Telling what this process has counted: now and then, in one trip to Redis, and never at the cost of the work."""

from __future__ import annotations

import json
import logging
import time

from locks import LockUnavailable
from locks.counters import add_counters
from tasks import clients, metrics

log = logging.getLogger("holdfast.metrics")

EVERY_S = 1.0
AFTER_TROUBLE_S = 30.0
"""A Redis that hangs costs a second each time it is asked."""

_next_at = 0.0


def tell(*, at_once: bool = False) -> None:
    """Tell what was counted, at most every `EVERY_S`; what cannot be told is kept for later."""
    global _next_at
    now = time.monotonic()
    if now < _next_at and not at_once:
        return
    deltas = metrics.take()
    if not deltas:
        return
    _next_at = now + EVERY_S
    try:
        add_counters(clients.redis(), {field_of(series): delta for series, delta in deltas.items()})
    except LockUnavailable as error:
        # Counted twice is better than not at all: some of them may have been added.
        metrics.give_back(deltas)
        _next_at = time.monotonic() + AFTER_TROUBLE_S
        log.debug("%s", error)


def field_of(series: metrics.Series) -> str:
    """A series as the name of a number."""
    return json.dumps([series.name, dict(series.labels), series.part], separators=(",", ":"))


def series_of(field: str) -> metrics.Series:
    """What `field_of` made."""
    name, labels, part = json.loads(field)
    return metrics.Series(name, tuple(sorted(labels.items())), part)
