"""Which workers of the stack there should be, and which of them answer."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Set

from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from stack.plan import Plan
from stack.pools import POOLS


def worker_nodes(numbers: Mapping[str, str]) -> frozenset[str]:
    """The Celery names of this host's workers, as supervisord.conf gives them."""
    counts = {pool.queue: int(numbers[f"HOLDFAST_{pool.queue.upper()}_PROCESSES"]) for pool in POOLS}
    return frozenset(f"{queue}{number}@{_host()}" for queue, count in counts.items() for number in range(count))


def answering_nodes(plan: Plan, wanted: Set[str], *, timeout_s: float = 1.0) -> frozenset[str]:
    """Those that answer a ping over the broker: a worker that only runs has not yet begun to consume."""
    if not wanted:
        return frozenset()
    with (
        Celery(broker=plan.settings["CELERY_BROKER_URL"], set_as_current=False) as app,
        # Of its own: the process' pool may hold one from before the broker was restarted.
        app.connection_for_write() as connection,
    ):
        try:
            replies = (
                app.control.ping(sorted(wanted), timeout=timeout_s, limit=len(wanted), connection=connection) or []
            )
        except (OSError, RedisError, KombuError):
            # The broker itself does not answer: then no worker does.
            return frozenset()
        return frozenset(node for reply in replies for node in reply)


def _host() -> str:
    # What Celery puts for %h.
    return socket.gethostname()
