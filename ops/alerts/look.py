"""One look: every check, what changed by it, and a notice for each change, written in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from ops.alerts.causes import consequences, same_server
from ops.alerts.channels import channel_names
from ops.alerts.hysteresis import Event, step
from ops.checks import Check, ok
from ops.health import all_checks
from runstate import alerts
from runstate.alerts import Alert
from runstate.transaction import in_transaction
from tasks import clients
from tasks.registry import kinds_by_queue
from tasks.settings import settings

log = logging.getLogger("holdfast.alerts")


def look_if_due(every_s: float) -> bool:
    """Make a look if the last one, by anybody, is ``every_s`` ago; whether it was made.  Raises `DatabaseUnavailable`."""
    if in_transaction(clients.engine(), lambda c: alerts.take_turn(c, every_s)) is None:
        return False
    remember(all_checks())
    return True


def remember(checks: Sequence[Check]) -> list[tuple[Event, Alert]]:
    """Move every cause by what was found, and write notices for what changed: ``(event, alert)`` each."""
    limits = settings().alerts
    by_name = {check.name: check for check in checks}
    follows = consequences(
        checks,
        {queue: [kind.name for kind in kinds] for queue, kinds in kinds_by_queue().items()},
        settings().control_queue,
        one_redis=same_server(settings().redis_url, settings().broker_url),
    )

    def steps(connection: Connection) -> list[tuple[Event, Alert]]:
        before = alerts.find_alerts(connection, lock=True)
        now = alerts.database_now(connection)
        moved, told = [], []
        for name in sorted(by_name.keys() | before.keys()):
            # A check that is not made any more (a queue without work, a kind that does nothing) has nothing to complain of.
            check = by_name.get(name) or ok(name, "nothing to be seen of it")
            if name not in before and check.level == "ok":
                continue
            if name in follows and (name not in before or before[name].status in ("ok", "pending")):
                # Its patience begins when its cause is mended.  One that fires already goes on by its own hysteresis.
                check = ok(name, f"no alert of its own: {check.found}")
            alert, event = step(before.get(name), check, now, patience_s=limits.patience_s, calm_s=limits.calm_s)
            moved.append(alert)
            if event is not None:
                alerts.write_notices(connection, alert, event, channel_names())
                told.append((event, alert))
        alerts.write_alerts(connection, moved)
        return told

    told = in_transaction(clients.engine(), steps)
    for event, alert in told:
        log.log(
            logging.INFO if event == "cleared" else logging.WARNING,
            "alert %s: %s: %s %s",
            event,
            alert.cause,
            alert.found,
            alert.advice,
        )
    return told
