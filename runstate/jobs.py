"""What was recorded of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from runstate import documents
from runstate.statuses import JobState, RunStatus


def results(connection: Connection, run_id: str, *, batch: int = 500) -> Iterator[dict[str, Any]]:
    """Every done work job's result, in order of job number, ``batch`` rows in memory at a time."""
    after = 0
    while True:
        rows = connection.execute(
            text(
                "SELECT job_no, result FROM jobs WHERE run_id = :run_id AND role = 'work' AND state = 'done'"
                " AND job_no > :after ORDER BY job_no LIMIT :batch"
            ),
            {"run_id": run_id, "after": after, "batch": batch},
        ).all()
        for row in rows:
            yield documents.load(row.result) or {}
        if len(rows) < batch:
            return
        after = rows[-1].job_no


def result_of(connection: Connection, run_id: str, job_no: int) -> dict[str, Any]:
    """One job's recorded result, ``{}`` where there is none."""
    found = connection.scalar(
        text("SELECT result FROM jobs WHERE run_id = :run_id AND job_no = :job_no"),
        {"run_id": run_id, "job_no": job_no},
    )
    return documents.load(found) or {}


def is_done(connection: Connection, run_id: str, job_no: int) -> bool:
    """Whether a job was recorded as done."""
    found = connection.scalar(
        text("SELECT state FROM jobs WHERE run_id = :run_id AND job_no = :job_no"), {"run_id": run_id, "job_no": job_no}
    )
    return bool(found == JobState.DONE.value)


def run_status(connection: Connection, run_id: str) -> RunStatus:
    """Where the run stands."""
    return RunStatus(connection.scalar(text("SELECT status FROM runs WHERE run_id = :run_id"), {"run_id": run_id}))
