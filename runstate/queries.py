"""What operators ask of runs: which there are, and how one stands.

Reads only.  Ages are the database's, so that nobody's clock matters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text

from runstate.errors import NotFound, RunstateError
from runstate.job_states import is_large, job_states
from runstate.run_page import NOT_DONE
from runstate.statuses import ACTIVE

_DONE_BY_COUNTER = " UNION ALL SELECT 'done', jobs_done FROM runs WHERE run_id = :run_id AND jobs_done > 0"
SUMMED = 1000
"""So many attempts of each outcome tell how long they take."""
_RUN_ID = re.compile(r"[0-9a-f-]{1,36}\Z")


class AmbiguousRunId(RunstateError):
    """The beginning of a run id fits several runs; ``run_ids`` are some of them."""

    def __init__(self, given: str, run_ids: Sequence[str]) -> None:
        super().__init__(f"{given} is the beginning of several run ids, give more of it: {', '.join(run_ids)}")
        self.run_ids = tuple(run_ids)


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts of a run that ended in the same way."""

    outcome: str
    count: int
    mean_ms: float | None
    longest_ms: int | None
    peak_memory_kb: int | None


@dataclass(frozen=True, slots=True)
class TroubledJob:
    """A job that is not done and had an error."""

    job_no: int
    state: str
    attempts: int
    crashes: int
    due_at: datetime
    last_error: str


def resolve_run_id(connection: Connection, given: str) -> str:
    """The one run id that is ``given`` or begins with it.  Raises `NotFound`, `AmbiguousRunId`."""
    if not _RUN_ID.match(given):
        raise NotFound(f"{given!r} is no run id: `python -m ops runs list` shows them")
    found = list(
        connection.scalars(
            text("SELECT run_id FROM runs WHERE run_id LIKE :start ORDER BY run_id LIMIT 5"), {"start": f"{given}%"}
        )
    )
    if not found:
        raise NotFound(f"there is no run {given}: `python -m ops runs list` shows them")
    if len(found) > 1 and found[0] != given:
        raise AmbiguousRunId(given, found)
    return str(found[0])


def active_run_ids(connection: Connection) -> list[str]:
    """Every run that holds its key."""
    query = text("SELECT run_id FROM runs WHERE status IN :active ORDER BY requested_at")
    return [
        str(run_id)
        for run_id in connection.scalars(
            query.bindparams(bindparam("active", expanding=True)), {"active": [status.value for status in ACTIVE]}
        )
    ]


def job_counts(connection: Connection, run_id: str) -> dict[str, dict[str, int]]:
    """How many jobs stand where: role → state → count; see `runstate.job_states` for large runs."""
    return job_states(connection, run_id)


def attempts_of(connection: Connection, run_id: str) -> list[Attempts]:
    """The run's attempts by outcome; durations and memory of the newest `SUMMED` of each.

    Of a large run those that are done are as many as its done jobs.
    """
    large = is_large(connection, run_id)
    counted = connection.execute(
        text(
            "SELECT outcome, COUNT(*) AS count FROM job_attempts FORCE INDEX (ix_job_attempts_run)"
            f" WHERE run_id = :run_id{' AND outcome IN :failures' if large else ''} GROUP BY outcome"
            f"{_DONE_BY_COUNTER if large else ''} ORDER BY outcome"
        ).bindparams(*([bindparam("failures", expanding=True)] if large else [])),
        {"run_id": run_id} | ({"failures": list(NOT_DONE)} if large else {}),
    ).all()
    found = []
    for of_outcome in counted:
        summed = connection.execute(
            text(
                "SELECT AVG(duration_ms) AS mean_ms, MAX(duration_ms) AS longest_ms, MAX(peak_memory_kb) AS peak_memory_kb"
                " FROM (SELECT duration_ms, peak_memory_kb FROM job_attempts FORCE INDEX (ix_job_attempts_run)"
                " WHERE run_id = :run_id AND outcome = :outcome ORDER BY started_at DESC LIMIT :most) newest"
            ),
            {"run_id": run_id, "outcome": of_outcome.outcome, "most": SUMMED},
        ).one()
        found.append(
            Attempts(
                of_outcome.outcome,
                int(of_outcome._mapping["count"]),
                _seconds(summed.mean_ms),
                summed.longest_ms,
                summed.peak_memory_kb,
            )
        )
    return found


def troubled_jobs(connection: Connection, run_id: str, *, most: int = 5) -> list[TroubledJob]:
    """Jobs that are not done and had an error, those that are tried next first; of a large run among its newest failures."""
    failed = ""
    if is_large(connection, run_id):
        # Found by their attempts: the jobs of a large run are not looked through.
        looks = " UNION ALL ".join(
            "(SELECT job_no FROM job_attempts FORCE INDEX (ix_job_attempts_run) WHERE run_id = :run_id"
            f" AND outcome = '{outcome}' ORDER BY started_at DESC LIMIT 100)"
            for outcome in ("retry", "dead", "crashed", "lost")
        )
        failed = f" JOIN (SELECT DISTINCT job_no FROM ({looks}) looks) failed USING (job_no)"
    rows = connection.execute(
        text(
            f"SELECT job_no, state, attempts, crashes, due_at, last_error FROM jobs{failed} WHERE run_id = :run_id"
            " AND state <> 'done' AND last_error IS NOT NULL ORDER BY due_at, job_no LIMIT :most"
        ),
        {"run_id": run_id, "most": most},
    ).mappings()
    return [TroubledJob(**row) for row in rows]


def rows_recorded(connection: Connection, run_id: str) -> int | None:
    """The sum of ``rows`` in the results of the run's done jobs; None for a kind whose results count none, and for a large
    run, whose result tells at its end.
    """
    if is_large(connection, run_id):
        return None
    counted = connection.scalar(
        text(
            "SELECT SUM(CAST(JSON_VALUE(result, '$.rows') AS SIGNED)) FROM jobs"
            " WHERE run_id = :run_id AND state = 'done' AND role = 'work'"
        ),
        {"run_id": run_id},
    )
    return None if counted is None else int(counted)


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
