"""The next page, asked for while this one is being recorded: at most one a connector, for the very next job of the run.

A page that was fetched ahead is a page that was read a little earlier, no more.  ``read_at`` is from before it was asked for, so
whatever was written since counts more; it passes the gate like every request; its cursor moves in the transaction that records
it, in a job of its own.  If the process dies, or another one gets that job, the page is asked for again.  One that does not fit
the job exactly, or that nobody came for, is thrown away.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.errors import WorkStopped
from tasks.sync.aside import Aside, Forgotten
from tasks.sync.connector import Connector, Page
from tasks.sync.errors import NotNow
from tasks.sync.values import dump

KEEP_S = 10.0
"""How long a page waits for its job: the run may have been paused, or another worker may have got it."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Which page, for whom: what is fetched for one spot is of no use at another."""

    run_id: str
    fence: int
    cursor: str
    full: bool

    @classmethod
    def of(cls, run_id: str, fence: int, cursor: Any, *, full: bool) -> Spot:
        return cls(run_id, fence, dump(cursor), full)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page, and the database's time before it was asked for."""

    page: Page
    read_at: datetime


@dataclass(frozen=True, slots=True)
class _Ahead:
    spot: Spot
    connector: Connector
    read_at: datetime
    call: Aside[Page]
    pid: int


_ahead: dict[int, _Ahead] = {}
"""By the connector's identity, which holds as long as it stands here."""


def fetch(spot: Spot, connector: Connector, read_at: datetime, ask: Callable[[], Page]) -> None:
    """Begin to ask; the caller makes no call of the connector before it has called `take` or `leave`."""
    leave(connector)
    _ahead[id(connector)] = _Ahead(spot, connector, read_at, Aside(ask, keep_s=KEEP_S), os.getpid())


def take(spot: Spot, connector: Connector) -> Fetched | None:
    """The page that was fetched for this spot; None: ask for it.  Raises what the API answered instead of a page."""
    ahead = _ahead.get(id(connector))
    if ahead is None or ahead.pid != os.getpid() or ahead.spot != spot:
        leave(connector)
        return None
    leave(connector)
    try:
        return Fetched(ahead.call.result(), ahead.read_at)
    except (NotNow, Forgotten, WorkStopped):
        # The gate knows by now how long it still is; and who was to stop was the job before.
        return None


def leave(connector: Connector) -> None:
    """Throw away what was fetched ahead; a call of this connector that is under way is waited for: it is one thread's at a time."""
    ahead = _ahead.get(id(connector))
    # Threads do not survive a fork: nobody would end that call.
    if ahead is not None and ahead.pid == os.getpid():
        ahead.call.ended()
    _ahead.pop(id(connector), None)
