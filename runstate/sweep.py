"""What the dispatcher finds and moves: starts and jobs without a message, windows with room, runs to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from runstate import documents, window
from runstate.statuses import RunStatus

FIRST_REPUBLISH_S = 2
MAX_REPUBLISH_S = 60
BATCH = 1000


@dataclass(frozen=True, slots=True)
class DueRequest:
    """A start that waits for admission and whose message is missing or late."""

    run_id: str
    kind: str
    args: Any
    canvas: Any


@dataclass(frozen=True, slots=True)
class Window:
    """How full one run's window is."""

    run_id: str
    kind: str
    out: int
    planning: bool


def requested_count(connection: Connection) -> int:
    """Starts that should have a message by now."""
    return int(
        connection.scalar(
            text(
                "SELECT COUNT(*) FROM runs WHERE status = 'requested' AND (not_before IS NULL OR not_before <= NOW(6))"
            )
        )
        or 0
    )


def take_due_requests(connection: Connection, most: int) -> list[DueRequest]:
    """Take up to ``most`` starts to publish after the commit; the next publishing of each waits longer and longer."""
    rows = (
        connection.execute(
            text(
                "SELECT run_id, kind, args, canvas FROM runs WHERE status = 'requested' AND publish_due_at <= NOW(6)"
                " ORDER BY publish_due_at LIMIT :most FOR UPDATE SKIP LOCKED"
            ),
            {"most": most},
        )
        .mappings()
        .all()
    )
    if rows:
        connection.execute(
            text(
                "UPDATE runs SET publish_due_at = NOW(6) + INTERVAL LEAST(:cap_s, 5 * POW(2, LEAST(publishes, 10))) SECOND,"
                " publishes = publishes + 1 WHERE run_id IN :run_ids AND status = 'requested'"
            ).bindparams(bindparam("run_ids", expanding=True)),
            {"run_ids": [row["run_id"] for row in rows], "cap_s": MAX_REPUBLISH_S},
        )
    return [
        DueRequest(row["run_id"], row["kind"], documents.load(row["args"]), documents.load(row["canvas"]))
        for row in rows
    ]


def request_again(connection: Connection, run_ids: Sequence[str]) -> None:
    """The broker did not take these starts: publish them at the next round."""
    connection.execute(
        text("UPDATE runs SET publish_due_at = NOW(6) WHERE run_id IN :run_ids AND status = 'requested'").bindparams(
            bindparam("run_ids", expanding=True)
        ),
        {"run_ids": list(run_ids)},
    )


def windows_with_due_jobs(connection: Connection, *, most: int = 500) -> list[Window]:
    """Runs that have due jobs waiting, with how many of theirs are out."""
    rows = connection.execute(
        text(
            "SELECT r.run_id, r.kind, r.status, (SELECT COUNT(*) FROM jobs o WHERE o.run_id = r.run_id"
            " AND o.state IN ('queued', 'running')) AS out_now FROM runs r WHERE r.status IN ('planning', 'running')"
            " AND EXISTS (SELECT 1 FROM jobs j WHERE j.run_id = r.run_id AND j.state = 'pending' AND j.due_at <= NOW(6)"
            " AND (r.status = 'running' OR j.job_no = 0)) ORDER BY r.progress_at LIMIT :most"
        ),
        {"most": most},
    )
    return [Window(row.run_id, row.kind, row.out_now, row.status == RunStatus.PLANNING) for row in rows]


def forget_messages(connection: Connection) -> int:
    """All messages are known to be gone (Redis was emptied or replaced): every queued job goes back to pending."""
    return connection.execute(
        text(
            "UPDATE jobs j JOIN runs r ON r.run_id = j.run_id SET j.state = 'pending', j.queued_at = NULL"
            " WHERE r.status IN ('planning', 'running', 'paused') AND j.state = 'queued'"
        )
    ).rowcount


def queued_count(connection: Connection, kinds: Sequence[str]) -> int:
    """Jobs of these kinds that should have a message."""
    return int(
        connection.scalar(
            text(
                "SELECT COUNT(*) FROM runs r JOIN jobs j ON j.run_id = r.run_id AND j.state = 'queued'"
                " WHERE r.status IN ('planning', 'running') AND r.kind IN :kinds"
            ).bindparams(bindparam("kinds", expanding=True)),
            {"kinds": list(kinds)},
        )
        or 0
    )


def take_unheard(connection: Connection, kinds: Sequence[str], most: int) -> list[tuple[str, str, int]]:
    """Take up to ``most`` queued jobs (kind, run_id, job_no) whose message seems lost, to publish again after the commit.

    Each waits `FIRST_REPUBLISH_S` seconds, and twice as long after every publishing, up to `MAX_REPUBLISH_S`.
    """
    rows = connection.execute(
        text(
            "SELECT r.kind, j.run_id, j.job_no FROM runs r JOIN jobs j ON j.run_id = r.run_id AND j.state = 'queued'"
            " WHERE r.status IN ('planning', 'running') AND r.kind IN :kinds AND j.queued_at <= NOW(6) -"
            " INTERVAL LEAST(:cap_s, :first_s * POW(2, LEAST(j.publishes - 1, 10))) SECOND"
            " ORDER BY j.queued_at LIMIT :most"
        ).bindparams(bindparam("kinds", expanding=True)),
        {"kinds": list(kinds), "cap_s": MAX_REPUBLISH_S, "first_s": FIRST_REPUBLISH_S, "most": most},
    ).all()
    taken = []
    for row in rows:
        # Two dispatchers: the one whose UPDATE still finds the old queued_at publishes.
        moved = connection.execute(
            text(
                "UPDATE jobs SET queued_at = NOW(6), publishes = publishes + 1 WHERE run_id = :run_id AND job_no = :job_no"
                " AND state = 'queued' AND queued_at <= NOW(6) -"
                " INTERVAL LEAST(:cap_s, :first_s * POW(2, LEAST(publishes - 1, 10))) SECOND"
            ),
            {"run_id": row.run_id, "job_no": row.job_no, "cap_s": MAX_REPUBLISH_S, "first_s": FIRST_REPUBLISH_S},
        )
        if moved.rowcount == 1:
            taken.append((row.kind, row.run_id, row.job_no))
    return taken


def runs_to_clear(connection: Connection) -> list[tuple[str, RunStatus]]:
    """Runs that are being cancelled, or ended with jobs still open."""
    rows = connection.execute(
        text(
            "SELECT run_id, status FROM runs WHERE status = 'cancelling' UNION SELECT run_id, status FROM runs WHERE leftovers = 1"
        )
    )
    return [(row.run_id, RunStatus(row.status)) for row in rows]


def cancel_open_jobs(connection: Connection, run_id: str) -> int:
    """Cancel up to `BATCH` open jobs that no worker holds, and count them; jobs first, the run's row last."""
    free = "(state IN ('pending', 'queued') OR (state = 'running' AND lease_until < NOW(6)))"
    update = f"UPDATE jobs SET state = 'cancelled', lease_until = NULL WHERE run_id = :run_id AND {free}"
    counted = connection.execute(text(f"{update} AND role = 'work' LIMIT {BATCH}"), {"run_id": run_id}).rowcount
    other = connection.execute(text(f"{update} AND role <> 'work' LIMIT {BATCH}"), {"run_id": run_id}).rowcount
    if counted:
        connection.execute(
            text(
                "UPDATE runs SET jobs_cancelled = jobs_cancelled + :counted WHERE run_id = :run_id"
                " AND (status = 'cancelling' OR leftovers = 1)"
            ),
            {"run_id": run_id, "counted": counted},
        )
    return counted + other


def close_cleared(connection: Connection, run_id: str) -> bool:
    """cancelling → cancelled, or the end of the leftovers, once no job is open."""
    open_jobs = connection.scalar(
        text("SELECT COUNT(*) FROM jobs WHERE run_id = :run_id AND state IN ('pending', 'queued', 'running')"),
        {"run_id": run_id},
    )
    if open_jobs:
        return False
    cancelled = connection.execute(
        text(
            "UPDATE runs SET status = 'cancelled', finished_at = NOW(6) WHERE run_id = :run_id AND status = 'cancelling'"
        ),
        {"run_id": run_id},
    ).rowcount
    cleared = connection.execute(
        text("UPDATE runs SET leftovers = 0 WHERE run_id = :run_id AND leftovers = 1"), {"run_id": run_id}
    ).rowcount
    return cancelled + cleared > 0


def let_out(connection: Connection, run_id: str, most: int, *, planning: bool = False) -> list[int]:
    """Let due jobs of a run out while it still runs (share lock on the run last, so a pause or a cancel is seen)."""
    job_nos = window.let_out(connection, run_id, most, planning=planning)
    runs = connection.execute(
        text("SELECT 1 FROM runs WHERE run_id = :run_id AND status = :status LOCK IN SHARE MODE"),
        {"run_id": run_id, "status": (RunStatus.PLANNING if planning else RunStatus.RUNNING).value},
    ).one_or_none()
    if runs is None:
        connection.rollback()
        return []
    return job_nos


def oldest_due_age_s(connection: Connection) -> float:
    """Seconds that the oldest due work (a start or a job that is not in a worker's hands) has waited; 0.0 if none."""
    age = connection.scalar(
        text(
            "SELECT GREATEST("
            " COALESCE((SELECT TIMESTAMPDIFF(MICROSECOND, MIN(COALESCE(not_before, requested_at)), NOW(6)) FROM runs"
            "  WHERE status = 'requested' AND (not_before IS NULL OR not_before <= NOW(6))), 0),"
            " COALESCE((SELECT TIMESTAMPDIFF(MICROSECOND, MIN(j.due_at), NOW(6)) FROM runs r JOIN jobs j ON j.run_id = r.run_id"
            "  AND j.state IN ('pending', 'queued') WHERE r.status IN ('planning', 'running') AND j.due_at <= NOW(6)), 0))"
        )
    )
    return max(0, int(age or 0)) / 1e6
