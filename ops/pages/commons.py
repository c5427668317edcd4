"""What all Flowers of a site share: the answers that one of them has read, in Redis, by stale-while-revalidate."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from typing import Any

import redis

from locks import LockUnavailable
from locks.cache import SharedCache
from ops.pages.wire import NotSent, pack, unpack

log = logging.getLogger("holdfast.pages")

COMPUTE_S, SLOW_COMPUTE_S = 5.0, 30.0
"""How long one reads before another tries as well."""
RETRY_S = 1.0
AWAY_S = 10.0
"""For so long Redis is not asked again where it did not answer: a page must not wait for it each time."""


class Commons:
    """Answers by key, in the Redis that ``client`` gives; ``rest_times`` as of `locks.cache.SharedCache`."""

    def __init__(self, client: Callable[[], redis.Redis], *, rest_times: float) -> None:
        self._client = client
        self._rest_times = rest_times
        self._away_until = 0.0

    def get(
        self, key: Hashable, read: Callable[[], Any], *, fresh_s: float, stale_s: float, slow: bool
    ) -> tuple[Any, float, float]:
        """``(answer, age_s, cost_s)``: what any Flower last read, or what ``read`` says now.

        ``slow``  answers that `forget` leaves: they take long and follow by themselves
        """
        mine: list[Any] = []
        began = time.monotonic()

        def compute() -> Any:
            mine.append(read())
            return pack(mine[0])

        if began >= self._away_until:
            cache = SharedCache(
                self._client(),
                soft_s=fresh_s,
                hard_s=max(fresh_s, stale_s),
                compute_s=SLOW_COMPUTE_S if slow else COMPUTE_S,
                retry_s=RETRY_S,
                rest_times=self._rest_times,
                group="pages-slow" if slow else "pages",
            )
            try:
                found = cache.look(["pages", pack(key)], compute)
                return (mine[0] if mine else unpack(found.value)), found.age_s, found.cost_s
            except LockUnavailable as error:
                self._is_away(error)
            except NotSent as error:
                log.warning("%s is read by each Flower for itself: %s", key, error)
        value = mine[0] if mine else read()
        return value, 0.0, time.monotonic() - began

    def forget(self) -> None:
        """Something was changed: every Flower reads anew.  Without Redis there is nothing to forget."""
        if time.monotonic() < self._away_until:
            return
        try:
            SharedCache(self._client(), soft_s=1, hard_s=1, group="pages").forget_all()
        except LockUnavailable as error:
            self._is_away(error)

    def _is_away(self, error: LockUnavailable) -> None:
        self._away_until = time.monotonic() + AWAY_S
        log.warning("pages are read by each Flower for itself for %.0f s: %s", AWAY_S, error)
