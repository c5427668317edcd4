"""A worker's main process says that it lives, so that a child that died alone is told from a node that was lost."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from celery import bootsteps

from runstate import nodes
from runstate.engine import make_engine
from runstate.errors import RunstateError
from runstate.transaction import in_transaction
from tasks.clients import BOOT
from tasks.settings import settings

log = logging.getLogger("holdfast.heartbeat")


class Heartbeat:
    """A thread with an engine of its own: it shares no lock with what a fork may copy in mid-use.

    ``queues``  asked at every beat: an operator may have a worker take from another queue while its pool is down
    """

    def __init__(self, name: str, role: str, queues: Callable[[], Sequence[str]]) -> None:
        self._queues = queues
        self._identity: dict[str, Any] = {
            "name": name,
            "boot": BOOT,
            "role": role,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self._engine = make_engine(settings().database_url, pool_size=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop beating and take the row away, if MySQL is there."""
        if self._identity["pid"] != os.getpid():
            return
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            in_transaction(self._engine, lambda c: nodes.forget(c, self._identity["name"], self._identity["boot"]))
        except RunstateError as error:
            log.info("left without saying good-bye: %s", error)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                in_transaction(self._engine, lambda c: nodes.beat(c, queues=self._queues(), **self._identity))
            except RunstateError as error:
                log.warning("no heartbeat: %s", error)
            except Exception:
                # The thread must outlive what it does not know: without it, crashes would be taken for lost nodes.
                log.exception("no heartbeat")
            self._stop.wait(nodes.HEARTBEAT_S)


class NodeHeartbeat(bootsteps.StartStopStep):  # type: ignore[misc]
    """Celery's place to start it: after the pool, in the worker's main process."""

    requires: ClassVar = {"celery.worker.components:Pool"}

    def start(self, worker: Any) -> None:
        taken = tuple(sorted(worker.app.amqp.queues.consume_from))

        def queues() -> tuple[str, ...]:
            nonlocal taken
            # `add_consumer` changes the consumer, not the application.  None while the broker is away: then as it was.
            consumer = getattr(getattr(worker, "consumer", None), "task_consumer", None)
            if consumer is not None:
                taken = tuple(sorted(queue.name for queue in consumer.queues))
            return taken

        heartbeat = Heartbeat(worker.hostname, "worker", queues)
        heartbeat.start()
        # Not in this step's stop(): that comes first in a warm shutdown, while the children still finish their jobs, and a
        # child that crashed then would count as a lost node.
        atexit.register(heartbeat.stop)
