"""Sending what is due: each notice is taken, sent, and settled; whoever dies in between leaves it to be sent again."""

from __future__ import annotations

import logging

from ops.alerts.channels import deliver
from ops.alerts.errors import NotDelivered
from runstate import alerts
from runstate.transaction import in_transaction
from tasks import clients

log = logging.getLogger("holdfast.alerts")

MOST_AT_ONCE = 20


def send_due() -> int:
    """Send up to `MOST_AT_ONCE` notices; how many were taken.  Raises `DatabaseUnavailable`."""
    for taken in range(MOST_AT_ONCE):
        notice = in_transaction(clients.engine(), alerts.take_due_notice)
        if notice is None:
            return taken
        error = None
        try:
            deliver(notice)
        except NotDelivered as failed:
            error = str(failed)
            log.warning("alert notice %d (%s: %s) not delivered: %s", notice.id, notice.event, notice.cause, error)
        in_transaction(clients.engine(), lambda c, n=notice.id, e=error: alerts.settle_notice(c, n, error=e))  # type: ignore[misc]
    return MOST_AT_ONCE
