"""Alerts: where each cause stands, and the notices that its changes give rise to, an outbox like any other.

One look at a time, whoever beats: a look takes its turn by a conditional UPDATE, and changes of state, with their notices, are
one transaction.  Notices are sent afterwards, at least once each, and say by their number which they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from runstate import documents

TURN = "(turn)"
"""The row whose ``seen_at`` says when the last look was."""
FIRST_RETRY_S = 15
MAX_RETRY_S = 900
GIVE_UP_AFTER_S = 86_400


@dataclass(frozen=True, slots=True)
class Alert:
    """Where one cause stands; times are naive UTC.

    ``status``  ``ok``, ``pending`` (bad, not for long enough), ``firing``, ``recovering`` (good, not for long enough)
    ``since``   when that status began;  ``fired_at`` when it last fired
    """

    cause: str
    status: str
    level: str
    found: str
    advice: str
    since: datetime
    fired_at: datetime | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """One message for one channel: ``event`` is ``fired``, ``worse`` or ``cleared``."""

    id: int
    channel: str
    cause: str
    event: str
    level: str
    found: str
    advice: str
    at: datetime
    tries: int


def take_turn(connection: Connection, every_s: float) -> datetime | None:
    """The database's now if a look is due and this caller is to make it, else None."""
    connection.execute(
        text(
            "INSERT IGNORE INTO alerts (cause, status, level, found, advice, since, seen_at)"
            " VALUES (:turn, 'ok', 'ok', '', '', NOW(6), NOW(6) - INTERVAL 1 DAY)"
        ),
        {"turn": TURN},
    )
    mine = connection.execute(
        text(
            "UPDATE alerts SET seen_at = NOW(6) WHERE cause = :turn AND seen_at <= NOW(6) - INTERVAL :every_us MICROSECOND"
        ),
        {"turn": TURN, "every_us": int(every_s * 1e6)},
    ).rowcount
    return database_now(connection) if mine else None


def database_now(connection: Connection) -> datetime:
    """The database's clock, naive UTC."""
    now: datetime = connection.execute(text("SELECT NOW(6)")).scalar_one()
    return now


def looked_age_s(connection: Connection) -> float | None:
    """How long ago the last look was, by anybody; None where there never was one."""
    age = connection.scalar(
        text("SELECT TIMESTAMPDIFF(MICROSECOND, seen_at, NOW(6)) / 1e6 FROM alerts WHERE cause = :turn"), {"turn": TURN}
    )
    return None if age is None else float(age)


def find_alerts(connection: Connection, *, lock: bool = False) -> dict[str, Alert]:
    """Every cause that was ever bad; with ``lock`` until the transaction ends."""
    rows = connection.execute(
        text(
            "SELECT cause, status, level, found, advice, since, fired_at, seen_at FROM alerts WHERE cause <> :turn"
            f" ORDER BY cause{' FOR UPDATE' if lock else ''}"
        ),
        {"turn": TURN},
    ).mappings()
    return {row["cause"]: Alert(**{str(name): value for name, value in row.items()}) for row in rows}


def firing(connection: Connection) -> list[Alert]:
    """What fires now, the worst and oldest first."""
    rows = connection.execute(
        text(
            "SELECT cause, status, level, found, advice, since, fired_at, seen_at FROM alerts"
            " WHERE status IN ('firing', 'recovering') AND cause <> :turn ORDER BY level = 'warn', fired_at"
        ),
        {"turn": TURN},
    ).mappings()
    return [Alert(**{str(name): value for name, value in row.items()}) for row in rows]


def write_alerts(connection: Connection, alerts: Iterable[Alert]) -> None:
    """Write where these causes stand, in the order of their keys."""
    for alert in sorted(alerts, key=lambda alert: alert.cause):
        connection.execute(
            text(
                "INSERT INTO alerts (cause, status, level, found, advice, since, fired_at, seen_at)"
                " VALUES (:cause, :status, :level, :found, :advice, :since, :fired_at, :seen_at)"
                " ON DUPLICATE KEY UPDATE status = VALUES(status), level = VALUES(level), found = VALUES(found),"
                " advice = VALUES(advice), since = VALUES(since), fired_at = VALUES(fired_at), seen_at = VALUES(seen_at)"
            ),
            {
                "cause": alert.cause,
                "status": alert.status,
                "level": alert.level,
                "found": documents.capped(alert.found),
                "advice": documents.capped(alert.advice),
                "since": alert.since,
                "fired_at": alert.fired_at,
                "seen_at": alert.seen_at,
            },
        )


def write_notices(connection: Connection, alert: Alert, event: str, channels: Sequence[str]) -> None:
    """One notice a channel, due at once."""
    for channel in channels:
        connection.execute(
            text(
                "INSERT INTO alert_notices (channel, cause, event, level, found, advice, at, due_at)"
                " VALUES (:channel, :cause, :event, :level, :found, :advice, NOW(6), NOW(6))"
            ),
            {
                "channel": channel,
                "cause": alert.cause,
                "event": event,
                "level": alert.level,
                "found": documents.capped(alert.found),
                "advice": documents.capped(alert.advice),
            },
        )


def take_due_notice(connection: Connection) -> Notice | None:
    """The next notice to be sent, taken for `FIRST_RETRY_S` and twice as long each time; None if none is due."""
    row = (
        connection.execute(
            text(
                "SELECT id, channel, cause, event, level, found, advice, at, tries FROM alert_notices"
                " WHERE sent_at IS NULL AND due_at <= NOW(6) ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
            )
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    wait_s = min(MAX_RETRY_S, FIRST_RETRY_S * 2 ** min(int(row["tries"]), 10))
    connection.execute(
        text(
            "UPDATE alert_notices SET tries = tries + 1, due_at = IF(at < NOW(6) - INTERVAL :give_up_s SECOND, NULL,"
            " NOW(6) + INTERVAL :wait_s SECOND) WHERE id = :id"
        ),
        {"id": row["id"], "wait_s": wait_s, "give_up_s": GIVE_UP_AFTER_S},
    )
    return Notice(**{str(name): value for name, value in row.items()})


def settle_notice(connection: Connection, notice_id: int, *, error: str | None) -> None:
    """Sent, or why not yet."""
    connection.execute(
        text("UPDATE alert_notices SET sent_at = IF(:error IS NULL, NOW(6), NULL), error = :error WHERE id = :id"),
        {"id": notice_id, "error": documents.capped(error, 500)},
    )


def forget_notices(connection: Connection, days: int, most: int) -> int:
    """Delete up to ``most`` notices that are older than ``days``; how many there were."""
    return connection.execute(
        text("DELETE FROM alert_notices WHERE at < NOW(6) - INTERVAL :days DAY ORDER BY id LIMIT :most"),
        {"days": days, "most": most},
    ).rowcount
