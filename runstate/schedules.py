"""Up to when each schedule's ticks are settled."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text


def database_now(connection: Connection) -> datetime:
    """The database's clock, naive UTC."""
    now = connection.scalar(text("SELECT NOW(6)"))
    assert isinstance(now, datetime)
    return now


def settled_until(connection: Connection, name: str) -> datetime:
    """The time of the last settled tick; a schedule that is new here is settled up to now."""
    connection.execute(
        text("INSERT IGNORE INTO schedules (name, settled_until) VALUES (:name, NOW(6))"), {"name": name}
    )
    found = connection.scalar(text("SELECT settled_until FROM schedules WHERE name = :name"), {"name": name})
    assert isinstance(found, datetime)
    return found


def settle(connection: Connection, name: str, until: datetime) -> None:
    """Every tick up to ``until`` is started or given up; never goes back."""
    connection.execute(
        text("UPDATE schedules SET settled_until = GREATEST(settled_until, :until) WHERE name = :name"),
        {"name": name, "until": until},
    )
