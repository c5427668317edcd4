"""The application's table of webhooks to deliver, beside the data that they tell of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, text

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS demo_webhooks (
    id           BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    event_id     CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    endpoint_id  VARCHAR(64) NOT NULL,
    body         MEDIUMTEXT NOT NULL,
    tried_at     DATETIME(6),
    delivered_at DATETIME(6),
    status       SMALLINT,
    UNIQUE KEY uq_demo_webhooks_event (event_id),
    KEY ix_demo_webhooks_waiting (endpoint_id, delivered_at, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery; ``event_id`` names the event for the receiver, too: it is the idempotency key."""

    id: int
    event_id: str
    body: str
    delivered: bool


def add(connection: Connection, *, event_id: str, endpoint_id: str, body: str) -> None:
    """Write a webhook down, in the transaction of what it tells of: rolled back with it, sent after it."""
    connection.execute(
        text("INSERT INTO demo_webhooks (event_id, endpoint_id, body) VALUES (:event_id, :endpoint_id, :body)"),
        {"event_id": event_id, "endpoint_id": endpoint_id, "body": body},
    )


def waiting(connection: Connection, endpoint_id: str, *, batch: int = 500) -> Iterator[int]:
    """Ids of what an endpoint has not received yet, oldest first, ``batch`` in memory at a time."""
    after = 0
    while True:
        ids = connection.scalars(
            text(
                "SELECT id FROM demo_webhooks WHERE endpoint_id = :endpoint_id AND delivered_at IS NULL AND id > :after"
                " ORDER BY id LIMIT :batch"
            ),
            {"endpoint_id": endpoint_id, "after": after, "batch": batch},
        ).all()
        yield from ids
        if len(ids) < batch:
            return
        after = ids[-1]


def begin(connection: Connection, webhook_id: int) -> Webhook | None:
    """Note that it is about to be sent, and read it; None if it is not there any more."""
    connection.execute(text("UPDATE demo_webhooks SET tried_at = NOW(6) WHERE id = :id"), {"id": webhook_id})
    row = connection.execute(
        text("SELECT id, event_id, body, delivered_at IS NOT NULL AS delivered FROM demo_webhooks WHERE id = :id"),
        {"id": webhook_id},
    ).one_or_none()
    return None if row is None else Webhook(row.id, row.event_id, row.body, bool(row.delivered))


def end(connection: Connection, webhook_id: int, status: int) -> None:
    """Note that the receiver took it, with this HTTP status."""
    connection.execute(
        text("UPDATE demo_webhooks SET delivered_at = NOW(6), status = :status WHERE id = :id"),
        {"id": webhook_id, "status": status},
    )
