"""What waits and what runs, kind by kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

_COUNTS = ("requested", "due", "later", "queued", "running")
_AGES = ("requested_age_s", "due_age_s", "moved_age_s")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits and runs of one kind; ages in seconds, None where there is nothing.

    ``requested``      starts that wait for admission;     ``requested_age_s`` of the one that waits longest
    ``due``            jobs pending in MySQL, due by now;   ``later`` those due later
    ``queued``         jobs that are out as messages;       ``running`` those in a worker's hands
    ``due_age_s``      how long the oldest job that is due or queued has been due
    ``moved_age_s``    since a job of an active run of this kind was last claimed, renewed or recorded
    """

    kind: str
    requested: int
    requested_age_s: float | None
    due: int
    later: int
    queued: int
    running: int
    due_age_s: float | None
    moved_age_s: float | None


def backlog(connection: Connection) -> list[Backlog]:
    """What waits and runs, by kind; kinds without any are left out."""
    rows = connection.execute(
        text(
            "SELECT r.kind, 0 AS requested, NULL AS requested_age_s,"
            " SUM(j.state = 'pending' AND j.due_at <= NOW(6)) AS due, SUM(j.state = 'pending' AND j.due_at > NOW(6)) AS later,"
            " SUM(j.state = 'queued') AS queued, SUM(j.state = 'running') AS running,"
            " TIMESTAMPDIFF(MICROSECOND, MIN(IF(j.state <> 'running' AND j.due_at <= NOW(6), j.due_at, NULL)), NOW(6)) / 1e6"
            " AS due_age_s, TIMESTAMPDIFF(MICROSECOND, MAX(r.heartbeat_at), NOW(6)) / 1e6 AS moved_age_s"
            " FROM runs r JOIN jobs j ON j.run_id = r.run_id AND j.state IN ('pending', 'queued', 'running')"
            " WHERE r.status IN ('planning', 'running') GROUP BY r.kind"
            " UNION ALL SELECT kind, COUNT(*),"
            " TIMESTAMPDIFF(MICROSECOND, MIN(COALESCE(not_before, requested_at)), NOW(6)) / 1e6, 0, 0, 0, 0, NULL, NULL"
            " FROM runs WHERE status = 'requested' AND (not_before IS NULL OR not_before <= NOW(6)) GROUP BY kind"
        )
    ).mappings()
    by_kind: dict[str, dict[str, Any]] = {}
    for row in rows:
        merged = by_kind.setdefault(row["kind"], dict.fromkeys(_COUNTS, 0) | dict.fromkeys(_AGES))
        for name in _COUNTS:
            merged[name] += int(row[name])
        for name in _AGES:
            merged[name] = _seconds(row[name]) if row[name] is not None else merged[name]
    return [Backlog(kind, **values) for kind, values in sorted(by_kind.items())]


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
