"""Reading for pages: off the event loop, by few, and once for all browsers that ask for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from ops.pages.commons import Commons
from ops.pages.shared import REST_TIMES, Shared
from runstate.transaction import in_transaction
from tasks import clients

T = TypeVar("T")

POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="holdfast-pages")
"""Flower's loop never waits for MySQL or Redis; and however many browsers there are, these are all that ask."""
SLOW_POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="holdfast-pages-slow")
_COMMONS = Commons(clients.redis, rest_times=REST_TIMES)
_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()


def shared() -> Shared:
    """What the browsers of this event loop share."""
    return _SHARED.setdefault(asyncio.get_running_loop(), Shared(POOL, SLOW_POOL, _COMMONS))


def asked(read: Callable[[Connection], T]) -> Callable[[], T]:
    """``read`` in a transaction of its own."""
    return lambda: in_transaction(clients.engine(), read)
