"""Deliveries of webhooks: which were taken, so that one that is sent again is taken once."""

from __future__ import annotations

from sqlalchemy import Connection, text


def take(connection: Connection, name: str, digest: str, run_id: str) -> bool:
    """Whether this delivery is this run's to take; the same run may ask again."""
    connection.execute(
        text(
            "INSERT INTO sync_deliveries (connection, delivery_hash, run_id) VALUES (:name, :digest, :run_id)"
            " ON DUPLICATE KEY UPDATE run_id = run_id"
        ),
        {"name": name, "digest": digest, "run_id": run_id},
    )
    taken_by = connection.scalar(
        text("SELECT run_id FROM sync_deliveries WHERE connection = :name AND delivery_hash = :digest"),
        {"name": name, "digest": digest},
    )
    return bool(taken_by == run_id)


def unix_time(connection: Connection) -> float:
    """The database's clock, in seconds since 1970."""
    return float(connection.scalar(text("SELECT UNIX_TIMESTAMP(NOW(6))")) or 0)
