"""Beat's scheduler: ``celery -A tasks beat`` starts runs when their schedules say so.

A tick is a start with an idempotency key, written to MySQL by beat itself, so that two beats start one run and a broker
that is down loses none.  After an outage only the newest missed tick is started.  A tick that meets an active run of its
key is a recorded refusal like any other.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from celery.beat import Scheduler
from sqlalchemy import Connection

from runstate import schedules as table
from runstate.errors import RunstateError
from runstate.statuses import RunStatus
from runstate.transaction import in_transaction
from tasks import clients
from tasks.errors import IdempotencyConflict, TasksError
from tasks.publish import publish_start
from tasks.registry import kind_named
from tasks.requests import make_request, write_request
from tasks.schedules import Schedule, load_schedules
from tasks.settings import settings

log = logging.getLogger("holdfast.beat")

LOOK_EVERY_S = 1.0
RETRY_S = 2.0


class RunScheduler(Scheduler):  # type: ignore[misc]
    """Looks once a second which ticks are due, by the database's clock; keeps no file."""

    def setup_schedule(self) -> None:
        """Read the schedules; a wrong one stops beat with a clear error, before it misses a tick in silence."""
        self.schedules = load_schedules(settings().schedules, purge_cron=settings().purge_cron)
        log.info("%d schedules: %s", len(self.schedules), ", ".join(s.name for s in self.schedules) or "none")

    def tick(self, *_: Any, **__: Any) -> float:
        """Start what is due; return how long to sleep, in seconds."""
        try:
            for schedule in self.schedules:
                start_due_tick(schedule)
        except (RunstateError, TasksError) as error:
            # Nothing is settled, so nothing is missed: the tick is due again at the next look.
            log.warning("%s", error)
            return RETRY_S
        return LOOK_EVERY_S

    def sync(self) -> None:
        """Nothing to save: what was started stands in MySQL."""


def start_due_tick(schedule: Schedule) -> str | None:
    """Start the newest tick of ``schedule`` if it is due and was not started; its run's id, or None.

    Raises `tasks.errors.DatabaseDown`, `runstate.errors.DatabaseUnavailable`.
    """

    def look(connection: Connection) -> tuple[datetime, datetime]:
        return table.database_now(connection), table.settled_until(connection, schedule.name)

    now, settled = in_transaction(clients.engine(), look)
    tick = schedule.newest_tick(now.replace(tzinfo=UTC))
    naive = tick.replace(tzinfo=None)
    if naive <= settled:
        return None
    kind = kind_named(schedule.kind)
    arguments = {**schedule.args, "idempotency_key": schedule.idempotency_key(tick)}
    try:
        run = write_request(make_request(kind, (), arguments, requested_by=f"schedule:{schedule.name}"))
    except IdempotencyConflict as conflict:
        # Another beat started this tick with other arguments, from an older file: the tick has its run.
        log.warning("schedule %s: %s", schedule.name, conflict)
        run_id = conflict.run_id
    else:
        run_id = run.run_id
        if run.status is RunStatus.REQUESTED:
            publish_start(kind.name, run_id, about=f"schedule {schedule.name}, tick {tick:%Y-%m-%d %H:%M:%S} UTC")
    # After the start: whoever dies in between starts it again, under the same key.
    in_transaction(clients.engine(), lambda c: table.settle(c, schedule.name, naive))
    log.info("schedule %s: tick %s is run %s", schedule.name, tick, run_id)
    return run_id
