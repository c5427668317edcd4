"""Numbers that all processes add to.  Losing Redis' data sets them to zero, which is what counters of processes do as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import redis

from .client import TryingTo
from .errors import LockUnavailable

COUNTERS_KEY = "holdfast:counters"


def add_counters(client: redis.Redis, deltas: Mapping[str, float]) -> None:
    """Add to numbers by name, in one trip.  Raises `LockUnavailable`; then some may have been added."""
    with TryingTo("add to the counters", LockUnavailable):
        pipeline = client.pipeline(transaction=False)
        for name, delta in deltas.items():
            pipeline.hincrbyfloat(COUNTERS_KEY, name, delta)
        pipeline.execute()


def read_counters(client: redis.Redis) -> dict[str, float]:
    """Every number by name.  Raises `LockUnavailable`."""
    with TryingTo("read the counters", LockUnavailable):
        found = cast("dict[str, str]", client.hgetall(COUNTERS_KEY))
    return {name: float(value) for name, value in found.items()}
