"""What many browsers ask for is read once: one reader at a time, and the last answer meanwhile.

Fifty dashboards cost as much as one.  What is slow is read less often: never more than a tenth of the time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("holdfast.pages")

MOST = 500
_COST_TIMES = 9.0


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    at: float
    cost_s: float


class Shared:
    """Answers by key.  Belongs to one event loop; the reading is done by ``pool``, so that the loop goes on, and by
    ``slow_pool`` where nobody waits for it, so that no page queues behind it.
    """

    def __init__(self, pool: Executor, slow_pool: Executor) -> None:
        self._pool = pool
        self._slow_pool = slow_pool
        self._slow: set[Hashable] = set()
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._flights: dict[Hashable, asyncio.Task[Any]] = {}
        self.reads = 0

    async def get(self, key: Hashable, read: Callable[[], T], *, fresh_s: float, stale_s: float) -> T:
        """What ``read`` last said, if that was within ``fresh_s`` seconds; until ``stale_s`` the old answer, while it is read.

        Raises what ``read`` raises, unless there is an answer to give meanwhile.
        """
        kept, now = self._kept.get(key), time.monotonic()
        if kept is not None and now - kept.at <= max(fresh_s, kept.cost_s * _COST_TIMES):
            return kept.value  # type: ignore[no-any-return]
        flight = self._flights.get(key) or self._start(key, read)
        if kept is not None and now - kept.at <= max(stale_s, kept.cost_s * 2 * _COST_TIMES):
            return kept.value  # type: ignore[no-any-return]
        # Shielded: a browser that goes away must not take the answer from the others.
        answer: T = await asyncio.shield(flight)
        return answer

    async def soon(self, key: Hashable, read: Callable[[], T], *, fresh_s: float, patience_s: float = 0.12) -> T | None:
        """The last answer however old; where there is none yet, it is waited for a moment only, then None."""
        self._slow.add(key)
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.at > max(fresh_s, kept.cost_s * _COST_TIMES):
            flight = self._flights.get(key) or self._start(key, read)
            if kept is None:
                await asyncio.wait([flight], timeout=patience_s)
                kept = self._kept.get(key)
        return None if kept is None else kept.value

    def forget(self) -> None:
        """Something was changed: what is read from now on must show it, but for what takes long and follows by itself."""
        for known in (self._kept, self._flights):
            for key in [key for key in known if key not in self._slow]:
                del known[key]

    def _start(self, key: Hashable, read: Callable[[], Any]) -> asyncio.Task[Any]:
        flight = asyncio.get_running_loop().create_task(self._read(key, read))
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    async def _read(self, key: Hashable, read: Callable[[], Any]) -> Any:
        self.reads += 1
        began = time.monotonic()
        pool = self._slow_pool if key in self._slow else self._pool
        value = await asyncio.get_running_loop().run_in_executor(pool, read)
        if self._flights.get(key) is asyncio.current_task():
            self._kept[key] = _Kept(value, time.monotonic(), time.monotonic() - began)
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
