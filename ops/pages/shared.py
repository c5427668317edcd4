"""What many browsers ask for is read once: one reader at a time, and the last answer meanwhile.

Fifty dashboards cost as much as one, and several Flowers as much as one: what one has read the others find in Redis.  What is
slow is read less often: never more than a tenth of the time.  Without Redis each Flower reads for its own browsers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ops.pages.commons import Commons

T = TypeVar("T")
log = logging.getLogger("holdfast.pages")

MOST = 500
REST_TIMES = 9.0
SOON_S = 60.0
"""Older than this nothing is shown, but for what takes very long to read."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    at: float
    cost_s: float


class Shared:
    """Answers by key.  Belongs to one event loop; the reading is done by ``pool``, so that the loop goes on, and by
    ``slow_pool`` where nobody waits for it, so that no page queues behind it.  ``commons`` is what all Flowers share.
    """

    def __init__(self, pool: Executor, slow_pool: Executor, commons: Commons | None = None) -> None:
        self._pool = pool
        self._slow_pool = slow_pool
        self._commons = commons
        self._slow: set[Hashable] = set()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}
        self._forgetting: Future[None] | None = None
        self.reads = 0

    async def get(self, key: Hashable, read: Callable[[], T], *, fresh_s: float, stale_s: float) -> T:
        """What ``read`` last said, if that was within ``fresh_s`` seconds; until ``stale_s`` the old answer, while it is read.

        Raises what ``read`` raises, unless there is an answer to give meanwhile.
        """
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and now - kept.at <= max(fresh_s, kept.cost_s * REST_TIMES):
            return kept.value  # type: ignore[no-any-return]
        flight = self._flights.get(key) or self._start(key, read, fresh_s, stale_s)
        if kept is not None and now - kept.at <= max(stale_s, kept.cost_s * 2 * REST_TIMES):
            return kept.value  # type: ignore[no-any-return]
        # Shielded: a browser that goes away must not take the answer from the others.
        answer: T = await asyncio.shield(flight)
        return answer

    async def soon(self, key: Hashable, read: Callable[[], T], *, fresh_s: float, patience_s: float = 0.12) -> T | None:
        """The last answer, of up to a minute ago; where there is none yet, it is waited for a moment only, then None."""
        self._slow.add(key)
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and now - kept.at > max(SOON_S, kept.cost_s * 2 * REST_TIMES):
            kept = None
        if kept is None or now - kept.at > max(fresh_s, kept.cost_s * REST_TIMES):
            flight = self._flights.get(key) or self._start(key, read, fresh_s, SOON_S)
            if kept is None:
                await asyncio.wait([flight], timeout=patience_s)
                kept = self._kept.get(key)
        return None if kept is None else kept.value

    def forget(self, *, everything: bool = False) -> None:
        """Something was changed: what is read from now on must show it, but for what takes long and follows by itself.

        ``everything``  that, too, but not what Redis keeps of it
        """
        if self._commons is not None:
            # Not on the loop; whatever is read from now on waits for it.
            self._forgetting = self._pool.submit(self._commons.forget)
        for known in (self._kept, self._flights):
            for key in [key for key in known if everything or key not in self._slow]:
                del known[key]

    def _start(self, key: Hashable, read: Callable[[], Any], fresh_s: float, stale_s: float) -> asyncio.Task[Any]:
        flight = asyncio.get_running_loop().create_task(self._read(key, read, fresh_s, stale_s))
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    async def _read(self, key: Hashable, read: Callable[[], Any], fresh_s: float, stale_s: float) -> Any:
        if self._forgetting is not None:
            await asyncio.wrap_future(self._forgetting)

        def look() -> tuple[Any, float, float]:
            began = time.monotonic()
            if self._commons is None:
                value = counted()
                return value, 0.0, time.monotonic() - began
            return self._commons.get(key, counted, fresh_s=fresh_s, stale_s=stale_s, slow=slow)

        def counted() -> Any:
            self.reads += 1
            return read()

        slow = key in self._slow
        pool = self._slow_pool if slow else self._pool
        value, age_s, cost_s = await asyncio.get_running_loop().run_in_executor(pool, look)
        if self._flights.get(key) is asyncio.current_task():
            self._kept[key] = _Kept(value, time.monotonic() - age_s, cost_s)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST:
                self._slow.discard(self._kept.popitem(last=False)[0])
        return value

    def _landed(self, key: Hashable, flight: asyncio.Task[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled() and (error := flight.exception()) is not None:
            # Whoever waited got it too; a refresh in the background has nobody else to tell.
            log.warning("%s could not be read: %s: %s", key, type(error).__name__, str(error)[:300])
